"""The pages and pictures of the docs that the program makes: ``python -m tools.reference`` writes them anew."""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from fleet.model import Model, attributes
from fleet.ops.events import EVENTS_VERSION, TYPES, NodeResult
from fleet.ops.graph import drawn
from fleet.ops.status import STATUS_VERSION, ContainerStatus, NodeStatus
from fleet.ops.topology import read_topology
from fleet.plan.report import CAUSES, REPORT_VERSION, DiskReport, JobReport, Report, UnitReport, UpdateReport
from fleet.platforms import names as platform_names
from fleet.workloads import Build, Container, HealthCheck, ImagePull, Network, Pod, Volume
from fleet.workloads.rendering import Refused, Way, keys
from tools import model_reference
from tools.help_pages import help_pages
from tools.manual import manual
from tools.wording import item, measured, paragraph, statuses, type_words

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "reference"

_TABLES: tuple[tuple[str, type[Model]], ...] = (
    ("containers", Container),
    ("health", HealthCheck),
    ("pods", Pod),
    ("networks", Network),
    ("volumes", Volume),
    ("images", ImagePull),
    ("builds", Build),
)
_HEAD = """\
# Keys of containers, and how each engine says them

Made by `make docs` from the tables in `fleet/workloads`. Beside each key of a group's containers, and of what they
share, is what it becomes in Podman's Quadlet file (podman-systemd.unit(5)), as an option of `docker run` or
`docker network create` where the group has `engine: docker`, and what it is made of in a Compose file. What is in
capitals is no option, but stands after them; `...` is the rest of several words. [Keys of a spec](spec.md#container)
says what each key means, its type and its limits.
"""


def containers() -> str:
    """The page ``containers.md``."""
    return _HEAD + "".join(_ways(title, model) for title, model in _TABLES)


def _ways(title: str, model: type[Model]) -> str:
    made = f"\n## `{title}`\n\n"
    for field, rendering in keys(model):
        ways = (("Quadlet", rendering.quadlet), ("Docker", rendering.docker), ("Compose", rendering.compose))
        made += paragraph(f"- `{field}`. {' '.join(f'{engine}: {_way(way)}.' for engine, way in ways)}", "  ")
    return made


def _way(way: Way) -> str:
    return f"no ({way.word.removesuffix('.')})" if isinstance(way, Refused) else str(way)


_EVENTS = f"""\
# Events

Made by `make docs` from `fleet/ops/events.py`. With `--json`, `fleet preview`, `up`, `destroy`, `rollback` and
`replace` print what happens as it happens: on standard output, one JSON object a line, in UTF-8, and nothing else.
Commands that change something want `--yes` then. [Exit statuses](exit-statuses.md) are the same as without.

    $ fleet up fleet.yaml --stack prod --yes --json | jq -r 'select(.type == "ready") | "\\(.node) \\(.seconds)"'
    web-0 41.3

Every event has these keys:

- `version`: {EVENTS_VERSION}. Within a version, types and keys are added; none goes or changes its meaning.
- `type`: one of those below.
- `time`: when it happened, in UTC, such as `"2026-11-25T10:42:46.123Z"`.

A stream begins with `begin`, but for warnings, unless the command fails before it has planned anything. It has a
`summary` if the command did what it was asked; else its last event is `error`, whose message is on standard error,
too. What the command line itself refuses, such as an option that is not there, is no event. Ignore types and keys
that you do not know. When nobody reads any more, the command goes on.

No event holds a secret: in its place is `(secret NAME)`.
"""


def events() -> str:
    """The page ``events.md``."""
    links = {NodeResult: "#nodes-of-summary"}
    made = "".join(f"\n## `{name}`\n\n{_lead(kind)}\n{_keys(kind, links)}" for name, kind in TYPES.items())
    return f"{_EVENTS}{made}\n## `nodes` of `summary`\n\n{_lead(NodeResult)}\n{_keys(NodeResult, links)}"


_STATUS = f"""\
# Status

Made by `make docs` from `fleet/ops/status.py`. `fleet status --json` prints how every node of a stack is, as one JSON
document; with `--watch`, one a line, again and again.

    $ fleet status fleet.yaml --stack prod --json | jq -r '.nodes[] | select(.state != "ready") | .node'
    web-1

Its [exit status](exit-statuses.md) is 0 if every node is ready, and 1 if one is not, is yet to be made, or is to be
removed. What cannot be known is said, in `unknown`, and is no reason for 1. Within a version of the document keys are
added; none goes or changes its meaning, so ignore those that you do not know. Nothing in it is a secret.

- `version` (whole number): {STATUS_VERSION}.
- `fleet` (text): The fleet's name.
- `stack` (text): The stack's name.
- `well` (`true` or `false`): Whether every node is ready.
- `nodes` (list of [nodes](#nodes)): The planned nodes, group by group, then those that are to be removed.
"""


def status() -> str:
    """The page ``status.md``."""
    links = {NodeStatus: "#nodes", ContainerStatus: "#nodescontainers", Report: "report.md"}
    parts = (("`nodes`", NodeStatus), ("`nodes[].containers`", ContainerStatus))
    return _STATUS + "".join(f"\n## {title}\n\n{_keys(kind, links)}" for title, kind in parts)


_REPORT = f"""\
# Keys of a node's report

Made by `make docs` from `fleet/plan/report.py`. [The report](../report.md) says what it is for, who can read it, and
what follows from it. It is a JSON document in ASCII. `version` is {REPORT_VERSION}; keys are added within a version,
and none is removed or changes its meaning, so ignore those that you do not know. Nothing in it is a secret.
"""
_CAUSES = """\

## `cause`

What `cause` of a unit can be, and what it stands for:

"""


def report() -> str:
    """The page ``report.md``."""
    parts: dict[Any, str] = {
        UnitReport: "units", UpdateReport: "update", JobReport: "jobs", DiskReport: "disks",
    }  # fmt: skip
    links = {kind: f"#{title}" for kind, title in parts.items()}
    made = f"{_REPORT}\n{_keys(Report, links)}"
    made += "".join(f"\n## `{title}`\n\n{_lead(kind)}\n{_keys(kind, links)}" for kind, title in parts.items())
    return made + _CAUSES + "".join(paragraph(f"- `{word}`: {text}.", "  ") for word, text in CAUSES.items())


_EXITS = """\
# Exit statuses

Made by `make docs` from `fleet/cli/exit_statuses.py`. What holds for one command only names it.

"""


def exit_statuses() -> str:
    """The page ``exit-statuses.md``."""
    made = _EXITS
    for number, meanings in statuses().items():
        first = f" {meanings.pop(0)}" if number.isdigit() else ""
        made += paragraph(f"- {f'`{number}`' if first else number}:{first}", "  ")
        made += "".join(f"  {paragraph(f'- {each}', '    ')}" for each in meanings)
    return made


def _lead(kind: type[Any]) -> str:
    """What a class is, from its docstring."""
    about, _, _ = inspect.cleandoc(kind.__doc__ or "").partition("\n\nAttributes:")
    return paragraph(re.sub(r"\s+", " ", about).replace("``", "`"))


def _keys(kind: type[Any], links: Mapping[Any, str]) -> str:
    return "".join(_items(kind, links))


def _items(kind: type[Any], links: Mapping[Any, str]) -> Iterator[str]:
    types = typing.get_type_hints(kind)
    for key, text in attributes(kind).items():
        words = type_words(types[key], links=links, null=True)
        yield item(key, [measured(words, key, text)], text.replace("`None`", "`null`"))


def matrix() -> str:
    """The picture ``matrix.svg``: that of an example, as ``fleet graph`` draws it."""
    return drawn(read_topology(ROOT / "examples/matrix/matrix.py", stack="aws"), "svg")


PAGES: dict[str, Callable[[], str]] = {
    "commands.md": model_reference.commands,
    "containers.md": containers,
    "spec.md": model_reference.spec,
    **{f"options-{name}.md": partial(model_reference.options, name) for name in platform_names()},
    "events.md": events,
    "exit-statuses.md": exit_statuses,
    "report.md": report,
    "status.md": status,
    "fleet.1": manual,
    "../images/matrix.svg": matrix,
    "../../fleet/cli/pages.json": help_pages,
}
"""By its file: what makes a page, or a picture."""


def main() -> None:
    """Write all of them."""
    for name, page in PAGES.items():
        (FOLDER / name).parent.mkdir(exist_ok=True)
        (FOLDER / name).write_text(page())


if __name__ == "__main__":
    main()
