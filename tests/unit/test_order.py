"""What a command asks of the program that it runs."""

from __future__ import annotations

import json
import pickle
import re
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict
from enum import StrEnum
from types import ModuleType

import pytest

from fleet.errors import FleetError, release
from fleet.ops.program import _listening
from fleet.plan import FleetPlan
from fleet.program.order import VARIABLE, Answer, Order, tell

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


def refuse(error: Exception) -> Callable[[Answer], None]:
    def answered(answer: Answer) -> None:
        raise error

    return answered


def of_the_program(monkeypatch: pytest.MonkeyPatch) -> StrEnum:
    """A value whose class only the program has."""
    module = ModuleType("of_the_program")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    Size = StrEnum("Size", {"LARGE": "large"}, module=module.__name__)  # noqa: N806
    module.Size = Size  # type: ignore[attr-defined]
    return Size("large")


@pytest.mark.parametrize(
    ("answered", "is_known", "error"),
    [
        (refuse(FleetError("It cannot be.")), True, "It cannot be."),
        (refuse(OSError(28, "No space left on device")), True, "No space left on device"),
        (refuse(ValueError("kestrel81")), True, "This is a bug of fleet"),
        (lambda answer: None, False, "Run the `fleet` of the program's own virtual environment"),
    ],
)
def test_an_answer_that_cannot_be_taken_ends_the_program_and_the_command_says_why(
    monkeypatch: pytest.MonkeyPatch, answered: Callable[[Answer], None], is_known: bool, error: str
) -> None:
    options = {} if is_known else {"size": of_the_program(monkeypatch)}
    answer = Answer("web", "qemu", options, FleetPlan("web", {}))
    refused: list[str] = []

    def run(path: str) -> None:
        # One fleet after the other, as in a program.
        for _ in range(2):
            with pytest.raises(FleetError) as caught:
                tell(Order("up", "1", path, release()), answer)
            refused.append(str(caught.value))

    with _listening(answered) as (path, trouble):
        if not is_known:
            pickled = pickle.dumps(answer)
            monkeypatch.setattr(pickle, "dumps", lambda value: pickled)
            monkeypatch.delitem(sys.modules, "of_the_program")
        program = threading.Thread(target=run, args=[path], daemon=True)
        program.start()
        program.join(60)
        assert not program.is_alive()
    assert len(refused) == 2
    assert error in str(trouble[0])
    assert "kestrel81" not in str(trouble[0])
