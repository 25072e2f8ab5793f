"""The pages of ``docs/reference``, made from the program: ``python -m tools.reference`` writes them anew."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from fleet.model import Model, attributes
from fleet.workloads import Build, Container, HealthCheck, ImagePull, Network, Pod, Volume
from fleet.workloads.rendering import keys
from tools.manual import manual

FOLDER = Path(__file__).parents[1] / "docs" / "reference"

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


PAGES = {"containers.md": containers, "fleet.1": manual}
"""By its file: what makes a page."""


def main() -> None:
    """Write every page."""
    FOLDER.mkdir(exist_ok=True)
    for name, page in PAGES.items():
        (FOLDER / name).write_text(page())


if __name__ == "__main__":
    main()
