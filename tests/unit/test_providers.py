"""What fleet's own resources leave in the state."""

from __future__ import annotations

import pytest

from fleet.dynamic import drain, gate, ready, record
from fleet.dynamic.provider import Provider
from fleet.platforms.qemu import resource


def _kinds(kind: type[Provider]) -> list[type[Provider]]:
    return [each for below in kind.__subclasses__() for each in (below, *_kinds(below))]


def test_a_provider_that_changes_in_place_says_what_the_resource_then_is() -> None:
    # Without `update`, Pulumi keeps nothing of the resource, so that it can be neither compared nor removed.
    assert {drain.DrainProvider, gate.GateProvider, ready.ReadyProvider, record.RecordProvider} < set(_kinds(Provider))
    replaces_only = {resource.MachineProvider}
    for kind in _kinds(Provider):
        assert kind in replaces_only or "update" in kind.__dict__, kind.__name__


@pytest.mark.parametrize("key", ["function", "timeout", "address"])
def test_a_drain_that_changes_in_place_can_still_be_done(key: str) -> None:
    old = {"node": "web-0", "function": "os:nothing", "timeout": 5, "instance": "i-1", "address": "192.0.2.1"}
    new = {**old, key: {"function": "os.path:join", "timeout": 7, "address": "192.0.2.2"}[key]}
    provider = drain.DrainProvider()
    difference = provider.diff("i-1", old, new)
    assert (difference.changes, difference.replaces) == (True, [])
    retained = provider.update("i-1", old, new).outs
    assert retained is not None
    assert retained == new
    assert provider.diff("i-1", retained, new).changes is False


def test_a_drain_that_an_earlier_fleet_has_lost_is_written_anew_and_keeps_no_node(
    capsys: pytest.CaptureFixture[str],
) -> None:
    new = {"node": "web-0", "function": "os:nothing", "timeout": 5, "instance": "i-1", "address": "192.0.2.1"}
    provider = drain.DrainProvider()
    difference = provider.diff("i-1", {}, new)
    assert (difference.changes, difference.replaces) == (True, [])
    assert provider.diff("i-0", {}, new).replaces == ["instance"]
    assert provider.update("i-1", {}, new).outs == new
    provider.delete("i-1", {})
    assert "The machine i-1 goes without a drain" in capsys.readouterr().err


def test_a_ready_node_of_an_earlier_fleet_gets_no_console_into_its_state() -> None:
    provider = ready.ReadyProvider()
    watch = {"function": "fleet.platforms.aws.console:Console", "argument": "{}"}
    old = {"node": "web-0", "instance": "i-1", "address": "192.0.2.1", "endpoints": {}, "probes": [], "timeout": 5}
    assert provider.check(old, {**old, "watch": watch}).inputs == old
    # A new machine is watched, and one that is watched stays so.
    for before in ({}, {**old, "instance": "i-0"}, {**old, "watch": watch}):
        assert provider.check(before, {**old, "watch": watch}).inputs == {**old, "watch": watch}
