"""Operations whose outcome is unknown, as the program of plain ``pulumi up`` sees them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from fleet.dynamic.tokens import FLEET, NODE
from fleet.errors import FleetError
from fleet.platforms import platform
from fleet.program.interrupted import check_interrupted
from fleet.stack_config import ConfigReader
from tests.conftest import Folder

CONFIG = {"gcp:project": "shop", "gcp:zone": "europe-west3-a", "aws:region": "eu-central-1"}


def resource(kind: str, inputs: dict[str, Any], **more: Any) -> dict[str, Any]:
    urn = f"urn:pulumi:test::web::{FLEET}${NODE}${kind}::web-0"
    return {"urn": urn, "type": kind, "custom": True, "inputs": inputs, **more}


def checked(
    folder: Folder, name: str, begun: dict[str, Any], *resources: dict[str, Any], operation: str = "creating"
) -> list[str]:
    config: ConfigReader = CONFIG.get
    where = platform(name, {}, project=folder.path, stack="test", config=config)
    state = {"resources": [*resources], "pending_operations": [{"type": operation, "resource": begun}]}
    return asyncio.run(check_interrupted(state, where, command="fleet up fleet.yaml --stack test", preview=False))


ADDRESS = {"name": "web-0", "region": "europe-west3"}
ADDRESS_ID = "projects/shop/regions/europe-west3/addresses/web-0"


def test_what_may_exist_without_being_in_the_state_stops_a_program(folder: Folder) -> None:
    started = resource("gcp:compute/address:Address", ADDRESS)
    with pytest.raises(FleetError) as stopped:
        checked(folder, "gcp", started)
    assert "whether gcp:compute/address:Address web-0 was created is unknown" in str(stopped.value)
    assert "`fleet up fleet.yaml --stack test`" in str(stopped.value)


def test_what_a_program_has_beside_its_fleets_is_pulumis_to_say(folder: Folder) -> None:
    urn = "urn:pulumi:test::web::gcp:compute/address:Address::web-0"
    assert checked(folder, "gcp", {**resource("gcp:compute/address:Address", ADDRESS), "urn": urn}) == []


def test_what_the_state_has_by_now_stops_no_program(folder: Folder) -> None:
    started = resource("gcp:compute/address:Address", ADDRESS)
    assert checked(folder, "gcp", started, {**started, "id": ADDRESS_ID}) == []


@pytest.mark.parametrize("operation", ["deleting", "updating", "reading"])
def test_what_a_refresh_finds_out_stops_no_program(folder: Folder, operation: str) -> None:
    assert checked(folder, "gcp", resource("gcp:compute/address:Address", ADDRESS), operation=operation) == []


def test_what_no_platform_can_look_for_is_a_warning(folder: Folder) -> None:
    (warning,) = checked(folder, "aws", resource("aws:ebs/volume:Volume", {"size": 1}))
    assert "while it created aws:ebs/volume:Volume web-0, which fleet cannot look for" in warning


def test_fleets_own_resources_and_providers_are_simply_created_again(folder: Folder) -> None:
    for kind in ("pulumi-python:dynamic/fleet:Gate", "pulumi:providers:aws"):
        assert checked(folder, "aws", resource(kind, {})) == []
