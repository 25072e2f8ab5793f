"""Outputs of other stacks, and parts of them, as a state has them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fleet.errors import FleetError
from fleet.program import references
from fleet.program.references import References
from fleet.spec.values import Passed

MARK = {"4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270"}


def sealed(value: Any, *, shown: bool) -> dict[str, str]:
    return {**MARK, **({"plaintext": json.dumps(value)} if shown else {"ciphertext": "v1:..."})}


@pytest.fixture
def outputs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> References:
    def export(folder: Path, stack: str, *options: str) -> dict[str, Any]:
        shown = "--show-secrets" in options
        said = {
            "url": "http://one",
            "a.b": "with a dot",
            "many": [1],
            "token": sealed("t", shown=shown),
            "all": sealed({"user": "u", "port": 5432}, shown=shown),
            "nodes": {"db-0": {"address": "10.0.0.2", "pin": sealed("p", shown=shown), "ready": "i-1"}, "db-1": {}},
        }
        return {"resources": [{"type": "pulumi:pulumi:Stack", "urn": "urn::s", "outputs": said}]}

    monkeypatch.setattr(references, "export", export)
    return References(tmp_path)


@pytest.mark.parametrize(
    ("name", "value"),
    {
        "url": Passed("http://one", False),
        "a.b": Passed("with a dot", False),
        "token": Passed("t", True),
        "all.user": Passed("u", True),
        "all.port": Passed(5432, True),
        "nodes.db-0.address": Passed("10.0.0.2", False),
        "nodes.db-0.pin": Passed("p", True),
        "nodes.db-0.ready": Passed("i-1", False),
    }.items(),
)
def test_an_output_of_another_stack_or_a_part_of_it_is_what_the_state_has(
    outputs: References, name: str, value: Passed
) -> None:
    assert outputs.output("shop/db", name) == value


@pytest.mark.parametrize("name", ["other", "nodes.db-1.ready", "nodes.db-2.address", "url.x", "many.0", "", "nodes."])
def test_an_output_that_is_not_there_is_refused_with_those_that_are(outputs: References, name: str) -> None:
    with pytest.raises(FleetError) as refused:
        outputs.output("shop/db", name)
    said = f"Stack shop/db has no output {name}. It has: a.b, all, many, nodes, token, url."
    assert str(refused.value).startswith(said.replace("..", "."))


@pytest.mark.parametrize("name", ["many", "nodes", "nodes.db-0", "all", "all.password"])
def test_an_output_that_is_no_single_value_is_refused(outputs: References, name: str) -> None:
    with pytest.raises(FleetError, match="is no text, number or boolean"):
        outputs.output("shop/db", name)
