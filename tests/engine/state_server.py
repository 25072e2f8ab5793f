"""The server of `fleet state serve`, started for a test."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.conftest import FLEET, Folder
from tools import state_server


@dataclass
class Server:
    """A server, and the folder of its states.

    Attributes:
        folder: The folder.
        environment: What it runs with.
        url: Where it listens.
    """

    folder: Path
    environment: dict[str, str]
    url: str = "http://127.0.0.1:4780"
    _process: subprocess.Popen[str] | None = field(default=None, init=False)

    def start(self) -> None:
        """Start it, as a user does; it listens when this returns."""
        command: list[str | Path] = [FLEET, "state", "serve", "--folder", self.folder]
        self._process = subprocess.Popen(command, env=self.environment, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout
        told = [self._process.stdout.readline(), self._process.stdout.readline()]
        assert told[0] == f"States in {self.folder} are served at {self.url}.\n"
        assert told[1] == f"Log in with: PULUMI_ACCESS_TOKEN=$(cat {self.folder}/token) pulumi login {self.url}\n"

    def kill(self) -> None:
        """Kill it, as a loss of power does."""
        assert self._process
        self._process.kill()
        self._process.communicate()

    @property
    def token(self) -> str:
        """The access token of the first start."""
        return (self.folder / "token").read_text().strip()


@contextlib.contextmanager
def serving(project: Folder) -> Iterator[Server]:
    """A server that a project's stacks are on.

    Args:
        project: The project; its backend is the server meanwhile, and it knows no passphrase.
    """
    path = f"{state_server.built().parent}:{project.environment['PATH']}"
    server = Server(project.path.parent / "states", {**project.environment, "PATH": path})
    server.start()
    before = dict(project.environment)
    del project.environment["PULUMI_CONFIG_PASSPHRASE"]
    project.environment |= {"PULUMI_BACKEND_URL": server.url, "PULUMI_ACCESS_TOKEN": server.token}
    try:
        yield server
    finally:
        server.kill()
        project.environment.clear()
        project.environment.update(before)


def state_of(project: Folder, stack: str = "test") -> dict[str, Any]:
    """A stack's state, as ``pulumi stack export`` gives it."""
    shown = project.pulumi("stack", "export", "--stack", stack)
    assert shown.status == 0, shown
    return dict(json.loads(shown.out)["deployment"])
