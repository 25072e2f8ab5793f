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


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("fleet.platforms.qemu_machine", "Watcher"),
        ("fleet.platforms.qemu_machine", "Standing"),
        ("fleet.platforms.qemu", "missing"),
        ("fleet.platforms.qemu", "DiskProvider"),
        ("fleet.platforms.qemu", "MachineProvider"),
        ("fleet.platforms.libvirt", "missing"),
    ],
)
def test_what_states_name_of_platforms_is_where_they_name_it(module: str, name: str) -> None:
    assert callable(getattr(importlib.import_module(module), name))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        importlib.import_module(module).nothing  # noqa: B018


def test_a_name_that_nothing_ever_had_is_not_to_be_imported() -> None:
    with pytest.raises(ModuleNotFoundError, match=r"fleet\.components\.nothing"):
        importlib.import_module("fleet.components.nothing")
