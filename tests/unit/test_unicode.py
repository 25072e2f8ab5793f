"""Texts that are no plain characters: what is no Unicode is refused at its place, and no error moves a terminal."""

from __future__ import annotations

import os
import re
from pathlib import Path
from unittest.mock import patch

import pytest

from fleet import platforms
from fleet.errors import FleetError
from fleet.planner import plan_spec
from fleet.spec import Resolver
from fleet.spec.values import Passed
from tests.conftest import Folder

HALF = "kestrel81\ud800"
SPEC = """\
version: 1
name: web
HEAD
groups:
  web:
    containers:
      app: {image: docker.io/library/caddy:2, environment: {TOKEN: "TEXT"}}
"""


def refusal(folder: Path, head: str, resolver: Resolver, text: str = "${a}") -> str:
    """Why a spec cannot be planned."""
    (folder / "fleet.yaml").write_text(SPEC.replace("HEAD", head).replace("TEXT", text))
    qemu = platforms.platform("qemu", project=folder, stack="test")
    with pytest.raises(FleetError) as caught:
        plan_spec(folder / "fleet.yaml", resolver, qemu, need_lock=False)
    assert "kestrel81" not in str(caught.value)
    return str(caught.value).removeprefix(f"{folder}/")


@pytest.mark.parametrize("written", [r"\ud800", r"\uDFFF", r"\U0000D800", r"\ud83d\ude00"])
@pytest.mark.parametrize("where", ["a value", "a key"])
def test_an_escape_of_half_a_pair_is_refused_at_its_place(tmp_path: Path, written: str, where: str) -> None:
    head = f'secrets: {{"{written}": {{env: A}}}}' if where == "a key" else "variables: {a: b}"
    said = refusal(tmp_path, head, Resolver(), "${a}" if where == "a key" else written)
    assert said.startswith("fleet.yaml:3:11: " if where == "a key" else "fleet.yaml:7:68: ")
    assert "A character here is half of a surrogate pair" in said


@pytest.mark.parametrize(
    ("head", "passed", "error"),
    [
        ("variables: {a: {env: A}}", {}, "fleet.yaml:3:13: The variable a is no UTF-8 text."),
        ("secrets: {s: {env: A}}\nvariables: {a: {secret: s}}", {}, "fleet.yaml:3:11: The secret s is no UTF-8 text."),
        ("secrets: {s: {config: 'x:y'}}\nvariables: {a: {secret: s}}", {}, "The secret s is no UTF-8 text."),
        (
            "secrets: {s: {sops: s.json, key: k}}\nvariables: {a: {secret: s}}", {}, "The secret s is no UTF-8 text."
        ),
        ("variables: {}", {"a": Passed(HALF)}, "The variable a is no UTF-8 text."),
        ("variables: {}", {"a": Passed(HALF, is_output=False)}, "The variable a is no UTF-8 text."),
        ("variables: {}", {"a": Passed(HALF, is_secret=True)}, "The secret variable a is no UTF-8 text."),
    ],
)  # fmt: skip
def test_a_value_that_is_no_text_is_refused_wherever_it_comes_from(
    tmp_path: Path, head: str, passed: dict[str, Passed], error: str
) -> None:
    sops = tmp_path / "bin/sops"
    sops.parent.mkdir()
    sops.write_text("#!/bin/sh\nprintf '%s' '{\"k\": \"kestrel81\\ud800\"}'\n")
    sops.chmod(0o755)
    (tmp_path / "s.json").write_text("{}")
    with (
        patch.dict(os.environb, {b"A": b"kestrel81\xff"}),
        patch.dict(os.environ, {"PATH": f"{sops.parent}{os.pathsep}{os.environ['PATH']}"}),
    ):
        resolver = Resolver(config=lambda key: HALF, reveal=True, variables=passed)
        assert error in refusal(tmp_path, head, resolver)


@pytest.mark.parametrize("key", ["\\e[31mred", "a\\u202eb", "a[b]", "str", "int", "bool", "\\x9b31m", "\\a"])
def test_an_unknown_key_is_named_whatever_it_is_called_and_moves_no_terminal(folder: Folder, key: str) -> None:
    folder.write("fleet.yaml", f'version: 1\nname: web\ngroups: {{web: {{"{key}": 1}}}}\n')
    result = folder.fleet("render", "fleet.yaml")
    assert result.status == 1 or result.status == 2
    shown = re.sub(r"\\e|\\u202e|\\x9b|\\a", "\ufffd", key)
    assert result.err.startswith(f"Error: fleet.yaml:3:16: There is no key `{shown}`. ")
    assert "addresses_from" in result.err or "Did you mean" in result.err
    assert all(each.isprintable() or each == "\n" for each in result.err)


def test_a_file_that_is_not_there_is_named_without_moving_a_terminal(folder: Folder) -> None:
    result = folder.fleet("render", "\x1b[31mx.yaml")
    assert result.err == "Error: \ufffd[31mx.yaml: There is no such spec.\n"
