"""Digests of containers' images in the image lock, asked of a registry that wants a token first."""

from __future__ import annotations

import base64
import hashlib
import http.server
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from fleet import images
from tests.conftest import Folder, file_text

UNIT = "/etc/containers/systemd/hello.container"


class Registry:
    """A registry of the OCI distribution spec that gives tokens out as Docker's does.

    Attributes:
        manifests: What each ``repository:tag`` is.
        login: "user:password" that it wants for a token; empty: nothing.
    """

    def __init__(self) -> None:
        self.manifests: dict[str, bytes] = {}
        self.login = ""
        self.asked: list[str] = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                basic = "Basic " + base64.b64encode(outer.login.encode()).decode()
                if self.path.startswith("/token"):
                    allowed = not outer.login or self.headers.get("Authorization") == basic
                    self._answer(200 if allowed else 401, json.dumps({"token": "good"}).encode())
                elif self.headers.get("Authorization") != "Bearer good":
                    challenge = f'Bearer realm="http://{outer.host}/token",service="test"'
                    self._answer(401, b"", {"WWW-Authenticate": challenge})
                else:
                    repository, _, tag = self.path.removeprefix("/v2/").partition("/manifests/")
                    outer.asked.append(f"{repository}:{tag}")
                    found = outer.manifests.get(f"{repository}:{tag}")
                    digest = {"Docker-Content-Digest": digest_of(found)} if found else {}
                    self._answer(200 if found else 404, found or b"", digest)

            do_HEAD = do_GET  # noqa: N815  (a name of the base class)

            def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
                kind = "application/vnd.oci.image.index.v1+json"
                self.send_response(status)
                for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **(headers or {})}.items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.host = f"127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def digest_of(manifest: bytes) -> str:
    return f"sha256:{hashlib.sha256(manifest).hexdigest()}"


@pytest.fixture
def registry() -> Iterator[Registry]:
    made = Registry()
    yield made
    made.close()


@pytest.fixture
def hello(folder: Folder, registry: Registry) -> str:
    """A spec with one container, whose image the registry has, and an image lock. The image's reference."""
    reference = f"{registry.host}/site/hello:2"
    registry.manifests["site/hello:2"] = b'{"schemaVersion": 2}'
    folder.edit("fleet.yaml", "docker.io/library/caddy:2", reference)
    locked = folder.fleet("image", "lock", "fleet.yaml", "--file", str(folder.write("mine.qcow2", "an image")))
    assert locked.status == 0, locked.err
    return reference


def rendered(folder: Folder) -> str:
    result = folder.fleet("render", "fleet.yaml", "--node", "web-0")
    assert result.status == 0, result.err
    return file_text(json.loads(result.out), UNIT)


@pytest.mark.slow
def test_a_tag_is_locked_to_its_digest_until_an_update(folder: Folder, registry: Registry, hello: str) -> None:
    assert f"Image={hello}\n" in rendered(folder)
    first = digest_of(registry.manifests["site/hello:2"])
    result = folder.fleet("image", "pin", "fleet.yaml")
    assert result.status == 0, result.err
    assert f"{hello}  {first}" in result.out
    assert f"Image={hello}@{first}\n" in rendered(folder)

    registry.manifests["site/hello:2"] = b'{"schemaVersion": 2, "annotations": {}}'
    assert folder.fleet("image", "pin", "fleet.yaml").status == 0
    assert f"Image={hello}@{first}\n" in rendered(folder)
    assert folder.fleet("image", "pin", "fleet.yaml", "--update").status == 0
    assert f"Image={hello}@{digest_of(registry.manifests['site/hello:2'])}\n" in rendered(folder)


def test_an_image_that_a_pinned_fleet_adds_has_to_be_pinned_too(folder: Folder, registry: Registry, hello: str) -> None:
    assert folder.fleet("image", "pin", "fleet.yaml").status == 0
    folder.edit("fleet.yaml", "site/hello:2", "site/hello:3")
    refused = folder.fleet("validate", "fleet.yaml")
    assert refused.status == 1
    assert "fleet.yaml:" in refused.err
    assert f"none of {registry.host}/site/hello:3" in refused.err
    assert "fleet image pin" in refused.err
    registry.manifests["site/hello:3"] = b"{}"
    result = folder.fleet("image", "pin", "fleet.yaml")
    assert f"{hello}  not used any more" in result.out
    assert [*images.read_lock(folder.path / "image.lock.yaml").containers] == [f"{registry.host}/site/hello:3"]


def test_a_newer_release_of_the_operating_system_keeps_the_pins(folder: Folder, hello: str) -> None:
    assert folder.fleet("image", "pin", "fleet.yaml").status == 0
    image = folder.write("newer.qcow2", "another image")
    assert folder.fleet("image", "update", "fleet.yaml", "--file", str(image)).status == 0
    assert hello in images.read_lock(folder.path / "image.lock.yaml").containers


@pytest.mark.parametrize("more", ["auto_update: registry", "pull: never"])
def test_images_that_are_meant_to_move_or_are_never_pulled_have_no_pin(
    folder: Folder, registry: Registry, hello: str, more: str
) -> None:
    folder.edit("fleet.yaml", f"image: {hello}", f"image: {hello}\n        {more}")
    assert folder.fleet("image", "pin", "fleet.yaml").status == 0
    assert registry.asked == []
    assert f"Image={hello}\n" in rendered(folder)


def test_a_registry_that_wants_to_know_who_asks_gets_the_credentials_of_podman_login(
    folder: Folder, registry: Registry, hello: str
) -> None:
    registry.login = "ada:s3cret&#"
    refused = folder.fleet("image", "pin", "fleet.yaml")
    assert refused.status == 1
    assert hello in refused.err
    assert "podman login" in refused.err
    known = {registry.host: {"auth": base64.b64encode(registry.login.encode()).decode()}}
    file = folder.write("auth.json", json.dumps({"auths": known}))
    result = folder.fleet("image", "pin", "fleet.yaml", REGISTRY_AUTH_FILE=str(file))
    assert result.status == 0, result.err


def test_an_image_that_its_registry_does_not_have_leaves_the_lock_as_it_was(
    folder: Folder, registry: Registry, hello: str
) -> None:
    registry.manifests.clear()
    before = (folder.path / "image.lock.yaml").read_bytes()
    refused = folder.fleet("image", "pin", "fleet.yaml")
    assert refused.status == 1
    assert f"The digest of {hello} cannot be had" in refused.err
    assert (folder.path / "image.lock.yaml").read_bytes() == before
