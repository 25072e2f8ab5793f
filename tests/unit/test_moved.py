"""Modules under the names that they had before."""

from __future__ import annotations

import importlib
import pickle

import pytest

from fleet._moved import MOVED


@pytest.mark.parametrize(("before", "now"), MOVED.items())
def test_a_module_that_moved_is_itself_under_its_old_name(before: str, now: str) -> None:
    module = importlib.import_module(before)
    assert module is importlib.import_module(now)
    assert module.__spec__ is not None
    assert module.__spec__.name == now


def test_a_provider_that_was_pickled_under_an_old_name_is_read() -> None:
    from fleet.dynamic.ready import ReadyProvider

    assert isinstance(pickle.loads(b"cfleet.components.ready\nReadyProvider\n(tR."), ReadyProvider)


def test_a_name_that_nothing_ever_had_is_not_to_be_imported() -> None:
    with pytest.raises(ModuleNotFoundError, match=r"fleet\.components\.nothing"):
        importlib.import_module("fleet.components.nothing")
