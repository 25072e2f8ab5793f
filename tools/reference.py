"""The pages and pictures of the docs that the program makes: ``python -m tools.reference`` writes them anew."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fleet.model import Model
from fleet.ops.events import EVENTS_VERSION, TYPES
from fleet.ops.graph import drawn
from fleet.ops.topology import read_topology
from fleet.workloads import Build, Container, HealthCheck, ImagePull, Network, Pod, Volume
from fleet.workloads.rendering import keys

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


def attributes(model: type[Any]) -> dict[str, str]:
    """What a class' docstring says of its fields.

    Args:
        model: A class with a section ``Attributes``.
    """
    _, _, section = inspect.cleandoc(model.__doc__ or "").partition("Attributes:\n")
    pairs = re.findall(r"^    (\w+): (.*(?:\n        .*)*)", section, re.MULTILINE)
    return {name: re.sub(r"\s+", " ", text).replace("``", "`") for name, text in pairs}


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


def matrix() -> str:
    """The picture ``matrix.svg``: that of an example, as ``fleet graph`` draws it."""
    return drawn(read_topology(ROOT / "examples/matrix/matrix.py", stack="aws"), "svg")


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
    for key, text in attributes(kind).items():
        yield f"| `{key}` | {text} |"


PAGES = {"containers.md": containers, "events.md": events, "../images/matrix.svg": matrix}
"""By its file: what makes a page, or a picture."""


def main() -> None:
    """Write all of them."""
    for name, page in PAGES.items():
        (FOLDER / name).parent.mkdir(exist_ok=True)
        (FOLDER / name).write_text(page())


if __name__ == "__main__":
    main()
