"""The pages and pictures of the docs that the program makes: ``python -m tools.reference`` writes them anew."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from fleet.model import Model, attributes
from fleet.ops.events import EVENTS_VERSION, TYPES
from fleet.ops.graph import drawn
from fleet.ops.status import STATUS_VERSION, ContainerStatus, NodeStatus
from fleet.ops.topology import read_topology
from fleet.platforms import names as platform_names
from fleet.workloads import Build, Container, HealthCheck, ImagePull, Network, Pod, Volume
from fleet.workloads.rendering import keys
from tools import model_reference
from tools.help_pages import help_pages
from tools.manual import manual

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
capitals is no option, but stands after them; `...` is the rest of several words.
"""


def containers() -> str:
    """The page ``containers.md``."""
    return _HEAD + "".join("\n" + "\n".join(_table(title, model)) + "\n" for title, model in _TABLES)


def _table(title: str, model: type[Model]) -> Iterator[str]:
    yield f"## `{title}`\n"
    yield "| key | | Quadlet | Docker | Compose |"
    yield "| --- | --- | --- | --- | --- |"
    about = attributes(model)
    for field, message in keys(model):
        cells = (f"`{field}`", about[field], message.quadlet, message.docker, message.compose)
        yield "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"


_EVENTS = f"""\
# Events

Made by `make docs` from `fleet/ops/events.py`. With `--json`, `fleet preview`, `up`, `destroy`, `rollback` and
`replace` print what happens as it happens: on standard output, one JSON object a line, in UTF-8, and nothing else.
Commands that change something want `--yes` then. Exit statuses are the same as without.

    $ fleet up fleet.yaml --stack prod --yes --json | jq -r 'select(.type == "ready") | "\\(.node) \\(.seconds)"'
    web-0 41.3

Every event has these keys:

| key | |
| --- | --- |
| `version` | {EVENTS_VERSION}. Within a version, types and keys are added; none goes or changes its meaning. |
| `type` | One of those below. |
| `time` | When it happened, in UTC, such as `"2026-11-25T10:42:46.123Z"`. |

A stream begins with `begin`, but for warnings, unless the command fails before it has planned anything. It has a
`summary` if the command did what it was asked; else its last event is `error`, whose message is on standard error, too.
What the command line itself refuses, such as an option that is not there, is no event. Ignore types and keys that you
do not know. When nobody reads any more, the command goes on.

No event holds a secret: in its place is `(secret NAME)`.
"""


def events() -> str:
    """The page ``events.md``."""
    return _EVENTS + "".join("\n" + "\n".join(_event(name, kind)) + "\n" for name, kind in TYPES.items())


def _event(name: str, kind: type[Any]) -> Iterator[str]:
    about, _, _ = inspect.cleandoc(kind.__doc__ or "").partition("\n\nAttributes:")
    yield f"## `{name}`\n"
    yield re.sub(r"\s+", " ", about) + "\n"
    yield "| key | |"
    yield "| --- | --- |"
    yield from _rows(kind)


_STATUS = f"""\
# Status

Made by `make docs` from `fleet/ops/status.py`. `fleet status --json` prints how every node of a stack is, as one JSON
document; with `--watch`, one a line, again and again.

    $ fleet status fleet.yaml --stack prod --json | jq -r '.nodes[] | select(.state != "ready") | .node'
    web-1

Its exit status is 0 if every node is ready, and 1 if one is not, is yet to be made, or is to be removed. What cannot be
known is said, in `unknown`, and is no reason for 1. Within a version of the document keys are added; none goes or
changes its meaning, so ignore those that you do not know. Nothing in it is a secret.

| key | |
| --- | --- |
| `version` | {STATUS_VERSION}. |
| `fleet` | The fleet's name. |
| `stack` | The stack's name. |
| `well` | Whether every node is ready. |
| `nodes` | The planned nodes, group by group, then those that are to be removed. |
"""


def status() -> str:
    """The page ``status.md``."""
    parts = (("`nodes`", NodeStatus), ("`nodes[].containers`", ContainerStatus))
    tables = ("\n".join([f"## {title}\n", "| key | |", "| --- | --- |", *_rows(kind)]) for title, kind in parts)
    return _STATUS + "".join(f"\n{table}\n" for table in tables)


def _rows(kind: type[Any]) -> Iterator[str]:
    for key, text in attributes(kind).items():
        yield f"| `{key}` | {text} |"


def matrix() -> str:
    """The picture ``matrix.svg``: that of an example, as ``fleet graph`` draws it."""
    return drawn(read_topology(ROOT / "examples/matrix/matrix.py", stack="aws"), "svg")


PAGES: dict[str, Callable[[], str]] = {
    "commands.md": model_reference.commands,
    "containers.md": containers,
    "spec.md": model_reference.spec,
    **{f"options-{name}.md": partial(model_reference.options, name) for name in platform_names()},
    "events.md": events,
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
