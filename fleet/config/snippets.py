"""Snippets: the parts a machine's config is made of.

A snippet is one Butane document or one ready Ignition config, from a file or a text. Loading it translates and
validates it strictly, on its own, so that an error names the snippet's own file, line and column.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import yaml

from fleet.boundary import Boundary
from fleet.config import _transpiler
from fleet.config.template import Scalar, fill_text
from fleet.core_schema import Plain
from fleet.errors import FleetError, Position, Remedy
from fleet.files import read_text

Kind = Literal["butane", "ignition"]


@dataclass(frozen=True)
class Snippet:
    """A part of a machine config.

    Attributes:
        name: What errors call it: a file's path, or words such as "hostname of web-0".
        text: The document as the user wrote it.
        kind: "butane" (any variant and version that the Butane library knows) or "ignition" (spec 3.0 and later).
        files_dir: The folder that Butane's ``local:``, ``contents_local:`` and ``trees:`` resolve in. Butane refuses
            paths that leave it. ``None``: local files are refused.
        boundary: What local files that it names have to be in, wherever symbolic links lead; ``None``: anything.
        override: Its values may replace those of earlier snippets; otherwise that is an error.
        allow_warnings: A Butane warning is no error.
        secrets: Names of the secrets that it is made with: nothing of it may be shown as it is.
    """

    name: str
    text: str
    kind: Kind = "butane"
    files_dir: Path | None = None
    boundary: Boundary | None = None
    override: bool = False
    allow_warnings: bool = False
    secrets: frozenset[str] = field(default=frozenset(), compare=False)

    @classmethod
    def from_file(
        cls,
        path: Path | str,
        *,
        override: bool = False,
        allow_warnings: bool = False,
        values: Mapping[str, Scalar] | None = None,
        boundary: Boundary | None = None,
    ) -> Snippet:
        """Read a snippet. A file that begins with ``{``, or ends in ``.ign`` or ``.json``, is Ignition.

        Args:
            path: The file.
            override: See the attribute.
            allow_warnings: See the attribute.
            values: What fills its placeholders (:mod:`fleet.config.template`); without any it has none.
            boundary: See the attribute.

        Raises:
            FleetError: The file cannot be read, is not UTF-8, or its placeholders and the values do not match.
        """
        path = Path(path)
        at = Position.of(path)
        text = read_text(path, "snippet", kind=FleetError)
        if values:
            text = fill_text(text, values, name=at.source)
        ignition = path.suffix in {".ign", ".json"} or text.lstrip().startswith("{")
        return cls(
            name=at.source,
            text=text,
            kind="ignition" if ignition else "butane",
            files_dir=Path(os.path.realpath(path.parent)),
            boundary=boundary,
            override=override,
            allow_warnings=allow_warnings,
        )

    @classmethod
    def from_ignition(cls, name: str, config: dict[str, Any], *, override: bool = False) -> Snippet:
        """A snippet from an Ignition config that fleet generated."""
        return cls(name=name, text=json.dumps(config, ensure_ascii=False), kind="ignition", override=override)

    @cached_property
    def handle(self) -> int:
        """The transpiler's handle of the loaded snippet. It is loaded once, on first access.

        Raises:
            FleetError: The snippet is not valid, or draws a warning that is not allowed.
        """
        load_all([self])
        return self.handle

    def _loaded(self, reply: dict[str, Any]) -> int:
        if (beyond := reply.get("outside")) and self.boundary:
            at = Position(self.name, beyond[0].get("line"), beyond[0].get("column"))
            raise self.boundary.refusal(beyond[0]["message"], at=at)
        findings = [f for f in reply.get("report", []) if f["level"] == "error"]
        if not self.allow_warnings:
            findings += [f for f in reply.get("report", []) if f["level"] == "warning"]
        if findings:
            raise self._invalid(findings)
        if "error" in reply:
            raise self._refused(reply["error"])
        handle: int = reply["handle"]
        return handle

    def _invalid(self, findings: list[dict[str, Any]]) -> FleetError:
        first, *more = findings
        what = f"{first['message']}".rstrip(".")
        if path := first.get("path", "").removeprefix("$."):
            what += f" (at {path})"
        if more:
            what += "; then: " + "; ".join(
                f"{f['message']} (line {f['line']})" if "line" in f else f["message"] for f in more
            )
        fix: str | Remedy = ""
        if first["level"] == "warning":
            fix = Remedy.ALLOW_WARNINGS
        if "no such file" in what:
            fix = f"Local files are looked for in {self.files_dir}, beside the snippet."
        return FleetError(what + ".", at=Position(self.name, first.get("line"), first.get("column")), fix=fix)

    def _refused(self, error: str) -> FleetError:
        """An error without a position from Butane: look for the position, or say what a snippet needs."""
        fix = ""
        line = column = None
        try:
            # Butane's YAML library gives no column, and reads some broken documents further than others.
            yaml.compose(self.text, Loader=Plain)
        except yaml.MarkedYAMLError as bad:
            error = f"The YAML cannot be read: {bad.problem}"
            if mark := bad.problem_mark:
                line, column = mark.line + 1, mark.column + 1
        except yaml.YAMLError as bad:
            error = f"The YAML cannot be read: {' '.join(str(bad).split())}"
        if "variant" in error:
            fix = "A Butane document begins with `variant: fcos` and `version: 1.6.0`."
        return FleetError(error.rstrip(".") + ".", at=Position(self.name, line, column), fix=fix)

    def position_of(self, value: str) -> Position:
        """The position of a value, such as a file's path or a unit's name, in the snippet; for errors."""
        try:
            root = yaml.compose(self.text, Loader=Plain)
        except yaml.YAMLError:
            root = None
        pending = [root] if root else []
        while pending:
            node = pending.pop()
            if isinstance(node, yaml.ScalarNode) and node.value == value:
                return Position(self.name, node.start_mark.line + 1, node.start_mark.column + 1)
            if isinstance(node, yaml.SequenceNode):
                pending.extend(reversed(node.value))
            elif isinstance(node, yaml.MappingNode):
                pending.extend(child for pair in reversed(node.value) for child in reversed(pair))
        return Position(self.name)


def load_all(snippets: Iterable[Snippet]) -> None:
    """Load the snippets that are not loaded yet, in one batch, which is faster than one by one.

    Raises:
        FleetError: One is not valid, or draws a warning that is not allowed.
    """
    new = list({id(s): s for s in snippets if "handle" not in vars(s)}.values())
    requests = [
        {
            "kind": s.kind,
            "text": s.text,
            "files_dir": str(s.files_dir or ""),
            "root": str(s.boundary.root) if s.boundary else "",
        }
        for s in new
    ]
    for snippet, reply in zip(new, _transpiler.shared().calls("load", requests), strict=True):
        vars(snippet)["handle"] = snippet._loaded(reply)
