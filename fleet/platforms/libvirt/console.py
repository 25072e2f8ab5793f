"""Serial consoles of domains, by ``virsh``, where that is installed.

A domain's console is a pseudo-terminal that keeps nothing: what it showed before somebody looked is gone, unless the
domain's definition has a log. So a domain that starts is looked at from then on; it is not defined anew for it.
"""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import shutil
import subprocess
import threading
from xml.etree import ElementTree

from fleet.dynamic.tokens import named
from fleet.errors import FleetError
from fleet.platforms.consoles import END, AskedConsole

CONSOLE = "fleet.platforms.libvirt.console:Console"
"""What states have for :class:`Console`; it may never change."""
_SECONDS = 20.0
_BANNER = re.compile(r"^(?:Connected to domain .*|Escape character is .*)\r?\n", re.MULTILINE)


def argument(uri: str, domain: str) -> str:
    """What :class:`Console` is called with.

    Args:
        uri: libvirt's connection.
        domain: The domain's UUID.
    """
    return json.dumps({"uri": uri, "domain": domain})


@named(CONSOLE)
class Console(AskedConsole):
    """The console of a domain; the ``argument`` is that of :func:`argument`."""

    _log: str | None = None
    _process: subprocess.Popen[bytes] | None = None

    def console(self) -> str:
        """What the domain's log has, or what was shown since the first call.

        Raises:
            FleetError: It cannot be had; says why.
        """
        if self._process:
            return self._seen.decode("utf-8", "replace")
        return super().console()

    def read(self) -> str:
        """From the log that the domain's definition names, if it does and the host is this one."""
        if not shutil.which("virsh"):
            raise FleetError("Consoles of libvirt are read by `virsh`, which is not installed.", fix="Install it.")
        if self._log is None:
            self._log = self._log_file()
        if self._log:
            with contextlib.suppress(OSError), open(self._log, "rb") as log:  # noqa: PTH123
                log.seek(max(0, os.fstat(log.fileno()).st_size - END))
                return log.read().decode("utf-8", "replace")
        self._attach()
        return ""

    def _log_file(self) -> str:
        command = [*self._virsh(), "dumpxml", self.place["domain"]]
        try:
            done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, text=True, timeout=_SECONDS)
            if done.returncode:
                reason = " ".join(done.stderr.replace("error:", " ").split()).rstrip(".")
                raise FleetError(f"The domain {self.place['domain']} cannot be looked at: {reason}.")
            log = ElementTree.fromstring(done.stdout).find("./devices/*/log[@file]")
        except (OSError, subprocess.TimeoutExpired, ElementTree.ParseError) as error:
            name = type(error).__name__
            raise FleetError(f"The domain {self.place['domain']} cannot be looked at: {name}.") from None
        return log.get("file", "") if log is not None else ""

    def _virsh(self) -> list[str]:
        return ["virsh", "--connect", self.place["uri"], "--quiet"]

    def _attach(self) -> None:
        # virsh wants a terminal. Without `--force`: whoever looks at it already goes on.
        ours, theirs = pty.openpty()
        command = [*self._virsh(), "console", self.place["domain"]]
        try:
            self._process = subprocess.Popen(
                command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
            )
        except OSError as error:
            os.close(ours)
            raise FleetError(f"`virsh` cannot be run: {error.strerror}.") from None
        finally:
            os.close(theirs)
        self._seen = b""
        threading.Thread(target=self._follow, args=(ours,), daemon=True).start()

    def _follow(self, terminal: int) -> None:
        # The terminal is closed with the last process that has it, which reading then says.
        with contextlib.suppress(OSError):
            while piece := os.read(terminal, 65536):
                self._seen = _without_banner(self._seen + piece)[-END:]
        os.close(terminal)

    def close(self) -> None:
        """Leave the console to others."""
        if self._process:
            self._process.kill()
            self._process.wait()


def _without_banner(text: bytes) -> bytes:
    """What virsh itself says is not the machine's."""
    head, rest = text[:400].decode("latin-1"), text[400:]
    return _BANNER.sub("", head).encode("latin-1") + rest
