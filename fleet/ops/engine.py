"""Pulumi's command line, run for the Automation API so that a signal to fleet stops the engine cleanly.

The engine hears an interrupt in two ways (``pkg/backend/cancellation_scope.go`` of github.com/pulumi/pulumi): at the
first it ends after the steps that are going on, at the second it drops them. Before and after an update it hears none,
and an interrupt ends it on the spot, with the stack locked. So it runs in a process group of its own, which a
terminal's Ctrl-C does not reach, and gets exactly one interrupt, from fleet, while it takes one.
"""

from __future__ import annotations

import itertools
import os
import re
import secrets
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from typing import IO, TYPE_CHECKING

from pulumi import automation
from pulumi.automation import CommandResult, EngineEvent
from pulumi.automation.errors import create_command_error
from semver import VersionInfo

from fleet.errors import FleetError
from fleet.ops.signals import SIGNALS
from fleet.processes import as_told, is_engine, may_be, others

if TYPE_CHECKING:
    from psutil import Process

_MARK = "FLEET_ENGINE"
"""The environment variable by which the processes of one engine are known: the number of fleet's own process, a dash,
and a random text."""

_OLDEST = VersionInfo(3, 206)
"""The oldest release of the command that tells a server its events (``_setup_event_log`` of the Automation API)."""

Listener = Callable[[EngineEvent], None]
"""Told each event of an update."""


class Engine(automation.PulumiCommand):
    """The ``pulumi`` command, one run at a time. There is one in a process, as there is one set of signals.

    Its release is not asked for: that takes as long as a small export. One that is too old says that it does not know
    an option, and then it is.

    Attributes:
        running: Whether a run is going on.
    """

    def __init__(self) -> None:  # without the base's, which asks for the release
        self.command = "pulumi"
        # By it, the Automation API decides how the engine tells its events: to a server, by each that fleet works with.
        self.version = _OLDEST
        self._mark = f"{os.getpid()}-{secrets.token_hex(8)}"
        self.running = False
        self._process: subprocess.Popen[str] | None = None
        self._takes_interrupts = False
        self._interrupted = False
        self._in_between: set[str] = set()
        self._waits_for: set[str] | None = None
        self._lock = threading.RLock()
        SIGNALS.engine = self

    def run(
        self,
        args: list[str],
        cwd: str,
        additional_env: Mapping[str, str],
        on_output: Callable[[str], object] | None = None,
        on_error: Callable[[str], object] | None = None,
    ) -> CommandResult:
        """Run a command to its end.

        Args:
            args: The command's arguments.
            cwd: The folder to run in.
            additional_env: Environment variables beside this process's.
            on_output: Called with each line of standard output.
            on_error: Called with each line of standard error.

        Raises:
            CommandError: Its exit status is not 0.
            Stopped: A signal came before, or meanwhile; the command has ended.
        """
        SIGNALS.check()
        environment = {**os.environ, **additional_env, "PULUMI_AUTOMATION_API": "true", _MARK: self._mark}
        # Before a `--`, after which all are positional.
        command = [self.command, "--non-interactive", *args]
        self._takes_interrupts = self._interrupted = False
        self._in_between, self._waits_for = set(), None
        self.running = True
        try:
            self._process = process = subprocess.Popen(
                command,
                cwd=cwd,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                encoding="utf-8",
                process_group=0,
            )
            output, errors = _lines(process.stdout, on_output), _lines(process.stderr, on_error)
            status = process.wait()
            if status < 0:
                # One that is killed leaves its providers.
                self._end_what_is_left()
            result = CommandResult(output(), errors(), status)
        finally:
            self.running, self._process = False, None
        SIGNALS.check()
        if status:
            self._check_release(result)
            raise create_command_error(result)
        return result

    def _check_release(self, result: CommandResult) -> None:
        """Say so where a command failed since it is too old.

        Raises:
            FleetError: It is.
        """
        if not re.search(r"unknown (shorthand )?(flag|command)|open tcp://", result.stderr):
            return
        shown = subprocess.run([self.command, "version"], capture_output=True, text=True, stdin=subprocess.DEVNULL)
        release = shown.stdout.strip().removeprefix("v")
        if VersionInfo.is_valid(release) and VersionInfo.parse(release) < _OLDEST:
            raise FleetError(
                f"The Pulumi CLI is {release}, and fleet needs {_OLDEST} or newer.", fix="Install a newer one."
            )

    def hearing(self, then: Listener) -> Listener:
        """A listener to the events of an update that knows when the engine takes an interrupt.

        Args:
            then: Told the events, too.
        """

        def hear(event: EngineEvent) -> None:
            with self._lock:
                self._takes_interrupts = event.cancel_event is None
                self._follow(event)
                if SIGNALS.number:
                    self.interrupt()
            then(event)

        return hear

    def interrupt(self) -> None:
        """Have the engine end after the steps that are going on.

        It is told as soon as it takes an interrupt and what it has removed to make it anew is at least begun.
        """
        with self._lock:
            if self._waits_for is None:
                self._waits_for = set(self._in_between)
            self._waits_for &= self._in_between
            if self._process and self._takes_interrupts and not self._interrupted and not self._waits_for:
                self._interrupted = True
                self._process.send_signal(signal.SIGINT)

    def _follow(self, event: EngineEvent) -> None:
        """Keep account of what is removed and not yet begun to be made again."""
        if event.resource_pre_event:
            step = event.resource_pre_event.metadata
            if step.op.value == "delete-replaced" and not (step.old and step.old.delete):
                self._in_between.add(step.urn)
            elif step.op.value == "create-replacement":
                self._in_between.discard(step.urn)
        elif event.res_op_failed_event:
            self._in_between.clear()

    def kill(self) -> None:
        """End the command, and all that it started and that is part of it, on the spot."""
        if self._process:
            self._process.kill()
        self._end_what_is_left()

    def _end_what_is_left(self) -> None:
        # Processes that were just being started may have started others.
        for _ in range(20):
            processes = _marked(self._mark)
            if not processes:
                return
            for process in processes:
                with as_told():
                    process.kill()
            time.sleep(0.05)


def end_idle_providers() -> None:
    """End providers that an earlier command left, and whose engine ended before it asked them anything.

    Until then nothing of fleet's runs in them, so they do not notice by themselves.
    """
    for process in others():
        with as_told():
            if ("-m", "pulumi.dynamic") in itertools.pairwise(process.cmdline()):
                command, _, _ = process.environ().get(_MARK, "").partition("-")
                if command.isdecimal() and not may_be(int(command), _is_fleet) and _is_orphan(process):
                    process.kill()


def _is_fleet(process: Process) -> bool:
    """Whether the number of the process that marked a provider is not another's by now."""
    return any("fleet" in word for word in process.cmdline())


def _is_orphan(process: Process) -> bool:
    """Whether nothing of Pulumi's is among what started a process.

    Raises:
        psutil.Error: It is gone.
    """
    return not any(is_engine(parent.pid) for parent in process.parents() if parent.pid > 1)


def _marked(mark: str) -> list[Process]:
    """The processes of this session whose environment holds a mark. Machines have a session of their own."""
    session = os.getsid(0)
    marked: list[Process] = []
    for process in others():
        with as_told():
            if process.environ().get(_MARK) == mark and os.getsid(process.pid) == session:
                marked.append(process)
    return marked


def _lines(stream: IO[str] | None, on_line: Callable[[str], object] | None) -> Callable[[], str]:
    """Read a stream to its end meanwhile; the result waits for that, and gives the text."""
    assert stream is not None
    lines: list[str] = []

    def read() -> None:
        for line in stream:
            lines.append(line.rstrip())
            if on_line:
                on_line(lines[-1])
        stream.close()

    thread = threading.Thread(target=read, daemon=True)
    thread.start()

    def text() -> str:
        thread.join()
        return "\n".join(lines)

    return text
