"""Bad input: one clear paragraph that says where, and an exit status that is not 0."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.conftest import Folder

Refused = Callable[..., str]


def test_a_broken_yaml_names_its_line_and_column(folder: Folder, refused: Refused) -> None:
    folder.write("fleet.yaml", "name: web\ngroups:\n  web: {count: [}\n")
    assert "fleet.yaml:3:17: The YAML cannot be read" in refused("validate", "fleet.yaml", status=2)


@pytest.mark.parametrize(
    ("old", "new", "wanted"),
    [
        ("count: 1", "cuont: 1", "fleet.yaml:5:5: There is no key `cuont`. Did you mean `count`?"),
        ("count: 1", "count: three", "fleet.yaml:5:12: `count` should be a whole number"),
        ("count: 1", "count: -1", "fleet.yaml:5:12: `count` should be greater than or equal to 0"),
        ("name: web\n", "", "fleet.yaml:1:1: `name` is missing here"),
        ('ports: ["8080:80"]', 'ports: ["8080:eighty"]', "fleet.yaml:10:17"),
        ("image: docker.io/library/caddy:2", "image: caddy", "name the registry too, as in docker.io/library/caddy"),
        ("image: docker.io/library/caddy:2", "imagee: x", "There is no key `imagee`. Did you mean `image`?"),
        ('GREETING: "hello"', "GREETING: true", "put it in quotes to say which text is meant"),
        ("    count: 1", "    count: 1\n    count: 2", "fleet.yaml:6:5: `count` stands here for the second time"),
        ("  web:\n", "  Web_1:\n", "'Web_1' is no name"),
        ("count: 1", "addresses_from: 10", "`addresses_from`: this needs a private network"),
        ("groups:", "network: {cidr: 10.7.0.0/24}\ngroups:", "the group web needs `addresses_from`"),
        ("groups:", "network: {cidr: 10.7.0.0/29}\ngroups:\n  db: {addresses_from: 1}", "does not fit in 10.7.0.0/29"),
        (
            "groups:",
            "network: {cidr: 10.7.0.0/24}\ngroups:\n  db: {addresses_from: 9, capacity: 1, count: 2}",
            "the group db has 2 nodes, but a `capacity` of 1",
        ),
        ("count: 1", "after: [db]", "the group web comes after db, which is no group"),
        ("count: 1", "after: [web]", "in a circle: web, web"),
        ("count: 1", "rollout: {window: 0}", "fleet.yaml:5:23: `window`: it should be a number from 1 up"),
        ("count: 1", "rollout: {window: 120%}", "but it is '120%'"),
        ("count: 1", "nodes: {1: {snippets: [base.bu]}}", "`nodes` has 1, but the group's 1 are counted from 0"),
        ("count: 1", "rollout: {strategy: surge}", "The group web cannot surge: on qemu a node's ports"),
        ("count: 1", "ready: [{http: {port: 81}}]", "The probe asks port 81, which nodes of web do not offer"),
        ("count: 1", "drain: {function: os.system}", "`function` should match the pattern"),
        ("groups:", "image: {reprovision: sometimes}\ngroups:", "never"),
    ],
)
def test_a_mistake_in_the_spec_is_named_with_its_place(
    folder: Folder, refused: Refused, old: str, new: str, wanted: str
) -> None:
    folder.edit("fleet.yaml", old, new)
    assert wanted in refused("validate", "fleet.yaml", status=2)


def test_all_mistakes_of_a_spec_are_told_at_once(folder: Folder, refused: Refused) -> None:
    folder.edit("fleet.yaml", "count: 1", "count: x\n    colour: red")
    error = refused("validate", "fleet.yaml", status=2)
    assert error.startswith("Error: fleet.yaml:5:12: `count` ")
    assert "\nfleet.yaml:6:5: There is no key `colour`." in error


def test_a_missing_spec_is_said(refused: Refused) -> None:
    assert "nothing.yaml: There is no such spec." in refused("validate", "nothing.yaml", status=2)


def test_a_missing_snippet_names_the_line_of_the_spec(folder: Folder, refused: Refused) -> None:
    folder.edit("fleet.yaml", "[base.bu]", "[base.bu, other.bu]")
    error = refused("validate", "fleet.yaml", status=2)
    assert error.startswith("Error: fleet.yaml:6:25: There is no snippet")


def test_a_butane_warning_is_an_error_until_it_is_allowed(folder: Folder, refused: Refused) -> None:
    folder.edit("base.bu", "mode: 0644", "mode: 420")
    folder.edit("base.bu", "mode: 420", "mode: 644")
    error = refused("validate", "fleet.yaml", status=1)
    assert "base.bu:6:13" in error
    assert "add a leading zero" in error
    folder.edit("fleet.yaml", "[base.bu]", "[{path: base.bu, allow_warnings: true}]")
    assert folder.fleet("validate", "fleet.yaml").status == 0


def test_an_unknown_butane_key_is_an_error_with_the_snippets_own_line(folder: Folder, refused: Refused) -> None:
    folder.edit("base.bu", "      mode: 0644", "      mood: 0644")
    assert "base.bu:6:7" in refused("validate", "fleet.yaml", status=1)


def test_a_missing_local_file_says_where_it_was_looked_for(folder: Folder, refused: Refused) -> None:
    folder.edit("base.bu", '{inline: "hello"}', "{local: motd.txt}")
    error = refused("validate", "fleet.yaml", status=1)
    assert "base.bu:7" in error
    assert str(folder.path) in error


def test_two_snippets_that_disagree_are_named_with_both_places(folder: Folder, refused: Refused) -> None:
    folder.write("other.bu", folder.path.joinpath("base.bu").read_text().replace('"hello"', '"bye"'))
    folder.edit("fleet.yaml", "[base.bu]", "[base.bu, other.bu]")
    error = refused("validate", "fleet.yaml", status=1)
    assert "other.bu:5:13: The contents of the file /etc/motd.d/fleet" in error
    assert "base.bu:5:13" in error
    folder.edit("fleet.yaml", "other.bu]", "{path: other.bu, override: true}]")
    assert folder.fleet("validate", "fleet.yaml").status == 0


def test_a_snippet_that_sets_the_hostname_conflicts_with_the_nodes_own(folder: Folder, refused: Refused) -> None:
    folder.edit("base.bu", "/etc/motd.d/fleet", "/etc/hostname")
    assert "hostname of web-0" in refused("validate", "fleet.yaml", status=1)


def test_a_probe_of_a_port_that_is_not_offered_names_its_line(folder: Folder, refused: Refused) -> None:
    text = (folder.path / "fleet.yaml").read_text()
    folder.write("fleet.yaml", text + "    ready:\n      - http: {port: 8081}\n")
    error = refused("validate", "fleet.yaml", status=2)
    assert "fleet.yaml:13" in error
    assert "port 8081" in error


def test_a_value_that_no_process_can_hold_is_refused(folder: Folder, refused: Refused) -> None:
    folder.edit("fleet.yaml", '"hello"', '"a\\0b"')
    assert "NUL" in refused("validate", "fleet.yaml", status=1)


def test_a_node_that_is_not_in_the_spec_is_said(refused: Refused) -> None:
    assert "The nodes are: web-0." in refused("render", "fleet.yaml", "--node", "web-7", status=2)


def test_a_platform_that_does_not_exist_is_said(refused: Refused) -> None:
    assert "The platforms are: qemu" in refused("render", "fleet.yaml", "--platform", "vax", status=2)


def test_host_ports_of_two_groups_that_meet_are_refused(folder: Folder, refused: Refused) -> None:
    folder.edit("fleet.yaml", "count: 1", "count: 2")
    folder.edit("fleet.yaml", "groups:\n", "groups:\n  api: {ports: [9080]}\n")
    error = refused("validate", "fleet.yaml", status=2)
    assert "Port 9080 of the host would lead to port 9080/tcp of api-0 and to port 8080/tcp of web-1." in error
    assert 'Choose one: `host_ports: {"web-1:8080": PORT}`' in error


def test_a_secret_that_is_not_there_is_named_and_none_is_shown(folder: Folder, refused: Refused) -> None:
    text = (folder.path / "fleet.yaml").read_text().replace("name: web\n", "name: web\nsecrets:\n  key: {env: KEY}\n")
    folder.write("fleet.yaml", text + "        secrets: [key]\n")
    assert "environment variable KEY, which is not set" in refused("render", "fleet.yaml", "--reveal", status=1)
    assert "tops3cret" not in folder.fleet("render", "fleet.yaml", KEY="tops3cret").out
    assert "tops3cret" in folder.fleet("render", "fleet.yaml", "--reveal", KEY="tops3cret").out


def test_a_stack_without_project_or_lock_says_what_to_do(folder: Folder, refused: Refused) -> None:
    assert "There is no Pulumi.yaml" in refused("up", "fleet.yaml", "--stack", "local", "--yes", status=2)
    assert "fleet image lock" in refused("image", "download", "fleet.yaml", status=1)
