"""History: the rollouts of a stack, as its state keeps them, so that every machine sees the same.

The resource is changed first in an update that touches nodes, before any is touched: what is begun is noted, whoever
runs it, and stays noted if it fails. How it turns out is in no resource that the history could read without being
replaced with it; it follows from the state (:mod:`fleet.program.history`), and is noted when the next rollout begins.
A stack on which nothing has changed since a fleet that kept no history has none of these.

A reason why an update stopped is known to who runs it alone. `fleet up` writes it into the outputs (``stopped``)
afterwards; of plain Pulumi's updates, it is not known.
"""

from __future__ import annotations

import getpass
import json
import os
import re
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, UpdateResult

from fleet.dynamic import tokens
from fleet.dynamic.packing import pack, unpack
from fleet.dynamic.provider import DynamicResource, Provider

if TYPE_CHECKING:
    from fleet.plan.history import Change

MOST_ROLLOUTS = 100
"""How many the history keeps."""
MOST_CHARACTERS = 65_536
"""How long they may be, packed; the oldest go first."""
_LONGEST_NAME = 120
_GIT_SECONDS = 10

_CI = {
    "GITHUB_ACTIONS": ("GITHUB_ACTOR", "GitHub Actions, run {GITHUB_RUN_ID} of {GITHUB_REPOSITORY}"),
    "GITLAB_CI": ("GITLAB_USER_LOGIN", "GitLab CI, job {CI_JOB_ID} of {CI_PROJECT_PATH}"),
    "BUILDKITE": ("BUILDKITE_BUILD_CREATOR", "Buildkite, build {BUILDKITE_BUILD_NUMBER} of {BUILDKITE_PIPELINE_SLUG}"),
    "CIRCLECI": ("CIRCLE_USERNAME", "CircleCI, build {CIRCLE_BUILD_NUM} of {CIRCLE_PROJECT_REPONAME}"),
    "TF_BUILD": ("BUILD_REQUESTEDFOR", "Azure Pipelines, run {BUILD_BUILDID} of {BUILD_DEFINITIONNAME}"),
    "JENKINS_URL": ("BUILD_USER_ID", "Jenkins, {BUILD_TAG}"),
}
"""By the variable that names a CI: the one with who started the job, and the job in words (each CI's documentation of
its predefined variables). None of them is a secret."""


class HistoryProvider(Provider, name="fleet.dynamic.history:HistoryProvider"):
    """Notes the rollouts: outputs ``entries``, packed, and the ``run`` that began the last one."""

    def diff(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        """A change where a rollout begins, which the same run has not begun already."""
        return DiffResult(changes="rollout" in news and olds.get("run") != news["run"])

    def create(self, props: dict[str, Any]) -> CreateResult:
        """Note the first rollout."""
        return CreateResult("history", _noted([], props))

    def update(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> UpdateResult:
        """Note another one, and how those before it turned out."""
        return UpdateResult(_noted(unpack(olds["entries"]), news))


class History(DynamicResource, token=tokens.HISTORY, provider=HistoryProvider):
    """The rollouts of a fleet.

    Args:
        fleet: The fleet's name.
        change: What this update adds.
        opts: Resource options.
    """

    def __init__(self, fleet: str, change: Change, *, opts: pulumi.ResourceOptions) -> None:
        props: dict[str, Any] = {}
        if change.rollout:
            # As text: what goes through the engine as a number comes back as a float.
            props = {
                "rollout": json.dumps(change.rollout.describe()),
                "settled": json.dumps([each.describe() for each in change.settled]),
                "run": change.run,
            }
        super().__init__(fleet, props, opts)


def _noted(entries: list[dict[str, Any]], props: Mapping[str, Any]) -> dict[str, Any]:
    """The outputs with a rollout that begins now."""
    settled, began = json.loads(props.get("settled", "[]")), json.loads(props.get("rollout", "null"))
    # Those of the state, but for what another update may have added since the program has read it.
    known = {each["number"]: each for each in (*entries, *settled)}
    listed = [known[number] for number in sorted(known)]
    if began:
        number = max([began["number"], *(number + 1 for number in known)])
        now = {"number": number, "began": int(time.time()), "who": who(os.environ), "commit": commit()}
        listed.append({**began, **now})
    return {"entries": bounded(listed), "run": props.get("run", "")}


def bounded(entries: Sequence[Mapping[str, Any]]) -> str:
    """The newest of some rollouts, packed, as many as are kept; the last one always is."""
    retained = list(entries[-MOST_ROLLOUTS:])
    while len(text := pack(retained, quick=True)) > MOST_CHARACTERS and len(retained) > 1:
        # Each time a fifth of them, so that even of many few are packed in vain.
        retained = retained[max(1, len(retained) // 5) :]
    return text


def who(environment: Mapping[str, str]) -> str:
    """Who runs this process: a user at a host; in a CI, who started the job, and which it is.

    Args:
        environment: The process's variables.
    """
    for variable, (actor, job) in _CI.items():
        if environment.get(variable):
            place = re.sub(r"\{(\w+)\}", lambda match: environment.get(match[1], "?"), job)
            return _clean(f"{environment.get(actor) or 'unknown'} ({place})")
    try:
        user = environment.get("SUDO_USER") or getpass.getuser()
    except (OSError, KeyError):
        # A container may run as a user that its image has no name of.
        user = str(os.getuid())
    return _clean(f"{user}@{socket.gethostname()}")


def commit() -> str:
    """The commit of the Git repository that this process works in, shortened; empty without Git or a repository."""
    try:
        head = _git("rev-parse", "--short=12", "HEAD")
        # The state may be in the repository, and is just being written.
        differs = _git("status", "--porcelain", "--untracked-files=no", "--", ".", ":(exclude).pulumi")
    except (OSError, subprocess.SubprocessError):
        return ""
    return f"{head}+changes" if differs else head


def _git(*words: str) -> str:
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
    return subprocess.run(
        ["git", *words], capture_output=True, text=True, check=True, timeout=_GIT_SECONDS, env=environment
    ).stdout.strip()


def _clean(text: str) -> str:
    """A name that others chose, without what a terminal would obey."""
    return re.sub(r"[^\x20-\x7e\xa1-\U0010ffff]", "?", text)[:_LONGEST_NAME]
