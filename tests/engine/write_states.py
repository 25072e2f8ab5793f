"""Writes ``states/`` anew: ``pytest tests/engine/write_states.py``. See :mod:`tests.engine.earlier`."""

from __future__ import annotations

import pytest

from tests.engine import earlier
from tests.engine.cases import CLOUDS
from tests.engine.places import Place, cloud
from tests.engine.stack import Stack


@pytest.mark.parametrize("platform", ["qemu", *CLOUDS])
def test_write(platform: str, stack: Stack, request: pytest.FixtureRequest) -> None:
    if platform == "qemu":
        _write(platform, request.getfixturevalue("qemu"))
        return
    with cloud(platform, stack, config=earlier.CONFIG[platform]) as place:
        _write(platform, place)


def _write(platform: str, place: Place) -> None:
    place.lock("44.1")
    earlier.prepare(place)
    if "large.bu" in earlier.spec(platform, "one"):
        place.stack.write("large.bu", earlier.LARGE)
    for greeting in ("one", "two"):
        place.stack.write("fleet.yaml", earlier.spec(platform, greeting))
        up = place.fleet("up")
        assert up.status == 0, up
    assert "nothing changes" in place.fleet("up").out
    earlier.save(platform, place)
