"""How a gate asks the peers of a node."""

from __future__ import annotations

import http.server
import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from fleet.dynamic.gate import not_ready
from fleet.plan import Peer, Probe


@contextmanager
def _node(status: int, together: threading.Barrier | None = None) -> Iterator[tuple[int, Counter[str]]]:
    """A node's port, and how often each path of it was asked for; the first answers are all given together."""
    asked: Counter[str] = Counter()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked[self.path] += 1
            if together:
                together.wait(30)
            self.send_response(status)
            self.end_headers()

        def log_message(self, format: str, *values: object) -> None:  # noqa: A002
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever).start()
        yield server.server_address[1], asked
        server.shutdown()


def _peer(name: str, port: int, path: str = "/") -> dict[str, Any]:
    probe = Probe.model_validate({"http": {"port": 80, "path": path}})
    return {"name": name, **Peer(name, "127.0.0.1", {80: ("127.0.0.1", port)}, (probe,)).describe()}


def _kept(peer: dict[str, Any]) -> dict[str, Any]:
    """A peer as a state has it: numbers come back as floats."""
    described: dict[str, Any] = json.loads(json.dumps({key: value for key, value in peer.items() if key != "name"}))
    described["endpoints"] = {port: [host, float(number)] for port, (host, number) in described["endpoints"].items()}
    return described


def test_a_peer_that_is_asked_as_before_is_asked_once() -> None:
    with _node(503) as (port, asked):
        peer = _peer("a", port)
        assert set(not_ready([{**peer, "before": _kept(peer)}])) == {"a"}
    assert asked == {"/": 1}


@pytest.mark.parametrize(("status", "sick"), [(200, set[str]()), (503, {"a"})])
def test_a_peer_that_does_not_answer_as_it_is_planned_is_asked_as_it_was(status: int, sick: set[str]) -> None:
    with _node(status) as (port, asked), _node(503) as (other, _):
        peer = {**_peer("a", other), "before": _kept(_peer("a", port, "/before"))}
        assert set(not_ready([peer])) == sick
    assert asked == {"/before": 1}


def test_all_peers_are_asked_at_once() -> None:
    together = threading.Barrier(100)
    with _node(200, together) as (port, asked):
        # None of them is answered before all of them have been asked.
        assert not_ready([_peer(f"n-{index}", port) for index in range(100)]) == {}
    assert asked == {"/": 100}
