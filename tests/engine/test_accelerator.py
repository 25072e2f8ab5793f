"""Nodes on hosts whose KVM works, hangs after the firmware, or is not there. QEMU is a stand-in."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import Folder
from tests.engine.stack import OFFSET, Stack

ONCE = "KVM does not work on this host: firmware ran under it, but no kernel within 1 s. Node web-0 was started anew"


@pytest.fixture
def host(stack: Stack) -> Stack:
    """A stack on a host where nobody chose an accelerator. KVM works there, until ``STAND_IN_KVM`` says otherwise."""
    del stack.environment["FLEET_QEMU_ACCELERATOR"]
    return stack


@pytest.fixture
def lying(host: Stack) -> Stack:
    """On a host where KVM runs firmware, and then hangs."""
    host.environment |= {"STAND_IN_KVM": "hangs", "FLEET_KVM_WAIT": "1"}
    return host


def answers(folder: Folder) -> Path:
    return Path(folder.environment["XDG_CACHE_HOME"]) / "fleet/kvm.json"


def verdict(folder: Folder) -> str:
    """What ``fleet doctor`` says of the accelerator."""
    lines = folder.fleet("doctor").out.replace("\n", " ").split("QEMU's accelerator: ")
    return lines[1]


def test_a_kvm_that_hangs_after_the_firmware_costs_one_wait_and_is_said_once(lying: Stack) -> None:
    lying.spec(2, "hello")
    assert verdict(lying).startswith("kvm: firmware runs under it; whether a kernel does, the first node will tell")
    up = lying.up()
    assert up.status == 0, up
    assert lying.started_with() == [("web-0", "kvm"), ("web-0", "tcg"), ("web-1", "tcg")]
    assert (up.out + up.err).count(ONCE) == 1
    assert verdict(lying).startswith(
        "tcg, since KVM does not work here: firmware ran under it, but no kernel within 1 s"
    )

    assert "nothing changes" in lying.up().out
    lying.spec(2, "hello again")
    repeated = lying.up()
    assert repeated.status == 0, repeated
    assert lying.started_with() == [("web-0", "tcg"), ("web-1", "tcg")]
    assert "KVM" not in repeated.out + repeated.err

    # What an earlier boot of the host has shown is nothing to go by.
    answer = json.loads(answers(lying).read_text())
    answers(lying).write_text(json.dumps({**answer, "boot": "another"}))
    lying.environment["STAND_IN_KVM"] = "works"
    assert lying.fleet("replace", "fleet.yaml", "web-1", "--stack", "test", "--yes").status == 0
    assert lying.started_with() == [("web-1", "kvm")]
    assert verdict(lying).startswith("kvm: a kernel ran under it on this boot of the host")


def test_plain_pulumi_says_it_too_and_nodes_that_start_at_once_take_turns(lying: Stack) -> None:
    lying.spec(3, "hello")
    lying.edit("fleet.yaml", "count: 3", "count: 3\n    rollout: {window: 100%}")
    lying.pulumi("stack", "init", "test")
    up = lying.pulumi("up", "--yes", "--stack", "test", "--non-interactive", "--skip-preview")
    assert up.status == 0, up
    started = lying.started_with()
    assert sorted(accelerator for _, accelerator in started) == ["kvm", "tcg", "tcg", "tcg"]
    assert "KVM does not work on this host: firmware ran under it, but no kernel within 1 s" in up.out


def test_where_kvm_brings_a_kernel_to_run_nodes_have_it(host: Stack) -> None:
    host.spec(2, "hello")
    up = host.up()
    assert up.status == 0, up
    assert host.started_with() == [("web-0", "kvm"), ("web-1", "kvm")]
    assert "KVM" not in up.out + up.err
    assert json.loads(answers(host).read_text())["works"] is True


def test_a_stack_chooses_its_accelerator_for_later_starts_and_the_environment_for_its_host(host: Stack) -> None:
    host.environment["STAND_IN_KVM"] = "missing"
    host.spec(1, "hello")
    assert host.up().status == 0
    assert host.started_with() == [("web-0", "tcg")]

    host.make_project(f"{{port_offset: {OFFSET}, accelerator: kvm}}")
    assert "nothing changes" in host.up().out
    host.spec(1, "hello again")
    refused = host.up()
    assert refused.status == 1
    assert (
        "KVM is chosen as the accelerator, but does not work on this host: QEMU refuses it (Could not access KVM "
        in (refused.err.replace("\n", " "))
    )
    assert "stopping" not in refused.out

    host.environment["FLEET_QEMU_ACCELERATOR"] = "tcg"
    assert host.up().status == 0
    assert host.started_with() == [("web-0", "tcg")]
    assert verdict(host).startswith("FLEET_QEMU_ACCELERATOR says tcg")


def test_kvm_that_was_chosen_and_hangs_is_an_error_and_no_machine_is_left(lying: Stack) -> None:
    lying.make_project(f"{{port_offset: {OFFSET}, accelerator: kvm}}")
    lying.spec(1, "hello")
    for _ in range(2):
        up = lying.up()
        assert up.status == 1
        assert "no kernel within 1 s" in up.err
        assert "to have KVM tried anew, remove " in up.err.replace("\n", " ")
    assert lying.started_with() == [("web-0", "kvm")]
    assert not (lying.path / ".fleet/test/nodes/web-0").exists()
    assert not (lying.path / ".fleet/test/network").exists()
