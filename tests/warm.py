"""The ``fleet`` command without its imports, which take longer than most of what tests ask of it.

One process has imported ``fleet`` and forks for each command. The fork has the command's arguments, folder, environment
and standard streams, and nothing else of whoever asks; it ends as the command does. Run as a module, this is that
process.
"""

from __future__ import annotations

import atexit
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

from tools.cache import ROOT

_LONGEST = 1 << 20
"""Bytes of a request."""


def run(command: Sequence[str], *, cwd: Path, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run ``fleet`` with standard input empty and its output captured.

    Args:
        command: The path of ``fleet``, and its arguments.
        cwd: Where.
        env: The whole environment.
    """
    if _python(env) != _python(os.environ) or _network() != _network_at_start():
        # What only a process of its own can be given.
        return subprocess.run(command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    request = json.dumps({"command": command, "cwd": str(cwd), "env": dict(env)}).encode()
    ended, theirs = socket.socketpair()
    out, out_end = os.pipe()
    err, err_end = os.pipe()
    empty = os.open(os.devnull, os.O_RDONLY)
    try:
        socket.send_fds(_server(), [request], [empty, out_end, err_end, theirs.fileno()])
    finally:
        theirs.close()
        for fd in (empty, out_end, err_end):
            os.close(fd)
    with ended, ThreadPoolExecutor(2) as pool:
        texts = list(pool.map(_read, (out, err)))
        status = ended.recv(16)
    return subprocess.CompletedProcess(command, int(status), *texts)


def _read(fd: int) -> str:
    with open(fd, encoding="utf-8") as stream:
        return stream.read()


def _python(env: Mapping[str, str]) -> dict[str, str]:
    """What the interpreter reads when it starts."""
    return {name: value for name, value in env.items() if name.startswith("PYTHON")}


def _network() -> int:
    """The network namespace that this thread is in, which a fixture may change."""
    return Path("/proc/thread-self/ns/net").stat().st_ino


@cache
def _network_at_start() -> int:
    return Path(f"/proc/{os.getpid()}/ns/net").stat().st_ino


@cache
def _server() -> socket.socket:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.warm", str(theirs.fileno())],
            cwd=ROOT,
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
    atexit.register(process.wait)
    atexit.register(ours.close)
    return ours


def _serve(requests: socket.socket) -> None:
    """Fork for each request; returns in the processes of commands only."""
    # No one waits for those that report.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        request, fds, *_ = socket.recv_fds(requests, _LONGEST, 4)
        if not request:
            sys.exit()
        if os.fork() == 0:
            break
        for fd in fds:
            os.close(fd)
    requests.close()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    *streams, report = fds
    child = os.fork()
    if child:
        for fd in streams:
            os.close(fd)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        os.write(report, str(status).encode())
        os._exit(0)
    os.close(report)
    for number, fd in enumerate(streams):
        os.dup2(fd, number)
        os.close(fd)
    query = json.loads(request)
    os.chdir(query["cwd"])
    os.environ.clear()
    os.environ.update(query["env"])
    sys.argv = query["command"]
    # As of a script.
    sys.path[0] = str(Path(sys.argv[0]).parent)


if __name__ == "__main__":
    import typer.rich_utils  # noqa: F401 (the command imports both of these late)

    from fleet.cli import COMMANDS, main

    for place in COMMANDS.values():
        importlib.import_module(place.partition(":")[0])
    _serve(socket.socket(fileno=int(sys.argv[1])))
    sys.exit(main())  # type: ignore[func-returns-value]  # as the script of the command does
