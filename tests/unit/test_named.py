"""What a spec names of this machine, which a rollout looks up in its middle, is looked up when it is validated."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from fleet import platforms
from fleet.errors import UsageError
from fleet.model import attributes
from fleet.ops.check import validate
from fleet.spec.model import FleetSpec
from tests.conftest import Folder
from tests.models import Place, fields, whole

NAMED: dict[Place, str] = {
    ("groups", "a", "drain", "function"): "function",
    ("groups", "a", "ready", 0, "function"): "function",
    ("groups", "a", "ready", 0, "http", "client_certificate"): "file",
    ("groups", "a", "ready", 0, "http", "client_key"): "file",
    ("groups", "a", "ready", 0, "ssh", "identity"): "file",
}
"""Fields that name a function, or a file of this machine, that is used once machines are being changed."""
EARLY = {
    "lock", "output", "file", "sops", "age", "identity", "command", "compose", "context", "source", "quadlets",
}  # fmt: skip
"""Fields that are read before anything is planned, or by planning itself."""
ABOUT = re.compile(r"module:function|on this machine|beside the spec|beside ``?Pulumi")


def documented() -> Iterator[tuple[Place, str]]:
    """Every field of the spec, and of the platforms' options, with what its docstring says of it."""
    for model in sorted(whole(FleetSpec), key=str):
        for name, text in attributes(model).items():
            yield (model.__name__, name), text
    for platform in platforms.names():
        for name, text in attributes(platforms.platform_class(platform).options_model).items():
            yield (platform, name), text


def test_every_field_that_names_a_function_or_a_file_of_this_machine_is_known_here() -> None:
    known = {place[-1] for place in NAMED} | EARLY
    told = {place for place, text in documented() if ABOUT.search(text)}
    assert told, "nothing is said of any field"
    assert {place for place in told if place[-1] not in known} == set()
    paths = {where for where, field in fields(FleetSpec) if field}
    assert set(NAMED) <= paths


def named(place: Place, value: str) -> dict[str, Any]:
    tree: Any = value
    for part in reversed(place[2:]):
        tree = [tree] if isinstance(part, int) else {part: tree}
    for probe in tree.get("ready", []):
        if "http" in probe:
            probe["http"]["port"] = 8080
        if "ssh" in probe:
            probe["ssh"]["command"] = "true"
    return {"version": 1, "name": "web", "groups": {"a": {"count": 1, "ports": [8080], **tree}}}


MODULE = """\
import os
from os.path import join as joined


def leave(node, address): ...
def one(node): ...
def three(a, b, c): ...
def more(a, b, *, force): ...
def any_of(*values): ...
def spare(a, b=1, c=2, *, d=3, **others): ...
async def later(node, address): ...


class Leaves:
    def __init__(self, node, address): ...


if os.name == "posix":
    def branch(node, address): ...
else:
    branch = None
try:
    import missing
except ImportError:
    def caught(node, address): ...
bound = leave
first, (second, *rest) = leave, (leave, leave)
"""
TAKEN = ["leave", "any_of", "spare", "Leaves", "branch", "caught", "bound", "first", "second", "joined"]
REFUSED = {
    "leafe": r"drains.py has no function leafe. Did you mean `leave`\?$",
    "zzz": "drains.py has no function zzz.$",
    "__init__": "has no function __init__",
    "one": r"^drains.py:6:1: .*one .*cannot be called with two arguments",
    "three": r"^drains.py:7:1: .*three .*cannot be called with two arguments",
    "more": r"^drains.py:8:1: .*more .*cannot be called with two arguments",
    "later": "later .*is `async`",
}
FUNCTIONS = [place for place, kind in NAMED.items() if kind == "function"]
FILES = [place for place, kind in NAMED.items() if kind == "file"]


@pytest.fixture
def drains(folder: Folder) -> Folder:
    folder.write("drains.py", MODULE)
    folder.write("loads/__init__.py", "from os.path import *\n")
    folder.write("loads/deep.py", "raise SystemExit('nobody imports me')\ndef leave(node, address): ...\n")
    folder.write("bare/other.py", "")
    folder.write("broken.py", "x = 1\ndef leave(:\n")
    return folder


@pytest.mark.parametrize("place", FUNCTIONS, ids=lambda place: place[2])
def test_a_function_that_is_not_there_or_cannot_be_called_is_refused_at_its_place(
    drains: Folder, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(drains.path)

    def said(function: str) -> str:
        drains.write("fleet.yaml", yaml.safe_dump(named(place, function), sort_keys=False))
        try:
            validate(drains.path / "fleet.yaml", platform="qemu", stack=None)
        except UsageError as error:
            return str(error)
        return ""

    taken = [f"drains:{name}" for name in TAKEN] + ["loads:join", "loads:whatever", "loads.deep:leave", "time:sleep"]
    assert {name: text for name in taken if (text := said(name))} == {}
    at = r"^fleet.yaml:\d+:\d+: "
    others = {
        "drians:leave": at + "There is no module drians, which is to have the function leave. Write drians.py in ",
        "drains.deep:leave": at + "There is no module drains.deep",
        "loads.deap:leave": at + "There is no module loads.deap.*Write loads/deap.py in ",
        "bare:leave": at + "bare is a folder without an __init__.py",
        "broken:leave": r"^broken.py:2: The module broken cannot be read: ",
    }
    for name, expected in ({f"drains:{name}": text for name, text in REFUSED.items()} | others).items():
        assert re.search(expected, text := said(name)), text
        if not expected.startswith("^drains.py") and not name.startswith("broken"):
            assert re.search(at, text), text


@pytest.mark.parametrize("place", FILES, ids=lambda place: ".".join(map(str, place[2:])))
def test_a_file_that_a_probe_takes_and_that_is_not_there_is_a_warning(folder: Folder, place: Place) -> None:
    folder.write("fleet.yaml", json.dumps(named(place, "keys/mine.pem")))
    validated = folder.fleet("validate", "fleet.yaml")
    assert validated.status == 0, validated
    assert re.search(r"fleet.yaml:1:\d+: There is no file keys/mine.pem on this machine", validated.err), validated
    folder.write("keys/mine.pem", "")
    assert "keys/mine.pem" not in folder.fleet("validate", "fleet.yaml").err
