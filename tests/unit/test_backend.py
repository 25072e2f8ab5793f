"""Locks in a backend of files: those of the dead go, those of the living stay."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest

from fleet.ops.backend import Backend
from fleet.project import Project
from tests.conftest import Folder

LOCKS = ".pulumi/locks/organization/web/test"


def lock(folder: Path, name: str, text: str, *, age: float = 10) -> Path:
    file = folder / LOCKS / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    os.utime(file, (time.time() - age,) * 2)
    return file


def holder(process: int) -> str:
    return json.dumps({"pid": process, "username": "root", "hostname": socket.gethostname(), "timestamp": "..."})


def mend(folder: Path) -> list[str]:
    message: list[str] = []
    backend = Backend.of("file://.", beside=folder, project="web", stack="test")
    assert backend
    backend.mend(message.append)
    return message


def test_locks_that_an_engine_which_is_gone_has_left_are_taken_away(tmp_path: Path) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    lock(tmp_path, "empty.json", "")
    lock(tmp_path, "cut.json", holder(1)[:12])
    lock(tmp_path, "empty.json.18f3a.tmp", "")
    lock(tmp_path, "whole.json.18f3b.tmp", holder(ended.pid))
    lock(tmp_path, "dead.json", holder(ended.pid))
    # The number is a process's that is no engine.
    lock(tmp_path, "other.json", holder(os.getpid()))
    lock(tmp_path, "new.json", "", age=0)
    assert not mend(tmp_path)
    assert not list((tmp_path / LOCKS).iterdir())
    lock(tmp_path, "dead.json.attrs", json.dumps({"user.content_type": "application/json"}))
    backend = Backend.of("file://.", beside=tmp_path, project="web", stack="test")
    assert backend
    assert backend.holder() == ""


def test_a_lock_of_an_engine_that_lives_stays_and_so_does_one_of_another_machine(tmp_path: Path) -> None:
    engine = tmp_path / "pulumi"
    shutil.copy(shutil.which("sleep") or "", engine)
    with subprocess.Popen([engine, "100"]) as process:
        try:
            live = lock(tmp_path, "live.json", holder(process.pid))
            away = lock(tmp_path, "away.json", holder(process.pid).replace(socket.gethostname(), "elsewhere"))
            with lock(tmp_path, "opened.json.18f3a.tmp", "").open("w") as opened:
                os.utime(opened.fileno(), (1, 1))
                mend(tmp_path)
                assert {Path(file).name for file in (tmp_path / LOCKS).iterdir()} == {
                    live.name,
                    away.name,
                    "opened.json.18f3a.tmp",
                }
        finally:
            process.kill()


@pytest.mark.parametrize("url", ["s3://bucket", "https://api.pulumi.com"])
def test_only_a_backend_of_files_is_looked_at(tmp_path: Path, url: str) -> None:
    assert Backend.of(url, beside=tmp_path, project="web", stack="test") is None


def test_an_update_goes_on_while_a_lock_is_of_an_engine_that_may_live_and_looking_changes_none(tmp_path: Path) -> None:
    backend = Backend.of("file://.", beside=tmp_path, project="web", stack="test")
    assert backend
    assert backend.update() is None
    ended = subprocess.Popen(["true"])
    ended.wait()
    lock(tmp_path, "cut.json", "{")
    lock(tmp_path, "dead.json", holder(ended.pid))
    assert backend.update() is None
    elsewhere = lock(tmp_path, "other.json", holder(1).replace(socket.gethostname(), "elsewhere"), age=60)
    update = backend.update()
    assert update
    assert update.holder == "root@elsewhere (pid 1)"
    assert update.since == elsewhere.stat().st_mtime
    assert {file.name for file in (tmp_path / LOCKS).iterdir()} == {"cut.json", "dead.json", "other.json"}


def test_what_other_stacks_have_beside_a_broken_state_stays(tmp_path: Path) -> None:
    states = tmp_path / ".pulumi/stacks/web"
    states.mkdir(parents=True)
    whole = json.dumps({"version": 3, "checkpoint": {"latest": {}}})
    for name, text in (
        ("test.json", whole),
        ("other.json", ""),
        ("other.json.1a2b.tmp", whole),
        ("test.json.3c.tmp", ""),
    ):
        (states / name).write_text(text)
        os.utime(states / name, (time.time() - 10,) * 2)
    mend(tmp_path)
    assert sorted(file.name for file in states.iterdir()) == ["other.json", "other.json.1a2b.tmp", "test.json"]


@pytest.mark.system
def test_a_stack_may_be_named_with_its_organization_and_project(folder: Folder) -> None:
    folder.make_project("{}")
    project = Project.around(folder.path / "fleet.yaml")
    state = folder.write(".pulumi/stacks/web/test.json", '{"version": 3, "checkpoint": {}}')
    for name in ("test", "organization/web/test"):
        files = Backend.of_stack(project, name)
        assert files
        assert files.exists
    state.unlink()
    result = folder.fleet("ssh", "fleet.yaml", "web-0", "--stack", "organization/web/test")
    assert result.err.startswith("Error: There is no node web-0 in stack organization/web/test.")
