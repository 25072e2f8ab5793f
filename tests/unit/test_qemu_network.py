"""What carries the frames of machines on this host: whom they reach, who reaches them, and how long it runs."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time
from collections.abc import Iterator
from ipaddress import IPv4Address, ip_network
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fleet.errors import FleetError
from fleet.platforms.qemu import network as qemu_network
from fleet.platforms.qemu.network import Older
from fleet.platforms.qemu.qemu_switch import KINDS, Fence

NODE, GATEWAY, NAMES = "10.0.2.15", "10.0.2.2", "10.0.2.3"
SYN, ACK, RST, FIN = 0x02, 0x10, 0x04, 0x01
TCP, UDP, ICMP = 6, 17, 1


def packet(to: str, kind: int, payload: bytes, *, sender: str = NODE, fragment: int = 0, options: bytes = b"") -> bytes:
    """An Ethernet frame with an IPv4 packet."""
    head = struct.pack(
        "!BBHHHBBH4s4s", 0x45 + len(options) // 4, 0, 20 + len(options) + len(payload), 1, fragment, 64, kind, 0,
        IPv4Address(sender).packed, IPv4Address(to).packed,
    )  # fmt: skip
    return b"\x52\x55\x0a\x00\x02\x02" + b"\x52\x54\x00\x12\x34\x56" + b"\x08\x00" + head + options + payload


def tcp(to: str, port: int, flags: int = SYN, **more: object) -> bytes:
    return packet(to, TCP, struct.pack("!HHIIBBHHH", 40000, port, 1, 1, 0x50, flags, 0, 0, 0), **more)  # type: ignore[arg-type]


def udp(to: str, port: int, sender_port: int = 40000, **more: object) -> bytes:
    return packet(to, UDP, struct.pack("!HHHH", sender_port, port, 8, 0), **more)  # type: ignore[arg-type]


HOSTS = [ip_network(each) for each in ("10.0.2.0/24", "127.0.0.0/8", "0.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3")]
"""Addresses that lead to this host, or to all on its networks."""
special = st.one_of([st.ip_addresses(v=4, network=each) for each in HOSTS]).map(str)
ports = st.integers(0, 65535)
ip_options = st.sampled_from([b"", b"\x01" * 4, b"\x94\x04\x00\x00", b"\x01" * 40])


@given(to=special, port=ports, options=ip_options, flags=st.sampled_from([SYN, SYN | RST, SYN | FIN, SYN | 0xE8]))
@example(to=GATEWAY, port=22, options=b"", flags=SYN)
@example(to=NAMES, port=22, options=b"", flags=SYN)
def test_no_connection_of_a_nodes_to_the_host_begins_but_to_its_name_server(
    to: str, port: int, options: bytes, flags: int
) -> None:
    assert Fence().admits(tcp(to, port, flags, options=options)) is (to == NAMES and port == 53)


@given(to=special, port=ports, sender=ports, options=ip_options)
@example(to=GATEWAY, port=69, sender=1, options=b"")
def test_no_datagram_of_a_nodes_comes_to_the_host_but_for_names_and_addresses(
    to: str, port: int, sender: int, options: bytes
) -> None:
    allowed = (to == NAMES and port == 53) or (to in (GATEWAY, "255.255.255.255") and port == 67)
    assert Fence().admits(udp(to, port, sender, options=options)) is allowed


@given(to=special, kind=st.integers(0, 255), fragment=st.integers(1, 0x3FFF), rest=st.binary(min_size=8))
def test_no_fragment_and_no_other_protocol_comes_to_the_host(to: str, kind: int, fragment: int, rest: bytes) -> None:
    assert not Fence().admits(packet(to, kind, rest, fragment=fragment))
    if kind not in (TCP, UDP, ICMP):
        assert not Fence().admits(packet(to, kind, rest))


@given(frame=st.binary(max_size=60))
@example(frame=b"")
@example(frame=tcp(GATEWAY, 22)[:40])
@example(frame=tcp(GATEWAY, 22)[:14] + b"\x41" + tcp(GATEWAY, 22)[15:])
def test_what_is_no_whole_packet_of_ipv4_and_no_arp_does_not_go_out(frame: bytes) -> None:
    for kind in (b"\x86\xdd", b"\x81\x00", b"\x88\xa8", b"\x08\x00"):
        cut = frame[:12] + kind + frame[14:33]
        assert not Fence().admits(cut)
    if frame[12:14] not in (b"\x08\x00", b"\x08\x06"):
        assert not Fence().admits(frame)


@given(
    to=st.ip_addresses(v=4).filter(lambda address: not any(address in each for each in HOSTS)),
    port=ports,
    fragment=st.integers(0, 0x3FFF),
)
@example(to=IPv4Address("192.168.1.1"), port=443, fragment=0)
def test_the_world_and_the_hosts_other_networks_are_open(to: IPv4Address, port: int, fragment: int) -> None:
    assert Fence().admits(tcp(str(to), port, fragment=fragment))
    assert Fence().admits(udp(str(to), port, fragment=fragment))


def test_arp_and_pings_of_the_gateway_go_out() -> None:
    assert Fence().admits(b"\xff" * 6 + b"\x52\x54\x00\x12\x34\x56" + b"\x08\x06" + bytes(28))
    assert Fence().admits(packet(GATEWAY, ICMP, b"\x08" + bytes(7)))


def test_a_node_answers_what_came_in_over_a_forwarded_port_and_only_that() -> None:
    now = [0.0]
    fence = Fence(lambda: now[0])
    assert fence.admits(tcp(GATEWAY, 51000, SYN | ACK))
    assert fence.admits(tcp(GATEWAY, 51000, ACK))
    question = udp(NODE, 5353, 51000, sender=GATEWAY)
    assert not fence.admits(udp(GATEWAY, 51000, 5353))
    fence.incoming(question)
    assert fence.admits(udp(GATEWAY, 51000, 5353))
    for other in (udp(GATEWAY, 51001, 5353), udp(GATEWAY, 51000, 5354), udp("10.0.2.4", 51000, 5353)):
        assert not fence.admits(other)
    now[0] = 241.0
    assert not fence.admits(udp(GATEWAY, 51000, 5353))


class Machine:
    """Sockets as a machine's QEMU has them.

    Args:
        state: The stack's state folder.
        name: The node's name.
        older: Machines of an earlier fleet that run.
    """

    def __init__(self, state: Path, name: str, older: Older = Older()) -> None:  # noqa: B008
        self.state, self.name = state, name
        (state / "nodes" / name).mkdir(parents=True, exist_ok=True)
        self.sockets = {}
        with qemu_network.joined(state, name, older) as descriptor:
            self._folder = os.dup(descriptor)
            for kind in ("private", "outward", "inward"):
                self.sockets[kind] = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
                self.sockets[kind].bind(f"/proc/self/fd/{descriptor}/{name}.{kind}")

    def send(self, kind: str, frame: bytes) -> None:
        self.sockets[kind].settimeout(20)
        self.sockets[kind].sendto(frame, f"/proc/self/fd/{self._folder}/{kind}")

    def takes(self, kind: str) -> bytes:
        """The next frame that comes."""
        self.sockets[kind].settimeout(20)
        return self.sockets[kind].recv(65536)

    def waits(self, kind: str) -> bytes:
        """A frame that has come, if any."""
        self.sockets[kind].settimeout(0)
        with contextlib.suppress(BlockingIOError):
            return self.sockets[kind].recv(65536)
        return b""

    def end(self) -> None:
        for each in self.sockets.values():
            each.close()
        os.close(self._folder)
        shutil.rmtree(self.state / "nodes" / self.name)
        qemu_network.leave(self.state, self.name)


def ethernet(number: int) -> bytes:
    return b"\x52\x54\x00\x00\x00" + bytes([number])


def frame(to: int | None, sender: int, text: bytes) -> bytes:
    return (b"\xff" * 6 if to is None else ethernet(to)) + ethernet(sender) + b"\x08\x00" + text


def switch_of(state: Path) -> int:
    """The id of the process."""
    return int((state / "network" / "process").read_text().split()[1])


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    # Longer than a socket's address can be.
    folder = tmp_path / ("long" * 40) / "state"
    yield folder
    if (folder / "network").exists():
        shutil.rmtree(folder / "nodes", ignore_errors=True)
        qemu_network.leave(folder, "none")


@pytest.fixture
def three(state: Path) -> list[Machine]:
    return [Machine(state, f"web-{index}") for index in range(3)]


def in_touch(machines: list[Machine], text: bytes) -> None:
    """See that machines, numbered by their place, reach one another: all at once, and singly."""
    for number, each in enumerate(machines):
        each.send("private", frame(None, number, text))
        for other in machines:
            if other is not each:
                assert other.takes("private") == frame(None, number, text)
    for number, each in enumerate(machines):
        to = (number + 1) % len(machines)
        each.send("private", frame(to, number, text))
        assert machines[to].takes("private") == frame(to, number, text)
    assert not any(each.waits("private") for each in machines)


def test_machines_reach_one_another_and_no_third_sees_it(three: list[Machine]) -> None:
    in_touch(three, b"hello")


def test_all_that_the_network_keeps_is_its_owners_alone(state: Path, three: list[Machine]) -> None:
    own = [state / "network", *(state / "network" / name for name in ("log", "process", *KINDS))]
    assert {file.name: oct(file.stat().st_mode & 0o077) for file in own} == {file.name: "0o0" for file in own}


def test_a_machine_that_is_replaced_is_reached_again(state: Path, three: list[Machine]) -> None:
    in_touch(three, b"hello")
    for place in (1, 0, 2):
        three[place].end()
        three[place] = Machine(state, f"web-{place}")
        in_touch(three, b"again")


@pytest.mark.parametrize("by", ["repair", "start"])
def test_a_killed_network_is_repaired_and_machines_that_run_go_on(state: Path, three: list[Machine], by: str) -> None:
    before = switch_of(state)
    assert not qemu_network.repair(state, Older())
    process = os.pidfd_open(before)
    assert not qemu_network.ended(state)
    signal.pidfd_send_signal(process, signal.SIGKILL)
    assert select.select([process], [], [], 20)[0]
    os.close(process)
    assert qemu_network.ended(state)
    if by == "repair":
        assert qemu_network.repair(state, Older())
    else:
        three.append(Machine(state, "web-3"))
    in_touch(three, b"after")
    assert switch_of(state) != before
    assert not qemu_network.ended(state)


def test_a_network_of_another_version_of_fleet_is_replaced(state: Path, three: list[Machine]) -> None:
    noted = state / "network" / "process"
    before = switch_of(state)
    noted.write_text(f"{'0' * 64}\n{before}\n")
    assert qemu_network.repair(state, Older())
    assert switch_of(state) != before
    assert not Path(f"/proc/{before}").exists() or "Z" in Path(f"/proc/{before}/stat").read_text()
    in_touch(three, b"after")


def test_it_ends_with_the_last_machine(state: Path, three: list[Machine]) -> None:
    process = os.pidfd_open(switch_of(state))
    for each in three[:2]:
        each.end()
    signal.pidfd_send_signal(process, 0)
    three[2].end()
    assert select.select([process], [], [], 20)[0]
    os.close(process)
    assert not (state / "network").exists()


def test_nothing_is_repaired_where_nothing_runs(state: Path) -> None:
    state.mkdir(parents=True)
    assert not qemu_network.repair(state, Older())
    assert not qemu_network.ended(state)
    assert not list(state.iterdir())


def test_a_machine_that_takes_nothing_holds_up_no_other(three: list[Machine]) -> None:
    in_touch(three, b"hello")
    for number in range(2000):
        three[0].send("private", frame(1, 0, b"%d" % number))
    three[0].send("private", frame(2, 0, b"through"))
    assert three[2].takes("private") == frame(2, 0, b"through")
    # What it takes when it goes on is in order, from the first.
    assert [three[1].takes("private")[14:] for _ in range(200)] == [b"%d" % number for number in range(200)]


def test_what_goes_out_passes_the_fence_and_what_comes_in_is_the_nodes(three: list[Machine]) -> None:
    one, other, _ = three
    for refused in (tcp(GATEWAY, 22), tcp("127.0.0.1", 22), udp(GATEWAY, 51000, 5353)):
        one.send("outward", refused)
    one.send("outward", tcp("192.0.2.1", 443))
    assert one.takes("inward") == tcp("192.0.2.1", 443)
    question = udp(NODE, 5353, 51000, sender=GATEWAY)
    one.send("inward", question)
    assert one.takes("outward") == question
    other.send("outward", udp(GATEWAY, 51000, 5353))
    other.send("outward", udp("192.0.2.1", 51000, 5353))
    one.send("outward", udp(GATEWAY, 51000, 5353))
    assert one.takes("inward") == udp(GATEWAY, 51000, 5353)
    assert other.takes("inward") == udp("192.0.2.1", 51000, 5353)
    for each in three:
        assert not any(each.waits(kind) for kind in each.sockets)


_INTRUDE = """
import os, socket, sys
folder = sys.argv[1]
for name in ("private", "outward", "inward", "web-0.private", "web-0.inward", "log", "process"):
    try:
        if name in ("log", "process"):
            open(f"{folder}/{name}")
        else:
            os.chdir(folder)
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).connect(name)
        print("in:", name)
    except PermissionError:
        pass
try:
    print(os.listdir(folder))
except PermissionError:
    pass
"""


def other_user(*arguments: str) -> str:
    """What a program says that nobody runs."""
    result = subprocess.run(
        ["/usr/bin/python3", "-c", *arguments], user=65534, group=65534, extra_groups=[], capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.fixture
def open_state() -> Iterator[Path]:
    """A state folder that everybody may enter."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        yield Path(folder)
        if (Path(folder) / "network").exists():
            shutil.rmtree(Path(folder) / "nodes", ignore_errors=True)
            qemu_network.leave(Path(folder), "none")


as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can try what another user can do")


@as_root
def test_no_other_user_can_read_or_write_what_machines_send(open_state: Path) -> None:
    old = os.umask(0)
    try:
        Machine(open_state, "web-0")
    finally:
        os.umask(old)
    assert other_user(_INTRUDE, str(open_state / "network")) == ""


@as_root
def test_a_network_folder_of_another_user_is_refused(open_state: Path) -> None:
    other_user("import os, sys; os.mkdir(sys.argv[1] + '/network')", str(open_state))
    with pytest.raises(FleetError, match="belongs to another user"):
        Machine(open_state, "web-0")
    (open_state / "network").rmdir()


GROUP = ("239.77.88.99", 23456)


@pytest.fixture
def older_machine() -> Iterator[socket.socket]:
    """A socket as QEMU's of an earlier fleet, and of every other local user who wants to."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as each:
        each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        each.bind(GROUP)
        loopback = socket.inet_aton("127.0.0.1")
        each.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(GROUP[0]) + loopback)
        each.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, loopback)
        each.settimeout(20)
        yield each


def on_internet(state: Path) -> list[str]:
    """The sockets of the process that are no Unix ones."""
    process = switch_of(state)
    kinds = {str(each.readlink()) for each in Path(f"/proc/{process}/fd").iterdir()}
    inodes = {kind[8:-1] for kind in kinds if kind.startswith("socket:")}
    assert inodes
    tables = [Path(f"/proc/net/{table}").read_text() for table in ("tcp", "udp", "tcp6", "udp6", "raw", "packet")]
    return [line for table in tables for line in table.splitlines()[1:] if inodes & set(line.split())]


def test_old_and_new_machines_reach_one_another_until_the_last_old_one_has_ended(
    state: Path, older_machine: socket.socket
) -> None:
    with subprocess.Popen(["sleep", "30"]) as first, subprocess.Popen(["sleep", "30"]) as last:
        older = Older(f"{GROUP[0]}:{GROUP[1]}", [first.pid, last.pid])
        new = [Machine(state, f"web-{index}", older) for index in range(2)]
        first.kill()
        first.wait()
        for number, each in enumerate(new):
            older_machine.sendto(frame(None, 9, b"who is there"), GROUP)
            for every in new:
                assert every.takes("private") == frame(None, 9, b"who is there")
            each.send("private", frame(9, number, b"me"))
            # On loopback everybody hears himself, too.
            assert frame(9, number, b"me") in (older_machine.recv(2048), older_machine.recv(2048))
        older_machine.sendto(frame(1, 9, b"you"), GROUP)
        assert new[1].takes("private") == frame(1, 9, b"you")
        assert not new[0].waits("private")
        # What is between new machines only is not for others to see.
        new[0].send("private", frame(1, 0, b"ours"))
        assert new[1].takes("private") == frame(1, 0, b"ours")
        assert on_internet(state)
        last.kill()
    for _ in range(2000):
        if not on_internet(state):
            break
        time.sleep(0.01)
    in_touch(new, b"to all")
    older_machine.settimeout(0)
    seen = []
    with contextlib.suppress(BlockingIOError):
        while True:
            seen.append(older_machine.recv(2048))
    assert frame(None, 1, b"to all") not in seen
    older_machine.sendto(frame(None, 9, b"let me in"), GROUP)
    in_touch(new, b"still")


def test_without_old_machines_nothing_is_on_the_loopback_interface(three: list[Machine]) -> None:
    in_touch(three, b"hello")
    assert not on_internet(three[0].state)
