"""What is read of a stack without Pulumi's command, and what with it."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from fleet.errors import FleetError
from fleet.ops.backend import Backend
from fleet.ops.engine import Engine
from fleet.ops.reading import Config, StateReader
from fleet.ops.signals import SIGNALS
from fleet.program.exported import outputs, resources_of
from fleet.stack_config import Secure

SEALED = {"4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270", "ciphertext": "v1:abc"}
OPEN = {"4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270", "plaintext": '"a word"'}


class Stack:
    """A stack in files, and how often Pulumi's command was asked for its state."""

    def __init__(self, folder: Path, suffix: str = "") -> None:
        self.file = folder / f".pulumi/stacks/web/test.json{suffix}"
        self.file.parent.mkdir(parents=True)
        self.exported: list[tuple[str, ...]] = []
        self.reader = StateReader(self.export, Backend(folder / ".pulumi", "web", "test"))
        self.value: Any = "nothing"

    def write(self, value: Any) -> None:
        self.value = value
        text = json.dumps({"version": 3, "checkpoint": {"stack": "test", "latest": self.deployment(value)}}).encode()
        self.file.write_bytes(gzip.compress(text) if self.file.suffix == ".gz" else text)

    def deployment(self, value: Any) -> dict[str, Any]:
        return {"resources": [{"urn": "urn:pulumi:test::web::a:b:C::c", "type": "a:b:C", "outputs": {"value": value}}]}

    def export(self, *options: str) -> str:
        self.exported.append(options)
        value = OPEN if self.value == SEALED and options else self.value
        return json.dumps({"version": 3, "deployment": self.deployment(value)})

    def read(self, *, is_open: bool = True, anew: bool = True) -> Any:
        (resource,) = resources_of(self.reader.read(is_open=is_open, anew=anew).deployment)
        return outputs(resource)["value"]


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_a_state_without_secrets_is_read_from_its_file(tmp_path: Path, suffix: str) -> None:
    stack = Stack(tmp_path, suffix)
    for value in ("one", "two"):
        stack.write(value)
        assert (stack.read(), stack.read(anew=False)) == (value, value)
    assert stack.exported == []


def test_a_state_with_a_secret_is_exported_once_for_each_time_that_it_is_written(tmp_path: Path) -> None:
    stack = Stack(tmp_path)
    stack.write(SEALED)
    assert stack.read(is_open=False) is None
    assert stack.exported == []
    assert [stack.read(), stack.read(), stack.read(anew=False), stack.read(is_open=False)] == ["a word"] * 4
    assert stack.exported == [("--show-secrets",)]
    stack.write("another, without one")
    assert stack.read() == "another, without one"
    stack.write(SEALED)
    assert stack.read() == "a word"
    assert len(stack.exported) == 2


def test_who_changes_what_was_read_changes_it_for_nobody_else(tmp_path: Path) -> None:
    stack = Stack(tmp_path)
    stack.write("one")
    stack.reader.read(is_open=True, anew=True).deployment["resources"].clear()
    assert stack.read() == "one"


def test_a_state_that_only_pulumi_can_read_is_exported(tmp_path: Path) -> None:
    stack = Stack(tmp_path, ".zst")
    stack.write("one")
    assert stack.read() == "one"
    assert len(stack.exported) == 1


def test_a_state_in_a_service_is_exported_when_it_is_to_be_as_it_is_now(tmp_path: Path) -> None:
    stack = Stack(tmp_path)
    stack.reader.files = None
    stack.value = SEALED
    assert [stack.read(anew=False), stack.read(anew=False)] == ["a word", "a word"]
    assert len(stack.exported) == 1
    stack.read()
    assert len(stack.exported) == 2


def test_a_state_that_was_cut_off_is_an_error_that_says_how_to_mend_it(tmp_path: Path) -> None:
    stack = Stack(tmp_path)
    stack.file.write_text('{"version": 3, "checkpoint"')
    with pytest.raises(FleetError, match=r"was cut off .*`fleet up` puts the last whole one"):
        stack.read()


def test_secrets_of_a_config_are_read_once_and_only_if_one_is_asked_for() -> None:
    asked: list[str] = []

    def read() -> dict[str, str]:
        asked.append("all")
        return {"web:plain": "a", "web:secret": Secure("a word"), "web:other": Secure("another")}

    config = Config({"web:plain": "a", "web:secret": Secure("?"), "web:other": Secure("?")}, read)
    assert (config.get("web:plain"), config.get("web:none"), len(config)) == ("a", None, 3)
    assert asked == []
    assert dict(config) == read()
    assert isinstance(config["web:secret"], Secure)
    assert asked == ["all", "all"]


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """An engine of an old release, which does not know an option."""
    monkeypatch.setattr(SIGNALS, "engine", None)
    old = tmp_path / "pulumi"
    old.write_text(
        "#!/bin/sh\n[ $1 = version ] && echo v3.100.0 && exit\necho error: unknown flag: --new >&2\nexit 255\n"
    )
    old.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return Engine()


def test_an_engine_that_is_too_old_is_said_to_be_so(engine: Engine, tmp_path: Path) -> None:
    with pytest.raises(FleetError, match=r"The Pulumi CLI is 3\.100\.0, and fleet needs 3\.206\.0 or newer"):
        engine.run(["preview", "--new"], str(tmp_path), {})
