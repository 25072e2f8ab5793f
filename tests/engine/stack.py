"""A stack in a folder, and what is there to be seen of its nodes."""

from __future__ import annotations

import contextlib
import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from tests.conftest import SPEC, STACK, Folder, Result, meanwhile
from tests.engine.reports import Troubles

OFFSET = 10_000  # away from the machine tests, and below the ports that the kernel gives to clients
GROUP = """\
  {name}:
    count: {count}
    containers:
      hello:
        image: docker.io/library/caddy:2
        ports: ["{port}:80"]
        environment: {{GREETING: "{greeting}"}}
    ready: [{{http: {{port: {port}}}, interval: 0.1}}]
    ready_timeout: 8
"""
PROBE = """\
    ready:
      - {http: {port: 8080}, interval: 0.1}
    ready_timeout: 8
    data_disks:
      a: {size_gib: 1, mount: /var/a}
"""


def looked_at(places: Sequence[str]) -> AbstractContextManager[list[int]]:
    """Asks nodes meanwhile, over and over; gives a list of how many were down at each look.

    Args:
        places: Their addresses and ports.
    """

    def down(place: str) -> bool:
        try:
            urllib.request.urlopen(f"http://{place}/", timeout=1)
        except (urllib.error.URLError, http.client.HTTPException, OSError):
            return True
        return False

    return meanwhile(lambda: sum(map(down, places)), pause=0.02)


class Stack(Folder):
    log: Path
    tools: Path

    def spec(self, count: int, greeting: str) -> None:
        self.write("fleet.yaml", SPEC.format(count=count, greeting=greeting) + PROBE)

    def up(self) -> Result:
        return self.fleet("up", *STACK, "--yes")

    def sicken(self, node: str) -> None:
        """Make a node answer 503, whatever its config, until it is healed."""
        (self.log.parent / f"sick-{node}").touch()

    def heal(self, node: str) -> None:
        (self.log.parent / f"sick-{node}").unlink()

    def trouble(self, node: str, troubles: Troubles) -> None:
        """Have a node's report say that units of it are not well, whatever its config; by their names in the spec."""
        file = self.log.with_name(f"troubles-{node}")
        file.with_suffix(".new").write_text(json.dumps(troubles))
        file.with_suffix(".new").replace(file)

    def running(self, program: str) -> dict[int, str]:
        """The command lines of the processes of a program that work in a folder of the stack's, by number."""
        lines = {}
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                line = (process / "cmdline").read_text().replace("\0", " ")
                if program in line and str((process / "cwd").readlink()).startswith(f"{self.path}/"):
                    lines[int(process.name)] = line
        return lines

    def started(self) -> list[str]:
        """The nodes started since the last question."""
        return [words[1] for words in self._logged()]

    def started_with(self) -> list[tuple[str, str]]:
        """The nodes started since the last question, and the accelerator of each."""
        return [(words[1], words[2]) for words in self._logged()]

    def _logged(self) -> list[list[str]]:
        lines = [line.split() for line in self.log.read_text().splitlines()] if self.log.exists() else []
        self.log.write_text("")
        return lines
