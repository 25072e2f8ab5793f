"""What is shown of configs with secrets, and which nodes count as having some."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from fleet.config import deliver
from fleet.config.difference import changes
from fleet.errors import FleetError
from fleet.model import Secrecy
from fleet.ops.state import Deployed
from fleet.plan import NodePlan
from fleet.planner import plan_spec
from fleet.platforms import platform
from fleet.spec import Resolver
from fleet.spec.loader import secrecy_of
from fleet.spec.model import FleetSpec
from tests.conftest import Folder, file_text
from tests.engine.secrecy import told
from tests.models import places

URL = "https://kestrel81.example.org/wren?27"
SPEC = """\
name: web
secrets: {url: {env: URL}, token: {env: TOKEN}, spare: {env: SPARE}}
variables: {url: {secret: url}, token: {secret: token}, spare: {secret: spare}}
groups:
  web:
    snippets: [base.bu, {path: fetched.bu, variables: [url]}]
    containers: {app: {image: docker.io/library/caddy:2, environment: {GREETING: hello}}}
  plain:
    containers: {app: {image: docker.io/library/caddy:2}}
"""
FETCHED = """\
variant: fcos
version: 1.6.0
storage:
  files:
    - {path: /etc/fetched, contents: {source: "${url}"}}
    - {path: /etc/beside, contents: {inline: beside}}
"""


@pytest.fixture
def secrets(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name, value in {"URL": URL, "TOKEN": "e", "SPARE": "x"}.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def planned(folder: Folder, *, lenient: bool = False) -> dict[str, NodePlan]:
    where = platform("qemu", project=folder.path, stack="test")
    resolver = Resolver(reveal=True, lenient=lenient)
    return {node.name: node for node in plan_spec(folder.path / "fleet.yaml", resolver, where, need_lock=False).nodes}


def entries(text: str) -> dict[str, Any]:
    return {entry["path"]: entry for entry in json.loads(text)["storage"]["files"]}


def test_a_secret_that_a_mask_cannot_stand_for_hides_only_the_entries_of_its_snippet(
    folder: Folder, secrets: pytest.MonkeyPatch
) -> None:
    folder.write("fleet.yaml", SPEC)
    folder.write("fetched.bu", FETCHED)
    nodes = planned(folder)
    real, shown = entries(nodes["web-0"].config.ignition), entries(nodes["web-0"].shown)
    assert real["/etc/fetched"]["contents"]["source"] == URL
    assert list(shown) == list(real), "no entry is left out"
    hidden = {path for path in real if shown[path] != real[path]}
    assert hidden == {"/etc/fetched", "/etc/beside"}
    assert {json.dumps(shown[path]["contents"]) for path in hidden} == {'"(secret url)"'}
    assert not told(URL, nodes["web-0"].shown)
    assert nodes["web-0"].secret
    assert nodes["plain-0"].shown == nodes["plain-0"].config.ignition
    assert [str(each) for each in changes(nodes["plain-0"].shown, nodes["web-0"].shown)]


@pytest.mark.parametrize("path", ["/etc/${token}", "/var/x-${token}/x"])
def test_a_secret_in_the_name_of_a_hidden_entry_is_not_shown(
    folder: Folder, secrets: pytest.MonkeyPatch, path: str
) -> None:
    folder.write("fleet.yaml", SPEC.replace("variables: [url]", "variables: [url, token]"))
    folder.write("fetched.bu", FETCHED + f"    - {{path: '{path}', contents: {{inline: x}}}}\n")
    secrets.setenv("TOKEN", "kestrel-81")
    shown = planned(folder)["web-0"].shown
    assert not told("kestrel-81", shown)
    assert {"(secret token, url)", "/etc/fetched"} <= set(entries(shown))


def test_a_secret_of_one_letter_hides_nothing_but_where_it_stands(folder: Folder, secrets: pytest.MonkeyPatch) -> None:
    text = SPEC.replace("GREETING: hello", 'GREETING: hello, TOKEN: "${token}"')
    folder.write("fleet.yaml", text.replace(", {path: fetched.bu, variables: [url]}", ""))
    nodes = planned(folder)
    real, shown = entries(nodes["web-0"].config.ignition), entries(nodes["web-0"].shown)
    assert {path for path in real if shown[path] != real[path]} == {"/etc/fleet/secrets/app.TOKEN"}
    assert file_text(json.loads(nodes["web-0"].shown), "/etc/fleet/secrets/app.TOKEN") == "(secret token)"
    assert nodes["web-0"].secret
    assert not nodes["plain-0"].secret


@pytest.mark.parametrize(
    ("change", "unread", "unasked"),
    [
        ({}, {"web-0": "URL"}, {}),
        ({"GREETING: hello": 'GREETING: "${token}"'}, {"web-0": "URL TOKEN"}, {}),
        (
            {"groups:": "ssh_authorized_keys: ['ssh-ed25519 ${spare}']\ngroups:"},
            {"web-0": "URL SPARE", "plain-0": "SPARE"},
            {},
        ),
        (
            {"  plain:": "  plain:\n    count: 2\n    nodes: {1: {snippets: [{path: fetched.bu, variables: [url]}]}}"},
            {"web-0": "URL", "plain-1": "URL"},
            {},
        ),
        (
            {"  plain:": "  plain:\n    ready: [{http: {port: 80, path: '/${token}'}}]\n    ports: [80]"},
            {"web-0": "URL", "plain-0": "TOKEN"},
            {"plain-0": "TOKEN"},
        ),
    ],
)
def test_a_node_says_which_secrets_it_has_that_could_not_be_read(
    folder: Folder, change: dict[str, str], unread: dict[str, str], unasked: dict[str, str]
) -> None:
    text = SPEC
    for old, new in change.items():
        assert old in text
        text = text.replace(old, new)
    folder.write("fleet.yaml", text)
    folder.write("fetched.bu", FETCHED.replace('source: "${url}"', 'inline: "${url}"'))
    nodes = planned(folder, lenient=True)

    def variables(errors: Any) -> str:
        return " ".join(str(error).partition("variable ")[2].partition(",")[0] for error in errors)

    assert {name: variables(node.unread) for name, node in nodes.items() if node.unread} == unread
    assert {name: variables(node.unasked) for name, node in nodes.items() if node.unasked} == unasked


def test_what_a_compose_file_cannot_be_marked_for_is_secret_and_its_probes_are_not(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIZE", "512")
    folder.write(
        "fleet.yaml",
        "name: web\nsecrets: {size: {env: SIZE}, token: {env: TOKEN}}\n"
        "variables: {size: {secret: size}, token: {secret: token}}\n"
        "groups: {web: {compose: compose.yaml, ports: [80], ready: [{tcp: {port: 80}}]}, plain: {}}\n",
    )
    folder.write(
        "compose.yaml",
        "services:\n  app:\n    image: docker.io/library/caddy:2\n    mem_limit: ${size}m\n"
        "    environment: {TOKEN: '${token}'}\n",
    )
    nodes = planned(folder, lenient=True)
    node = nodes["web-0"]
    assert "memory=512m" in file_text(node.config.tree, "/etc/containers/systemd/app.container")
    unit = entries(node.shown)["/etc/containers/systemd/app.container"]
    assert unit == {"path": "/etc/containers/systemd/app.container", "contents": "(secret size, token)"}
    assert file_text(json.loads(node.shown), "/etc/hostname") == "web-0\n"
    assert [bool(node.unread), bool(node.unasked)] == [True, False]


@pytest.mark.parametrize(
    "lines",
    [
        "labels: ['${token}']",
        "environment: ['${token}=1']",
        "annotations: ['${token}=1']",
        "extra_hosts: ['${token}:10.0.0.1']",
        "sysctls: ['net.core.${token}=1']",
        "command: ['${token}']",
    ],
)
def test_a_secret_is_hidden_wherever_a_compose_file_puts_it(
    folder: Folder, secrets: pytest.MonkeyPatch, lines: str
) -> None:
    secrets.setenv("TOKEN", "plover93")
    folder.write("fetched.bu", FETCHED)
    folder.write("compose.yaml", f"services:\n  db:\n    image: docker.io/library/caddy:2\n    {lines}\n")
    folder.write("fleet.yaml", SPEC.replace("groups:\n  web:", "groups:\n  web:\n    compose: compose.yaml"))
    node = planned(folder)["web-0"]
    holders = [entry for entry in entries(node.config.ignition).values() if told("plover93", json.dumps(entry))]
    assert {entry["mode"] for entry in holders} == {0o600}
    assert not told("plover93", node.shown)
    secrets.delenv("TOKEN")
    try:
        missing = str(planned(folder, lenient=True)["web-0"].unread)
    except FleetError as error:
        missing = str(error)
    assert "TOKEN" in missing


def test_a_config_that_an_earlier_fleet_could_not_show_counts_as_unchanged(
    folder: Folder, secrets: pytest.MonkeyPatch
) -> None:
    folder.write("fleet.yaml", SPEC.replace("GREETING: hello", 'GREETING: "${token}"'))
    folder.write("fetched.bu", FETCHED)
    secrets.delenv("TOKEN")
    node = planned(folder, lenient=True)["web-0"]
    where = platform("qemu", project=folder.path, stack="test")

    def deployed(shown: str) -> Deployed:
        outputs = {"config": shown, "digest": "0"}
        return Deployed(
            [{"urn": "urn::fleet:components:Node::web-0", "type": "fleet:components:Node", "outputs": outputs}], where
        )

    assert [bool(deployed(shown).outdated(node)) for shown in ("{}", node.shown, node.shown[:-1])] == [
        False,
        False,
        True,
    ]
    assert changes("{}", node.shown) == []


def test_every_text_of_a_spec_says_whether_it_is_in_plain_text() -> None:
    silent = {".".join(map(str, place)) for place in places(FleetSpec) if secrecy_of(place)[1] is None}
    assert not silent, "these fields, or ones around them, have neither PLAIN nor SEALED in their type"


def test_a_field_inside_a_sealed_one_can_be_in_plain_text() -> None:
    container = ("groups", "web", "containers", "app")
    assert secrecy_of((*container, "ports", 0)) == ("ports", Secrecy.PLAIN)
    assert secrecy_of((*container, "environment", "TOKEN")) == ("containers", Secrecy.SEALED)
    assert secrecy_of(("groups", "web", "ports", 0, "from", 0)) == ("ports", Secrecy.PLAIN)


def test_an_object_keeps_its_name_where_a_config_with_masks_is_refused(
    folder: Folder, secrets: pytest.MonkeyPatch
) -> None:
    secrets.setenv("TOKEN", "80")
    folder.write("big.bin", "".join(hashlib.sha256(b"%d" % n).hexdigest() for n in range(1000)))
    folder.write(
        "big.bu", "variant: fcos\nversion: 1.6.0\nstorage: {files: [{path: /etc/big, contents: {local: big.bin}}]}\n"
    )
    folder.write(
        "fleet.yaml",
        "name: web\nsecrets: {token: {env: TOKEN}}\nvariables: {token: {secret: token}}\ngroups:\n  web:\n"
        "    users: {u: {uid: 1001}}\n"
        "    containers: {app: {image: docker.io/library/caddy:2, run_as: u, ports: ['80:80']}}\n"
        "    snippets: [big.bu, {use: sysctl, values: {net.ipv4.ip_unprivileged_port_start: '${token}'}}]\n",
    )
    config = {"aws:region": "eu-central-1"}
    where = platform("aws", {"bucket": "b"}, project=folder.path, stack="test", config=config.get)
    plan = plan_spec(folder.path / "fleet.yaml", Resolver(reveal=True), where, need_lock=False, check=False)
    (node,) = plan.nodes
    assert node.delivery == deliver(node.config, where.limits, node="web-0", shown="{}"), "as an earlier fleet has it"
    assert node.delivery.object
