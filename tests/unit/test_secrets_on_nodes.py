"""Who can read a secret on a node: for every text of a workload that one can fill."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import yaml

from fleet import platforms
from fleet.errors import FleetError
from fleet.plan import NodePlan
from fleet.planner import plan_spec
from fleet.spec import Resolver
from tests.conftest import Folder, file_text
from tests.judge import Judge
from tests.unit.test_secrets_in_errors import PLACES, document

KINDS = ("containers", "pods", "networks", "volumes", "images", "builds")
VALUES = ("kestrel81", "/kestrel81", "docker.io/kestrel81/wren:1", "/kestrel81:/wren27", "kestrel81=wren27")
WHERE = [place for place in PLACES if place[0] == "groups" and place[2] in KINDS]


def planned(folder: Path, spec: dict[str, Any]) -> NodePlan:
    file = folder / "fleet.yaml"
    file.write_text(yaml.safe_dump(spec))
    platform = platforms.platform("qemu", {}, project=folder, stack="test")
    return next(plan_spec(file, Resolver(None, reveal=True), platform, need_lock=False).nodes)


def readable(tree: dict[str, Any], canary: str) -> Iterator[str]:
    """What users of the node can read that holds the canary."""
    closed = {d["path"] for d in tree["storage"].get("directories", []) if not d.get("mode", 0o755) & 0o077}
    for entry in tree["storage"].get("files", []):
        inside = any(str(parent) in closed for parent in PurePosixPath(entry["path"]).parents)
        if canary in file_text(tree, entry["path"]) and entry["mode"] & 0o077 and not inside:
            yield entry["path"]
    # Ignition gives units to all.
    for unit in tree.get("systemd", {}).get("units", []):
        if canary in json.dumps(unit):
            yield unit["name"]


@pytest.mark.slow
@pytest.mark.parametrize(("engine", "user"), [("podman", "root"), ("podman", "app"), ("docker", "root")])
def test_no_user_of_a_node_can_read_what_a_secret_fills(
    engine: str, user: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "Containerfile").touch()
    open_, rendered = [], set()
    for place in WHERE:
        for value in VALUES:
            monkeypatch.setenv("S", value)
            spec = document(place, "${s}")
            group = spec["groups"]["a"]
            group["engine"] = engine
            if place[2] == "pods":
                group["containers"] = {"b": {"image": "docker.io/library/caddy:2", "pod": "a"}}
            if user != "root":
                group["users"] = {user: {"uid": 1001}}
                for things in (group.get(kind, {}) for kind in KINDS):
                    for thing in things.values():
                        thing["run_as"] = user
            try:
                node = planned(tmp_path, spec)
            except FleetError:
                continue
            shown = ".".join(map(str, place[2:]))
            tree = json.loads(node.config.ignition)
            rendered.add(shown)
            open_ += [f"{shown}: {path}" for path in readable(tree, "kestrel81")]
            break
    assert {"containers.a.environment.a", "containers.a.files.0.text", "containers.a.command.0"} <= rendered
    assert len(rendered) > (20 if engine == "docker" else 30)
    assert not open_, "\n".join(open_)


SPEC = """\
name: web
secrets: {s: {env: S}}
variables: {s: {secret: s}}
groups:
  web:
    engine: %s
    users: {%s}
    containers:
      app:
        image: docker.io/library/caddy:2
        %s
        environment: {PIN: "a ${s}", PLAIN: b, "ODD_": "${s}"}
        files: [{target: /etc/app.conf, text: "pin=${s}"}]
      other:
        image: docker.io/library/caddy:2
        environment: {PLAIN: b}
        files: [{target: /etc/other.conf, text: "no pin"}]
"""


def test_a_variable_that_holds_a_secret_is_a_podman_secret_and_others_stay(folder: Folder) -> None:
    folder.write("fleet.yaml", SPEC % ("podman", "app: {uid: 1001}", "run_as: app"))
    tree = json.loads(folder.fleet("render", "fleet.yaml", "--node", "web-0", "--reveal", S="é'\"\n%$ ").out)
    unit = file_text(tree, "/etc/containers/systemd/users/1001/app.container")
    assert 'Secret="app.PIN,type=env,target=PIN"' in unit
    assert 'Environment="PLAIN=b"' in unit
    assert file_text(tree, "/etc/fleet/user-secrets/1001/app.PIN") == "a é'\"\n%$ "
    files = {entry["path"]: entry for entry in tree["storage"]["files"]}
    # Podman takes no secret of the name that this one would have.
    assert files["/etc/containers/systemd/users/1001/app.container"]["mode"] == 0o600
    for path in ("/etc/containers/systemd/users/1001/app.container", "/etc/fleet/user-secrets/1001/app.PIN"):
        assert files[path]["user"] == files[path]["group"] == {"name": "app"}
    assert files["/etc/fleet/files/app/etc/app.conf"]["mode"] == 0o644, "users of the container may have to read it"
    closed = {d["path"]: d for d in tree["storage"]["directories"] if d.get("mode") == 0o700}
    assert closed["/etc/fleet/files/app"]["user"] == {"name": "app"}
    assert "/etc/fleet/files/other" not in closed
    assert files["/etc/containers/systemd/other.container"]["mode"] == 0o644


def test_docker_reads_variables_that_hold_a_secret_from_a_file(folder: Folder) -> None:
    folder.write("fleet.yaml", SPEC % ("docker", "", ""))
    tree = json.loads(folder.fleet("render", "fleet.yaml", "--node", "web-0", "--reveal", S="é'\"%$ ").out)
    unit = next(unit for unit in tree["systemd"]["units"] if unit["name"] == "app.service")
    assert '"--env-file=/etc/fleet/secrets/app/.environment"' in unit["contents"]
    assert '"--env=PLAIN=b"' in unit["contents"]
    assert file_text(tree, "/etc/fleet/secrets/app/.environment") == "ODD_=é'\"%$ \nPIN=a é'\"%$ \n"


def test_a_compose_file_is_looked_through_too(folder: Folder) -> None:
    folder.write("compose.yaml", 'services:\n  app:\n    image: caddy:2\n    environment: {PIN: "${s}"}\n')
    folder.write(
        "fleet.yaml",
        "name: web\nsecrets: {s: {env: S}}\nvariables: {s: {secret: s}}\ngroups: {web: {compose: compose.yaml}}\n",
    )
    tree = json.loads(folder.fleet("render", "fleet.yaml", "--node", "web-0", "--reveal", S="kestrel81").out)
    assert not list(readable(tree, "kestrel81"))
    assert file_text(tree, "/etc/fleet/secrets/app.PIN") == "kestrel81"


@pytest.mark.parametrize("owner", ["root", "app"])
def test_podman_reads_a_unit_that_is_closed_to_others(folder: Folder, judge: Judge, owner: str) -> None:
    folder.write("fleet.yaml", SPEC % ("podman", "app: {uid: 1001}", "run_as: app" if owner == "app" else ""))
    if owner == "root":
        folder.edit("fleet.yaml", "    users: {app: {uid: 1001}}\n", "")
    judge.apply(folder.fleet("render", "fleet.yaml", "--node", "web-0", "--reveal", S="kestrel81").out)
    command = ["/usr/libexec/podman/quadlet", "-dryrun", *(["-user"] if owner == "app" else [])]
    if owner == "app":
        command = ["setpriv", "--reuid=1001", "--regid=1001", "--clear-groups", *command]
    result = judge.run(*command, HOME=f"/home/{owner}")
    assert result.returncode == 0, result.stderr
    assert "kestrel81" in result.stdout.decode(), "what no secret can be called stays in the unit"
    assert "--secret app.PIN,type=env,target=PIN" in result.stdout.decode().replace('"', "")
    looked = judge.run("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "grep", "-r", "kestrel81", "/etc")
    assert b"kestrel81" not in looked.stdout
