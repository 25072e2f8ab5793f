"""The image lock and downloads, against a local server."""

from __future__ import annotations

import errno
import gzip
import hashlib
import http.server
import json
import lzma
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from fleet import images
from fleet.errors import FleetError
from fleet.images import Disk, LockedImage, download
from tests.conftest import FLEET, Folder

CONTENT = b"disk image" * 100_000 + bytes(4_000_000)
STREAM = Path(__file__).parent / "data" / "stable.json"


class Server:
    """Serves ``files``; ``cut`` makes each answer end after so many bytes, as a broken connection does. Bodies wait
    until they ``may_go_on``.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.may_go_on = threading.Event()
        self.may_go_on.set()
        self.cut: int | None = None
        self.requests: list[tuple[str, str]] = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                self.send_error(200 if self.path in outer.files else 404)

            def do_GET(self) -> None:
                outer.requests.append((self.path, self.headers.get("Range", "")))
                body = outer.files.get(self.path)
                if body is None:
                    self.send_error(404)
                    return
                start = int(self.headers.get("Range", "bytes=0-")[6:-1])
                self.send_response(206 if start else 200)
                if start:
                    self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
                self.send_header("Content-Length", str(len(body) - start))
                self.end_headers()
                outer.may_go_on.wait(60)
                self.wfile.write(body[start:] if outer.cut is None else body[start : start + outer.cut])

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.close()


def disk(server: Server, name: str = "fcos.qcow2.xz") -> Disk:
    packed = lzma.compress(CONTENT) if name.endswith("xz") else gzip.compress(CONTENT, mtime=0)
    server.files[f"/{name}"] = packed
    return Disk(
        location=f"{server.url}/{name}",
        sha256=hashlib.sha256(packed).hexdigest(),
        uncompressed_sha256=hashlib.sha256(CONTENT).hexdigest(),
    )


@pytest.mark.parametrize("name", ["fcos.qcow2.xz", "fcos.qcow2.gz"])
def test_an_image_is_downloaded_checked_decompressed_and_kept(server: Server, tmp_path: Path, name: str) -> None:
    steps: set[str] = set()
    wanted = disk(server, name)
    path = images.obtain(wanted, cache=tmp_path, progress=lambda step, done, total: steps.add(step))
    assert path.read_bytes() == CONTENT
    assert {"downloading", "decompressing"} <= steps
    assert images.obtain(wanted, cache=tmp_path) == path
    assert len(server.requests) == 1


def test_an_image_is_looked_for_without_being_downloaded(server: Server, tmp_path: Path) -> None:
    wanted = disk(server)
    images.look_for(wanted, cache=tmp_path)
    assert server.requests == []
    packed = server.files.pop("/fcos.qcow2.xz")
    with pytest.raises(FleetError, match=r"answered 404.*fleet image update"):
        images.look_for(wanted, cache=tmp_path)
    # One that is in the cache needs no server.
    server.files["/fcos.qcow2.xz"] = packed
    images.obtain(wanted, cache=tmp_path)
    server.files.clear()
    images.look_for(wanted, cache=tmp_path)


def test_a_download_that_breaks_off_goes_on_where_it_stopped(server: Server, tmp_path: Path) -> None:
    wanted = disk(server)
    server.cut = len(server.files["/fcos.qcow2.xz"]) // 3
    assert images.obtain(wanted, cache=tmp_path).read_bytes() == CONTENT
    assert [bool(range_) for _, range_ in server.requests] == [False, True, True, True]


def test_a_download_that_was_given_up_is_continued_by_the_next_command(server: Server, tmp_path: Path) -> None:
    wanted = disk(server)
    server.cut = 100
    with pytest.raises(FleetError, match="broke off"):
        images.obtain(wanted, cache=tmp_path)
    server.cut = None
    images.obtain(wanted, cache=tmp_path)
    assert server.requests[-1][1] == "bytes=500-"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_ends_a_download_and_leaves_no_image(server: Server, folder: Folder, number: signal.Signals) -> None:
    image = LockedImage(release="44.1", ignition_spec="3.5.0", disks={"qemu": disk(server)})
    images.write_lock(
        folder.path / "image.lock.yaml", images.ImageLock(stream="stable", architectures={"x86_64": image})
    )
    server.may_go_on.clear()
    with subprocess.Popen(
        [FLEET, "image", "download", "fleet.yaml"], cwd=folder.path, env=folder.environment, stderr=subprocess.PIPE
    ) as command:
        try:
            while not server.requests:
                assert command.poll() is None
                time.sleep(0.05)
            command.send_signal(number)
            assert command.wait(60) == 128 + number
            assert command.stderr
            assert b"Traceback" not in command.stderr.read()
        finally:
            server.may_go_on.set()
            command.kill()
    cache = Path(folder.environment["XDG_CACHE_HOME"])
    assert not list(cache.rglob("*.qcow2"))
    assert folder.fleet("image", "download", "fleet.yaml").status == 0
    assert [file.read_bytes() for file in cache.rglob("*.qcow2")] == [CONTENT]


@pytest.mark.parametrize("field", ["sha256", "uncompressed_sha256"])
def test_an_image_with_a_wrong_checksum_is_never_used(server: Server, tmp_path: Path, field: str) -> None:
    wanted = disk(server).model_copy(update={field: "0" * 64})
    with pytest.raises(FleetError, match="checksum"):
        images.obtain(wanted, cache=tmp_path)
    assert not list(tmp_path.rglob("*.qcow2"))
    assert not list(tmp_path.rglob("*.partial"))


def test_a_full_disk_keeps_the_partial_file_aside_and_says_so(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = disk(server)

    def full(out: BinaryIO, data: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(download, "_write_sparse", full)
        with pytest.raises(FleetError, match="The disk is full"):
            images.obtain(wanted, cache=tmp_path)
    assert not list(tmp_path.rglob("*.qcow2"))
    assert list(tmp_path.rglob("*.part"))
    assert images.obtain(wanted, cache=tmp_path).read_bytes() == CONTENT
    assert server.requests[-1][1] != ""


def test_a_lock_is_written_from_real_stream_metadata_and_moved_only_by_update(server: Server, folder: Folder) -> None:
    metadata = json.loads(STREAM.read_text())
    server.files["/streams/stable.json"] = json.dumps(metadata).encode()
    assert folder.fleet("image", "lock", "fleet.yaml", "--base-url", server.url).status == 0
    lock = images.read_lock(folder.path / "image.lock.yaml")
    image = lock.image("x86_64")
    artifact = metadata["architectures"]["x86_64"]["artifacts"]["qemu"]
    assert image.release == artifact["release"]
    assert image.disks["qemu"].sha256 == artifact["formats"]["qcow2.xz"]["disk"]["sha256"]
    assert image.aws["us-east-1"].startswith("ami-")
    assert image.gcp is not None
    assert image.gcp.project == "fedora-coreos-cloud"
    written = (folder.path / "image.lock.yaml").read_bytes()

    assert folder.fleet("image", "lock", "fleet.yaml", "--base-url", server.url).status == 2
    assert (folder.path / "image.lock.yaml").read_bytes() == written
    newer = json.dumps(metadata).replace(image.release, image.release + ".1").encode()
    server.files["/streams/stable.json"] = newer
    result = folder.fleet("image", "update", "fleet.yaml", "--base-url", server.url)
    assert f"{image.release} → {image.release}.1" in result.out or image.release + ".1" in result.out


def test_a_server_without_the_stream_is_said(server: Server, folder: Folder) -> None:
    result = folder.fleet("image", "lock", "fleet.yaml", "--base-url", server.url)
    assert result.status == 1
    assert "answered 404" in result.err
    assert not (folder.path / "image.lock.yaml").exists()


def test_an_image_of_the_users_own_is_locked_and_checked(folder: Folder) -> None:
    image = folder.write("mine.qcow2", "not really")
    assert folder.fleet("image", "lock", "fleet.yaml", "--file", str(image)).status == 0
    assert folder.fleet("image", "download", "fleet.yaml").out.strip() == str(image.resolve())
    image.write_text("changed")
    assert "checksum" in folder.fleet("image", "download", "fleet.yaml").err
