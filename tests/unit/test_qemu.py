"""The qemu platform's arithmetic and files, without a machine."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from fleet import platforms
from fleet.errors import FleetError, UsageError
from fleet.plan import Probe
from fleet.planner import plan_spec
from fleet.platforms.qemu import accelerator as qemu_accelerator
from fleet.platforms.qemu import machine as qemu_machine
from fleet.platforms.qemu.platform import Qemu
from fleet.probes import NotReadyError, ask, wait
from fleet.program.state import with_state
from fleet.spec import Resolver
from tests.conftest import SPEC, Folder


def ports(folder: Folder, **options: object) -> dict[str, int]:
    platform = Qemu.from_options(options, project=folder.path, stack="local")
    plan = plan_spec(folder.path / "fleet.yaml", Resolver(), platform, need_lock=False)
    return {f"{node.name}:{port.number}": platform.host_port(node, port) for node in plan.nodes for port in node.ports}


def test_every_node_has_host_ports_of_its_own_that_do_not_move_when_nodes_are_added(folder: Folder) -> None:
    folder.write("fleet.yaml", SPEC.format(count=2, greeting="hello"))
    two = ports(folder)
    assert two == {
        "web-0:22": 2222, "web-0:7790": 7790, "web-0:8080": 8080,
        "web-1:22": 3222, "web-1:7790": 8790, "web-1:8080": 9080,
    }  # fmt: skip
    folder.write("fleet.yaml", SPEC.format(count=3, greeting="hello"))
    assert {key: value for key, value in ports(folder).items() if key in two} == two


def test_host_ports_can_be_shifted_for_a_stack_and_chosen_singly(folder: Folder) -> None:
    chosen = ports(folder, port_offset=100, host_ports={"web-0:8080": 18080})
    assert chosen == {"web-0:22": 2322, "web-0:7790": 7890, "web-0:8080": 18080}


GROUPS = "name: web\ngroups:\n"


@pytest.mark.parametrize(
    "key",
    ["web-0/8080", "web:8080", "web-0", "8080", "web-0:http", "web-0:8080/tcp", "web-00:80", "web-0:0", "web-0:080"],
)
def test_a_key_of_host_ports_that_names_no_port_of_a_node_is_refused_at_its_place(key: str, tmp_path: Path) -> None:
    (tmp_path / "Pulumi.yaml").write_text("name: shop\nruntime: python\n")
    text = f'config:\n  fleet:platform: qemu\n  fleet:qemu:\n    host_ports: {{"web-1:80": 1, "{key}": 18080}}\n'
    (tmp_path / "Pulumi.test.yaml").write_text(text)
    options = yaml.safe_load(text)["config"]["fleet:qemu"]
    with pytest.raises(FleetError) as refused:
        platforms.platform("qemu", options, project=tmp_path, stack="test")
    place = f"{tmp_path / 'Pulumi.test.yaml'}:4:33"
    assert str(refused.value).startswith(f"{place}: `{key}`: a port of a node is written NODE:PORT or NODE:PORT/udp, ")


def test_groups_have_host_ports_of_their_own_that_neither_growth_nor_a_later_group_moves(folder: Folder) -> None:
    def planned(*groups: str) -> dict[str, int]:
        folder.write("fleet.yaml", GROUPS + "".join(f"  {group}\n" for group in groups))
        return ports(folder)

    web, api = "web: {ports: [8080]}", "api: {count: 2, ports: [8080, 9000, 53/udp]}"
    two = planned(web, api)
    assert two == {
        "web-0:22": 2222, "web-0:7790": 7790, "web-0:8080": 8080,
        "api-0:22": 2322, "api-0:7790": 7890, "api-0:8080": 8180, "api-0:9000": 9000, "api-0:53": 8053,
        "api-1:22": 3322, "api-1:7790": 8890, "api-1:8080": 9180, "api-1:9000": 10000, "api-1:53": 9053,
    }  # fmt: skip
    more = planned("web: {count: 3, ports: [8080]}", api, "db: {ports: [8080]}")
    assert more.items() > two.items()
    assert (more["db-0:22"], more["db-0:8080"]) == (2422, 8280)


def group_of_ports(count: int, numbers: list[str]) -> str:
    return f"{{count: {count}, ports: [{', '.join(numbers)}]}}"


@settings(max_examples=60)
@given(data=st.data())
def test_a_host_port_that_was_in_nobodys_way_stays_where_it_was(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Stacks that were deployed before groups had ports by themselves named one wherever two would have met."""
    counts = data.draw(st.lists(st.integers(0, 3), min_size=1, max_size=3))
    names = ["web", "api", "db"][: len(counts)]
    number = st.sampled_from(["80", "8080", "8180", "9080", "10180"])
    groups = [(count, data.draw(st.lists(number, unique=True, max_size=3))) for count in counts]
    keys = [
        f"{name}-{index}:{port}"
        for name, (count, numbers) in zip(names, groups, strict=True)
        for index in range(count)
        for port in (22, *numbers)
    ]
    offset = data.draw(st.sampled_from([0, 100]))
    before = {}
    for key in keys:
        base = int(key.partition(":")[2])
        base = 2222 if base == 22 else base + 8000 * (base < 1024)
        before[key] = base + 1000 * int(key.partition(":")[0][-1]) + offset
    chosen: dict[str, int] = {}
    for place, key in enumerate(keys):
        if list(before.values()).count(before[key]) > 1 and data.draw(st.integers(0, 9)):
            chosen[key] = before[key] = 20000 + place
    assume(len(set(before.values())) == len(before))
    project = Folder(tmp_path_factory.mktemp("stack"), {})
    project.write(
        "fleet.yaml",
        GROUPS + "".join(f"  {name}: {group_of_ports(*group)}\n" for name, group in zip(names, groups, strict=True)),
    )
    planned = ports(project, host_ports=chosen, port_offset=offset)
    assert {key: host for key, host in planned.items() if not key.endswith(":7790")} == before


def test_a_host_port_that_does_not_exist_is_refused(folder: Folder) -> None:
    with pytest.raises(UsageError, match=r"no port 65622 for port 22/tcp of web-0. Choose one"):
        ports(folder, port_offset=63400)


def test_more_nodes_than_this_host_has_ports_for_are_rendered_but_not_valid(
    folder: Folder, refused: Callable[..., str]
) -> None:
    folder.write("fleet.yaml", SPEC.format(count=100, greeting="hello"))
    assert len(folder.fleet("render", "fleet.yaml").out.splitlines()) == 100
    assert "The host has no port 65790 for port 7790/tcp of web-58." in refused("validate", "fleet.yaml", status=2)


def test_an_unknown_option_of_the_stack_is_refused(folder: Folder) -> None:
    with pytest.raises(UsageError, match="There is no key `ports`"):
        Qemu.from_options({"ports": 1}, project=folder.path, stack="local")


@pytest.mark.system
def test_a_port_in_use_is_said_before_anything_is_ended(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(FleetError, match=f"Port {port} of 127.0.0.1, .* address already in use"):
            qemu_machine.check_start(
                tmp_path / "nodes" / "web-0", "web-0", "127.0.0.1", [qemu_machine.Forward(port, 80)]
            )


needs_qemu_img = pytest.mark.skipif(not shutil.which("qemu-img"), reason="qemu-img is missing: `fleet doctor` says how")


@pytest.mark.system
@needs_qemu_img
def test_a_data_disk_is_taken_over_and_grown_but_never_shrunk(tmp_path: Path) -> None:
    def size() -> int:
        output = subprocess.run(["qemu-img", "info", "--output=json", path], capture_output=True, check=True).stdout
        return int(json.loads(output)["virtual-size"]) >> 30

    path = tmp_path / "disks" / "a.qcow2"
    qemu_machine.make_disk(path, 1)
    inode = path.stat().st_ino
    qemu_machine.make_disk(path, 2)
    assert (size(), path.stat().st_ino) == (2, inode)
    with pytest.raises(FleetError, match="has 2 GiB and cannot shrink to 1 GiB"):
        qemu_machine.make_disk(path, 1)
    assert size() == 2


def test_stopping_what_is_not_there_does_nothing(tmp_path: Path) -> None:
    qemu_machine.stop(tmp_path / "nodes" / "web-0")


LARGE = """
import socket, threading
memory = b"1" * (1 << 29)
server = socket.create_server(("127.0.0.1", 0))
print(server.getsockname()[1], flush=True)
threading.Thread(target=server.accept).start()
server.accept()
"""


IDENTITY = f"web-0-{os.getpid():08x}"
"""One for each process that runs tests: a machine is stopped by it, wherever it runs."""
NOTE = json.dumps({"id": IDENTITY})


@contextmanager
def machine(folder: Path, *, started: bool, note: str = NOTE) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A process with memory and threads, as QEMU has them, in the place of a node's machine; and a port that it holds.

    Args:
        folder: The node's folder.
        started: It came to write its process id.
        note: What ``node.json`` says.
    """
    folder.mkdir(parents=True)
    (folder / "node.json").write_text(note)
    command = [sys.executable, "-c", LARGE, "-name", IDENTITY, "-netdev", "user,hostfwd=tcp:127.0.0.1:1-:80"]
    with (
        # As a daemon, it works in no folder of its own, but has files open there.
        (folder / "console.log").open("w") as log,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, cwd="/") as process,
    ):
        assert process.stdout
        port = int(process.stdout.readline())
        if started:
            (folder / "qemu.pid").write_text(f"{process.pid}\n")
        try:
            yield process, port
        finally:
            process.kill()


@pytest.mark.system
@pytest.mark.parametrize("started", [True, False], ids=["running", "starting"])
def test_a_machine_that_was_stopped_has_given_its_ports_back(tmp_path: Path, started: bool) -> None:
    folder = tmp_path / "nodes" / "web-0"
    with machine(folder, started=started) as (process, port):
        qemu_machine.stop(folder, IDENTITY)
        qemu_machine.check_start(folder, "web-0", "127.0.0.1", [qemu_machine.Forward(port, 80)])
        assert process.wait(0) != 0
    assert not folder.exists()


@pytest.mark.parametrize(
    ("console", "kernel"),
    [
        (b"\x1b[H\x1b[J\x1b[1;1H", False),
        (b"SeaBIOS (version 1.16.2)\r\nBooting from Hard Disk...\r\nGRUB loading..\r\nWelcome to GRUB!\r\n", False),
        (b"Loading Linux 6.12.88 ...\r\nLoading initial ramdisk ...\r\n", False),
        (b"Booting `Fedora CoreOS 44.20260701.3.0 (ostree:0)'\r\n", False),
        (b"Loading Linux 6.1 ...\r\n[    0.000000] Linux version 6.1.0 (gcc)\r\n", True),
        (b"[   12.012345] virtio_blk virtio1: 2/0/0 default/read/poll queues\r\n", True),
        (b"[\x1b[0;32m  OK  \x1b[0m] Reached target \x1b[0;1;39mBasic System\x1b[0m.\r\n", True),
        (b"\r\nweb-0 login: ", True),
    ],
)
def test_only_what_a_kernel_or_its_programs_write_counts_as_a_kernel(console: bytes, kernel: bool) -> None:
    assert qemu_accelerator.kernel_speaks(console) is kernel


def test_a_wrong_accelerator_in_the_environment_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLEET_QEMU_ACCELERATOR", "xen")
    with pytest.raises(UsageError, match=r"FLEET_QEMU_ACCELERATOR is 'xen'\. It can be auto, kvm or tcg\."):
        qemu_machine.check_accelerator("auto")
    monkeypatch.setenv("FLEET_QEMU_ACCELERATOR", "auto")
    monkeypatch.setenv("FLEET_KVM_WAIT", "soon")
    with pytest.raises(UsageError, match=r"FLEET_KVM_WAIT is 'soon'\. It is a number of seconds\."):
        qemu_machine.check_accelerator("auto")


@pytest.mark.system
@needs_qemu_img
def test_the_accelerator_is_no_part_of_what_re_provisions_a_node(folder: Folder) -> None:
    def triggers(**options: object) -> list[str]:
        platform = Qemu.from_options(options, project=folder.path, stack="local")
        plan = plan_spec(folder.path / "fleet.yaml", Resolver(), platform, need_lock=True)
        return [platform.trigger(node) for node in plan.nodes]

    base = folder.path / "base.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", base, "1G"], check=True)
    assert folder.fleet("image", "lock", "fleet.yaml", "--file", "base.qcow2").status == 0
    assert triggers() == triggers(accelerator="tcg")


@pytest.mark.system
@pytest.mark.parametrize("note", ["", '{"id": "web-0-'], ids=["emptied", "cut off"])
def test_a_machine_is_known_whose_notes_a_full_disk_has_cut_off(tmp_path: Path, note: str) -> None:
    folder = tmp_path / "nodes" / "web-0"
    with machine(folder, started=False, note=note) as (process, _):
        assert qemu_machine.running(folder, IDENTITY)
        (folder / "qemu.pid").write_text("")
        assert qemu_machine.running(folder, IDENTITY)
        assert not qemu_machine.running(folder.with_name("web-1"), IDENTITY)
        # Its ports are the node's own, whatever else is lost.
        qemu_machine.check_start(folder, "web-0", "127.0.0.1", [qemu_machine.Forward(1, 80)])
        qemu_machine.stop(folder, IDENTITY)
        assert process.wait(0) != 0
    assert not folder.exists()


@pytest.mark.system
def test_a_process_that_only_reuses_the_id_is_not_taken_for_the_machine(tmp_path: Path) -> None:
    (tmp_path / "node.json").write_text(NOTE)
    (tmp_path / "qemu.pid").write_text("1\n")
    assert not qemu_machine.running(tmp_path, IDENTITY)


def test_a_tcp_probe_wants_the_node_and_not_only_the_forwarder_to_accept() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        endpoint = server.getsockname()[:2]
        probe = Probe.model_validate({"tcp": {"port": 1}})
        ask(probe, "", lambda port: endpoint)
        with pytest.raises(NotReadyError, match="does not accept"):
            ask(probe, "", lambda port: endpoint, reaches=lambda port: False)


def test_waiting_ends_early_when_the_machine_is_gone() -> None:
    with pytest.raises(NotReadyError, match="no longer running"):
        wait(
            [Probe.model_validate({"tcp": {"port": 1}})],
            "127.0.0.1",
            lambda port: ("127.0.0.1", 1),
            timeout=600,
            alive=lambda: False,
        )


def test_a_data_disk_whose_file_is_away_is_not_begun_anew(folder: Folder) -> None:
    folder.edit("fleet.yaml", "    count: 1\n", "    count: 1\n    data_disks: {site: {size_gib: 1, mount: /var/x}}\n")
    disk = folder.path / "disks" / "web-0-site.qcow2"
    kind = "pulumi-python:dynamic/fleet:QemuDisk"
    urn = f"urn:pulumi:test::web::fleet:components:Node$fleet:components:DataDisk${kind}::web-0-site"
    state = [{"urn": urn, "type": kind, "id": str(disk), "outputs": {"path": str(disk), "size_gib": 1}}]
    platform = Qemu.from_options({"state_dir": "elsewhere"}, project=folder.path, stack="test")
    plan = with_state(plan_spec(folder.path / "fleet.yaml", Resolver(), platform, need_lock=False), state)
    with pytest.raises(UsageError, match=r"web-0-site is not at .*, where it was"):
        platform.check_deployed(plan)
    disk.parent.mkdir()
    disk.touch()
    platform.check_deployed(plan)


@pytest.mark.system
@needs_qemu_img
@pytest.mark.skipif(not shutil.which("qemu-system-x86_64"), reason="QEMU is missing: `fleet doctor` says how to get it")
def test_a_data_disk_is_grown_while_its_node_runs(tmp_path: Path) -> None:
    disk, folder = tmp_path / "disks" / "web-0-site.qcow2", tmp_path / "nodes" / "web-0"
    qemu_machine.make_disk(disk, 1)
    image = tmp_path / "base.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", image, "1M"], check=True)
    machine = qemu_machine.Machine(
        name="web-0",
        ignition="{}",
        base=image,
        memory_mib=64,
        cpus=1,
        root_gib=1,
        bind="127.0.0.1",
        forwards=[],
        disks=[qemu_machine.Attached("site", str(disk))],
    )
    qemu_machine.start(folder, machine, "tcg")
    try:
        qemu_machine.make_disk(disk, 2)
        output = subprocess.run(["qemu-img", "info", "-U", "--output=json", disk], capture_output=True, check=True)
        assert json.loads(output.stdout)["virtual-size"] == 2 << 30
        # Nor is anything of the machine, or of its network, for others.
        own = [*folder.iterdir(), *(tmp_path / "network").iterdir()]
        assert {"console.log", "qmp.sock", "web-0.outward"} <= {path.name for path in own}
        assert [path.name for path in own if path.stat().st_mode & 0o077] == []
    finally:
        os.kill(int((folder / "qemu.pid").read_text()), signal.SIGKILL)
        qemu_machine.stop(folder)


@pytest.mark.system
def test_status_says_that_the_network_was_killed_and_what_starts_it(folder: Folder) -> None:
    folder.make_project("{state_dir: nodes-here}")
    image = folder.write("own.qcow2", "an image")
    assert folder.fleet("image", "lock", "fleet.yaml", "--file", str(image)).status == 0
    (folder.path / "nodes-here/network").mkdir(parents=True)
    result = folder.fleet("status", "fleet.yaml", "--stack", "test", "--json")
    assert "they cannot be reached. `fleet up` starts it again." in result.err
    assert [node["state"] for node in json.loads(result.out)["nodes"]] == ["not made"]
