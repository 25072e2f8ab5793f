"""Compose files as people write them: each runs on a node, or is refused with a line for everything that cannot.

Each folder of ``data/compose`` is one project in the shape of well-known software. Its first line says what the spec
has beside; a line that cannot be mapped ends in ``# refused: WHY``.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from fleet.errors import UsageError
from fleet.planner import plan_spec
from fleet.platforms import platform
from fleet.spec import Resolver
from tests.judge import Judge

CORPUS = Path(__file__).parent / "data" / "compose"
PROJECTS = sorted(path.name for path in CORPUS.iterdir())
HEAD = re.compile(r"# spec: (.*)")
REFUSED = re.compile(r"# refused:? ?(.*)$")


def refused_lines(folder: Path) -> dict[str, str]:
    """What is to be refused, by file and line, and a part of what is to be said."""
    return {
        f"{path.relative_to(folder)}:{number}": found[1]
        for path in sorted(folder.rglob("*.yaml"))
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if (found := REFUSED.search(line))
    }


REFUSALS = {name: lines for name in PROJECTS if (lines := refused_lines(CORPUS / name))}
RUNNING = [name for name in PROJECTS if name not in REFUSALS]


def ignition(name: str, scratch: Path) -> str:
    """The config of the node that a project of the corpus runs on."""
    folder = scratch / name
    shutil.copytree(CORPUS / name, folder / "deploy")
    head = HEAD.match((folder / "deploy" / "compose.yaml").read_text())
    assert head
    group: dict[str, Any] = yaml.safe_load(head[1])
    spec: dict[str, Any] = {key: group.pop(key) for key in ("variables", "secrets") if key in group}
    group["compose"] = {**group.get("compose", {}), "path": "deploy/compose.yaml"}
    (folder / "fleet.yaml").write_text(yaml.safe_dump({**spec, "name": name, "groups": {"app": group}}))
    where = platform("qemu", project=folder, stack="test")
    plan = plan_spec(folder / "fleet.yaml", Resolver(reveal=False), where, need_lock=False)
    return next(iter(plan.nodes)).config.ignition


def test_the_corpus_is_large_and_most_of_it_runs() -> None:
    assert len(PROJECTS) >= 30
    assert len(RUNNING) > 2 * len(REFUSALS) - 5


def test_what_runs_passes_the_generator_and_systemd(judge: Judge, tmp_path: Path) -> None:
    for name in RUNNING:
        config = ignition(name, tmp_path)
        judge.apply(config)
        services = judge.services()
        expected = re.findall(r'"path":"/etc/containers/systemd/([a-z0-9_-]+)\.container"', config)
        assert {f"{each}.service" for each in expected} <= services.keys(), name
        assert expected or "docker.service" in config, name
        assert judge.verify(services) == "", name


@pytest.mark.parametrize("name", REFUSALS)
def test_what_cannot_run_is_refused_with_a_line_for_each_key(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        ignition(name, tmp_path)
    message = dict(re.findall(r"^\S*?/deploy/(\S+?:\d+):\d+: (.*)$", str(caught.value), re.MULTILINE))
    assert message.keys() == REFUSALS[name].keys(), str(caught.value)
    for line, part in REFUSALS[name].items():
        assert part in message[line], (line, message[line])
