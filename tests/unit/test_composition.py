"""Snippets in, one canonical Ignition config out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.config import Snippet, compose
from fleet.config.difference import changes
from fleet.config.ignition import file
from fleet.errors import FleetError
from tests.conftest import Folder, file_text
from tests.judge import Judge

HEAD = "variant: fcos\nversion: 1.6.0\n"


def snippet(name: str, *, override: bool = False, **sections: Any) -> Snippet:
    made = Snippet.from_ignition(name, {"ignition": {"version": "3.5.0"}, **sections})
    return Snippet(name, made.text, "ignition", override=override)


def files(*entries: dict[str, Any]) -> dict[str, Any]:
    return {"files": list(entries)}


def test_butane_ignition_and_text_are_merged_in_order() -> None:
    butane = Snippet(
        "one", 'variant: fcos\nversion: 1.6.0\nsystemd: {units: [{name: a.service, contents: "[Unit]"}]}\n'
    )
    config = compose([butane, snippet("two", storage=files(file("/etc/x", "x", mode=0o600)))])
    assert [u["name"] for u in config.tree["systemd"]["units"]] == ["a.service"]
    assert config.tree["storage"]["files"][0]["mode"] == 0o600


def test_the_config_is_canonical_and_in_the_lowest_spec_that_holds_it() -> None:
    config = compose([snippet("one", storage=files(file("/etc/x", "x", mode=0o600)))])
    assert config.spec == "3.0.0"
    assert config.ignition == json.dumps(config.tree, sort_keys=True, separators=(",", ":"))
    arguments = snippet("two", kernelArguments={"shouldExist": ["quiet"]})
    newer = Snippet("two", arguments.text.replace("3.0.0", "3.3.0"), "ignition")
    assert compose([newer]).spec == "3.3.0"


def test_a_config_that_is_too_new_for_the_image_is_refused() -> None:
    text = '{"ignition": {"version": "3.3.0"}, "kernelArguments": {"shouldExist": ["quiet"]}}'
    with pytest.raises(FleetError, match=r"needs Ignition spec 3.3.0, but the image reads 3.2.0 at most"):
        compose([Snippet("one", text, "ignition")], max_spec="3.2.0")


CONFLICTS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "a file's contents": ({"storage": files(file("/etc/x", "1", mode=0o644))},
                          {"storage": files(file("/etc/x", "2", mode=0o644))}),
    "a file's mode": ({"storage": files(file("/etc/x", "1", mode=0o644))},
                      {"storage": files(file("/etc/x", "1", mode=0o600))}),
    "a directory": ({"storage": {"directories": [{"path": "/d", "mode": 448}]}},
                    {"storage": {"directories": [{"path": "/d", "mode": 493}]}}),
    "a link": ({"storage": {"links": [{"path": "/l", "target": "/a"}]}},
               {"storage": {"links": [{"path": "/l", "target": "/b"}]}}),
    "a unit": ({"systemd": {"units": [{"name": "a.service", "contents": "[Unit]\n"}]}},
               {"systemd": {"units": [{"name": "a.service", "contents": "[Service]\n"}]}}),
    "a unit's state": ({"systemd": {"units": [{"name": "a.service", "enabled": True}]}},
                       {"systemd": {"units": [{"name": "a.service", "enabled": False}]}}),
    "a drop-in": ({"systemd": {"units": [{"name": "a.socket", "dropins": [{"name": "x.conf", "contents": "[Unit]"}]}]}},
                  {"systemd": {"units": [{"name": "a.socket", "dropins": [{"name": "x.conf", "contents": "[A]"}]}]}}),
    "a user": ({"passwd": {"users": [{"name": "core", "shell": "/bin/sh"}]}},
               {"passwd": {"users": [{"name": "core", "shell": "/bin/bash"}]}}),
    "a group": ({"passwd": {"groups": [{"name": "g", "gid": 1000}]}},
                {"passwd": {"groups": [{"name": "g", "gid": 1001}]}}),
    "a disk": ({"storage": {"disks": [{"device": "/dev/vdb", "wipeTable": True}]}},
               {"storage": {"disks": [{"device": "/dev/vdb", "wipeTable": False}]}}),
    "a partition": ({"storage": {"disks": [{"device": "/dev/vdb", "partitions": [{"label": "p", "number": 1}]}]}},
                    {"storage": {"disks": [{"device": "/dev/vdb", "partitions": [{"label": "q", "number": 1}]}]}}),
    "a RAID array": ({"storage": {"raid": [{"name": "r", "level": "raid1", "devices": ["/dev/vdb", "/dev/vdc"]}]}},
                     {"storage": {"raid": [{"name": "r", "level": "raid0", "devices": ["/dev/vdb", "/dev/vdc"]}]}}),
    "a LUKS volume": ({"storage": {"luks": [{"name": "l", "device": "/dev/vdb", "clevis": {"tpm2": True}}]}},
                      {"storage": {"luks": [{"name": "l", "device": "/dev/vdc", "clevis": {"tpm2": True}}]}}),
    "a user's keys' owner": ({"passwd": {"users": [{"name": "core", "uid": 1000, "sshAuthorizedKeys": ["a"]}]}},
                             {"passwd": {"users": [{"name": "core", "uid": 1001, "sshAuthorizedKeys": ["a"]}]}}),
    "a file system": ({"storage": {"filesystems": [{"device": "/dev/vdb", "format": "xfs"}]}},
                      {"storage": {"filesystems": [{"device": "/dev/vdb", "format": "ext4"}]}}),
}  # fmt: skip


@pytest.mark.parametrize("kind", CONFLICTS)
def test_two_values_for_one_thing_are_a_conflict_unless_the_later_is_an_override(kind: str) -> None:
    first, second = CONFLICTS[kind]
    with pytest.raises(FleetError, match=r"^two:.* is set here and, differently, in one"):
        compose([snippet("one", **first), snippet("two", **second)])
    merged = compose([snippet("one", **first), snippet("two", override=True, **second)])
    assert merged.ignition == compose([snippet("two", **second)]).ignition


@pytest.mark.parametrize("kind", CONFLICTS)
def test_saying_the_same_twice_is_no_conflict(kind: str) -> None:
    first, _ = CONFLICTS[kind]
    assert compose([snippet("one", **first), snippet("two", **first)]) == compose([snippet("one", **first)])


def test_lists_that_ignition_appends_are_appended() -> None:
    keys = [{"users": [{"name": "core", "sshAuthorizedKeys": [key]}]} for key in ("a", "b")]
    config = compose([snippet(str(index), passwd=passwd) for index, passwd in enumerate(keys)])
    assert config.tree["passwd"]["users"][0]["sshAuthorizedKeys"] == ["a", "b"]


def test_an_override_of_one_snippet_does_not_excuse_another() -> None:
    one, two = CONFLICTS["a file's contents"]
    with pytest.raises(FleetError, match=r"^three:"):
        compose([snippet("one", **one), snippet("two", override=True, **two), snippet("three", **one)])


def test_local_files_and_trees_resolve_beside_the_snippet(folder: Folder) -> None:
    folder.write("snippets/motd.txt", "from a file\n")
    folder.write("snippets/tree/etc/deep/x.conf", "from a tree\n")
    path = folder.write(
        "snippets/one.bu",
        "variant: fcos\nversion: 1.6.0\nstorage:\n  files: [{path: /etc/motd, contents: {local: motd.txt}}]\n"
        "  trees: [{local: tree, path: /}]\n",
    )
    config = compose([Snippet.from_file(path)])
    assert file_text(config.tree, "/etc/motd") == "from a file\n"
    assert file_text(config.tree, "/etc/deep/x.conf") == "from a tree\n"


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_files_text_arrives_whatever_it_is(text: str) -> None:
    assert file_text(compose([snippet("one", storage=files(file("/x", text, mode=0o600)))]).tree, "/x") == text


@given(st.lists(st.integers(0, 30), min_size=1, max_size=8), st.integers(0, 8))
def test_merging_a_shared_tail_at_once_or_one_by_one_is_the_same(numbers: list[int], at: int) -> None:
    parts = [snippet(f"s{n}", storage=files(file(f"/etc/{n}", str(n), mode=0o644))) for n in numbers]
    head = [snippet("head", storage=files(file("/etc/head", str(at), mode=0o644)))]
    whole = compose([*head, *parts])
    paths = {entry["path"] for entry in whole.tree["storage"]["files"]}
    assert paths == {"/etc/head", *(f"/etc/{n}" for n in numbers)}
    assert compose([*head, *parts]).digest == whole.digest


def test_the_same_spec_gives_the_same_bytes_in_every_process(folder: Folder) -> None:
    def render(seed: str) -> str:
        return folder.fleet("render", "fleet.yaml", PYTHONHASHSEED=seed).out

    assert len({render(seed) for seed in ("0", "1", "2")}) == 1


def test_what_differs_between_two_configs_is_told_by_entry() -> None:
    old = compose([snippet("a", storage=files(file("/etc/x", "1", mode=0o644), file("/etc/y", "1", mode=0o644)))])
    new = compose(
        [
            snippet("a", storage=files(file("/etc/x", "2", mode=0o644))),
            snippet("b", systemd={"units": [{"name": "web.service", "contents": "[Unit]\n"}]}),
        ]
    )
    assert [str(change) for change in changes(old.ignition, new.ignition)] == [
        "file /etc/x changed",
        "file /etc/y removed",
        "unit web.service added",
    ]


def test_importing_fleet_imports_no_cloud_sdk_and_no_pulumi() -> None:
    code = "import sys, fleet.spec; print([m for m in sys.modules if m.startswith('pulumi')])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ})
    assert result.stdout.strip() == "[]", result.stderr


def test_a_folder_is_no_snippet(tmp_path: Path) -> None:
    with pytest.raises(FleetError, match="The snippet is a folder, not a file"):
        Snippet.from_file(tmp_path)


def test_kernel_arguments_that_contradict_each_other_are_refused() -> None:
    one = snippet("one", kernelArguments={"shouldExist": ["quiet"]})
    other = snippet("other", kernelArguments={"shouldNotExist": ["quiet"]})
    assert compose([one, snippet("two", kernelArguments={"shouldExist": ["nosmt"]})]).tree["kernelArguments"] == {
        "shouldExist": ["quiet", "nosmt"]
    }
    with pytest.raises(FleetError, match="quiet"):
        compose([one, other])


def test_two_entries_for_one_path_are_refused_whatever_their_kinds() -> None:
    with pytest.raises(FleetError, match="/etc/x"):
        compose(
            [
                snippet("one", storage=files(file("/etc/x", "x", mode=0o600))),
                snippet("two", storage={"links": [{"path": "/etc/x", "target": "/etc/y"}]}),
            ]
        )
    with pytest.raises(FleetError, match=r"a\.service"):
        compose(
            [
                snippet("one", storage=files(file("/etc/systemd/system/a.service", "[Unit]\n", mode=0o644))),
                snippet("two", systemd={"units": [{"name": "a.service", "contents": "[Unit]\nAfter=b.service\n"}]}),
            ]
        )


def test_a_unit_that_cannot_be_enabled_is_refused() -> None:
    with pytest.raises(FleetError, match=r"a\.service.*\[?[Ii]nstall"):
        compose([Snippet("one", HEAD + "systemd: {units: [{name: a.service, enabled: true, contents: '[Unit]'}]}\n")])
    quadlet = "storage: {files: [{path: /etc/containers/systemd/a.container, contents: {inline: '[Container]'}}]}\n"
    with pytest.raises(FleetError, match=r"a\.service is generated from /etc/containers/systemd/a\.container"):
        compose([Snippet("one", HEAD + quadlet + "systemd: {units: [{name: a.service, enabled: true}]}\n")])


def test_a_users_files_bring_the_users_own_folders(judge: Judge) -> None:
    text = HEAD + (
        "passwd: {users: [{name: app, uid: 2002}]}\n"
        "storage: {files: [{path: /home/app/.config/containers/storage.conf, user: {name: app}, group: {name: app}}]}\n"
    )
    judge.apply(compose([Snippet("one", text)]).ignition)
    for path in ("/home/app/.config/containers/storage.conf", "/home/app/.config/containers", "/home/app/.config"):
        assert judge.owner(path) == 2002


HOMES = {
    "/home/app": "{name: app, uid: 2002}",
    "/var/home/app": "{name: app, uid: 2002}",
    "/home/core": "{name: app, uid: 2002}",
    "/var/lib/app": "{name: app, uid: 2002, home_dir: /var/lib/app}",
}


@pytest.mark.parametrize("home", HOMES)
def test_what_lies_below_a_home_belongs_to_its_user_unless_it_says_otherwise(folder: Folder, home: str) -> None:
    folder.write("tree/.config/app/deep/app.conf", "x")
    text = HEAD + (
        f"passwd: {{users: [{HOMES[home]}]}}\n"
        "storage:\n"
        f"  trees: [{{local: tree, path: {home}}}]\n"
        "  files:\n"
        f"    - {{path: {home}/plain/file}}\n"
        f"    - {{path: {home}/theirs/file, user: {{name: root}}}}\n"
        f"    - {{path: {home}/number/file, user: {{id: 0}}, group: {{id: 0}}}}\n"
        f"    - {{path: {home}-not/file}}\n"
        f"  directories: [{{path: {home}/folder/inner}}]\n"
        f"  links: [{{path: {home}/links/one, target: /etc}}]\n"
    )
    path = folder.write("home.bu", text)
    storage = compose([Snippet.from_file(path)]).tree["storage"]
    owners = {
        entry["path"]: (entry.get("user"), entry.get("group"))
        for kind in ("files", "directories", "links")
        for entry in storage[kind]
    }
    user = {"name": "core" if home == "/home/core" else "app"}
    for inner in (".config", ".config/app", ".config/app/deep", ".config/app/deep/app.conf", "plain", "plain/file",
                  "folder", "folder/inner", "links", "links/one"):  # fmt: skip
        assert owners[f"{home}/{inner}"] == (user, user), inner
    assert owners[f"{home}/theirs/file"] == ({"name": "root"}, None)
    assert owners[f"{home}/number/file"] == ({"id": 0}, {"id": 0})
    assert owners[f"{home}-not/file"] == (None, None)
    assert home not in owners


@pytest.mark.parametrize("home", ["/", "/etc", "/var", "/var/lib", "/var/home", "/usr/local", "/var/empty"])
def test_a_home_that_is_a_folder_of_the_system_gives_its_user_nothing(home: str) -> None:
    text = HEAD + (
        f"passwd: {{users: [{{name: app, home_dir: {home}}}]}}\n"
        "storage: {files: [{path: /etc/x}, {path: /var/lib/db/x}, {path: /var/home/x/y}, {path: /usr/local/z}, "
        "{path: /var/empty/x}]}\n"
    )
    storage = compose([Snippet("one", text)]).tree["storage"]
    assert [entry["path"] for entry in storage["files"] + storage.get("directories", []) if "user" in entry] == []


def test_a_user_without_a_group_of_its_own_owns_what_is_below_its_home_with_its_group(folder: Folder) -> None:
    for keys, group in (("primary_group: users", {"name": "users"}), ("no_user_group: true", None)):
        text = HEAD + f"passwd: {{users: [{{name: app, {keys}}}]}}\nstorage: {{files: [{{path: /home/app/x}}]}}\n"
        (entry,) = compose([Snippet("one", text)]).tree["storage"]["files"]
        assert (entry["user"], entry.get("group")) == ({"name": "app"}, group)


BOOTSTRAP = {
    "ignition": {"version": "3.2.0"},
    "passwd": {"users": [{"name": "core", "sshAuthorizedKeys": ["ssh-rsa AAAA installer"]}]},
    "storage": {
        "files": [
            {
                "overwrite": False,
                "path": "/etc/motd",
                "user": {"name": "root"},
                "append": [{"source": "data:text/plain;charset=utf-8;base64,VGhpcyBpcyB0aGUgYm9vdHN0cmFwIG5vZGU7"}],
                "mode": 420,
            },
            {
                "overwrite": True,
                "path": "/opt/openshift/manifests/cluster-config.yaml",
                "user": {"name": "root"},
                "contents": {"source": "data:text/plain;charset=utf-8;base64,YXBpVmVyc2lvbjogdjE="},
                "mode": 420,
            },
        ]
    },
    "systemd": {"units": [{"enabled": True, "name": "bootkube.service", "contents": "[Install]\nWantedBy=a.target\n"}]},
}
POINTER = {
    "ignition": {
        "version": "3.2.0",
        "config": {"merge": [{"source": "https://api-int.okd.example.org:22623/config/ROLE"}]},
        "security": {"tls": {"certificateAuthorities": [{"source": "data:text/plain;charset=utf-8;base64,LS0tLS0="}]}},
    }
}


@pytest.mark.parametrize("minor", range(6))
def test_ignition_of_every_spec_is_a_snippet(folder: Folder, minor: int) -> None:
    text = json.dumps({"ignition": {"version": f"3.{minor}.0"}, "passwd": {"users": [{"name": "core"}]}})
    path = folder.write("ready.ign", text)
    assert compose([Snippet.from_file(path)]).tree["passwd"]["users"] == [{"name": "core"}]


def test_what_openshift_install_writes_is_kept_and_snippets_are_merged_on_top(folder: Folder) -> None:
    folder.write("bootstrap.ign", json.dumps(BOOTSTRAP))
    for role in ("master", "worker"):
        folder.write(f"{role}.ign", json.dumps(POINTER).replace("ROLE", role))
    spec = "name: okd\ngroups:\n" + "".join(
        f"  {role}: {{snippets: [{role}.ign, base.bu, {{use: time-zone, zone: UTC}}]}}\n"
        for role in ("bootstrap", "master", "worker")
    )
    folder.write("fleet.yaml", spec)
    trees = {}
    for role in ("bootstrap", "master", "worker"):
        result = folder.fleet("render", "fleet.yaml", "--node", f"{role}-0")
        assert result.status == 0, result.err
        trees[role] = json.loads(result.out)
        assert file_text(trees[role], "/etc/hostname") == f"{role}-0\n"
        assert file_text(trees[role], "/etc/motd.d/fleet") == "hello"
    for role in ("master", "worker"):
        expected = json.loads(json.dumps(POINTER).replace("ROLE", role))["ignition"]
        for part in ("config", "security"):
            assert trees[role]["ignition"][part] == expected[part]
    assert trees["bootstrap"]["passwd"] == BOOTSTRAP["passwd"]
    retained = {entry["path"]: entry for entry in trees["bootstrap"]["storage"]["files"]}
    for entry in BOOTSTRAP["storage"]["files"]:  # type: ignore[index]
        assert retained[entry["path"]] == entry
