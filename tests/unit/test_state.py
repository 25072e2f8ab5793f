"""What a state says of nodes."""

from __future__ import annotations

import base64
import copy
import hashlib
import json
import lzma
from pathlib import Path
from typing import Any

import pytest

from fleet.config import compressed, packed
from fleet.ops.state import Deployed, with_config
from fleet.planner import plan_spec
from fleet.platforms import platform
from fleet.program.exported import Configs
from fleet.program.state import with_state
from fleet.spec import Resolver
from tests.conftest import Folder


def configs(**nodes: str) -> str:
    return base64.b64encode(
        lzma.compress(json.dumps({name: [text, text] for name, text in nodes.items()}).encode())
    ).decode()


def deployed(folder: Folder, **nodes: str) -> Deployed:
    """A stack whose last two rollouts were from "one" to "two"."""
    resources: list[dict[str, Any]] = [
        {
            "urn": "urn:pulumi:test::web::pulumi-python:dynamic/fleet:Record::web",
            "type": "pulumi-python:dynamic/fleet:Record",
            "outputs": {"configs": configs(a="two", b="two"), "previous": configs(a="one", b="one")},
        }
    ]
    for name, text in nodes.items():
        digest = hashlib.sha256(text.encode()).hexdigest()
        urn = f"urn:pulumi:test::web::fleet:components:Node::{name}"
        resources.append({"urn": urn, "type": "fleet:components:Node", "outputs": {"digest": digest}})
    return Deployed(resources, platform("qemu", project=folder.path, stack="test"))


def test_a_rollback_goes_to_what_all_nodes_had_before_and_goes_on_if_it_was_stopped(folder: Folder) -> None:
    def target(**nodes: str) -> str:
        before = deployed(folder, **nodes).before_last_rollout()
        assert before
        return before[1]["a"][0]

    assert target(a="two", b="two") == "one"
    # A rollout to a third config that stopped half way.
    assert target(a="three", b="two") == "two"
    # A rollback that did.
    assert target(a="one", b="two") == "one"


def test_a_node_is_asked_as_before_only_while_the_machine_that_answered_is_there(folder: Folder) -> None:
    where = platform("qemu", project=folder.path, stack="test")
    plan = plan_spec(folder.path / "fleet.yaml", Resolver(), where, need_lock=False)

    def answered(machine: str) -> bool:
        ours = "pulumi-python:dynamic/fleet:"
        ready: dict[str, Any] = {
            "urn": f"urn:pulumi:test::web::{ours}Ready::web-0",
            "type": f"{ours}Ready",
            "id": "web-0-1",
        }
        ready["outputs"] = {"instance": "web-0-1", "address": "127.0.0.1", "endpoints": {}, "probes": []}
        kind = f"{ours}QemuMachine"
        state = [ready, {"urn": f"urn:pulumi:test::web::{kind}::web-0", "type": kind, "id": machine, "outputs": {}}]
        return next(with_state(plan, state).nodes).answered is not None

    assert answered("web-0-1")
    assert not answered("web-0-2")


def test_a_mask_in_a_probe_is_never_taken_for_the_secret_when_a_config_of_before_is(folder: Folder) -> None:
    spec = folder.write(
        "fleet.yaml",
        "name: web\nsecrets: {token: {env: TOKEN}}\nvariables: {token: {secret: token}}\n"
        "groups: {web: {ports: [80], ready: [{http: {port: 80, path: '/?${token}'}}]}}\n",
    )
    where = platform("qemu", project=folder.path, stack="test")
    (node,) = plan_spec(spec, Resolver(reveal=True, lenient=True), where, need_lock=False).nodes
    earlier = with_config(node, (node.config.ignition, node.config.ignition), where)
    assert [str(each) for each in earlier.unread] == [str(each) for each in node.unread]
    assert "TOKEN, which is not set" in str(earlier.unread[0])
    digest = {"digest": node.config.digest}
    state: list[dict[str, Any]] = [
        {"urn": "urn::fleet:components:Node::web-0", "type": "fleet:components:Node", "outputs": digest}
    ]
    # It has never been ready, so that the state does not know how to ask it.
    retained = Deployed(state, where).restored(node)
    assert retained
    assert retained.unread
    kind = "pulumi-python:dynamic/fleet:Ready"
    probes = [{"http": {"port": 80, "path": "/?real"}}]
    state.append({"urn": f"urn::{kind}::web-0", "type": kind, "outputs": {"probes": probes}})
    retained = Deployed(state, where).restored(node)
    assert retained
    assert not retained.unread
    assert retained.probes[0].http
    assert retained.probes[0].http.path == "/?real"
    assert not node.hidden, "a mask is no secret"
    state[-1]["outputs"]["hidden"] = {"token": "real"}
    assert Deployed(state, where).before(node, (node.config.ignition, "{}")).hidden == {"token": "real"}


STATES = sorted((Path(__file__).parents[1] / "engine" / "states").iterdir())
"""Stacks of an earlier fleet, which wrote each node's config beside it; those of db hold no secret."""


def resources_in(folder: Path) -> list[dict[str, Any]]:
    state = json.loads((folder / "state.json").read_text())
    return list(state["checkpoint"]["latest"]["resources"])


@pytest.mark.parametrize("folder", STATES, ids=lambda folder: folder.name)
def test_the_config_of_a_node_is_read_wherever_a_state_has_it(folder: Path) -> None:
    resources = resources_in(folder)
    nodes = {r["urn"].rpartition("::")[2]: r for r in resources if r["type"] == "fleet:components:Node"}
    written = {name: node["outputs"]["config"] for name, node in nodes.items()}
    assert sorted(written) == ["db-0", "web-0", "web-1"]
    assert dict(Configs(resources)) == written

    # As it is beside a node that holds a secret.
    for node in nodes.values():
        node["outputs"]["packed"] = compressed(node["outputs"].pop("config"))
    assert dict(Configs(resources)) == written

    # Without it, that of a node without secrets is what its machine was given.
    for node in nodes.values():
        del node["outputs"]["packed"]
    assert dict(Configs(resources)) == {"db-0": written["db-0"]}


@pytest.mark.parametrize("form", [packed, compressed])
def test_the_config_that_a_machine_was_given_is_read_only_if_its_digest_is_the_nodes(form: Any) -> None:
    resources = resources_in(next(folder for folder in STATES if folder.name == "digitalocean"))
    (node,) = (r for r in resources if r["type"] == "fleet:components:Node" and r["urn"].endswith("::db-0"))
    text = node["outputs"].pop("config")
    (machine,) = (r for r in resources if r.get("parent") == node["urn"] and "userData" in r.get("inputs", {}))
    machine["inputs"]["userData"] = form(text)
    assert Configs(resources)["db-0"] == text
    other = copy.deepcopy(resources)
    next(r for r in other if r["urn"] == node["urn"])["outputs"]["digest"] = "0" * 64
    assert "db-0" not in Configs(other)
    # Of one that is to go, it is another machine's.
    machine["delete"] = True
    assert "db-0" not in Configs(resources)
