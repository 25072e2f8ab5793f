"""fleet works on macOS, but for the platform that is a part of Linux."""

from __future__ import annotations

import ast
import errno
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet.errors import FleetError, release
from fleet.ops.program import _listening
from fleet.planner import plan_spec
from fleet.platforms.qemu.platform import Qemu
from fleet.program.order import Answer, Order, tell
from fleet.spec import Resolver
from fleet.stack_config import no_config
from tests.conftest import SPEC, Folder
from tools.cache import ROOT

LINUX_ONLY = ROOT / "fleet/platforms/qemu"
OF_LINUX = re.compile(r"/(proc|sys|run|dev/(fd|shm|std(in|out|err)|mqueue)|etc/(os-release|machine-id))(/|$)")
"""Files that this machine has only where it is Linux, or not in the same way elsewhere."""


def portable() -> list[Path]:
    return [file for file in sorted((ROOT / "fleet").rglob("*.py")) if LINUX_ONLY not in file.parents]


def looked_at(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Texts that are paths of this machine: what functions are given that look at files, with their lines."""
    for call in ast.walk(tree):
        if isinstance(call, ast.Call):
            name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
            if name in LOOK:
                for argument in call.args:
                    for each in ast.walk(argument):
                        if isinstance(each, ast.Constant) and isinstance(each.value, str):
                            yield each.lineno, each.value


LOOK = {"Path", "PurePath", "open", "stat", "lstat", "exists", "listdir", "scandir", "glob", "iglob", "readlink", "run"}
LOOK |= {"access", "walk", "is_file", "is_dir", "isfile", "isdir", "Popen", "which", "connect", "realpath"}


def test_nothing_but_the_platform_that_is_linux_looks_at_files_that_only_linux_has() -> None:
    assert [*looked_at(ast.parse('Path(f"/proc/{number}/comm")')), *looked_at(ast.parse('os.listdir("/sys")'))]
    linux = [
        f"{file.relative_to(ROOT)}:{line}: {text}"
        for file in portable()
        for line, text in looked_at(ast.parse(file.read_text()))
        if OF_LINUX.match(text)
    ]
    assert not linux
    in_platform = [each for file in LINUX_ONLY.rglob("*.py") for each in looked_at(ast.parse(file.read_text()))]
    assert any(OF_LINUX.match(text) for _, text in in_platform)


def test_nothing_that_is_polled_is_asked_nothing_of() -> None:
    """Of what is registered with a mask of 0, macOS tells nothing."""
    polled = [
        f"{file.relative_to(ROOT)}:{call.lineno}"
        for file in portable()
        for call in ast.walk(ast.parse(file.read_text()))
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and call.func.attr == "register"
        and any(isinstance(each, ast.Constant) and each.value == 0 for each in call.args[1:])
    ]
    assert not polled


@pytest.mark.slow
def test_what_python_itself_has_only_on_linux_is_used_by_the_platform_alone_that_is_linux(tmp_path: Path) -> None:
    # The types of Python's own modules know which of their names each system has. Nothing else is followed.
    quick = ["--config-file", "/dev/null", "--follow-imports", "skip", "--cache-dir", str(tmp_path)]
    command = [sys.executable, "-m", "mypy", "--platform", "darwin", *quick, "fleet"]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout.splitlines()
    missing = [line for line in told if 'error: Module has no attribute "' in line]
    platform = f"{LINUX_ONLY.relative_to(ROOT)}/"
    assert any(line.startswith(platform) for line in missing)
    assert [line for line in missing if not line.startswith(platform)] == []


def test_a_stack_whose_nodes_would_run_on_macos_is_refused_and_its_spec_can_still_be_checked(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    platform = Qemu.from_options({}, project=folder.path, stack="test")
    platform.check_stack(account=False)
    with pytest.raises(FleetError, match="on Linux alone"):
        platform.check_stack()
    (check,) = platform.checks(no_config)
    assert check.look().works is False


def test_what_a_program_plans_is_heard_and_listening_ends_where_only_a_connection_wakes_who_waits_for_one(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    close_down = socket.socket.shutdown

    def as_on_macos(self: socket.socket, how: int) -> None:
        if self.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            raise OSError(errno.ENOTCONN, "Socket is not connected")
        close_down(self, how)

    monkeypatch.setattr(socket.socket, "shutdown", as_on_macos)
    folder.write("fleet.yaml", SPEC.format(count=2, greeting="hello"))
    platform = Qemu.from_options({}, project=folder.path, stack="test")
    answer = Answer("web", "qemu", {}, plan_spec(folder.path / "fleet.yaml", Resolver(), platform, need_lock=False))
    heard: list[Answer] = []

    def listen() -> None:
        with _listening(heard.append) as (path, trouble):
            order = Order("up", "1", path, release())
            tell(order, answer)
            tell(order, answer)
            assert not trouble

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    thread.join(60)
    assert not thread.is_alive()
    assert [each.fleet for each in heard] == ["web", "web"]
    assert [node.name for node in heard[0].plan.nodes] == ["web-0", "web-1"]
