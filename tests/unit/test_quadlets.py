"""Quadlet files of the user's own: what nodes get of them, what is refused, and that Podman takes what is not."""

from __future__ import annotations

import json
import re
import shutil
import warnings
from pathlib import Path
from typing import Any

import pytest
import yaml

from fleet import platforms
from fleet.errors import FleetError, FleetWarning
from fleet.images import ImageLock, write_lock
from fleet.ops.topology import read_topology
from fleet.plan import Disk, FleetPlan, LockedImage
from fleet.planner import plan_spec
from fleet.spec import Resolver
from fleet.spec.loader import load_references
from fleet.workloads.quadlet_keys import KEYS
from fleet.workloads.quadlet_units import SUFFIXES
from tests.conftest import Folder, file_text
from tests.judge import Judge

CADDY = """\
[Container]
Image=docker.io/library/caddy:2
PublishPort=8080:80
[Service]
Restart=always
[Install]
WantedBy=multi-user.target
"""
WHOLE = {
    "app.container": "[Container]\nImage=docker.io/library/caddy:2\n",
    "app.pod": "[Pod]\nPodName=app-pod\n",
    "app.kube": "[Kube]\nYaml=app.yaml\n",
    "app.network": "[Network]\n",
    "app.volume": "[Volume]\n",
    "app.image": "[Image]\nImage=docker.io/library/caddy:2\n",
    "app.build": "[Build]\nImageTag=localhost/app\nSetWorkingDirectory=https://example.org/app.git\n",
}
"""A file of each kind that says what it must."""


class Loose(Folder):
    """A folder with Quadlet files."""

    def spec(self, quadlets: list[Any], **group: Any) -> None:
        head: dict[str, Any] = {key: group.pop(key) for key in ("secrets", "variables") if key in group}
        spec: dict[str, Any] = {"version": 1, "name": "web", **head, "groups": {"web": {"quadlets": quadlets, **group}}}
        self.write("fleet.yaml", yaml.safe_dump(spec))

    def plan(self, *, platform: str = "qemu", reveal: bool = True) -> FleetPlan:
        where = platforms.platform(platform, {}, project=self.path, stack="test")
        return plan_spec(self.path / "fleet.yaml", Resolver(reveal=reveal), where, need_lock=False)

    def tree(self) -> dict[str, Any]:
        node = next(iter(self.plan().nodes))
        return dict(json.loads(node.config.ignition))

    def error(self, quadlets: list[Any], **group: Any) -> str:
        self.spec(quadlets, **group)
        with pytest.raises(FleetError) as caught:
            self.plan()
        return str(caught.value).replace(f"{self.path}/", "")


@pytest.fixture
def loose(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> Loose:
    monkeypatch.chdir(folder.path)
    files = Loose(folder.path, folder.environment)
    files.write("caddy.container", CADDY)
    return files


def paths(tree: dict[str, Any]) -> dict[str, int]:
    """The files below the folder of Quadlet files, with their modes."""
    folder = "/etc/containers/systemd/"
    return {
        each["path"].removeprefix(folder): each["mode"]
        for each in tree["storage"]["files"]
        if each["path"].startswith(folder)
    }


def told(tree: dict[str, Any]) -> list[str]:
    """What the node's report tells of."""
    return file_text(tree, "/etc/fleet/report.units").splitlines()


@pytest.mark.parametrize("kind", SUFFIXES)
def test_a_file_of_each_kind_reaches_the_node_as_it_is(loose: Loose, kind: str) -> None:
    text = f"# as it is \n{WHOLE[f'app.{kind}']}\n;end"
    loose.write(f"loose/app.{kind}", text)
    loose.write("loose/app.yaml", "kind: Pod\n")
    loose.spec([f"loose/app.{kind}"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FleetWarning)
        tree = loose.tree()
    assert file_text(tree, f"/etc/containers/systemd/app.{kind}") == text
    assert f" app{SUFFIXES[kind]}.service " in "\n".join(told(tree))


def test_all_files_of_a_folder_are_taken_with_their_drop_ins_and_what_they_name(loose: Loose) -> None:
    for name, text in WHOLE.items():
        loose.write(f"loose/{name}", text)
    loose.write("loose/app.yaml", "kind: Pod\n")
    loose.write("loose/README.md", "no Quadlet file")
    loose.write("loose/other.env", "A=1\n")
    loose.write("loose/conf/b", "b")
    loose.write("loose/app.container.d/20.conf", "[Container]\nEnvironmentFile=other.env\nVolume=./conf:/etc/conf:ro\n")
    loose.write("loose/app.container.d/10.conf", "[Install]\nWantedBy=multi-user.target\n")
    loose.edit("loose/app.kube", "[Kube]", "[Unit]\nRequires=app-pod.service\n[Kube]\nServiceName=play")
    loose.edit("loose/app.pod", "PodName", "ServiceName=pods\nPodName")
    loose.spec(["loose"])
    with pytest.warns(FleetWarning, match=r"Nothing starts app\.(pod|kube)"):
        tree = loose.tree()
    assert paths(tree) == {
        **dict.fromkeys(WHOLE, 0o644), "app.container.d/10.conf": 0o644, "app.container.d/20.conf": 0o644,
        "app.yaml": 0o644, "other.env": 0o600, "conf/b": 0o644,
    }  # fmt: skip


def test_ports_are_open_as_those_of_containers_are(loose: Loose) -> None:
    loose.edit(
        "caddy.container", "PublishPort=8080:80",
        "PublishPort=8080:80\nPublishPort=9000-9002:9000-9002/udp\nPublishPort=127.0.0.1:5000:5000\nPublishPort=[::]:81:81"
        "\nPublishPort=90\nPublishPort=192.0.2.1::91\nPublishPort=${PORT}:92",
    )  # fmt: skip
    loose.spec(["caddy.container"], ready=[{"http": {"port": 8080}}])
    (node,) = loose.plan().nodes
    open_ports = {(port.number, port.protocol) for port in node.ports} - {(22, "tcp"), (7790, "tcp")}
    assert open_ports == {(8080, "tcp"), (81, "tcp"), *((port, "udp") for port in (9000, 9001, 9002))}


@pytest.mark.parametrize(
    ("own", "error"),
    [
        ({"containers": {"caddy": {"image": "docker.io/library/a:1"}}}, "would both be the service caddy.service"),
        (
            {"containers": {"a": {"image": "docker.io/library/a:1", "ports": ["8080:1"]}}},
            "the container a and caddy.container both publish port 8080/tcp of the node. Choose another for one.",
        ),
        ({"ports": [7790]}, "7790"),
        ({"engine": "docker"}, "caddy.container is Podman's, but the group's engine is docker. Take podman."),
        ({"quadlets": ["caddy.container", "caddy.container"]}, "would both be the service caddy.service"),
    ],
)
def test_conflicts_with_the_group_are_found(loose: Loose, own: dict[str, Any], error: str) -> None:
    assert error in loose.error(own.pop("quadlets", ["caddy.container"]), **own)


@pytest.mark.parametrize(
    ("name", "text", "error"),
    [
        ("b.container", CADDY, "caddy.container and b.container both publish port 8080/tcp"),
        ("caddy.kube", "[Kube]\nYaml=/a.yaml\n", "would both be the service caddy.service"),
        ("b.network", "[Network]\nServiceName=caddy\n", "would both be the service caddy.service"),
        ("b.pod", "[Pod]\nPodName=systemd-caddy\n", "are both called systemd-caddy, in one list of Podman's"),
    ],
)
def test_conflicts_between_files_are_found(loose: Loose, name: str, text: str, error: str) -> None:
    loose.write(name, text)
    said = loose.error(["caddy.container", name])
    assert error in said
    assert said.startswith("fleet.yaml:")


@pytest.mark.parametrize(
    ("unit", "error"),
    [
        ("name: caddy.service, contents: \"[Service]\\nExecStart=/bin/true\\n\"", "is a unit of a snippet, too"),
        (None, "/etc/containers/systemd/caddy.container"),
    ],
)  # fmt: skip
def test_conflicts_with_snippets_are_found(loose: Loose, unit: str | None, error: str) -> None:
    body = f"systemd: {{units: [{{{unit}}}]}}" if unit else (
        "storage: {files: [{path: /etc/containers/systemd/caddy.container, contents: {inline: a}}]}"
    )  # fmt: skip
    loose.write("a.bu", f"variant: fcos\nversion: 1.6.0\n{body}\n")
    assert error in loose.error(["caddy.container"], snippets=["a.bu"])


@pytest.mark.parametrize(
    ("name", "text", "error"),
    [
        ("a.container", "Image=a\n", "a.container:1: `Image` stands before the first section"),
        ("a.container", "[Container]\nImage\n", "a.container:2: `Image` is no line of a unit file"),
        ("a.container", "[Container]\n", "a.container: a.container has no `Image=` in [Container]"),
        ("a.container", "[Container]\nImage=docker.io/a/b:1\nImgae=x\n", "a.container:3: Podman knows no key Imgae"),
        ("a.container", "[Contianer]\nImage=docker.io/a/b:1\n", "has a section [Contianer], which a .container file"),
        ("a.container", "[Container]\nImage=caddy\n", "name the registry too, as in docker.io/library/caddy"),
        ("a.container", "[Container]\nImage=docker.io/a/b:1\n[Service]\nUser=app\n", "Podman allows no User"),
        ("a.container", "[Container]\nImage=docker.io/a/b:1\n[Service]\nType=simple\n", "`Type=simple` is none"),
        ("a.container", "[Container]\nImage=docker.io/a/b:1\n[Service]\nKillMode=none\n", "`KillMode=none` is none"),
        ("a.container", "[Container]\nImage=docker.io/a/b:1\nRootfs=/a\n", "has both `Image=` and `Rootfs=`"),
        ("a.container", "[Container]\nImage=docker.io/a/b:1\nNetwork=n.network\n", "names n.network, which the group"),
        ("a.container", "[Container]\nImage=docker.io/a/b:1\nVolume=./d:/d\n", "which is not there"),
        ("a.container", "[Container]\nImage=docker.io/a/b:1\nVolume=./sub:/d\n", "would go with the node"),
        ("a.container", "[Container]\nImage=docker.io/a/b:1\nVolume=../x:/d\n", "leads out of the folder"),
        ("a.container", "[Container]\nImage=docker.io/a/b:1\nEnvironmentFile=a.env\n", "`EnvironmentFile=a.env` names"),
        ("a.container", "[Container]\nImage=docker.io/a/b:1\nMount=type=bind,src=./a,dst=/a\n", "names a path beside"),
        ("a.container", "[Container]\nImage=docker.io/a/b:1\nSecret=db\n", "uses the secret db of Podman, which the"),
        (
            "a.container",
            "[Container]\nImage=docker.io/a/b:1\nPublishPort=22:22\n",
            "port 22 of the node, which is SSH's",
        ),
        ("a.container", "[Container]\nImage=docker.io/a/b:1\nPublishPort=7790:1\n", "where the node's report is"),
        ("sshd.container", "[Container]\nImage=docker.io/a/b:1\n", "would replace sshd.service"),
        ("a.kube", "[Kube]\n", "a.kube has no `Yaml=`"),
        ("a.kube", "[Kube]\nYaml=pod.yaml\n", "`Yaml=pod.yaml` names pod.yaml, which is not there"),
        (
            "a.build",
            "[Build]\nImageTag=localhost/a\nFile=./Containerfile\n",
            "Take a `builds: {NAME: {context: FOLDER}}`",
        ),
        ("a.image", "[Image]\n", "a.image has no `Image=`"),
        ("a.service", "[Service]\n", "is no Quadlet file: one is called NAME.container"),
        ("a@.container", "[Container]\nImage=docker.io/a/b:1\n", "is a template, of which nothing is started"),
    ],
)
def test_what_podman_would_not_take_or_the_node_not_have_is_refused(
    loose: Loose, name: str, text: str, error: str
) -> None:
    loose.write("sub/file", "a")
    loose.write(name, text)
    assert error in loose.error([name])


@pytest.mark.parametrize("kind", ["container", "pod", "kube"])
@pytest.mark.parametrize(
    ("ports", "error"),
    [
        ("0:80", "a port is a number from 1 to 65535"),
        ("65536:80", "a port is a number"),
        ("80:65536/udp", "a port is a number"),
        ("127.0.0.1:1-99999999999:1-99999999999", "a port is a number"),
        (f"{'9' * 6000}:80", "a port is a number"),
        ("8081-8080:81-80", "a range ends at a higher port"),
        ("8080-8082:80", "the range of the node has another length than the container's"),
        ("[::1]:8080-8082:80-81", "the range of the node has another length"),
    ],
)
def test_ports_that_podman_would_not_publish_are_refused_at_their_place(
    loose: Loose, kind: str, ports: str, error: str
) -> None:
    text = WHOLE[f"app.{kind}"]
    loose.write("app.yaml", "kind: Pod\n")
    loose.write(f"app.{kind}", f"{text}PublishPort={ports}\n")
    said = loose.error([f"app.{kind}"])
    assert said.startswith(f"app.{kind}:{text.count(chr(10)) + 1}: `PublishPort={ports}`: {error}")


@pytest.mark.parametrize(
    ("quadlet", "error"),
    [
        ("nothing.container", "There is no Quadlet file nothing.container. Paths are relative to the spec."),
        ("*.container", "There is no Quadlet file *.container. Name the folder, or each file."),
        ("empty", "There is no Quadlet file in the folder empty."),
        ("wide", "has drop-ins for several Quadlet files"),
        ("../up.container", "outside of the project's folder"),
        ({"path": "data.volume", "run_as": "nobody"}, "runs as nobody, who is not among `users`"),
        ({"path": "caddy.container", "variables": ["a"]}, "is given the variable a, which the spec does not define"),
    ],
)
def test_a_reference_that_leads_nowhere_is_refused_at_its_place(loose: Loose, quadlet: Any, error: str) -> None:
    loose.write("data.volume", "[Volume]\n")
    loose.write("empty/README", "")
    loose.write("wide/container.d/a.conf", "")
    said = loose.error([quadlet])
    assert error in said
    assert said.startswith("fleet.yaml:")


VALUES = ["plain", "a b", "a \"b\" 'c'", "a\\b", "$x ${y} $$", "%h %%", "a\nb", "é\t", "#;=[", "\\"]


@pytest.mark.parametrize("value", VALUES)
def test_a_variable_arrives_character_for_character(loose: Loose, judge: Judge, value: str) -> None:
    text = CADDY.replace("PublishPort", 'Environment="A=<${a}>" B=\\\n  x\nExec=echo "${a}"\nPublishPort')
    text = f"[Unit]\nDescription=$${{a}} of # ${{HOME\n# ${{nothing}}\n{text}"
    loose.write("caddy.container", text)
    loose.spec([{"path": "caddy.container", "variables": ["a"]}], variables={"a": {"value": value}})
    filled = file_text(loose.tree(), "/etc/containers/systemd/caddy.container")
    words = judge.words(judge.generate({"caddy.container": filled})["caddy.service"])
    assert f"A=<{value}>" in words
    assert words[-1] == value
    assert filled.startswith("[Unit]\nDescription=${a} of # ${HOME\n# ${nothing}\n")


@pytest.mark.parametrize("value", VALUES)
def test_a_variable_never_breaks_out_of_a_word_that_has_no_quotes(loose: Loose, value: str) -> None:
    loose.write("caddy.container", CADDY.replace("PublishPort", "Environment=A=${a} B=1\nPublishPort"))
    quadlet = {"path": "caddy.container", "variables": ["a"]}
    loose.spec([quadlet], variables={"a": {"value": value}})
    if value in ("plain", "#;=["):
        assert f"Environment=A={value} B=1" in file_text(loose.tree(), "/etc/containers/systemd/caddy.container")
    else:
        said = loose.error([quadlet], variables={"a": {"value": value}})
        assert said.startswith("caddy.container:3:15: The value of a ")
        assert 'Environment="NAME=${a}"' in said


def test_a_secret_closes_the_file_and_is_shown_nowhere(loose: Loose, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("T", "kestrel81")
    loose.write("caddy.container", CADDY.replace("PublishPort", 'Environment="A=${t}"\nPublishPort'))
    whole: dict[str, Any] = {"secrets": {"t": {"env": "T"}}, "variables": {"t": {"secret": "t"}}}
    quadlet = {"path": "caddy.container", "variables": ["t"]}
    loose.spec([quadlet], **whole)
    (node,) = loose.plan().nodes
    assert node.secret
    assert "kestrel81" in node.config.ignition
    assert "kestrel81" not in node.shown
    assert "caddy.container" in node.shown
    assert paths(loose.tree()) == {"caddy.container": 0o600}
    loose.write("caddy.container", CADDY.replace("8080:80", "${t}:80"))
    monkeypatch.setenv("T", "8080")
    said = loose.error([quadlet], **whole)
    assert said.startswith("caddy.container:3: A variable that is a secret fills `PublishPort`")
    assert "8080" not in said
    with pytest.raises(FleetError, match="A variable that is a secret fills `PublishPort`"):
        loose.plan(reveal=False)
    # Where it needs no quotes, what stands for it in what is shown needs none either.
    loose.write("caddy.container", CADDY.replace("PublishPort", "Environment=A=${t}\nPublishPort"))
    (node,) = loose.plan().nodes
    assert "A=(secret%20t)" in node.shown
    loose.plan(reveal=False)


def test_podman_has_the_secrets_that_files_name(loose: Loose, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DB", "pw")
    for name, target in (("caddy", "multi-user"), ("mine", "default")):
        text = CADDY.replace("PublishPort=8080", f"Secret=db,type=env\nPublishPort={len(name)}080")
        loose.write(f"{name}.container", text.replace("multi-user", target))
    loose.spec(
        ["caddy.container", {"path": "mine.container", "run_as": "app"}],
        users={"app": {"uid": 1001}}, secrets={"db": {"env": "DB"}},
    )  # fmt: skip
    tree = loose.tree()
    assert file_text(tree, "/etc/fleet/secrets/db") == file_text(tree, "/etc/fleet/user-secrets/1001/db") == "pw"
    for place in ("", "users/1001/"):
        name = "mine" if place else "caddy"
        drop_in = file_text(tree, f"/etc/containers/systemd/{place}{name}.container.d/50-fleet.conf")
        assert drop_in == "[Unit]\nRequires=fleet-secrets.service\nAfter=fleet-secrets.service\n"
    assert "fleet-secrets.service" in {unit["name"] for unit in tree["systemd"]["units"]}


def test_what_is_kept_here_goes_to_no_node_with_a_folder(loose: Loose) -> None:
    for name in ("a", "secret", "Pulumi.prod.yaml", ".fleet/a"):
        loose.write(f"conf/{name}", "a")
    loose.edit("caddy.container", "PublishPort", "Volume=./conf:/etc/conf:ro\nPublishPort")
    loose.spec(["caddy.container"], secrets={"db": {"file": "conf/secret"}})
    assert paths(loose.tree()).keys() == {"caddy.container", "conf/a"}


def test_what_nothing_starts_is_said_once_and_what_something_starts_is_not(loose: Loose) -> None:
    idle = CADDY.partition("[Install]")[0]
    loose.write("caddy.container", idle)
    loose.spec(["caddy.container"])
    with pytest.warns(FleetWarning, match="Nothing starts caddy.container, which has no `.Install.` section") as noted:
        tree = loose.tree()
    assert len({str(each.message) for each in noted}) == 1
    assert "container caddy.service systemd-caddy - 0 on-demand -" in told(tree)
    loose.write(
        "a.bu",
        "variant: fcos\nversion: 1.6.0\nsystemd: {units: [{name: caddy.timer, enabled: true, "
        'contents: "[Timer]\\nOnCalendar=daily\\n[Install]\\nWantedBy=timers.target\\n"}]}\n',
    )
    loose.write("web.pod", "[Pod]\nPublishPort=8080:80\n[Install]\nWantedBy=multi-user.target\n")
    loose.write("b.container", idle.replace("PublishPort=8080:80", "Pod=web.pod"))
    loose.spec(["caddy.container", "web.pod", "b.container"], snippets=["a.bu"])
    loose.edit("caddy.container", "PublishPort=8080:80\n", "")
    with warnings.catch_warnings():
        warnings.simplefilter("error", FleetWarning)
        tree = loose.tree()
    assert {line.split()[1]: line.split()[5] for line in told(tree)} == {
        "caddy.service": "on-demand", "web-pod.service": "running", "b.service": "running",
    }  # fmt: skip


def test_digests_of_the_lock_pin_images_beside_the_file(folder: Folder) -> None:
    digest = f"sha256:{'a' * 64}"
    folder.write("caddy.container", CADDY)
    folder.write("fleet.yaml", "version: 1\nname: web\ngroups: {web: {quadlets: [caddy.container]}}\n")
    lock = yaml.safe_load((Path(__file__).parent / "frozen/v1/pinned/image.lock.yaml").read_text())
    lock["containers"] = {"docker.io/library/caddy:2": digest}
    folder.write("image.lock.yaml", yaml.safe_dump(lock))
    shown = folder.fleet("render", "fleet.yaml", "--node", "web-0")
    assert shown.status == 0, shown.err
    tree = json.loads(shown.out)
    assert file_text(tree, "/etc/containers/systemd/caddy.container") == CADDY
    pinned = f"[Container]\nImage=docker.io/library/caddy:2@{digest}\n"
    assert file_text(tree, "/etc/containers/systemd/caddy.container.d/50-fleet.conf") == pinned
    folder.edit("caddy.container", "caddy:2", "caddy:3")
    refused = folder.fleet("render", "fleet.yaml", "--node", "web-0")
    assert "none of docker.io/library/caddy:3. Add it with `fleet image pin SPEC`." in " ".join(refused.err.split())


def test_pictures_have_them_with_their_ports_networks_and_volumes(loose: Loose) -> None:
    loose.write("web.pod", "[Pod]\nNetwork=web.network\nPublishPort=8081:81\n[Install]\nWantedBy=multi-user.target\n")
    loose.write("web.network", "[Network]\nSubnet=10.9.0.0/24\n")
    loose.write("data.volume", "[Volume]\n")
    loose.write("in.container", CADDY.replace("PublishPort=8080:80", "Pod=web.pod\nVolume=/var/data/in:/in"))
    loose.edit("caddy.container", "PublishPort", "Network=own.network\nVolume=data.volume:/data\nPublishPort")
    loose.spec(
        ["caddy.container", "in.container", "web.pod", "web.network", "data.volume"],
        networks={"own": {}}, data_disks={"data": {"size_gib": 1, "mount": "/var/data"}},
    )  # fmt: skip
    (group,) = read_topology(loose.path / "fleet.yaml").groups
    caddy, inner = group.containers
    assert (caddy.name, caddy.image, caddy.networks) == ("caddy", "docker.io/library/caddy:2", ("own",))
    assert (inner.pod, inner.disks) == ("web", ("data",))
    assert [(each.name, each.members) for each in group.networks] == [("own", (caddy.name,)), ("web", ("web",))]
    assert [(pod.name, pod.containers) for pod in group.pods] == [("web", (inner.name,))]
    assert group.volumes == ("data",)
    uses = {port.number: (port.use, port.name) for port in group.ports}
    assert (uses[8080], uses[8081]) == (("container", caddy.name), ("pod", "web"))


def test_files_wait_for_the_data_disk_that_they_are_on(loose: Loose) -> None:
    loose.edit("caddy.container", "PublishPort", "Volume=/var/data/caddy:/data\nPublishPort")
    disks = {"data": {"size_gib": 1, "mount": "/var/data"}, "store": {"size_gib": 1, "mount": "/var/lib/containers"}}
    loose.spec(["caddy.container"], data_disks=disks)
    tree = loose.tree()
    drop_in = file_text(tree, "/etc/containers/systemd/caddy.container.d/50-fleet.conf")
    assert drop_in == "[Unit]\nRequiresMountsFor=/var/lib/containers\n"
    mounts = {unit["name"]: unit["contents"] for unit in tree["systemd"]["units"] if unit["name"].endswith(".mount")}
    assert all("Wants=caddy.service" in text for text in mounts.values())
    assert len(mounts) == 2


def test_podmans_own_generator_takes_them_and_systemd_finds_nothing_wrong(
    loose: Loose, judge: Judge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DB", "pw")
    lines = (
        "Network=web.network", "Network=own.network", "Volume=data.volume:/data", "Volume=./conf:/etc/conf:ro",
        "Secret=db", "EnvironmentFile=a.env", "PublishPort",
    )  # fmt: skip
    loose.write("loose/caddy.container", CADDY.replace("PublishPort", "\n".join(lines)))
    loose.write("loose/caddy.container.d/10.conf", "[Container]\nHostName=inside\n")
    loose.write("loose/conf/b", "b")
    loose.write("loose/a.env", "A=1\n")
    loose.write("loose/web.network", "[Network]\n")
    loose.write("loose/data.volume", "[Volume]\n")
    loose.write("loose/pod.kube", "[Kube]\nYaml=pod.yaml\n[Install]\nWantedBy=multi-user.target\n")
    loose.write("loose/pod.yaml", "kind: Pod\n")
    loose.spec(
        ["loose"], networks={"own": {}}, secrets={"db": {"env": "DB"}},
        data_disks={"store": {"size_gib": 1, "mount": "/var/lib/containers"}},
    )  # fmt: skip
    (node,) = loose.plan().nodes
    judge.apply(node.config.ignition)
    services = judge.services()
    assert services.keys() == {
        "caddy.service", "web-network.service", "own-network.service", "data-volume.service", "pod.service",
    }  # fmt: skip
    caddy = services["caddy.service"]
    words = judge.words(caddy)
    assert "inside" in words
    assert "/etc/containers/systemd/conf:/etc/conf:ro" in words
    assert "/etc/containers/systemd/a.env" in words
    assert re.search("^RequiresMountsFor=/var/lib/containers$", caddy, re.MULTILINE)
    assert re.search("^After=fleet-secrets.service$", caddy, re.MULTILINE)
    assert judge.content("/etc/containers/systemd/conf/b") == b"b"
    assert not [line for line in judge.verify(services).splitlines() if "caddy" in line]


def test_podmans_own_generator_takes_those_of_a_user(
    loose: Loose, judge: Judge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DB", "pw")
    text = CADDY.replace("multi-user", "default").replace(
        "PublishPort", "EnvironmentFile=a.env\nSecret=db\nPublishPort"
    )
    loose.write("caddy.container", text)
    loose.write("a.env", "A=1\n")
    loose.spec(
        [{"path": "caddy.container", "run_as": "app"}], users={"app": {"uid": 1001}}, secrets={"db": {"env": "DB"}}
    )
    (node,) = loose.plan().nodes
    judge.apply(node.config.ignition)
    folder = "/etc/containers/systemd/users/1001"
    caddy = judge.services(folder, user=True)["caddy.service"]
    assert f"{folder}/a.env" in judge.words(caddy)
    assert re.search("^After=fleet-secrets.service$", caddy, re.MULTILINE)
    assert judge.owner(f"{folder}/a.env") == 1001


NEWER = {
    "Container": {"AppArmor", "HttpProxy", "Memory", "ReloadCmd", "ReloadSignal", "Retry", "RetryDelay"},
    "Pod": {"ExitPolicy", "HostName", "Label", "StopTimeout"},
    "Network": {"InterfaceName", "NetworkDeleteOnStop"},
    "Image": {"Policy", "Retry", "RetryDelay"},
    "Build": {"BuildArg", "IgnoreFile", "Retry", "RetryDelay"},
}
"""Keys that came after the Podman that judges here."""


@pytest.mark.parametrize("section", sorted(KEYS.keys() - {"Quadlet"}))
def test_podman_knows_the_keys_that_are_taken(loose: Loose, judge: Judge, section: str) -> None:
    keys = sorted({*KEYS[section] - NEWER.get(section, set()), "NoSuchKey"})
    folder = judge.changes / "quadlet"
    folder.mkdir(exist_ok=True)
    for key in keys:
        (folder / f"{key}.{section.lower()}").write_text(f"{WHOLE[f'app.{section.lower()}']}{key}=\n")
    result = judge.run("/usr/libexec/podman/quadlet", "-dryrun", QUADLET_UNIT_DIRS="/quadlet")
    shutil.rmtree(folder)
    assert re.findall("unsupported key '([^']*)'", result.stderr.decode()) == ["NoSuchKey"]


KUBE = """\
kind: Deployment
spec:
  template:
    spec:
      initContainers: [{name: a, image: "docker.io/library/busybox:1"}]
      containers:
        - {name: b, image: docker.io/library/redis@sha256:%s}
        - {name: c, image: localhost/own}
---
kind: Pod
spec: {containers: [{name: d, image: "quay.io/x/y:3"}]}
"""


def test_images_in_the_yaml_of_a_kube_file_that_the_lock_cannot_pin_are_a_warning(loose: Loose) -> None:
    loose.write("app.kube", "[Kube]\nYaml=app.yaml\n[Install]\nWantedBy=multi-user.target\n")
    loose.write("app.yaml", KUBE % ("ab" * 32))
    loose.spec(["app.kube"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loose.plan()  # Nothing is pinned here.
    disk = Disk(location="https://example.org/x", sha256="0" * 64, uncompressed_sha256="0" * 64)
    image = LockedImage(release="44.1", ignition_spec="3.5.0", disks={"qemu": disk})
    pins = {"docker.io/library/caddy:2": "sha256:" + "cd" * 32}
    write_lock(
        loose.path / "image.lock.yaml",
        ImageLock(stream="stable", architectures={"x86_64": image}, containers=pins),
    )
    with pytest.warns(FleetWarning, match=r"YAML of app\.kube: docker\.io/library/busybox:1, quay\.io/x/y:3\. Write"):
        loose.plan()
    loose.write("app.yaml", "kind: [")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loose.plan()


def test_what_a_spec_pulls_has_the_images_of_kube_files(loose: Loose) -> None:
    loose.write("app.kube", "[Kube]\nYaml=app.yaml\n")
    loose.write("app.yaml", KUBE % ("ab" * 32))
    loose.spec(["app.kube"])
    assert {"quay.io/x/y:3", "docker.io/library/busybox:1"} <= load_references(
        loose.path / "fleet.yaml", "qemu", Resolver()
    )
