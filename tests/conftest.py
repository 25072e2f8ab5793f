"""What all tests share."""

from __future__ import annotations

import base64
import contextlib
import ctypes
import fcntl
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import HealthCheck, settings

from tests import warm
from tests.https import authority as authority
from tests.https import server as server
from tests.judge import Judge
from tools.cache import ROOT, locked

# How fast an example is decides nothing here: machines are emulated beside these tests.
settings.register_profile("fleet", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("fleet")

# A shell has what it starts in the background ignore it, and so would the commands that tests interrupt.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

T = TypeVar("T")

STACK = ("fleet.yaml", "--stack", "test")
"""Arguments of a command on the stack that :meth:`Folder.make_project` makes."""

FLEET = Path(sys.executable).with_name("fleet")

SPEC = """\
version: 1
name: web
groups:
  web:
    count: {count}
    snippets: [base.bu]
    containers:
      hello:
        image: docker.io/library/caddy:2
        ports: ["8080:80"]
        environment: {{GREETING: "{greeting}"}}
"""

SNIPPET = """\
variant: fcos
version: 1.6.0
storage:
  files:
    - path: /etc/motd.d/fleet
      mode: 0644
      contents: {inline: "hello"}
"""


@contextmanager
def meanwhile(look: Callable[[], T], *, pause: float) -> Iterator[list[T]]:
    """Looks over and over while the context lasts; yields the list of what was seen.

    Args:
        look: Looks once.
        pause: Seconds between two looks.
    """
    seen: list[T] = []
    over = threading.Event()

    def run() -> None:
        while not over.is_set():
            seen.append(look())
            time.sleep(pause)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


def file_text(tree: dict[str, Any], path: str) -> str:
    """The contents of a file of an Ignition config."""
    entry = next(entry for entry in tree["storage"]["files"] if entry["path"] == path)
    meta, _, data = entry["contents"]["source"].removeprefix("data:").partition(",")
    raw = base64.b64decode(data) if meta.endswith(";base64") else unquote_to_bytes(data)
    return raw.decode()


@dataclass(frozen=True)
class Result:
    status: int
    out: str
    err: str


class Folder:
    """A user's folder with a spec, and the ``fleet`` command in it.

    Args:
        path: The folder.
        environment: What commands in it have.
        has_pulumi: Pulumi's command may be asked for; ``make unit`` does without.
    """

    def __init__(self, path: Path, environment: dict[str, str], *, has_pulumi: bool = True) -> None:
        self.path = path
        self.environment = environment
        self.has_pulumi = has_pulumi

    def write(self, name: str, text: str) -> Path:
        file = self.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    def edit(self, name: str, old: str, new: str) -> None:
        text = (self.path / name).read_text()
        assert old in text
        self.write(name, text.replace(old, new))

    def make_project(self, options: str) -> None:
        """Add a Pulumi project with a stack ``test`` on qemu; ``options`` is its ``fleet:qemu`` in YAML."""
        self.write("Pulumi.yaml", 'name: web\nruntime: python\nbackend: {url: "file://."}\n')
        self.write("Pulumi.test.yaml", f"config:\n  fleet:platform: qemu\n  fleet:qemu: {options}\n")

    def take_example(self, name: str) -> None:
        """Add one of the examples, as a project with its state in the folder."""
        shutil.copytree(ROOT / "examples" / name, self.path, dirs_exist_ok=True)
        self.write("Pulumi.yaml", f'name: {name}\nruntime: python\nbackend: {{url: "file://."}}\n')

    def pulumi(self, *arguments: str) -> Result:
        """Run Pulumi's own command, found where ``fleet`` finds it."""
        assert self.has_pulumi, "mark the test `system`: it runs Pulumi's command"
        path = f"{self.environment['PATH']}:{FLEET.parent}"
        result = subprocess.run(
            ["pulumi", *arguments],
            cwd=self.path,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            env={**self.environment, "PATH": path},
        )
        return Result(result.returncode, result.stdout, result.stderr)

    def secrets(self) -> dict[str, str]:
        """The secrets of the config of the stack ``test``, by key."""
        shown = self.pulumi("config", "--show-secrets", "--json", "--stack", "test")
        assert shown.status == 0, shown.err
        return {key: entry["value"] for key, entry in json.loads(shown.out).items() if entry["secret"]}

    def fleet(self, *arguments: str, **environment: str) -> Result:
        result = warm.run([str(FLEET), *arguments], cwd=self.path, env={**self.environment, **environment})
        assert "Traceback" not in result.stderr + result.stdout, result.stderr + result.stdout
        return Result(result.returncode, result.stdout, result.stderr)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what a fixture says of a test."""
    for item in items:
        if isinstance(item, pytest.Function) and {"judge"} & {*item.fixturenames}:
            item.add_marker(pytest.mark.system)


@pytest.fixture
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Folder:
    """A folder with a valid spec of one node, ``fleet.yaml``, and its snippet, ``base.bu``."""
    project = Folder(
        tmp_path / "project",
        {
            **os.environ,
            "XDG_CACHE_HOME": str(tmp_path / "cache"),
            "PULUMI_HOME": str(tmp_path / "pulumi-home"),
            "PULUMI_CONFIG_PASSPHRASE": "test",
        },
        has_pulumi=not request.path.is_relative_to(ROOT / "tests/unit") or "system" in request.keywords,
    )
    project.write("fleet.yaml", SPEC.format(count=1, greeting="hello"))
    project.write("base.bu", SNIPPET)
    return project


@pytest.fixture
def other(folder: Folder, tmp_path: Path) -> Path:
    """A folder whose Python packages the folder's commands have, beside those that are installed."""
    site = tmp_path / "site-packages"
    paths = filter(None, (str(site), folder.environment.get("PYTHONPATH", "")))
    folder.environment["PYTHONPATH"] = os.pathsep.join(paths)
    return site


def install_toy(site: Path) -> None:
    """Install the package in ``tests/toy``, a platform of somebody else's.

    Args:
        site: The folder for it.
    """
    offline = ["--quiet", "--disable-pip-version-check", "--no-index", "--no-deps", "--no-build-isolation"]
    subprocess.run(
        [sys.executable, "-m", "pip", "install", *offline, "--target", site, ROOT / "tests" / "toy"], check=True
    )


@pytest.fixture
def own_loopback() -> Iterator[None]:
    """Puts what the test starts into a network of its own that has nothing but loopback, so that tests with the same
    ports can run side by side. Takes root's privilege; without it, tests share this machine's loopback.
    """
    if os.geteuid() != 0:
        yield
        return
    libc = ctypes.CDLL(None, use_errno=True)
    with Path("/proc/thread-self/ns/net").open() as before:
        if libc.unshare(_CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "unshare")
        with socket.socket() as any_socket:
            fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", _IFF_UP))
        yield
        if libc.setns(before.fileno(), _CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Callable[[], Path]]:
    """Mounts a disk of its own on a folder, which is made; yields what fills it, and gives the file to remove again.

    Args:
        folder: The folder.
        size: Such as ``8m`` (tmpfs(5)).
    """
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root: `make test` as root has it")
    libc = ctypes.CDLL(None, use_errno=True)
    folder.mkdir()
    if libc.mount(b"tmpfs", os.fsencode(folder), b"tmpfs", 0, f"size={size}".encode()):
        raise OSError(ctypes.get_errno(), "mount")

    def fill() -> Path:
        file = folder / "filling"
        with file.open("wb", buffering=0) as out:
            for piece in (1 << 16, 1 << 12, 1):
                with contextlib.suppress(OSError):
                    while True:
                        out.write(b"x" * piece)
        return file

    try:
        yield fill
    finally:
        libc.umount2(os.fsencode(folder), _MNT_DETACH)


_MNT_DETACH = 2
"""umount(2)."""
_CLONE_NEWNET, _SIOCSIFFLAGS, _IFF_UP = 0x40000000, 0x8914, 1
"""unshare(2), netdevice(7)."""


@contextmanager
def in_turn(temporary: pytest.TempPathFactory, *, alone: bool) -> Iterator[None]:
    """Keeps what emulates machines from running beside what has time-outs: either one test alone, or any of the others.

    None of the others begins once one waits to be alone, which would else wait for all of them.

    Args:
        temporary: Its folders have one parent in all processes of a run.
        alone: Whether it is a test that no other may run beside.
    """
    folder = temporary.getbasetemp().parent
    gate, turn = folder / "gate.lock", folder / "turn.lock"
    if alone:
        with locked(gate), locked(turn):
            yield
        return
    with contextlib.ExitStack() as held:
        with locked(gate):
            held.enter_context(locked(turn, shared=True))
        yield


@pytest.fixture
def refused(folder: Folder) -> Callable[..., str]:
    """Runs a command that must fail with one paragraph on standard error, and returns that."""

    def run(*arguments: str, status: int, **environment: str) -> str:
        result = folder.fleet(*arguments, **environment)
        assert result.status == status, result
        assert result.err.startswith("Error: ")
        return result.err

    return run


@pytest.fixture(scope="session")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Judge:
    """Real Ignition, Podman's generator and systemd."""
    if os.geteuid() != 0 or not shutil.which("mmdebstrap"):
        pytest.skip("judging generated units needs root and mmdebstrap: `make test` as root on Debian has both")
    return Judge(tmp_path_factory.mktemp("judge"))
