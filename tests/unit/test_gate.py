"""Who is let through a gate: a node goes while few enough of its peers are down, or is down itself."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fleet.dynamic import gate
from fleet.dynamic.gate import GateProvider, not_ready
from fleet.errors import FleetError
from fleet.plan import Peer
from fleet.plan.machine import ReportAccess, Watch
from fleet.plan.probe import Probe


class Answers(http.server.BaseHTTPRequestHandler):
    """A node that is well: its probes answer 200, its report tells of no unit."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"version": 1}')

    def log_message(self, format: str, *values: object) -> None:  # noqa: A002
        pass


@pytest.fixture(scope="module")
def well() -> Iterator[int]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


class Machine:
    """A watcher of a machine that runs unless it is called "gone"."""

    def __init__(self, argument: str) -> None:
        self.runs = argument != "gone"

    def alive(self) -> bool:
        return self.runs

    def reaches(self, local_port: int) -> bool:
        return True


DEAD = 1
"""A port that nothing listens on."""


def peer(name: str, way: str, *, port: int, machine: str = "there") -> dict[str, Any]:
    """A node that can be asked in one way."""
    made = Peer(
        name,
        "127.0.0.1",
        {},
        [Probe.model_validate({"http": {"port": port}})] if way == "probe" else [],
        watch=Watch("fleet:machine", machine) if way == "machine" else None,
        report=ReportAccess(port, 0, direct=True, ssh=False) if way == "report" else None,
    )
    return {"name": name, **made.describe()}


def sick(name: str, way: str) -> dict[str, Any]:
    return peer(name, way, port=DEAD, machine="gone")


WAYS = ("probe", "report", "machine")


@pytest.fixture(autouse=True)
def machines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "watcher_of", lambda watch: Machine(watch["argument"]) if watch else None)
    monkeypatch.setattr(gate, "PATIENCE", 0)


def passes(tmp_path: Path, peers: list[dict[str, Any]], down: int) -> bool:
    roster = tmp_path / "roster.json"
    roster.write_text(json.dumps(peers))
    olds = {"trigger": "old", "image": "i", "members": len(peers)}
    news = {"node": "web-0", "trigger": "new", "follow_image": False, "image": "i", "pause": 0, "down": down}
    try:
        GateProvider().update("web-0", olds, {**news, "roster": str(roster), "members": len(peers)})
    except FleetError:
        return False
    return True


@pytest.mark.parametrize("own", WAYS)
@pytest.mark.parametrize("other", WAYS)
@pytest.mark.parametrize("down", [1, 2])
def test_a_node_goes_while_few_peers_are_down_or_if_it_is_down_itself(
    own: str, other: str, down: int, tmp_path: Path, well: int
) -> None:
    peers = [sick("web-1", other), sick("web-2", other), peer("web-3", other, port=well)]
    assert not passes(tmp_path, [peer("web-0", own, port=well), *peers], down)
    assert passes(tmp_path, [peer("web-0", own, port=well), *peers], 3)
    assert passes(tmp_path, [sick("web-0", own), *peers], down)


@pytest.mark.parametrize("way", WAYS)
def test_a_node_that_is_down_is_seen_in_each_way_in_which_it_can_be_asked(way: str, well: int) -> None:
    assert list(not_ready([peer("web-0", way, port=well), sick("web-1", way)])) == ["web-1"]
