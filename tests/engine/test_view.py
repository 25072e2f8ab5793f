"""``fleet view`` beside an update in another terminal: what it sees, and that it only looks."""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tests.conftest import FLEET, STACK
from tests.engine.stack import Stack
from tests.engine.test_stopped import until


@dataclass
class Viewer:
    """A browser's part, without one: it has the cookie, and takes what the server sends."""

    client: httpx.Client
    process: subprocess.Popen[str]
    snapshots: list[dict[str, Any]] = field(default_factory=list)

    @property
    def states(self) -> dict[str, str]:
        return {name: node["state"] for name, node in self.snapshots[-1]["nodes"].items()} if self.snapshots else {}

    def follow(self) -> None:
        with self.client.stream("GET", "events") as stream:
            for line in stream.iter_lines():
                if line.startswith("data: "):
                    self.snapshots.append(json.loads(line.removeprefix("data: ")))


@contextmanager
def viewer(stack: Stack) -> Iterator[Viewer]:
    process = subprocess.Popen(
        [FLEET, "view", *STACK, "--no-open"],
        cwd=stack.path,
        env=stack.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert process.stdout
        url = process.stdout.readline().strip()
        assert url.startswith("http://127.0.0.1:"), url + process.stdout.read()
        with httpx.Client(timeout=60, follow_redirects=True, trust_env=False) as client:
            entered = client.get(url)
            assert entered.status_code == 200
            client.base_url = entered.url
            page = Viewer(client, process)
            reading = threading.Thread(target=_until_it_ends, args=(page,), daemon=True)
            reading.start()
            yield page
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=30) == 130
            reading.join(timeout=10)
            assert not reading.is_alive()
    finally:
        process.kill()
        process.wait()


def _until_it_ends(page: Viewer) -> None:
    with suppress(httpx.HTTPError):
        page.follow()


def content(folder: Path) -> dict[str, str]:
    """The files of a folder, and a digest of each; logs of machines grow by themselves."""
    files = (file for file in folder.rglob("*") if file.is_file() and file.suffix != ".log")
    return {str(file): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def spec(stack: Stack, greeting: str) -> None:
    """Two nodes; a machine whose config says "held" does not answer for as long as there is a file ``hold``."""
    stack.spec(2, greeting)
    stack.edit("fleet.yaml", "ready_timeout: 8", "ready_timeout: 120")


def test_the_page_follows_a_rollout_in_another_terminal_and_changes_nothing(stack: Stack) -> None:
    spec(stack, "one")
    assert stack.up().status == 0
    before = content(stack.path)
    with viewer(stack) as page:
        until(lambda: page.states == {"web-0": "ready", "web-1": "ready"})
        node = page.snapshots[-1]["nodes"]["web-0"]
        assert node["endpoints"]
        assert node["ssh"].startswith("fleet ssh ")
        assert node["config"] == "current"
        assert content(stack.path) == before

        detail = page.client.get("nodes/web-0").json()
        assert "/etc/containers/systemd/hello.container" in [entry["name"] for entry in detail["config"]]
        assert "says hello" in detail["console"]
        assert page.client.get("nodes/web-9").status_code == 404

        spec(stack, "held")
        until(lambda: page.snapshots[-1]["nodes"]["web-1"]["config"] == "outdated")
        changes = page.client.get("changes").json()["nodes"]
        assert [each["fate"] for each in changes] == ["re-provisioned", "re-provisioned"]
        assert any("GREETING" in line for change in changes[0]["changes"] for line in change["diff"])

        seen = len(page.snapshots)
        hold = stack.log.with_name("hold")
        hold.touch()
        with ThreadPoolExecutor() as pool:
            updating = pool.submit(stack.up)
            until(lambda: page.states["web-0"] == "starting" and page.snapshots[-1]["rollout"]["running"])
            assert page.snapshots[-1]["nodes"]["web-1"]["steps"][-1]["phase"] == "waiting"
            assert page.states["web-1"] == "ready"
            hold.unlink()
        assert updating.result().status == 0
        until(lambda: not page.snapshots[-1]["rollout"]["running"] and set(page.states.values()) == {"ready"})
        assert len(page.snapshots) > seen
        for name in ("web-0", "web-1"):
            phases = [step["phase"] for step in page.snapshots[-1]["nodes"][name]["steps"]]
            assert phases[-1] == "ready"
            assert "booting" in phases
        turns = {name: page.snapshots[-1]["nodes"][name]["steps"][-1]["since"] for name in ("web-0", "web-1")}
        assert turns["web-0"] < turns["web-1"]
        assert page.snapshots[-1]["rollout"]["nodes"] == ["web-0", "web-1"]
        assert [(each["number"], each["result"]) for each in page.snapshots[-1]["history"]] == [
            (2, "done"),
            (1, "done"),
        ]


def test_an_exported_page_has_what_is_there_and_needs_nothing_else(stack: Stack) -> None:
    stack.spec(1, "one")
    assert stack.up().status == 0
    before = content(stack.path)
    result = stack.fleet("view", *STACK, "--export", "report.html")
    assert result.status == 0, result.err
    after = content(stack.path)
    assert {name for name in after if after[name] != before.get(name)} == {str(stack.path / "report.html")}
    page = (stack.path / "report.html").read_text()
    data = json.loads(page.partition('id="data">')[2].partition("</script>")[0])
    assert data["snapshot"]["nodes"]["web-0"]["state"] == "ready"
    assert "token" not in page.partition("<script")[2]
