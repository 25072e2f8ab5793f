"""What is asked of this machine's processes, and what is done where a system does not tell it."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from fleet import processes
from fleet.files import socket_folder
from fleet.ops.backend import Backend
from fleet.ops.engine import end_idle_providers

LOCKS = ".pulumi/locks/organization/web/test"
DENIED = psutil.AccessDenied
UNTOLD = [("status", DENIED), ("name", DENIED), ("exe", DENIED), ("status", psutil.NoSuchProcess)]
"""What a system may not tell of another user's process; the last: it does not list it at all."""


@contextlib.contextmanager
def running(*words: str | Path, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(words, env={**os.environ, **environment}) as process:
        try:
            yield process
        finally:
            process.kill()


def refuse(monkeypatch: pytest.MonkeyPatch, number: int, method: str, error: type[psutil.Error]) -> None:
    """Have psutil fail when a process is asked something."""
    answer = getattr(psutil.Process, method)

    def ask(process: psutil.Process, *args: Any, **kwargs: Any) -> Any:
        if process.pid == number:
            raise error(number)
        return answer(process, *args, **kwargs)

    monkeypatch.setattr(psutil.Process, method, ask)


def of_another_user(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Have the question whether a process may be sent signals be refused."""
    kill = os.kill

    def refused(each: int, sent: int) -> None:
        if each == number and not sent:
            raise PermissionError
        kill(each, sent)

    monkeypatch.setattr(os, "kill", refused)


def mended(folder: Path, **holder: object) -> bool:
    """Whether a lock stays when its backend is mended."""
    lock = folder / LOCKS / "lock.json"
    lock.parent.mkdir(parents=True, exist_ok=True)
    lock.write_text(json.dumps({"username": "ann", "hostname": socket.gethostname(), **holder}) if holder else "")
    os.utime(lock, (1, 1))
    backend = Backend.of("file://.", beside=folder, project="web", stack="test")
    assert backend
    backend.mend(lambda _: None)
    return lock.exists()


@pytest.mark.parametrize(("method", "error"), UNTOLD)
def test_a_lock_stays_whose_holder_runs_and_of_which_the_system_does_not_tell_whether_it_is_an_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, error: type[psutil.Error]
) -> None:
    with running("sleep", "100") as holder:
        assert not mended(tmp_path, pid=holder.pid)
        refuse(monkeypatch, holder.pid, method, error)
        of_another_user(monkeypatch, holder.pid)
        assert mended(tmp_path, pid=holder.pid)


@pytest.mark.parametrize("number", [-1, 1 << 22, 1 << 40, 1 << 70])
def test_a_lock_goes_whose_holder_is_no_process(tmp_path: Path, number: int) -> None:
    assert not mended(tmp_path, pid=number)


def test_a_lock_goes_whose_holder_has_ended_and_was_not_waited_for(tmp_path: Path) -> None:
    engine = tmp_path / "pulumi"
    engine.symlink_to("/bin/sh")
    with subprocess.Popen([engine, "-c", "exit"]) as holder:
        os.waitid(os.P_PID, holder.pid, os.WEXITED | os.WNOWAIT)
        assert not mended(tmp_path, pid=holder.pid)


@pytest.mark.parametrize(
    ("name", "stays"), [("pulumi", True), ("pulumi-language-python", True), ("sleep", False)], ids=str
)
def test_an_empty_lock_stays_while_an_engine_runs_whose_open_files_are_not_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, stays: bool
) -> None:
    program = tmp_path / name
    program.symlink_to("/bin/sleep")
    with running(program, "100") as foreign:
        # Other tests' processes are none of this one's.
        monkeypatch.setattr(psutil, "process_iter", lambda: iter([psutil.Process(foreign.pid)]))
        assert not mended(tmp_path)
        refuse(monkeypatch, foreign.pid, "open_files", DENIED)
        assert mended(tmp_path) is stays
        refuse(monkeypatch, foreign.pid, "exe", DENIED)
        assert mended(tmp_path) is stays
        refuse(monkeypatch, foreign.pid, "name", DENIED)
        assert mended(tmp_path)
        refuse(monkeypatch, foreign.pid, "open_files", psutil.NoSuchProcess)
        assert not mended(tmp_path)


def test_a_file_counts_as_open_by_whatever_name_it_was_opened(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    os.link(file, tmp_path / "other")
    assert not processes.is_open(file)
    with (tmp_path / "other").open():
        assert processes.is_open(file)
    with pytest.raises(FileNotFoundError):
        processes.is_open(tmp_path / "none")


IDLE = [sys.executable, "-c", "import time; time.sleep(600)", "-m", "pulumi.dynamic"]


@pytest.mark.parametrize(
    ("of", "method", "error"),
    [
        *(("provider", method, DENIED) for method in ("cmdline", "environ", "parents", "kill")),
        *(("provider", method, psutil.NoSuchProcess) for method in ("cmdline", "environ", "parents", "kill")),
        *(("command", method, DENIED) for method in ("status", "cmdline")),
        ("command", "status", psutil.NoSuchProcess),
        *(("parent", method, DENIED) for method in ("status", "name", "exe")),
    ],
)
def test_a_provider_is_left_alone_where_the_system_does_not_tell_whether_it_is_used(
    monkeypatch: pytest.MonkeyPatch, of: str, method: str, error: type[psutil.Error]
) -> None:
    with running("sleep", "100") as command, running(*IDLE, FLEET_ENGINE=f"{command.pid}-abc") as provider:
        numbers = {"provider": provider.pid, "command": command.pid, "parent": os.getpid()}
        monkeypatch.setattr(psutil, "process_iter", lambda: iter([psutil.Process(provider.pid)]))
        with monkeypatch.context() as hidden:
            refuse(hidden, numbers[of], method, error)
            if of == "command":
                of_another_user(hidden, command.pid)
            end_idle_providers()
            time.sleep(0.05)
            assert provider.poll() is None
        end_idle_providers()
        assert provider.wait(30) == -signal.SIGKILL


def test_what_a_process_started_is_ended_with_all_that_this_started_and_itself_is_not(tmp_path: Path) -> None:
    script = "sleep 100 & echo $!; sh -c 'sleep 100 & echo $!; wait' & echo $!; wait"
    with subprocess.Popen(["sh", "-c", script], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        started = [int(process.stdout.readline()) for _ in range(3)]
        processes.kill_descendants(process.pid)
        assert process.wait(30) == 0
        for number in started:
            with contextlib.suppress(psutil.NoSuchProcess):
                psutil.Process(number).wait(30)
    processes.kill_descendants(process.pid)


class DarwinPoll:
    """As macOS polls: what nothing is asked of is not looked at."""

    def __init__(self) -> None:
        self._poll, self._asked = POLL(), False

    def register(self, descriptor: int, events: int) -> None:
        self._asked = bool(events)
        self._poll.register(descriptor, events)

    def poll(self, timeout: float | None = None) -> list[tuple[int, int]]:
        if not self._asked:
            assert timeout is not None, "it would wait for ever"
            return []
        return self._poll.poll(timeout)


POLL = select.poll


@pytest.mark.parametrize("poll", [POLL, DarwinPoll])
@pytest.mark.parametrize("make", [os.pipe, lambda: tuple(end.detach() for end in socket.socketpair())])
def test_a_pipe_whose_reader_is_gone_is_noticed_and_one_whose_reader_is_there_is_not(
    monkeypatch: pytest.MonkeyPatch, poll: type, make: Callable[[], tuple[int, int]]
) -> None:
    monkeypatch.setattr(select, "poll", poll)
    reader, writer = make()
    try:
        assert not processes.lost_reader(writer, wait=False)
        os.write(writer, b"text")
        assert not processes.lost_reader(writer, wait=False)
    finally:
        os.close(reader)
    assert processes.lost_reader(writer, wait=False)
    assert processes.lost_reader(writer, wait=True)
    os.close(writer)


@pytest.mark.parametrize("length", [0, 40, 90, 200])
def test_sockets_can_be_bound_however_long_the_path_of_temporary_files_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, length: int
) -> None:
    place = tmp_path / ("x" * length)
    place.mkdir(exist_ok=True)
    monkeypatch.setattr("tempfile.tempdir", str(place))
    with socket_folder() as folder, socket.socket(socket.AF_UNIX) as listener:
        path = folder / "plans"
        listener.bind(str(path))
        assert len(os.fsencode(path)) < 104
        assert folder.stat().st_mode & 0o077 == 0
    assert not folder.exists()
