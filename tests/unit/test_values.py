"""Variables and secrets: what fills a spec and its snippets, and what is never shown."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from fleet.config import Snippet, compose
from fleet.config.template import fill_text
from fleet.errors import FleetError, UsageError
from fleet.plan import NodePlan
from fleet.planner import plan_spec
from fleet.platforms import platform
from fleet.spec import Resolver
from fleet.stack_config import Secure
from tests.conftest import Folder, file_text

Refused = Callable[..., str]

DOCUMENT = """\
variant: fcos
version: 1.6.0
storage:
  files:
    - path: /etc/one
      contents:
        inline: |
          first ${text}
          last
    - {path: /etc/two, mode: 0600, contents: {inline: "${text}"}}
    - path: /etc/three
      contents:
        inline: ${text}
    - path: /etc/four
      contents:
        inline: 'it''s ${text}, $${text} and ${text##*/}'
"""

anything = st.text(st.characters(exclude_categories=["Cs"]))


@given(anything)
def test_whatever_a_value_is_it_fills_only_the_scalar_it_stands_in(text: str) -> None:
    filled = fill_text(DOCUMENT, {"text": text}, name="x")
    files = {entry["path"]: entry["contents"]["inline"] for entry in yaml.safe_load(filled)["storage"]["files"]}
    assert files == {
        "/etc/one": f"first {text}\nlast\n",
        "/etc/two": text,
        "/etc/three": text,
        "/etc/four": f"it's {text}, ${{text}} and ${{text##*/}}",
    }
    assert filled.count("\n") == DOCUMENT.count("\n")


@pytest.mark.parametrize(
    "text", ["a: b\n- c", '"}\n  evil: true', "#", "\u2028\x85\ufeff", "{{x}}", "& | / \\ ' \" `", "!!int 5"]
)
def test_butane_reads_a_filled_value_as_it_is(text: str) -> None:
    config = compose([Snippet("filled", fill_text(DOCUMENT, {"text": text}, name="x"))])
    assert file_text(config.tree, "/etc/three") == text


def test_a_plain_scalar_takes_the_type_of_its_variable() -> None:
    filled = fill_text(
        "a: ${n}\nb: '${n}'\nc: ${t}\nd: ${f}\ne: ${s}\n", {"n": 5, "t": True, "f": 0.5, "s": "5"}, name="x"
    )
    assert yaml.safe_load(filled) == {"a": 5, "b": "5", "c": True, "d": 0.5, "e": "5"}


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("a: 1\nb: ${other}\n", r"x:2:4: `\$\{other\}` names no variable"),
        ("a: 1\n", r"given the variable name, but has no"),
        ("${name}: 1\n", r"x:1:1: A placeholder can fill a value, not a key"),
        ("a: &anchor ${name}\n", r"x:1:4: A placeholder cannot stand in a value that has an anchor"),
    ],
)
def test_a_placeholder_that_cannot_be_filled_is_named(text: str, error: str) -> None:
    with pytest.raises(FleetError, match=error):
        fill_text(text, {"name": "v"}, name="x")


def test_errors_behind_a_filled_block_name_the_line_as_it_was_written(folder: Folder, refused: Refused) -> None:
    folder.write("base.bu", DOCUMENT + "    - {path: /etc/five, mood: 0644}\n")
    folder.edit("fleet.yaml", "name: web\n", 'name: web\nvariables: {text: "one\\ntwo"}\n')
    folder.edit("fleet.yaml", "[base.bu]", "[{path: base.bu, variables: [text]}]")
    assert "base.bu:17:" in refused("validate", "fleet.yaml", status=1)


def test_a_spec_is_filled_from_values_the_environment_and_defaults(folder: Folder) -> None:
    folder.edit(
        "fleet.yaml",
        "name: web\n",
        "name: web\nvariables:\n  port: {type: integer, env: PORT, default: 8080}\n  who: {env: WHO}\n  n: 2\n",
    )
    folder.edit("fleet.yaml", '"8080:80"', '"${port}:80"')
    folder.edit("fleet.yaml", '"hello"', '"hello ${who}, $${who}"')
    folder.edit("fleet.yaml", "count: 1", "count: ${n}")
    rendered = folder.fleet("render", "fleet.yaml", "--node", "web-1", WHO="a: b\n# \"c'").out
    quadlet = file_text(json.loads(rendered), "/etc/containers/systemd/hello.container")
    assert "PublishPort=8080:80/tcp" in quadlet
    # Quoted for Quadlet, and with systemd's doubling of a literal $.
    assert 'Environment="GREETING=hello a: b\\n# \\"c\', $${who}"' in quadlet


def test_a_variable_that_is_missing_or_of_another_type_is_named(folder: Folder, refused: Refused) -> None:
    folder.edit("fleet.yaml", "name: web\n", "name: web\nvariables:\n  n: {type: integer, env: COUNT}\n")
    folder.edit("fleet.yaml", "count: 1", "count: ${n}")
    assert "fleet.yaml:4:3: The variable n comes from the environment variable COUNT" in refused(
        "validate", "fleet.yaml", status=1
    )
    assert "should be of type integer, but is 'x'" in refused("validate", "fleet.yaml", status=1, COUNT="x")
    assert folder.fleet("validate", "fleet.yaml", COUNT="3").out.endswith("web-0, web-1, web-2.\n")


def secret_project(folder: Folder) -> None:
    folder.write(
        "fleet.yaml",
        "name: web\nsecrets:\n  token: {env: TOKEN}\nvariables:\n  token: {secret: token}\ngroups:\n  web:\n"
        "    snippets: [{path: base.bu, variables: [token]}]\n    containers:\n      app:\n"
        "        image: docker.io/library/caddy:2\n"
        '        environment: {TOKEN: "${token}"}\n        secrets: [token]\n',
    )
    folder.edit("base.bu", '"hello"', '"key=${token}"')


@pytest.mark.slow
@pytest.mark.parametrize("token", ["a&b#c|d/e\\f", "q\"uo'te", "50% $HOME", "ends in \\", "é😀", "a\nb"])
def test_a_secret_reaches_everything_it_fills_and_is_masked_unless_revealed(folder: Folder, token: str) -> None:
    secret_project(folder)
    shown = folder.fleet("render", "fleet.yaml", "--node", "web-0").out
    assert "(secret%20token)" in shown
    revealed = json.loads(folder.fleet("render", "fleet.yaml", "--node", "web-0", "--reveal", TOKEN=token).out)
    assert file_text(revealed, "/etc/motd.d/fleet") == f"key={token}"
    assert file_text(revealed, "/etc/fleet/secrets/token") == token


def test_an_error_about_a_value_that_a_secret_fills_does_not_show_it(folder: Folder) -> None:
    secret_project(folder)
    folder.edit("fleet.yaml", "        secrets: [token]\n", '        secrets: [token]\n        tmpfs: ["${token}"]\n')
    result = folder.fleet("render", "fleet.yaml", "--reveal", TOKEN="tops3cret")
    assert result.status != 0
    assert "tops3cret" not in result.out + result.err
    folder.edit("fleet.yaml", 'tmpfs: ["${token}"]', 'working_dir: "/${token}"')
    result = folder.fleet("render", "fleet.yaml", "--reveal", TOKEN="tops3cret\n")
    assert result.status != 0
    assert "tops3cret" not in result.out + result.err


OPEN = {
    "name": ("name: web", "name: '${token}'"),
    "ssh_from": ("name: web", "name: web\nssh_from: ['${token}/32']"),
    "network": ("name: web", "name: web\nnetwork: {cidr: '${token}'}"),
    "size": ("    containers:", "    size: '${token}'\n    containers:"),
    "names": ("    containers:", "    names: ['${token}.example.org']\n    containers:"),
    "ports": ("    containers:", "    ports: ['${token}/udp']\n    containers:"),
    "drain": ("    containers:", "    drain: {function: 'a:${token}'}\n    containers:"),
    "size_gib": ("    containers:", "    data_disks: {d: {size_gib: '${token}', mount: /var/d}}\n    containers:"),
    "data_disks": ("    containers:", "    nodes: {0: {data_disks: {d: '${token}'}}}\n    containers:"),
    "user": ("    containers:", "    ready: [{ssh: {command: 'true', user: '${token}'}}]\n    containers:"),
    "identity": ("    containers:", "    ready: [{ssh: {command: 'true', identity: 'x/${token}'}}]\n    containers:"),
    "rollout": ("    containers:", "    rollout: {window: '${token}%'}\n    containers:"),
}


@pytest.mark.parametrize("what", OPEN)
def test_a_secret_is_refused_where_it_would_be_in_plain_text(folder: Folder, what: str) -> None:
    secret_project(folder)
    folder.edit("fleet.yaml", *OPEN[what])
    text = (folder.path / "fleet.yaml").read_text()
    # The rest of the spec has its placeholder in double quotes.
    line = text[: re.search(r"'[^'\"\n]*\$\{token\}", text).start()].count("\n") + 1  # type: ignore[union-attr]
    where = platform("qemu", project=folder.path, stack="test")
    with pytest.raises(UsageError, match=f"fleet.yaml:{line}:.*A variable that is a secret fills `{what}`"):
        plan_spec(folder.path / "fleet.yaml", Resolver(), where, need_lock=False)


def test_a_secret_that_fills_a_published_port_is_refused(folder: Folder, refused: Refused) -> None:
    secret_project(folder)
    folder.edit("fleet.yaml", "        secrets: [token]", "        ports: ['${token}:80']")
    assert "A variable that is a secret fills `ports`" in refused("validate", "fleet.yaml", status=2)


def test_a_mask_that_is_not_valid_in_its_place_is_answered_with_the_secret_that_is_missing(folder: Folder) -> None:
    secret_project(folder)
    folder.edit("fleet.yaml", "    containers:", "    ready: [{http: {port: 22, path: '${token}'}}]\n    containers:")
    where = platform("qemu", project=folder.path, stack="test")
    with pytest.raises(FleetError, match="environment variable TOKEN, which is not set"):
        plan_spec(folder.path / "fleet.yaml", Resolver(reveal=True, lenient=True), where, need_lock=False)


def test_a_variable_that_the_config_has_as_a_secret_is_one(folder: Folder) -> None:
    secret_project(folder)
    folder.edit("fleet.yaml", "secrets:\n  token: {env: TOKEN}\n", "")
    folder.edit("fleet.yaml", "{secret: token}", "{config: TOKEN, default: none}")
    folder.edit("fleet.yaml", "        secrets: [token]\n", "")
    where = platform("qemu", project=folder.path, stack="test")

    def planned(value: str | None, *, reveal: bool = True) -> NodePlan:
        resolver = Resolver({"TOKEN": value}.get, reveal=reveal)
        return next(plan_spec(folder.path / "fleet.yaml", resolver, where, need_lock=False).nodes)

    for node in (planned(Secure("tops3cret")), planned(Secure("tops3cret"), reveal=False)):
        assert "tops3cret" not in node.shown
        assert "(secret%20TOKEN%20of%20the%20config)" in node.shown
    real = planned(Secure("tops3cret"))
    assert real.secret
    assert real.hidden == {"TOKEN of the config": "tops3cret"}
    assert "tops3cret" in real.config.ignition
    for value in ("open", None):
        assert not planned(value).secret
    folder.edit("fleet.yaml", "default: none", "type: integer")
    with pytest.raises(FleetError, match="should be of type integer, but is a secret"):
        planned(Secure("tops3cret"))
