"""Specs in Python, and secrets that are generated."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.conftest import Folder, file_text

SPEC = """\
from parts import motd


def spec(config):
    return {
        "name": "web",
        "groups": {
            "web": {
                "count": config.number("count", 1),
                "snippets": [motd(config.platform)],
                "containers": {
                    "hello": {
                        "image": "docker.io/library/caddy:2",
                        "ports": ["8080:80"],
                        "environment": {"GREETING": config.require("greeting", example="hi")},
                    },
                },
            },
        },
    }
"""
PARTS = """\
def motd(platform):
    return "base.bu" if platform == "qemu" else "other.bu"
"""

Refused = Callable[..., str]


@pytest.fixture
def program(folder: Folder) -> Folder:
    folder.write("spec.py", SPEC)
    folder.write("parts.py", PARTS)
    return folder


def test_a_spec_in_python_is_what_its_function_returns(program: Folder) -> None:
    rendered = program.fleet("render", "spec.py", "--node", "web-0")
    tree = json.loads(rendered.out)
    assert file_text(tree, "/etc/motd.d/fleet") == "hello"
    # No stack is named, so an example stands for what has to be configured.
    assert "GREETING=hi" in file_text(tree, "/etc/containers/systemd/hello.container")
    assert program.fleet("render", "spec.py", "--node", "web-0").out == rendered.out


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"count"', '"cuont"', "spec.py: groups.web.cuont: There is no key `cuont`. Did you mean `count`?"),
        ('config.require("greeting", example="hi")', "1 / 0", "spec.py:15: The spec failed: ZeroDivisionError"),
        ("def spec", "def spek", "spec.py: There is no function `spec` in it."),
        ("return {", "return {{", "spec.py:5: The Python cannot be read"),
        ('"count": config.number("count", 1)', '"count": config', "spec.py: `spec` returned what YAML cannot say"),
        ("from parts", "from partz", "spec.py:1: The spec failed: ModuleNotFoundError"),
    ],
)
def test_a_mistake_in_a_spec_in_python_is_one_paragraph(
    program: Folder, refused: Refused, old: str, new: str, said: str
) -> None:
    program.edit("spec.py", old, new)
    assert said in refused("validate", "spec.py", status=2)


def test_the_stacks_config_is_read_and_checked(program: Folder, refused: Refused) -> None:
    program.make_project("{}")
    missing = refused("validate", "spec.py", "--stack", "test", status=2)
    assert "The stack's config has no greeting. Set it: `pulumi config set greeting VALUE`." in missing
    program.edit("Pulumi.test.yaml", "config:\n", "config:\n  web:greeting: one\n  web:count: 2\n")
    assert "nodes: web-0, web-1" in program.fleet("validate", "spec.py", "--stack", "test").out
    program.edit("Pulumi.test.yaml", "count: 2", "count: many")
    wrong = refused("validate", "spec.py", "--stack", "test", status=2)
    assert "count of the stack's config should be a whole number, but is 'many'" in wrong


def test_what_is_generated_needs_a_key_of_the_config(folder: Folder, refused: Refused) -> None:
    folder.write("fleet.yaml", (folder.path / "fleet.yaml").read_text() + "secrets: {a: {env: A, generate: {}}}\n")
    assert "what is generated is kept in the stack's config" in refused("validate", "fleet.yaml", status=2)
