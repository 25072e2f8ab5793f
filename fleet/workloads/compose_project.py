"""A Compose file and the files that it names, as compose-go reads them: what they say, where, and what is wrong."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from fleet.boundary import Boundary
from fleet.config import read_project
from fleet.config.template import Scalar, as_text
from fleet.document import Document, Located, Location, several
from fleet.errors import Position
from fleet.hints import nearest
from fleet.workloads.compose_model import REASONS, ComposeFile, Service


@dataclass(frozen=True)
class Surroundings:
    """What a Compose file is read in.

    Attributes:
        base: The folder that paths in the workload are to be relative to.
        boundary: What files have to be in; ``None``: anything.
        variables: What ``${NAME}`` stands for.
        secrets: Names of the spec's secrets.
        networks: Names of the group's own networks.
        volumes: Names of the group's own volumes.
        engine: The group's.
        profiles: The profiles whose services are wanted.
        folder: Where relative folders lie on the node; empty: nowhere.
    """

    base: Path
    boundary: Boundary | None
    variables: Mapping[str, Scalar]
    secrets: Collection[str] = ()
    networks: Collection[str] = ()
    volumes: Collection[str] = ()
    engine: str = "podman"
    profiles: Collection[str] = ()
    folder: str = ""


class Project(Located):
    """A Compose file, with the files that it names, as compose-go reads it."""

    def __init__(self, path: Path, around: Surroundings) -> None:
        root = around.boundary.root if around.boundary else None
        variables = {name: as_text(value) for name, value in around.variables.items()}
        self.path = path.absolute()
        reply = read_project(self.path, root, variables)
        self.problems = self._with_positions(reply.get("problems", []), around)
        if "model" not in reply:
            raise several(self.problems)
        self.model = reply["model"]
        self._places = {tuple(key.split("\n")) if key else (): place for key, *place in reply["places"]}
        enabled = {
            name: service
            for name, service in (self.model.get("services") or {}).items()
            if not (profiles := (service or {}).get("profiles")) or set(profiles) & set(around.profiles)
        }
        self.left_out = set(self.model.get("services") or {}) - set(enabled)
        self.model = self._ordered({**self.model, "services": enabled})

    def _ordered(self, value: Any, *path: str) -> Any:
        """A value with its keys in the order in which they are written, which the reply's are not."""
        if isinstance(value, list):
            return [self._ordered(item, *path, str(index)) for index, item in enumerate(value)]
        if not isinstance(value, dict):
            return value

        def order(key: str) -> tuple[Any, ...]:
            file, *_, line, column = self._places.get((*path, key), ("\U0010ffff", 0, 0))
            return file != str(self.path), file, line, column, key

        return {key: self._ordered(value[key], *path, key) for key in sorted(value, key=order)}

    def understood(self) -> ComposeFile:
        """What of it can be mapped; :attr:`problems` are about the rest.

        Raises:
            FleetError: So little of it that there is no sense in going on.
        """
        for _ in range(_PASSES):
            try:
                return ComposeFile.model_validate(self.model)
            except ValidationError as error:
                for detail in error.errors(include_url=False):
                    self.problems.append(self._problem(ComposeFile, detail))
                    if not _take_out(self.model, [part for part in detail["loc"] if part != "[key]"]):
                        raise several(self.problems) from None
        raise several(self.problems)

    def _with_positions(self, problems: list[dict[str, Any]], around: Surroundings) -> list[tuple[Position, str]]:
        result = []
        for problem in problems:
            at = self.path if "file" not in problem else Path(problem["file"])
            place = Position.of(at, problem.get("line") or None, problem.get("column") or None)
            if problem.get("outside") and around.boundary:
                raise around.boundary.refusal(problem["message"], at=place)
            if problem.get("syntax"):
                Document(at, "Compose file")  # the library that refused it gives no place; this one does
            if key := problem.get("unknown"):
                result.append((place, f"There is no key `{key}` in Compose files here. {nearest(key, _KEYS)}".rstrip()))
            else:
                fix = ""
                if "names no variable" in problem["message"]:
                    known = ", ".join(sorted(around.variables))
                    fix = (
                        f" Variables are those of the spec ({f'there are {known}' if known else 'there are none'}) and "
                        "of a file `.env` beside; a default is `${NAME:-default}`, a dollar sign itself `$$`."
                    )
                result.append((place, problem["message"].rstrip(".") + "." + fix))
        return result

    def _at(self, location: Location, *, on_key: bool = False) -> Position:
        parts = [str(part) for part in location]
        while parts and tuple(parts) not in self._places:
            parts.pop()
        file, line, column, key_line, key_column = self._places.get(tuple(parts), [str(self.path), 0, 0, 0, 0])
        if on_key:
            line, column = key_line, key_column
        return Position.of(Path(file), line or None, column or None)

    def at(self, *location: str | int) -> Position:
        """Where a part of the model stands, or what is around it."""
        return self._at(location)

    def _message(self, model: type[BaseModel], detail: ErrorDetails, location: Location) -> str:
        name = next((str(part) for part in reversed(location) if isinstance(part, str)), "")
        if detail["type"] == "extra_forbidden":
            return f"`{name}` cannot be had on a node. {REASONS.get(name, 'Leave it out.')}"
        if detail["type"] == "too_short" and list(location) == ["services"]:
            return "There is no service left to run: each has a profile that the spec does not name."
        return super()._message(model, detail, location)


_PASSES = 8
"""How often what is wrong is taken out to find what else is."""


def _take_out(model: Any, location: Location) -> bool:
    """Take the innermost part out that is there, and is no less than a key of something; whether there was one."""
    nodes = [model]
    for part in location:
        try:
            nodes.append(nodes[-1][part])
        except (KeyError, IndexError, TypeError):
            break
    depth = len(nodes) - 1
    while depth and not isinstance(nodes[depth - 1], dict):
        depth -= 1
    if depth < 2:
        return False
    del nodes[depth - 1][location[depth - 1]]
    return True


_KEYS = frozenset(Service.model_fields) | frozenset(ComposeFile.model_fields)
