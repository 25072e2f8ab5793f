"""What an editor says of a spec, by the language server that it runs, with the schema that ``fleet new`` writes."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import pytest

from fleet.ops.scaffold import SCHEMA_FILE
from fleet.spec.schema import schema_text
from fleet.workloads import Container
from tools.language_server import command

SPEC = f"""\
# yaml-language-server: $schema={SCHEMA_FILE}
version: 1
name: web
groups:
  web:
    containers:
      app:
        image: docker.io/library/caddy:2
        prots: ["8080:80"]
        ports: ["8080:80", "80 to 80"]
"""


class Client:
    """The editor's side of the Language Server Protocol."""

    def __init__(self, into: IO[bytes], out: IO[bytes]) -> None:
        self._into, self._out = into, out

    def send(self, **message: Any) -> None:
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        self._into.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
        self._into.flush()

    def until(self, wanted: Callable[[Any], bool]) -> Any:
        """The first message that is wanted; what the server asks in between is answered."""
        while True:
            length = 0
            while line := self._out.readline().strip():
                name, _, value = line.partition(b":")
                length = int(value) if name.lower() == b"content-length" else length
            assert length, "the language server has ended"
            message = json.loads(self._out.read(length))
            if "method" in message and "id" in message:
                settings = {"validate": True, "completion": True, "schemaStore": {"enable": False}}
                items = message["params"].get("items", [])
                asked = [settings if item.get("section") == "yaml" else None for item in items]
                self.send(id=message["id"], result=asked if items else None)
            elif wanted(message):
                return message


@pytest.fixture
def client() -> Iterator[Client]:
    with subprocess.Popen(command(), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        assert server.stdin
        assert server.stdout
        yield Client(server.stdin, server.stdout)
        server.kill()


@pytest.mark.system
def test_an_editor_completes_keys_of_containers_and_marks_what_is_wrong_at_its_place(
    client: Client, tmp_path: Path
) -> None:
    (tmp_path / SCHEMA_FILE).write_text(schema_text())
    uri = (tmp_path / "fleet.yaml").as_uri()
    capabilities = {"workspace": {"configuration": True}}
    root = tmp_path.as_uri()
    client.send(id=1, method="initialize", params={"processId": None, "rootUri": root, "capabilities": capabilities})
    client.until(lambda message: message.get("id") == 1)
    client.send(method="initialized", params={})
    opened = {"uri": uri, "languageId": "yaml", "version": 1, "text": SPEC + "        \n"}
    client.send(method="textDocument/didOpen", params={"textDocument": opened})
    marked = client.until(lambda message: message.get("method") == "textDocument/publishDiagnostics")
    lines = SPEC.splitlines()
    places = {
        lines[each["range"]["start"]["line"]][each["range"]["start"]["character"] : each["range"]["end"]["character"]]
        for each in marked["params"]["diagnostics"]
    }
    assert places == {"prots", '"80 to 80"'}

    position = {"line": len(lines), "character": 8}
    client.send(id=2, method="textDocument/completion", params={"textDocument": {"uri": uri}, "position": position})
    offered = client.until(lambda message: message.get("id") == 2)["result"]["items"]
    assert {each["label"] for each in offered} == Container.model_fields.keys() - {"image", "ports"}
