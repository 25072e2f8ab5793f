"""A mistake is said in the same words wherever it is: in a spec, the options of any platform, an image lock."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from fleet import platforms
from fleet.document import Document
from fleet.errors import FleetError
from fleet.images import ImageLock, read_lock
from fleet.spec import Resolver, load_spec
from fleet.spec.model import FleetSpec
from tests.models import REQUIRED, VALUES, built, fields

WRONG: Any = [[{"wrong": {}}]]
"""Of no type that any field has."""
LOCK = {
    "stream": "stable", "architectures": {}, "release": "44.1", "ignition_spec": "3.5.0", "location": "https://a/b",
    "sha256": "0" * 64, "uncompressed_sha256": "0" * 64, "project": "fedora-coreos-cloud",
}  # fmt: skip


def read_spec(value: Any, folder: Path) -> None:
    file = folder / "fleet.yaml"
    file.write_text(yaml.safe_dump(value, sort_keys=False))
    load_spec(file, Resolver(), "qemu")


def read_locked(value: Any, folder: Path) -> None:
    file = folder / "image.lock.yaml"
    file.write_text(yaml.safe_dump(value, sort_keys=False))
    read_lock(file)


def options_of(name: str) -> Callable[[Any, Path], None]:
    def read(value: Any, folder: Path) -> None:
        (folder / "Pulumi.yaml").write_text("name: shop\nruntime: python\n")
        file = folder / "Pulumi.test.yaml"
        file.write_text(yaml.safe_dump({"config": {"fleet:platform": name, f"fleet:{name}": value}}))
        platforms.platform(name, value, project=folder, stack="test")

    return read


READERS: dict[str, tuple[type[BaseModel], dict[str, Any], Callable[[Any, Path], None]]] = {
    "spec": (FleetSpec, REQUIRED, read_spec),
    "lock": (ImageLock, LOCK, read_locked),
    **{name: (platforms.platform_class(name).options_model, REQUIRED, options_of(name)) for name in platforms.names()},
}


def literals(annotation: Any) -> list[str]:
    if typing.get_origin(annotation) is not typing.Literal:
        return []
    return [value for value in typing.get_args(annotation) if isinstance(value, str)]


def mistakes(kind: str) -> Iterator[tuple[str, Any, str]]:
    """A document with one mistake, and what has to be said of it, for every field of a model."""
    model, required, _ = READERS[kind]
    seen = set()
    for where, field in fields(model):
        if (where, field is None) in seen:
            continue
        seen.add((where, field is None))
        label = ".".join(map(str, where))
        if field is None and where[:1] == ("architectures",) and len(where) == 2:
            continue  # Any key may be the image of a platform that is not installed.
        if field is None:
            yield f"unknown {label}", built(model, (*where, "colour"), "red", required), r"There is no key `colour`\. "
            continue
        name = str(where[-1])
        yield f"type {label}", built(model, where, WRONG, required), ""
        options = literals(field.annotation)
        if options and name != "use":
            yield (
                f"literal {label}",
                built(model, where, options[0] + "x", required),
                (
                    rf"`{name}` should be .*, but it is '{options[0]}x'\."
                    + (rf" Did you mean `{options[0]}`\?" if len(options[0]) > 1 else "")
                ),
            )
        for constraint in field.metadata:
            least: Any = getattr(constraint, "ge", getattr(constraint, "gt", None))
            if least is not None:
                low = int(least) - 1
                expected = rf"`{name}` should be greater than .*, but it is {low}\."
                yield f"range {label}", built(model, where, low, required), expected
        if field.is_required() and name != "use" and len(where) > 1:
            whole = built(model, where, "", required)
            around = whole
            for part in where[:-1]:
                around = around[part]
            del around[where[-1]]
            around.setdefault("colour", "red")
            yield f"missing {label}", whole, rf"`{name}` is missing here\."


SHAPE = re.compile(
    r"\S+:\d+:\d+: (There is no key `[^`]+`\. \S.*|There is no .+ to `use`\. There are .*|`[^`]+`:? .+"
    r"|'.*' is no name: .*|The [a-z' ]+ .+)[.?]$"
)


@pytest.mark.parametrize("kind", READERS)
def test_every_mistake_in_every_field_has_its_line_and_the_same_words(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    kinds: dict[str, int] = {}
    wrong = []
    for label, value, expected in mistakes(kind):
        what = label.split()[0]
        kinds[what] = kinds.get(what, 0) + 1
        try:
            READERS[kind][2](value, tmp_path)
        except FleetError as error:
            lines = str(error).splitlines()
            if error.exit_code != 2:
                wrong.append(f"{label}: status {error.exit_code}: {error}")
            if not all(SHAPE.match(line) for line in lines) or not any(re.search(expected, line) for line in lines):
                wrong.append(f"{label}: {error}")
        else:
            wrong.append(f"{label}: taken: {value}")
    assert not wrong, f"{len(wrong)} of {sum(kinds.values())}: " + "\n".join(wrong)
    assert {"unknown", "type"} <= set(kinds)
    assert kind not in ("spec",) or {"literal", "range", "missing"} <= set(kinds)


PYDANTIC = re.compile(
    r"Input should|valid (string|list|dictionary|boolean|integer|number|tuple)|unable to|union_tag|discriminat"
    r"|string should|after validation|[Vv]alue error|_type\b|pydantic|instance of|None\b|\bTrue\b|\bFalse\b"
)
DOUBLE = re.compile(r"[?!:]\.(\s|$)|[^.]\.\.(\s|$)|: \.$")


@pytest.mark.parametrize("kind", READERS)
def test_no_value_of_any_type_is_refused_in_the_librarys_words_or_with_two_end_marks(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    model, required, read = READERS[kind]
    (tmp_path / "any.yaml").write_text("{}\n")
    fast = Document(tmp_path / "any.yaml", "spec")
    said = set()
    for where in {where: field for where, field in fields(model) if field}:
        for value in VALUES.values():
            document = built(model, where, value, required)
            try:
                # A spec is more than its model, and takes a hundred times as long: its outer keys show the way.
                read(document, tmp_path) if len(where) == 1 else fast.read(model, document)
            except FleetError as error:
                said |= set(str(error).splitlines())
    # Patterns, and what fleet itself calls things, stand in quotes.
    plain = {line: re.sub(r"'[^']*'|`[^`]*`", "", line) for line in said}
    assert {line for line, text in plain.items() if PYDANTIC.search(text)} == set()
    assert {line for line in said if DOUBLE.search(line)} == set()
    assert len(said) > 3


@pytest.mark.parametrize(("health", "problems"), [
    ("{command: [true]}", ["`item 1 of command` should be text, but it is true."]),
    ("{command: 3}", ["`command` should be text, but it is 3.", "`command` should be a list, but it is 3."]),
    ("{command: [curl], notify: 7}", ["`notify` should be `true` or `false`, but it is 7."]),
])  # fmt: skip
def test_a_value_that_may_be_of_two_types_is_called_by_its_key(
    health: str, problems: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    value = built(FleetSpec, ("groups", "web", "containers", "a", "health"), yaml.safe_load(health), REQUIRED)
    with pytest.raises(FleetError) as refused:
        read_spec({"version": 1, "name": "web", **value}, tmp_path)
    assert [line.split(" ", 1)[1] for line in str(refused.value).splitlines()] == problems


@pytest.mark.parametrize(("written", "read"), [
    ("did you mean `Image`?.", "did you mean `Image`?"),
    ("It failed: no route to host..", "It failed: no route to host."),
    ("The server said:.", "The server said."),
    ("one?.\ntwo!. three..", "one?\ntwo! three."),
    ("`a`, ... and ../x stay, and 1..3 ...", "`a`, ... and ../x stay, and 1..3 ..."),
    ("", ""),
])  # fmt: skip
def test_a_sentence_ends_once_whatever_was_put_before_its_end_mark(written: str, read: str) -> None:
    assert str(FleetError(written, fix=written)) == " ".join(filter(None, (read, read)))


PLACED = {
    "{groups: {web: {addresses_from: 9}}}": "9}",
    "{network: {cidr: 10.77.0.0/24}, groups: {web: {count: 1}}}": "web:",
    "{network: {cidr: 10.77.0.0/24}, groups: {web: {addresses_from: 9, count: 17}}}": "17}",
    "{network: {cidr: 10.77.0.0/24}, groups: {web: {addresses_from: 9, count: 5, capacity: 4}}}": "4}",
    "{network: {cidr: 10.77.0.0/24}, groups: {web: {addresses_from: 250}}}": "250}",
    "{network: {cidr: 10.77.0.0/24}, groups: {web: {addresses_from: 9}, db: {addresses_from: 11}}}": "11}",
    "{groups: {web: {after: [db, dc]}, db: {}}}": "dc]",
    "{groups: {web: {after: [db]}, db: {after: [web]}}}": "after: [",
    "{groups: {web: {count: 1, nodes: {1: {}}}}}": "1: {}",
    "{groups: {web: {nodes: {0: {data_disks: {a: vol-1}}}}}}": "vol-1}",
    "{groups: {web: {data_disks: {a: {size_gib: 1, mount: /var/a}, b: {size_gib: 1, mount: /var/a}}}}}": "/var/a}}}}}",
}
"""Specs whose values contradict one another, and what stands at the place of the error."""


@pytest.mark.parametrize(("spec", "place"), PLACED.items())
def test_what_contradicts_another_value_is_refused_at_its_own_place(spec: str, place: str, tmp_path: Path) -> None:
    text = "{version: 1, name: shop, " + spec.removeprefix("{") + "\n"
    (tmp_path / "fleet.yaml").write_text(text)
    with pytest.raises(FleetError) as refused:
        load_spec(tmp_path / "fleet.yaml", Resolver(), "qemu")
    assert refused.value.at is not None
    assert (refused.value.at.line, text[(refused.value.at.column or 0) - 1 :][: len(place)]) == (1, place)


def test_no_validator_of_the_whole_spec_leaves_an_error_without_a_place() -> None:
    tree = ast.parse(textwrap.dedent(inspect.getsource(FleetSpec)))
    raised = [
        node.exc.func.id
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef)
        and any("model_validator" in ast.dump(d) for d in function.decorator_list)
        for node in ast.walk(function)
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and isinstance(node.exc.func, ast.Name)
    ]
    assert set(raised) == {"PlacedError"}
