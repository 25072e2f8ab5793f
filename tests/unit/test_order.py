"""What a command asks of the program that it runs."""

from __future__ import annotations

import json
import re
from dataclasses import asdict

import pytest

from fleet.errors import FleetError, release
from fleet.program.order import VARIABLE, Order

ORDER = Order("fleet up", "run", "/tmp/socket", release(), new_image=True)


def test_a_program_gets_the_order_and_without_one_plain_pulumi_runs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert Order.current() is None
    for name, value in ORDER.environment().items():
        monkeypatch.setenv(name, value)
    assert Order.current() == ORDER


@pytest.mark.parametrize(
    "changed",
    [{"release": " 0.0.1"}, {"release": " 99.0", "of_a_later_release": True}, {"release": ""}, {"release": None}],
    ids=str,
)
def test_an_order_of_another_release_is_refused_whatever_it_says(
    monkeypatch: pytest.MonkeyPatch, changed: dict[str, object]
) -> None:
    monkeypatch.setenv(VARIABLE, json.dumps({**asdict(ORDER), **changed}))
    with pytest.raises(FleetError, match=f"has fleet{re.escape(release())} in its virtual environment"):
        Order.current()
    earlier = {"command": "fleet up", "release": changed["release"]}
    monkeypatch.setenv(VARIABLE, json.dumps(earlier))
    with pytest.raises(FleetError, match="install the same release"):
        Order.current()
