"""What commands ask of the server of states; the server itself is tested with the engine."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from fleet.ops.state_server import has_journal
from tests.conftest import Folder


@pytest.fixture
def service(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a service that answers what it can do."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/api/capabilities" else 404)
            self.end_headers()
            self.wfile.write(request.param.encode())

        def log_message(self, *words: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


def answer(*capabilities: Any) -> str:
    return json.dumps({"capabilities": capabilities})


OURS = answer({"capability": "fleet-journal", "version": 1, "configuration": {"pulumi": "3.274"}})


@pytest.mark.parametrize("service", [OURS], indirect=True)
@pytest.mark.parametrize(
    ("release", "expected"),
    [("v3.274.1\n", True), ("v3.225.0", True), ("v3.275.0", False), ("v4.0.0", False), ("", False), ("dev", False)],
)
def test_a_journal_is_counted_on_up_to_the_release_that_is_replayed(service: str, release: str, expected: bool) -> None:
    assert has_journal(service, lambda: release) == expected


@pytest.mark.parametrize("service", [OURS], indirect=True)
def test_no_journal_is_counted_on_where_it_is_switched_off(service: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PULUMI_DISABLE_JOURNALING", "True")
    assert not has_journal(service, lambda: "v3.274.1")


@pytest.mark.parametrize(
    "service",
    ["", "{}", "[]", answer(), answer({"capability": "batch-encrypt"}), answer({"capability": "fleet-journal"})],
    indirect=True,
)
def test_no_journal_is_counted_on_with_another_service(service: str) -> None:
    assert not has_journal(service, lambda: pytest.fail("the release does not matter"))


@pytest.mark.parametrize("url", ["file://.", "s3://states", "postgres://host/db", "http://127.0.0.1:9"])
def test_no_journal_is_counted_on_where_no_service_answers(url: str) -> None:
    assert not has_journal(url, lambda: pytest.fail("the release does not matter"))


def test_a_server_that_is_not_installed_is_named_with_what_brings_it(folder: Folder) -> None:
    result = folder.fleet("state", "serve", PATH="/nowhere")
    assert result.status == 1
    assert result.err == "Error: fleet-state is not installed. `pip install fcos-fleet-state` brings it.\n"
