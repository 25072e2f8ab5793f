"""The network of a stack's machines on this host: one process that runs as long as there are machines.

All frames of machines pass :mod:`fleet.platforms.qemu.qemu_switch`, over sockets in the folder ``network`` of the
stack's state folder, which nobody else may enter. The process begins with the first machine, and ends with the last. It
holds the lock of ``network/process``, where its id is noted, so that there is never a second one; what it has to
complain of is in ``network/log``. One that was killed, and one of another version of fleet, is replaced when the next
machine starts, and by :func:`repair`; the machines do not notice.

Nothing here knows Pulumi.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from fleet.errors import FleetError
from fleet.platforms.qemu.accelerator import BINARY
from fleet.platforms.qemu.qemu_switch import KINDS

_PROGRAM = Path(__file__).with_name("qemu_switch.py")
_OLDEST = (7, 2)
"""The first QEMU that has ``-netdev dgram`` (its change log)."""
_PATIENCE = 10.0
"""Seconds that a killed process has to end."""


@dataclass(frozen=True)
class Older:
    """Machines that an earlier fleet has started, whose private network is a multicast group.

    Attributes:
        group: ``ADDRESS:PORT``.
        processes: Their ids.
    """

    group: str = ""
    processes: Sequence[int] = ()


def options(node: str, folder: int, forwards: str, private: str | None) -> list[str]:
    """QEMU's options for a machine's cards.

    Args:
        node: The node's name.
        folder: A descriptor of the network folder that QEMU inherits: a path to it that is always short enough for a
            socket's address, and holds when QEMU has become a daemon.
        forwards: Options of the user network that forward ports, each with a comma before it.
        private: The Ethernet address of the card in the private network; ``None`` without one.
    """

    def sockets(kind: str, to: str) -> str:
        path = f"/proc/self/fd/{folder}"
        return (
            f"dgram,id={kind},local.type=unix,local.path={path}/{node}.{kind},remote.type=unix,remote.path={path}/{to}"
        )

    # IPv6 would be one more way to the host, and leads nowhere on most.
    words = ["-netdev", f"user,id=user,ipv6=off{forwards}"]
    words += ["-netdev", sockets("inward", "inward")]
    words += ["-netdev", "hubport,id=user-port,hubid=0,netdev=user"]
    words += ["-netdev", "hubport,id=inward-port,hubid=0,netdev=inward"]
    words += ["-netdev", sockets("outward", "outward"), "-device", "virtio-net-pci,netdev=outward"]
    if private:
        words += ["-netdev", sockets("private", "private")]
        words += ["-device", f"virtio-net-pci,netdev=private,mac={private}"]
    return words


@contextlib.contextmanager
def joined(state: Path, node: str, older: Older) -> Iterator[int]:
    """Have the network run, for a machine that is about to start, and whose folder is there.

    Yields:
        A descriptor of the network folder, for :func:`options`.

    Args:
        state: The stack's state folder.
        node: The node's name; what an earlier machine of it has left is removed.
        older: As :class:`Older`.

    Raises:
        FleetError: It cannot run.
    """
    with _turn(state):
        descriptor = _ensure(state, older)
        try:
            _forget(state, node)
        except BaseException:
            os.close(descriptor)
            raise
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def sockets(state: Path, node: str) -> list[Path]:
    """The sockets of a machine in the network folder.

    Args:
        state: The stack's state folder.
        node: The node's name.
    """
    return [path for kind in KINDS if (path := _folder(state) / f"{node}.{kind}").exists()]


def leave(state: Path, node: str) -> None:
    """Forget a machine that has ended, and whose folder is gone. The last one takes the network with it.

    Raises:
        FleetError: The process does not end.
    """
    if not _folder(state).is_dir():
        return
    with _turn(state):
        _forget(state, node)
        if not any((state / "nodes").glob("*")):
            _end(state)
            shutil.rmtree(_folder(state), ignore_errors=True)


def repair(state: Path, older: Older) -> bool:
    """Have the network of running machines run again, where it was killed or is of another version of fleet.

    Returns:
        Whether it had to be started.

    Raises:
        FleetError: It cannot run.
    """
    if not _folder(state).is_dir():
        return False
    with _turn(state):
        before = _process(state)
        os.close(_ensure(state, older))
        return _process(state) != before


def ended(state: Path) -> bool:
    """Whether the network of machines was killed, so that :func:`repair` would start it."""
    if not _folder(state).is_dir():
        return False
    with _turn(state):
        return _folder(state).is_dir() and _process(state) is None


@functools.cache
def lacking() -> str:
    """What this host lacks for it, as a sentence; empty if nothing."""
    try:
        output = subprocess.run([BINARY, "--version"], capture_output=True, text=True).stdout
    except OSError:
        return ""
    version = re.search(r"version (\d+)\.(\d+)", output)
    if version is None or (int(version[1]), int(version[2])) >= _OLDEST:
        return ""
    return f"QEMU {version[1]}.{version[2]} is too old: nodes need {_OLDEST[0]}.{_OLDEST[1]} or newer."


def _folder(state: Path) -> Path:
    return state / "network"


@contextlib.contextmanager
def _turn(state: Path) -> Iterator[None]:
    """One after the other: nodes start and end side by side."""
    try:
        descriptor = os.open(state, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise FleetError(
            f"The state folder {state} cannot be used: {(error.strerror or str(error)).lower()}."
        ) from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _ensure(state: Path, older: Older) -> int:
    """Have the process run. Returns a descriptor of the network folder."""
    folder = _folder(state)
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        if os.fstat(descriptor).st_uid != os.geteuid():
            os.close(descriptor)
            raise FleetError(f"{folder} belongs to another user, who could read what nodes send.", fix="Remove it.")
        os.fchmod(descriptor, 0o700)
        if not _current(state):
            _end(state)
            _begin(state, descriptor, older)
    except OSError as error:
        raise FleetError(
            f"The network of the nodes cannot be started in {folder}: {(error.strerror or str(error)).lower()}."
        ) from None
    return descriptor


def _begin(state: Path, descriptor: int, older: Older) -> None:
    """Start the process, with its sockets bound: what machines send meanwhile waits there."""
    with contextlib.ExitStack() as opened:
        lock = opened.enter_context(_opened(_folder(state) / "process"))
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        lock.write(f"{_version()}\n")
        lock.flush()
        log = opened.enter_context(_opened(_folder(state) / "log"))
        inherited = [descriptor, lock.fileno()]
        for kind in KINDS:
            (_folder(state) / kind).unlink(missing_ok=True)
            each = opened.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
            # The file that `bind` makes has the socket's mode (unix(7) has no other way but the umask of all threads).
            os.fchmod(each.fileno(), 0o600)
            each.bind(f"/proc/self/fd/{descriptor}/{kind}")
            inherited.append(each.fileno())
        processes = []
        for pid in older.processes:
            with contextlib.suppress(ProcessLookupError):
                processes.append(os.pidfd_open(pid))
                opened.callback(os.close, processes[-1])
        arguments = [str(each) for each in inherited] + ([older.group, *map(str, processes)] if processes else [])
        # Without site-packages it starts in 20 ms and takes 8 MB.
        subprocess.run(
            [sys.executable, "-I", "-S", str(_PROGRAM), str(state), *arguments],
            pass_fds=[*inherited, *processes],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=log,
            cwd="/",
            start_new_session=True,
            check=False,
        )
    if not _current(state):
        message = (_folder(state) / "log").read_text(errors="replace").strip()
        raise FleetError(f"The process of the nodes' network does not start: {message or 'it ended'}.")


def _opened(file: Path) -> TextIO:
    """A file of the network, empty, that its owner alone can read, whatever it was before."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    os.fchmod(descriptor, 0o600)
    return os.fdopen(descriptor, "w")


def _current(state: Path) -> bool:
    """Whether the process runs, and is of this version of fleet."""
    noted = _process(state)
    return noted is not None and noted[0] == _version()


def _process(state: Path) -> tuple[str, int] | None:
    """The version and the id of the process that runs: it alone has the lock."""
    try:
        with (_folder(state) / "process").open() as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                version, pid = lock.read().split()
                return version, int(pid)
    except (OSError, ValueError):
        pass
    return None


def _end(state: Path) -> None:
    """End the process, if one runs."""
    noted = _process(state)
    if noted is None:
        return
    with contextlib.suppress(ProcessLookupError):
        process = os.pidfd_open(noted[1])
        try:
            # Its number may be another's by now, or what was noted may be damaged.
            if _PROGRAM.name.encode() in Path(f"/proc/{noted[1]}/cmdline").read_bytes():
                signal.pidfd_send_signal(process, signal.SIGKILL)
                end = select.poll()
                end.register(process, select.POLLIN)
                if end.poll(_PATIENCE * 1000):
                    return
        except OSError:
            return
        finally:
            os.close(process)
    raise FleetError(f"The process {noted[1]} of the nodes' network in {_folder(state)} does not end.")


def _forget(state: Path, node: str) -> None:
    """Remove the sockets of a machine."""
    for path in sockets(state, node):
        path.unlink(missing_ok=True)


def _version() -> str:
    return hashlib.sha256(_PROGRAM.read_bytes()).hexdigest()
