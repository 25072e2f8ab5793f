"""This machine's processes and the pipes between them, asked in ways that Linux and macOS share.

Processes are asked of psutil, which is imported when it is first needed. A system does not tell all of other users'
processes: Linux hides which files they have open and what they run, macOS their environment as well, and Linux may hide
them altogether (``hidepid`` of proc(5)). What is not told counts as what does least harm: a process that may hold a
lock does hold it, a process that may be in use is left alone.
"""

from __future__ import annotations

import contextlib
import os
import select
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from psutil import Process


def is_engine(number: int) -> bool:
    """Whether a process runs and is Pulumi, or may be: its number may be another's by now.

    Args:
        number: Its number.
    """
    return may_be(number, lambda process: "pulumi" in process.name() + process.exe())


def may_be(number: int, wanted: Callable[[Process], bool]) -> bool:
    """Whether a process runs and is what is wanted; true, too, if it runs and that is not told.

    Args:
        number: Its number.
        wanted: Asks the process.
    """
    import psutil

    try:
        process = psutil.Process(number)
        return process.status() != psutil.STATUS_ZOMBIE and wanted(process)
    except psutil.AccessDenied:
        return True
    except psutil.ZombieProcess:
        return False
    except psutil.NoSuchProcess:
        return _is_hidden(number)
    except ValueError:  # It is no number of a process.
        return False


def _is_hidden(number: int) -> bool:
    """Whether a process of another user's, which the system does not list, has a number."""
    try:
        os.kill(number, 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        pass
    return False


def is_open(file: Path) -> bool:
    """Whether a process has a file open, or may have: one of another user's that is Pulumi by its name.

    Args:
        file: The file.

    Raises:
        FileNotFoundError: There is no such file.
    """
    import psutil

    status = file.stat()

    def is_same(path: str) -> bool:
        try:
            return os.path.samestat(Path(path).stat(), status)
        except OSError:
            return False

    for process in psutil.process_iter():
        try:
            if any(is_same(opened.path) for opened in process.open_files()):
                return True
        except psutil.AccessDenied:
            # Their programs' paths are not told either, and root has processes at all times: so the name alone counts.
            if may_be(process.pid, lambda each: "pulumi" in each.name()):
                return True
        except psutil.NoSuchProcess:
            continue
    return False


def others() -> Iterator[Process]:
    """All processes but this one, as far as they are listed."""
    import psutil

    return (process for process in psutil.process_iter() if process.pid != os.getpid())


@contextlib.contextmanager
def as_told() -> Iterator[None]:
    """A context that ends where a process is gone, or something of it is not told."""
    import psutil

    with contextlib.suppress(psutil.Error, OSError):
        yield


def kill_descendants(number: int) -> None:
    """End what a process has started, and what that has in turn, on the spot. Machines are daemons, and so none of it.

    Args:
        number: The process's number.
    """
    import psutil

    with as_told():
        for descendant in psutil.Process(number).children(recursive=True):
            with as_told():
                descendant.kill()


def lost_reader(descriptor: int, *, wait: bool) -> bool:
    """Whether nobody can read any more what is written to a pipe or a terminal.

    Args:
        descriptor: The descriptor that it is written to.
        wait: Return when that is so, and not before.
    """
    poll = select.poll()
    # Linux tells of it without being asked. macOS does not where nothing is asked for (``poll_nocancel`` in
    # bsd/kern/sys_generic.c of github.com/apple-oss-distributions/xnu).
    poll.register(descriptor, select.POLLHUP)
    return any(state & (select.POLLHUP | select.POLLERR) for _, state in poll.poll(None if wait else 0))
