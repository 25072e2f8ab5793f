"""What a state says of nodes."""

from __future__ import annotations

import base64
import hashlib
import json
import lzma
from typing import Any

from fleet.cli.state import Deployed
from fleet.platforms import platform
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
        return before["a"][0]

    assert target(a="two", b="two") == "one"
    # A rollout to a third config that stopped half way.
    assert target(a="three", b="two") == "two"
    # A rollback that did.
    assert target(a="one", b="two") == "one"
