"""The history of rollouts: what is kept of them, what the state says of the last one, and how they are shown."""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fleet.dynamic import history as noted
from fleet.dynamic import record, tokens
from fleet.dynamic.gate import GateProvider
from fleet.dynamic.packing import pack, unpack
from fleet.dynamic.ready import ReadyProvider
from fleet.errors import FleetError
from fleet.ops.history import Begun, noting
from fleet.plan import Change, Disk, DiskChange, FleetPlan, LockedImage, NodeChange, NodePlan, PastRollout
from fleet.planner import plan_spec
from fleet.platforms import Platform, platform
from fleet.program.history import History, with_change
from fleet.program.state import with_state
from fleet.spec import Resolver
from fleet.view.source import history_entry
from tests.conftest import STACK, Folder
from tools.cache import ROOT

Resources = list[dict[str, Any]]
SPEC = """\
version: 1
name: web
groups:
  web:
    count: 3
    size: small
    containers: {hello: {image: docker.io/library/caddy:2, environment: {GREETING: one}}}
    data_disks: {site: {size_gib: 2, mount: /var/site}}
"""


def generations(outputs: dict[str, Any]) -> list[tuple[list[int], str]]:
    return [(list(numbers), configs["a"][0]) for numbers, configs in record.generations(outputs)]


def recorded(*rollouts: tuple[str, int]) -> dict[str, Any]:
    """The outputs of a record after rollouts, each of a config for node ``a``, and its number."""
    provider, outs = record.RecordProvider(), dict[str, Any]()
    for config, number in rollouts:
        news = {"digest": config, "configs": pack({"a": [config, config]}), "rollout": number}
        if not outs:
            outs = dict(provider.create(news).outs or {})
        elif provider.diff("record", outs, news).changes:
            outs = dict(provider.update("record", outs, news).outs or {})
        # What comes through the engine is of floats.
        outs = json.loads(json.dumps(outs), parse_int=float)
    return outs


def test_configs_are_kept_under_the_numbers_of_all_rollouts_that_ended_with_them() -> None:
    outputs = recorded(("one", 1), ("two", 2), ("two", 2), ("two", 4), ("three", 5))
    assert generations(outputs) == [([5], "three"), ([4, 2], "two"), ([1], "one")]
    assert unpack(outputs["previous"]) == {"a": ["two", "two"]}
    assert outputs["rollout"] == 5


def test_the_oldest_configs_go_when_they_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    rollouts = [(f"{number}", number) for number in range(1, 20)]
    retained = generations(recorded(*rollouts))
    assert [numbers for numbers, _ in retained] == [[number] for number in range(19, 9, -1)]
    assert [config for _, config in retained] == [str(number) for number in range(19, 9, -1)]
    monkeypatch.setattr(record, "MOST_CHARACTERS", len(pack([{"a": ["1"]}], quick=True)))
    retained = generations(recorded(*rollouts))
    assert [config for _, config in retained[:3]] == ["19", "18", "17"]
    assert len(retained) < 10


def test_a_record_of_an_earlier_fleet_is_rollout_1_and_changes_only_with_its_configs() -> None:
    earlier = {"digest": "two", "configs": pack({"a": ["two", "two"]}), "previous": pack({"a": ["one", "one"]})}
    provider = record.RecordProvider()
    assert generations(earlier) == [([1], "two"), ([], "one")]
    assert not provider.diff("record", earlier, {**earlier, "rollout": 1}).changes
    outs = provider.update("record", earlier, {"digest": "3", "configs": pack({"a": ["3", "3"]}), "rollout": 2}).outs
    assert generations(dict(outs or {})) == [([2], "3"), ([1], "two"), ([], "one")]


def test_a_secret_config_of_which_a_mask_is_shown_is_kept_with_what_is_shown() -> None:
    provider, outs = record.RecordProvider(), dict[str, Any]()
    for number in (1, 2, 3):
        news = {"digest": str(number), "configs": pack({"a": [f"s3cret {number}", "(secret)"]}), "rollout": number}
        result = provider.update("record", outs, news) if outs else provider.create(news)
        outs = dict(result.outs or {})
    assert [configs["a"] for _, configs in record.generations(outs)] == [
        (f"s3cret {number}", "(secret)") for number in (3, 2, 1)
    ]


def begun(number: int, run: str, *settled: PastRollout) -> dict[str, Any]:
    """The inputs of a history where a rollout begins."""
    return {
        "rollout": json.dumps(PastRollout(number, command="fleet up").describe()),
        "settled": json.dumps([each.describe() for each in settled]),
        "run": run,
    }


def test_a_rollout_is_noted_once_a_run_with_how_the_one_before_it_turned_out() -> None:
    provider = noted.HistoryProvider()
    first = dict(provider.create(begun(1, "a")).outs or {})
    assert not provider.diff("history", first, begun(1, "a")).changes
    assert not provider.diff("history", first, {}).changes
    assert provider.diff("history", first, begun(2, "b")).changes
    outs = provider.update("history", first, begun(2, "b", PastRollout(1, result="done", ended=7))).outs or {}
    entries = [PastRollout.read(each) for each in unpack(outs["entries"])]
    assert [(each.number, each.result, each.ended) for each in entries] == [(1, "done", 7), (2, "stopped", None)]
    assert entries[1].began >= entries[0].began == 0
    # Another update has begun one since the program has read the state.
    outs = provider.update("history", outs, begun(2, "c")).outs or {}
    assert [each["number"] for each in unpack(outs["entries"])] == [1, 2, 3]


def test_the_oldest_rollouts_go_when_they_are_too_many_or_too_long() -> None:
    entries = [PastRollout(number).describe() for number in range(1, 500)]
    assert [each["number"] for each in unpack(noted.bounded(entries))] == list(range(400, 500))
    long = [{**each, "reason": os.urandom(2000).hex()} for each in entries]
    text = noted.bounded(long)
    assert len(text) <= noted.MOST_CHARACTERS
    assert 10 < len(unpack(text)) < 50
    assert unpack(text)[-1]["number"] == 499
    assert len(unpack(noted.bounded([{"reason": os.urandom(90_000).hex()}]))) == 1


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        (
            {"GITHUB_ACTIONS": "true", "GITHUB_ACTOR": "ada", "GITHUB_RUN_ID": "7", "GITHUB_REPOSITORY": "a/shop"},
            "ada (GitHub Actions, run 7 of a/shop)",
        ),
        ({"GITLAB_CI": "true", "GITLAB_USER_LOGIN": "ada", "CI_JOB_ID": "8"}, "ada (GitLab CI, job 8 of ?)"),
        ({"JENKINS_URL": "https://ci", "BUILD_TAG": "shop-9"}, "unknown (Jenkins, shop-9)"),
        ({"SUDO_USER": "ada\x1b[2J"}, r"ada\?\[2J@.+"),
        ({}, r"\S+@.+"),
    ],
    ids=lambda value: next(iter(value), "") if isinstance(value, dict) else "",
)
def test_who_begins_a_rollout_is_a_user_at_a_host_or_who_started_a_job(
    variables: dict[str, str], expected: str
) -> None:
    said = noted.who({**variables, "GITHUB_TOKEN": "s3cret", "CI_JOB_TOKEN": "s3cret"})
    assert said == expected or re.fullmatch(expected, said)
    assert "s3cret" not in said


def test_the_commit_is_that_of_the_project_and_says_if_files_differ(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert noted.commit() == ""
    (tmp_path / "fleet.yaml").write_text("name: web\n")
    for words in ("init -q", "add .", "-c user.name=ada -c user.email=ada@example.org commit -q -m first"):
        subprocess.run(["git", *words.split()], check=True)
    clean = noted.commit()
    assert re.fullmatch("[0-9a-f]{12}", clean)
    (tmp_path / "fleet.yaml").write_text("name: shop\n")
    assert noted.commit() == f"{clean}+changes"


def test_a_gate_and_a_readiness_keep_their_times_where_nothing_begins_anew() -> None:
    gate: dict[str, Any] = {"node": "a", "trigger": "t", "follow_image": False, "image": "i", "members": 1, "down": 1}
    made = dict(GateProvider().create(gate).outs or {})
    assert made["began"] > 0
    noted_in_place = GateProvider().update("a", {**made, "began": 7.0}, {**gate, "down": 2}).outs or {}
    assert noted_in_place["began"] == 7.0
    ready: dict[str, Any] = {"node": "a", "instance": "a-1", "address": "", "endpoints": {}, "probes": [], "timeout": 1}
    passed = dict(ReadyProvider().create(ready).outs or {})
    assert 0 < passed["began"] <= passed["passed"]
    sealed = ReadyProvider().update("a", {**passed, "passed": 7.0}, {**ready, "hidden": {"s": "s3cret"}}).outs or {}
    assert (sealed["passed"], sealed["hidden"]) == (7.0, {"s": "s3cret"})


def resource(kind: str, name: str, id_: str, outputs: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"urn": f"urn:pulumi:test::web::{kind}::{name}", "type": kind, "id": id_, "outputs": outputs, **more}


class Deployment:
    """A planned fleet on qemu, and a state in which it is deployed as planned."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self.platform: Platform = platform("qemu", project=folder.path, stack="test")
        self.spec = SPEC

    def plan(self, release: str = "44.1") -> FleetPlan:
        plan = plan_spec(self._folder.write("fleet.yaml", self.spec), Resolver(), self.platform, need_lock=False)
        digest = hashlib.sha256(release.encode()).hexdigest()
        disk = Disk(location=f"/{release}.qcow2", sha256=digest, uncompressed_sha256=digest)
        image = LockedImage(release=release, ignition_spec="3.5.0", disks={"qemu": disk}, images={})
        return plan.with_nodes(lambda node: replace(node, image=image))

    def state(self, plan: FleetPlan, *, began: int = 0, ready: int = 0) -> Resources:
        resources = []
        for node in plan.nodes:
            trigger: dict[str, Any] = {"trigger": self.platform.trigger(node), "image": self.platform.image(node)}
            trigger["began"] = float(began)
            shape = {"shape": dict(self.platform.shape(node))}
            config = {"config": node.shown, "digest": node.config.digest, **shape}
            resources += [
                resource(tokens.GATE, node.name, node.name, trigger, inputs=shape),
                resource(self.platform.machine_type, node.name, f"{node.name}-1", {}),
                resource(
                    tokens.READY,
                    node.name,
                    f"{node.name}-1",
                    {"instance": f"{node.name}-1", "began": float(began), "passed": float(ready)},
                ),
                resource(tokens.NODE, node.name, "", config),
            ]
            disk = f"{tokens.DATA_DISK}$pulumi-python:dynamic/fleet:QemuDisk"
            resources.append(
                {
                    **resource("pulumi-python:dynamic/fleet:QemuDisk", f"{node.name}-site", "d", {"size_gib": 1}),
                    "urn": f"urn:pulumi:test::web::{disk}::{node.name}-site",
                }
            )
        return resources

    def change(self, plan: FleetPlan, resources: Resources, *, run: str = "b", **more: Any) -> Change | None:
        """What an update adds, which another run of a command makes than the one of :func:`with_history`."""
        known = with_state(plan, resources)
        return with_change(known, self.platform, resources, run=run, command="fleet up", **more).change

    @staticmethod
    def history(resources: Resources, change: Change) -> dict[str, Any]:
        """The outputs of the history after an update that adds something to it."""
        assert change.rollout
        news = {
            "rollout": json.dumps(change.rollout.describe()),
            "settled": json.dumps([each.describe() for each in change.settled]),
            "run": change.run,
        }
        provider = noted.HistoryProvider()
        olds = next((each["outputs"] for each in resources if each["type"] == tokens.HISTORY), None)
        if olds is None:
            return dict(provider.create(news).outs or {})
        if not provider.diff("history", olds, news).changes:
            return dict(olds)
        return dict(provider.update("history", olds, news).outs or {})


@pytest.fixture
def stack(folder: Folder) -> Deployment:
    return Deployment(folder)


def grown(resources: Resources) -> Resources:
    """A state whose data disks are as large as planned."""
    for each in resources:
        if "size_gib" in each["outputs"]:
            each["outputs"]["size_gib"] = 2
    return resources


def of(resources: Resources, kind: str, name: str) -> dict[str, Any]:
    return next(each for each in resources if each["type"] == kind and each["urn"].endswith(f"::{name}"))


def edit_spec(old: str, new: str) -> Callable[[Deployment, Resources], FleetPlan]:
    def edited(stack: Deployment, _: Resources) -> FleetPlan:
        assert old in stack.spec
        stack.spec = stack.spec.replace(old, new)
        return stack.plan()

    return edited


def edit_node(change: Callable[[NodePlan], NodePlan]) -> Callable[[Deployment, Resources], FleetPlan]:
    return lambda stack, _: stack.plan("44.2").with_nodes(lambda node: change(node) if node.index == 1 else node)


def lose(kind: str) -> Callable[[Deployment, Resources], FleetPlan]:
    def lost(stack: Deployment, resources: Resources) -> FleetPlan:
        resources.remove(of(resources, kind or stack.platform.machine_type, "web-1"))
        return stack.plan()

    return lost


def interrupted(stack: Deployment, resources: Resources) -> FleetPlan:
    of(resources, stack.platform.machine_type, "web-1")["pendingReplacement"] = True
    return stack.plan()


FILE = "file /etc/containers/systemd/hello.container changed"
CHANGES: dict[str, tuple[Callable[[Deployment, Resources], FleetPlan], list[tuple[str, str, str, tuple[str, ...]]]]] = {
    "config": (
        edit_spec("GREETING: one", "GREETING: two"),
        [(f"web-{index}", "re-provisioned", "44.1", (FILE,)) for index in range(3)],
    ),
    "size": (
        edit_spec("size: small", "size: medium"),
        [(f"web-{index}", "re-provisioned", "44.1", ("memory_mib",)) for index in range(3)],
    ),
    "more nodes": (edit_spec("count: 3", "count: 4"), [("web-3", "new", "44.1", ())]),
    "fewer nodes": (edit_spec("count: 3", "count: 2"), [("web-2", "removed", "", ())]),
    "image": (
        edit_node(lambda node: replace(node, follow_image=True)),
        [("web-1", "re-provisioned", "44.2", ("a new image",))],
    ),
    "image of which no node is to follow": (edit_node(lambda node: node), []),
    "as asked": (
        edit_node(lambda node: replace(node, reprovision=True)),
        [("web-1", "re-provisioned", "44.2", ("as asked",))],
    ),
    "not ready": (lose(tokens.READY), [("web-1", "waited for", "", ("it was not ready",))]),
    "no machine": (lose(""), [("web-1", "new", "44.1", ())]),
    "killed between two machines": (interrupted, [("web-1", "re-provisioned", "44.1", ("that was begun before",))]),
    "nothing": (lambda stack, _: stack.plan(), []),
}


@pytest.mark.parametrize("kind", CHANGES)
def test_a_rollout_says_what_it_does_with_each_node_and_why(stack: Deployment, kind: str) -> None:
    resources = grown(stack.state(stack.plan()))
    change, expected = CHANGES[kind]
    plan = change(stack, resources)
    begins = stack.change(plan, resources)
    if not expected:
        assert begins is None, "a state of before has no history until something changes"
        return
    assert begins
    assert begins.rollout
    # One node alone, too, as `fleet replace` has it.
    alone = stack.change(plan, resources, only={"web-1"})
    of_one = alone.rollout.nodes if alone and alone.rollout else ()
    for nodes, wanted in (begins.rollout.nodes, expected), (of_one, [each for each in expected if each[0] == "web-1"]):
        assert [(each.node, each.fate, each.image) for each in nodes] == [(node, *rest) for node, *rest, _ in wanted]
        for node, (*_, reasons) in zip(nodes, wanted, strict=True):
            assert len(node.reasons) == len(reasons)
            assert all(word in reason for word, reason in zip(reasons, node.reasons, strict=True)), node


def test_a_rollout_says_which_data_disks_grow(stack: Deployment) -> None:
    plan = stack.plan()
    begins = stack.change(plan, stack.state(plan))
    assert begins
    assert begins.rollout
    assert begins.rollout.nodes == ()
    assert [(each.disk, each.before, each.after) for each in begins.rollout.disks] == [
        (f"web-{index}-site", 1, 2) for index in range(3)
    ]


def test_a_trigger_that_is_encrypted_in_the_state_and_cannot_be_read_changes_nothing(
    stack: Deployment,
) -> None:
    envelope = {"4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270", "ciphertext": "v1:..."}
    plan = stack.plan()
    resources = grown(stack.state(plan))
    for name in ("web-0", "web-1", "web-2"):
        of(resources, tokens.GATE, name)["outputs"]["trigger"] = envelope
    assert stack.change(plan, resources) is None
    of(resources, tokens.NODE, "web-1")["outputs"]["config"] = '{"ignition": {"version": "3.5.0"}}'
    begins = stack.change(plan, resources)
    assert begins
    assert begins.rollout
    assert [each.node for each in begins.rollout.nodes] == ["web-1"]


def with_history(resources: Resources, *rollouts: PastRollout, **outputs: Any) -> Resources:
    entries = pack([each.describe() for each in rollouts])
    return [*resources, resource(tokens.HISTORY, "web", "history", {"entries": entries, "run": "a"} | outputs)]


def everything(plan: FleetPlan, fate: Any = "re-provisioned") -> tuple[NodeChange, ...]:
    return tuple(NodeChange(node.name, fate) for node in plan.nodes)


def test_how_the_last_rollout_turned_out_follows_from_gates_readinesses_and_the_record(stack: Deployment) -> None:
    plan = stack.plan()
    resources = stack.state(plan, began=110, ready=130)
    rollout = PastRollout(3, began=100, nodes=everything(plan))
    (done,) = History(with_history(resources, rollout)).rollouts
    assert (done.result, done.ended, done.stopped_at) == ("done", 130, "")
    assert {(node.began, node.ready, node.is_done) for node in done.nodes} == {(110, 130, True)}

    # The second one did not get ready, and the third did not have its turn.
    of(resources, tokens.READY, "web-1")["outputs"]["instance"] = "web-1-0"
    for kind in (tokens.GATE, tokens.READY):
        of(resources, kind, "web-2")["outputs"] |= {"began": 10.0, "passed": 20.0}
    history = History(with_history(resources, rollout, stopped={"reason": "503"}))
    (stopped,) = history.rollouts
    assert (stopped.result, stopped.ended, stopped.stopped_at, stopped.reason) == ("stopped", None, "web-1", "503")
    assert [(node.began, node.ready, node.is_done) for node in stopped.nodes] == [
        (110, 130, True),
        (110, None, False),
        (None, None, False),
    ]
    # A gate refused the first one.
    for name in ("web-0", "web-1"):
        of(resources, tokens.GATE, name)["outputs"]["began"] = 10.0
        of(resources, tokens.READY, name)["outputs"] |= {"began": 10.0, "passed": 20.0, "instance": f"{name}-1"}
    (refused,) = History(with_history(resources, rollout)).rollouts
    assert (refused.result, refused.stopped_at) == ("stopped", "web-0")
    # The next rollout begins with what became of it.
    stack.spec = stack.spec.replace("GREETING: one", "GREETING: two")
    begins = stack.change(stack.plan(), grown(with_history(resources, rollout)))
    assert begins
    assert begins.settled == (refused,)
    assert begins.rollout
    assert (begins.rollout.number, begins.whole) == (4, 4)


def test_a_rollout_without_nodes_or_with_nodes_that_go_is_done_when_they_are_gone(stack: Deployment) -> None:
    plan = stack.plan()
    resources = stack.state(plan, began=10, ready=20)
    ended = resource(tokens.RECORD, "web", "record", {"rollout": 3.0, "ended": 150.0, "generations": [[3.0], [1.0]]})
    removed = PastRollout(3, began=100, nodes=(NodeChange("web-2", "removed"),))
    history = History(with_history([*resources, ended], removed))
    assert [(each.result, each.stopped_at) for each in history.rollouts] == [("stopped", "web-2")]
    gone = [each for each in resources if not each["urn"].endswith("::web-2")]
    history = History(with_history([*gone, ended], removed))
    assert [(each.result, each.ended) for each in history.rollouts] == [("done", 150)]
    assert history.kept == [1, 3]
    disks = PastRollout(3, began=100)
    assert [each.result for each in History(with_history([*resources, ended], disks)).rollouts] == ["done"]
    assert [each.result for each in History(with_history(resources, disks)).rollouts] == ["stopped"]


@pytest.mark.parametrize("before", ["nothing", "a record", "a rollout", "a machine that came since"])
@pytest.mark.parametrize("reads", ["once", "anew"])
def test_a_run_that_updates_the_stack_twice_begins_one_rollout_which_the_record_and_the_next_run_know(
    stack: Deployment, before: str, reads: str
) -> None:
    old = stack.plan()
    began = grown(stack.state(old, began=110, ready=130))
    if before != "nothing":
        ended = {"rollout": 3.0, "ended": 150.0} if before != "a record" else {}
        began.append(resource(tokens.RECORD, "web", "record", {**ended, "digest": "one", "configs": pack({})}))
    if before in ("a rollout", "a machine that came since"):
        began = with_history(began, PastRollout(3, began=100, nodes=everything(old)))
    if before == "a machine that came since":
        of(began, tokens.READY, "web-1")["outputs"] |= {"began": 9000.0, "passed": 9030.0}
    stack.spec = stack.spec.replace("GREETING: one", "GREETING: two")
    new = stack.plan()

    # What is sick first, then the others; a spec's program has read the state once, a user's reads it each time.
    first = stack.change(new, began, run="b")
    assert first
    half = [each for each in began if each["type"] != tokens.HISTORY]
    half = [each for each in half if not each["urn"].endswith("::web-1")]
    since = int(time.time())
    renewed = grown(stack.state(new, began=since, ready=since + 1))
    half += [each for each in renewed if each["urn"].endswith("::web-1")]
    half.append(resource(tokens.HISTORY, "web", "history", stack.history(began, first)))
    second = stack.change(new, half if reads == "anew" else began, run="b")
    assert second
    assert stack.history(half, second) == half[-1]["outputs"], "it is noted once"
    (*_, noted_rollout) = History(half).rollouts
    assert first.whole == second.whole == noted_rollout.number
    assert noted_rollout.number == {"nothing": 1, "a record": 2, "a rollout": 4, "a machine that came since": 5}[before]

    # The next command finds all done, and nothing to note.
    done: dict[str, Any] = {"digest": "two", "configs": pack({}), "generations": [[second.whole]]}
    done |= {"rollout": float(second.whole), "ended": since + 2.0}
    whole = [*renewed, half[-1], resource(tokens.RECORD, "web", "record", done)]
    (*_, last) = History(whole).rollouts
    assert (last.number, last.result) == (noted_rollout.number, "done")
    third = stack.change(new, whole, run="c")
    assert third
    assert third.rollout is None
    assert not record.RecordProvider().diff("record", done, {"digest": "two", "rollout": third.whole}).changes


def test_a_machine_that_came_since_the_last_rollout_is_not_taken_for_a_part_of_it(stack: Deployment) -> None:
    plan = stack.plan()
    resources = stack.state(plan, began=110, ready=130)
    ended = resource(tokens.RECORD, "web", "record", {"rollout": 3.0, "ended": 150.0})
    of(resources, tokens.READY, "web-1")["outputs"] |= {"began": 9000.0, "passed": 9030.0}
    rollout = PastRollout(3, began=100, nodes=everything(plan))
    done, since = History(with_history([*resources, ended], rollout)).rollouts
    assert (done.number, done.result, done.ended) == (3, "done", 150)
    assert [node.ready for node in done.nodes] == [130, None, 130]
    assert (since.number, since.began, since.ended, since.who) == (4, 9000, 9030, "")
    assert [node.node for node in since.nodes] == ["web-1"]
    begins = stack.change(stack.plan(), with_history([*resources, ended], rollout))
    assert begins
    assert begins.rollout
    assert (begins.rollout.number, begins.settled) == (5, (done, since))


def test_a_rollout_of_a_later_fleet_is_read_as_far_as_it_is_known() -> None:
    later = {**PastRollout(1, nodes=(NodeChange("a", "new", ("why",)),)).describe(), "mood": "good"}
    later["nodes"][0]["colour"] = "blue"
    assert PastRollout.read(json.loads(json.dumps(later))) == PastRollout(1, nodes=(NodeChange("a", "new", ("why",)),))


class Exported:
    """What a command has of a stack, as far as noting needs it, and what is written into the state."""

    def __init__(self, resources: Resources, **more: Any) -> None:
        self._state = SimpleNamespace(deployment={"resources": resources, **more})
        self.automation = SimpleNamespace(import_stack=self._import)
        self.imported: Any = None

    def export(self) -> tuple[Any, Resources]:
        return self._state, list(self._state.deployment["resources"])

    def _import(self, state: Any) -> None:
        self.imported = state.deployment["resources"]


STOPS: dict[str, tuple[dict[str, Any], str, str | None]] = {
    "as it is": ({}, "web-1: 503, not s3cret. Its console ends:\nnoise", "web-1: 503, not (secret pin)."),
    "a long one": ({}, "x" * 1000, "x" * 299 + "…"),
    "begun by another run": ({"run": "b"}, "503", None),
    "a full disk": ({}, "write .pulumi/web.json: no space left on device", None),
    "something half made": ({"pending_operations": [{"type": "creating", "resource": {}}]}, "503", None),
    "done": ({"began": 110}, "a name's record", None),
}
"""By kind: what is different in the state; the error; what is noted of it."""


@pytest.mark.parametrize("kind", STOPS)
def test_why_a_rollout_stopped_is_noted_with_it_and_nowhere_else(stack: Deployment, kind: str) -> None:
    more, error, expected = STOPS[kind]
    plan = stack.plan().with_nodes(lambda node: replace(node, hidden={"pin": "s3cret"}))
    rollout = PastRollout(3, began=100, nodes=everything(plan))
    began = more.get("began", 10)
    resources = with_history(stack.state(plan, began=began, ready=began), rollout, run=more.get("run", "a"))
    resources = [*resources, {"type": tokens.FLEET, "urn": f"urn:pulumi:test::web::{tokens.FLEET}::web"}]
    pending = {key: value for key, value in more.items() if key == "pending_operations"}
    exported = Exported(resources, **pending)
    with (
        pytest.raises(FleetError, match=re.escape(error[:20])),
        noting(exported, Begun("fleet up", run="a"), lambda: [plan]),  # type: ignore[arg-type]
    ):
        raise FleetError(error)
    if expected is None:
        assert exported.imported is None
    else:
        assert History(exported.imported).rollouts[-1].reason == expected


REASONS = ("file /etc/motd changed", "a new image")
LISTED = (
    PastRollout(
        7,
        began=1764324000,
        who="ada@laptop",
        commit="0123456789ab+changes",
        command="fleet up",
        nodes=tuple(
            NodeChange(f"web-{index}", "re-provisioned", REASONS, "44.2", False, 1764324000, 1764324061, is_done=True)
            for index in range(9)
        ),
        result="done",
        ended=1764327665,
    ),
    PastRollout(
        8,
        began=1764330000,
        who="ada@laptop",
        command="fleet rollback --to 3",
        back_to=3,
        nodes=(NodeChange("web-0", "re-provisioned", ("as asked",), surge=True), NodeChange("web-9", "removed")),
        disks=(DiskChange("web-1-site", 1, 2),),
    ),
)  # fmt: skip


@pytest.fixture
def listed(folder: Folder) -> Folder:
    """A project whose stack has the history of two rollouts, of which the second has not ended."""
    folder.make_project("{}")
    gate = resource(tokens.GATE, "web-0", "web-0", {"began": 1764330001.0})
    record = resource(tokens.RECORD, "web", "record", {"rollout": 7.0, "generations": [[7.0], [], [3.0]]})
    resources = with_history([gate, record], *LISTED, stopped={"reason": "Node web-0 is not ready: status 503."})
    state = {"version": 3, "checkpoint": {"stack": "test", "latest": {"resources": resources}}}
    folder.write(".pulumi/stacks/web/test.json", json.dumps(state))
    folder.environment.pop("PULUMI_CONFIG_PASSPHRASE")
    return folder


def test_a_history_is_a_line_a_rollout(listed: Folder) -> None:
    shown = listed.fleet("history", *STACK)
    assert shown.status == 0, shown
    _, first, second, note = [re.split(r"\s{2,}", line.strip()) for line in shown.out.splitlines()]
    together = "web-0...web-8: re-provisioned: file /etc/motd changed, a new image, image 44.2"
    assert first == ["7", "2025-11-28T10:00:00Z", "ada@laptop", together, "1 h 1 min", "done"]
    assert second == [
        "8 -",
        "2025-11-28T11:40:00Z",
        "ada@laptop",
        "back to 3; web-0: re-provisioned: as asked (surge); web-9: removed; web-1-site: grown from 1 to 2 GiB",
        "-",
        "stopped at web-0: status 503.",
    ]
    assert note[0].startswith("-: its configs are not kept")


def test_a_rollout_of_a_history_is_shown_in_full(listed: Folder) -> None:
    lines = listed.fleet("history", "fleet.yaml", "7", "--stack", "test").out.splitlines()
    assert lines[0] == "Rollout 7: done"
    assert "  commit:  0123456789ab+changes" in lines
    assert "  configs: kept" in lines
    assert lines[-9:] == [
        f"  web-{index}  done after 1 min 1 s  re-provisioned: file /etc/motd changed, a new image, image 44.2"
        for index in range(9)
    ]
    lines = listed.fleet("history", "fleet.yaml", "8", "--stack", "test").out.splitlines()
    assert lines[0] == "Rollout 8: stopped at web-0: status 503."
    assert lines[-3:] == [
        "  web-0  not ready  re-provisioned: as asked (surge)",
        "  web-9  done  removed",
        "  web-1-site  grown from 1 to 2 GiB",
    ]
    missing = listed.fleet("history", "fleet.yaml", "9", "--stack", "test")
    assert (missing.status, missing.out) == (2, "")
    assert missing.err == "Error: The history of stack test has no rollout 9. It has 7, 8.\n"


def test_a_history_as_json_has_the_keys_that_its_page_has_and_no_other(listed: Folder) -> None:
    lines = [json.loads(line) for line in listed.fleet("history", *STACK, "--json").out.splitlines()]
    assert [(line["version"], line["number"], line["configs_kept"]) for line in lines] == [(1, 7, True), (1, 8, False)]
    assert lines[0]["nodes"][0]["ready"] == "2025-11-28T10:01:01Z"
    assert lines[1]["ended"] is None
    page = (ROOT / "docs/reference/history.md").read_text()
    documented = {
        key for row in re.findall(r"^\| (`.*?) \|", page, re.M) for key in re.findall(r"`(\w+)`", row)
    }  # fmt: skip
    assert documented == {*lines[0], *lines[0]["nodes"][0]}
    assert all(f"`{key}`" in page for key in lines[1]["disks"][0])


def test_a_rollout_is_running_while_its_stack_is_locked(listed: Folder) -> None:
    lock = {"pid": os.getpid(), "username": "ada", "hostname": "elsewhere", "timestamp": "2025-11-28T11:40:00Z"}
    listed.write(".pulumi/locks/organization/web/test/1.json", json.dumps(lock))
    assert "running at web-0\n" in listed.fleet("history", *STACK).out
    # One whose holder was killed on this machine says nothing.
    listed.write(".pulumi/locks/organization/web/test/1.json", json.dumps({**lock, "hostname": socket.gethostname()}))
    assert "running" not in listed.fleet("history", *STACK).out


def test_a_stack_without_a_rollout_has_no_history_and_a_mistyped_one_is_an_error(listed: Folder) -> None:
    state = {"version": 3, "checkpoint": {"stack": "test", "latest": {}}}
    listed.write(".pulumi/stacks/web/test.json", json.dumps(state))
    assert listed.fleet("history", *STACK).out == "Stack test has had no rollout yet.\n"
    assert listed.fleet("history", *STACK, "--json").out == ""
    wrong = listed.fleet("history", "fleet.yaml", "--stack", "tset")
    assert wrong.status == 2
    assert "There is no stack tset in project web. Did you mean `test`?" in wrong.err


def test_a_rollout_on_the_page_has_all_that_the_page_shows_of_it() -> None:
    first, second = map(history_entry, LISTED)
    assert (first["duration"], first["nodes"][0]["seconds"], first["time"]) == (3665, 61, "2025-11-28T10:00:00Z")
    assert second["summary"].startswith("back to 3; web-0: re-provisioned: as asked (surge)")
    assert (second["result"], second["duration"], second["nodes"][0]["seconds"]) == ("stopped", None, None)
    script = (ROOT / "fleet/view/static/view.js").read_text()
    _, _, function = script.partition("function historyEntry(entry) {")
    shown = function.partition("\n}\n")[0]
    assert {*re.findall(r"\bentry\.(\w+)", shown)} == first.keys()
    assert {*re.findall(r"\bnode\.(\w+)", shown)} == first["nodes"][0].keys()
