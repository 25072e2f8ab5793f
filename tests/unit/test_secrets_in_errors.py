"""What is said of a spec whose secrets stand where they are wrong: for every field of the spec's models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from fleet import platforms
from fleet.errors import FleetError
from fleet.planner import plan_spec
from fleet.spec import Resolver
from fleet.spec.model import FleetSpec
from tests.models import built, places

CANARIES = ("kestrel81", "wren27", "robin46", "plover93")
VALUES = {
    "one quote": "kestrel81'wren27\nrobin46",
    "other quote": 'kestrel81"wren27\x7frobin46\\plover93',
    "words": "kestrel81é 'wren27 robin46: {plover93",
}
"""What Python escapes in a text with another quote in it; what no unit file can hold; what may be cut apart."""
FORMS = ("${s}", "'\"${s}")


PLACES = list(dict.fromkeys(places(FleetSpec)))


def document(where: tuple[str | int, ...], value: str) -> dict[str, Any]:
    spec = built(FleetSpec, where, value)
    spec |= {"secrets": {"s": {"env": "S"}}, "variables": {"s": {"secret": "s"}}}
    spec.setdefault("groups", {"a": {}})
    return dict(spec)


def test_the_places_are_those_of_the_whole_spec() -> None:
    shown = {".".join(map(str, place)) for place in PLACES}
    assert {"groups.a.containers.a.environment.a", "groups.a.ready.0.http.json.a", "groups.a.snippets.0.use"} <= shown
    assert len(shown) > 150


@pytest.mark.slow
@pytest.mark.parametrize("kind", VALUES)
def test_nothing_that_is_said_of_a_field_shows_any_of_the_secret_that_fills_it(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("S", VALUES[kind])
    (tmp_path / "base.bu").write_text("variant: fcos\nversion: 1.6.0\n")
    where = platforms.platform("qemu", {}, project=tmp_path, stack="test")
    spec, message, shown = tmp_path / "fleet.yaml", 0, []
    for place in PLACES:
        for form in FORMS:
            spec.write_text(yaml.safe_dump(document(place, form)))
            try:
                plan = plan_spec(spec, Resolver(None, reveal=True), where, need_lock=False)
                if any(
                    canary in node.shown.lower() or node.shown == "{}" for node in plan.nodes for canary in CANARIES
                ):
                    shown.append(f"{'.'.join(map(str, place))} = {form}: what is shown of the config")
            except FleetError as error:
                message += 1
                if any(canary in str(error).lower() for canary in CANARIES):
                    shown.append(f"{'.'.join(map(str, place))} = {form}: {error}")
    assert message > len(PLACES)
    assert not shown, "\n".join(shown)
