"""What the page is about: a stack that is looked at, as snapshots."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from fleet.ops.history import Listed, result_of, rollouts_of, summary, utc
from fleet.ops.observe import Answer, Observation, Observer
from fleet.ops.progress import WAITING, Stage, Step, finished
from fleet.plan import NodePlan, PastRollout
from fleet.program.exported import resources_of
from fleet.view.snapshot import Asked, Json, Running, Seen, snapshot

CONSOLE_LINES = 60
"""Of a console that are kept in an exported page."""


class StackSource:
    """A stack as a :class:`fleet.view.server.Source`. It remembers what nodes were seen doing while an update goes on.

    Args:
        observer: Looks at the stack.
        clock: Seconds since 1970.
    """

    def __init__(self, observer: Observer, *, clock: Callable[[], float] = time.time) -> None:
        self._observer, self._clock = observer, clock
        self._noted: dict[str, list[Step]] = {}
        self._since: float | None = None
        self._names: frozenset[str] = frozenset()

    def look(self, *, wait: bool = False) -> Json:
        """The snapshot of now.

        Args:
            wait: With what nodes answer now.
        """
        seen = self._observer.look(wait=wait)
        update = seen.update
        if update and update.since != self._since:
            self._noted = {}
        self._since = update.since if update else None
        known = seen.stages
        planned = {node.name: node for node in seen.plan.nodes}
        nodes = {
            name: self._seen(name, planned.get(name), known.get(name, Stage("none")), seen)
            for name in [
                *planned,
                *(name for name, stage in known.items() if name not in planned and stage.phase != "none"),
            ]
        }
        self._names = frozenset(nodes)
        return snapshot(
            seen.topology,
            nodes,
            spec=str(self._observer.spec),
            stack=self._observer.stack_name,
            running=Running(update.since, update.holder) if update else None,
            finished=finished(seen.deployment),
            history=[history_entry(each.rollout) for each in reversed(_rollouts(seen))],
            trouble=seen.trouble,
        )

    def detail(self, node: str) -> Json | None:
        """What the page shows of one node alone; ``None``: there is no such node."""
        if node not in self._names:
            return None
        console, note = self._observer.console(node)
        return {**self._config(node), "console": console, "note": note}

    def exported_detail(self, node: str, *, console: bool) -> Json:
        """The same for a page that is passed on.

        Args:
            node: The node.
            console: With the end of its console.
        """
        text, note = self._observer.console(node) if console else ("", "")
        kept = "\n".join(text.splitlines()[-CONSOLE_LINES:])
        return {**self._config(node), "console": kept, "note": note or "Left out of this file: the node is ready."}

    def changes(self) -> Json:
        """What an update would change, as of now."""
        return {"nodes": self._observer.changes()}

    def _config(self, node: str) -> Json:
        listed = self._observer.config(node)
        return {"config": [{"kind": kind, "name": name, "text": text} for kind, name, text in listed]}

    def _seen(self, name: str, plan: NodePlan | None, stage: Stage, seen: Observation) -> Seen:
        deployed, answer = seen.deployed, seen.answers.get(name)
        changes = seen.changing.get(name)
        if seen.update:
            self._note(
                name, stage, answer, waits=bool(plan and (changes or stage.phase == "none")), since=seen.update.since
            )
        peer = deployed.peer(name) if name in deployed.machines and name in deployed.nodes else None
        return Seen(
            stage=stage,
            planned=plan is not None,
            changes=changes,
            address=str(peer.address) if peer else "",
            endpoints=peer.endpoints if peer else {},
            ssh=self._observer.login(name) if stage.machine else "",
            settle=plan.settle or 0 if plan else 0,
            asked=Asked(answer.when, answer.reason, answer.report) if answer else None,
            noted=tuple(self._noted.get(name, ())),
        )

    def _note(self, name: str, stage: Stage, answer: Answer | None, *, waits: bool, since: float) -> None:
        """Note what a node does while an update goes on, if it does something else than before."""
        now = self._clock()
        steps = self._noted.setdefault(name, [])
        phase, text = stage.phase, ""
        if phase == "starting":
            phase, text = self._phase(answer)
        elif phase in ("none", "ready"):
            if not waits or (stage.ready is not None and stage.ready >= since):
                return
            phase = WAITING
            now = now if steps else since
        if not steps or steps[-1].phase != phase:
            steps.append(Step(phase, now, text))
        elif steps[-1].text != text and text:
            steps[-1] = Step(phase, steps[-1].since, text)

    def _phase(self, answer: Answer | None) -> tuple[str, str]:
        """Where a node is that has a machine and is not ready yet."""
        if answer is None or answer.phase is None:
            return "booting", ""
        return answer.phase.step, str(answer.phase)


def _rollouts(seen: Observation) -> list[Listed]:
    return rollouts_of(resources_of(seen.deployment), is_updating=seen.update is not None)


def history_entry(rollout: PastRollout) -> Json:
    """A rollout as the page shows it; how long it and each node took is in seconds, ``None`` where it is not known."""
    nodes = [
        {
            "node": node.node,
            "what": node.fate,
            "why": ", ".join(node.reasons),
            "seconds": node.ready - node.began if node.ready and node.began else None,
        }
        for node in rollout.nodes
    ]
    return {
        "number": rollout.number,
        "result": rollout.result,
        "time": utc(rollout.began) if rollout.began else "",
        "duration": rollout.ended - rollout.began if rollout.ended and rollout.began else None,
        "who": rollout.who,
        "summary": f"{summary(rollout)}: {result_of(rollout)}" if rollout.result != "done" else summary(rollout),
        "nodes": nodes,
    }


def details(source: StackSource, shown: Mapping[str, Json]) -> dict[str, Json]:
    """What an exported page has of each node alone: consoles of those alone that are not ready.

    Args:
        source: The stack.
        shown: The snapshot's nodes.
    """
    return {
        name: source.exported_detail(name, console=node["state"] != "ready" and bool(node["machine"]))
        for name, node in shown.items()
    }
