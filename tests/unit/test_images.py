"""The image lock and downloads, against a local server, which has TLS as every server of images has to."""

from __future__ import annotations

import errno
import gzip
import hashlib
import json
import lzma
import os
import signal
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO

import pytest
from pysequoia import Cert, SignatureMode, Tsk, sign
from typer.testing import CliRunner

from fleet import images, platforms
from fleet.cli.app import app
from fleet.errors import FleetError, UsageError
from fleet.images import download
from fleet.plan import Disk, LockedImage
from tests.conftest import FLEET, Folder
from tests.https import Server

CONTENT = b"disk image" * 100_000 + bytes(4_000_000)
STREAM = Path(__file__).parent / "data" / "stable.json"


SIGNER = Tsk.generate("Images of the tests <images@example.org>")
KEYS = str(SIGNER.extract_certificate())


def disk(server: Server, name: str = "fcos.qcow2.xz", content: bytes = CONTENT, signer: Tsk = SIGNER) -> Disk:
    """A signed image on the server."""
    packed = lzma.compress(content) if name.endswith("xz") else gzip.compress(content, mtime=0)
    server.files[f"/{name}"] = packed
    server.files[f"/{name}.sig"] = sign(signer.signer(), packed, mode=SignatureMode.DETACHED)
    return Disk(
        location=f"{server.url}/{name}",
        sha256=hashlib.sha256(packed).hexdigest(),
        uncompressed_sha256=hashlib.sha256(content).hexdigest(),
        keys=KEYS,
    )


@pytest.mark.parametrize("name", ["fcos.qcow2.xz", "fcos.qcow2.gz"])
def test_an_image_is_downloaded_checked_decompressed_and_kept(server: Server, tmp_path: Path, name: str) -> None:
    steps: set[str] = set()
    expected = disk(server, name)
    path = images.obtain(expected, cache=tmp_path, progress=lambda step, done, total: steps.add(step))
    assert path.read_bytes() == CONTENT
    assert {"downloading", "decompressing"} <= steps
    assert images.obtain(expected, cache=tmp_path) == path
    assert len(server.requests) == 1


def test_an_image_is_looked_for_without_being_downloaded(server: Server, tmp_path: Path) -> None:
    expected = disk(server)
    images.look_for(expected, cache=tmp_path)
    assert server.requests == []
    packed = server.files.pop("/fcos.qcow2.xz")
    with pytest.raises(FleetError, match=r"answered 404.*fleet image update"):
        images.look_for(expected, cache=tmp_path)
    server.files["/fcos.qcow2.xz"] = packed
    signature = server.files.pop("/fcos.qcow2.xz.sig")
    with pytest.raises(FleetError, match=r"answered 404 .*the signature of.*--unsigned"):
        images.look_for(expected, cache=tmp_path)
    # One that is in the cache needs no server.
    server.files["/fcos.qcow2.xz.sig"] = signature
    images.obtain(expected, cache=tmp_path)
    server.files.clear()
    images.look_for(expected, cache=tmp_path)


def test_a_download_that_breaks_off_goes_on_where_it_stopped(server: Server, tmp_path: Path) -> None:
    expected = disk(server)
    server.cut = len(server.files["/fcos.qcow2.xz"]) // 3
    assert images.obtain(expected, cache=tmp_path).read_bytes() == CONTENT
    assert [bool(range_) for _, range_ in server.requests] == [False, True, True, True]


def test_a_download_that_was_given_up_is_continued_by_the_next_command(server: Server, tmp_path: Path) -> None:
    expected = disk(server)
    server.cut = 100
    with pytest.raises(FleetError, match="broke off"):
        images.obtain(expected, cache=tmp_path)
    server.cut = None
    images.obtain(expected, cache=tmp_path)
    assert server.requests[-1][1] == "bytes=500-"


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_ends_a_download_and_leaves_no_image(server: Server, folder: Folder, number: signal.Signals) -> None:
    image = LockedImage(release="44.1", ignition_spec="3.5.0", disks={"qemu": disk(server)})
    images.write_lock(
        folder.path / "image.lock.yaml",
        images.ImageLock(stream="stable", architectures={"x86_64": image}, keys=KEYS),
    )
    folder.environment["SSL_CERT_FILE"] = os.environ["SSL_CERT_FILE"]
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
    expected = disk(server).model_copy(update={field: "0" * 64})
    with pytest.raises(FleetError, match="checksum"):
        images.obtain(expected, cache=tmp_path)
    assert not list(tmp_path.rglob("*.qcow2"))
    assert not list(tmp_path.rglob("*.partial"))


def test_a_full_disk_keeps_the_partial_file_aside_and_says_so(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = disk(server)

    def full(out: BinaryIO, data: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(download, "_write_sparse", full)
        with pytest.raises(FleetError, match="The disk is full"):
            images.obtain(expected, cache=tmp_path)
    assert not list(tmp_path.rglob("*.qcow2"))
    assert list(tmp_path.rglob("*.part"))
    assert images.obtain(expected, cache=tmp_path).read_bytes() == CONTENT
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
    assert image.images["aws"]["us-east-1"].startswith("ami-")
    assert image.images["gcp"]["project"] == "fedora-coreos-cloud"
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
    error = folder.fleet("image", "download", "fleet.yaml").err
    assert "is not the image that is locked: its SHA-256 is " in error
    assert "--file FILE" in error


def _cut(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def _zero(file: Path) -> None:
    """All zeros, and no younger than it was."""
    times = file.stat()
    file.write_bytes(bytes(times.st_size))
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))


def _flip(file: Path) -> None:
    with file.open("r+b") as out:
        out.seek(1000)
        out.write(b"!")


def _in_place_of(file: Path, make: Callable[[Path], object]) -> None:
    file.unlink()
    make(file)


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "zeros": (_zero, "its SHA-256 is"),
    "one byte": (_flip, "its SHA-256 is"),
    "half": (_cut, "its SHA-256 is"),
    "empty": (lambda file: file.write_bytes(b""), "it is empty"),
    "folder": (lambda file: _in_place_of(file, Path.mkdir), "it is a folder"),
    "pipe": (lambda file: _in_place_of(file, os.mkfifo), "it is a pipe"),
    "device": (lambda file: _in_place_of(file, lambda path: path.symlink_to("/dev/zero")), "it is a device"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_cached_image_that_is_broken_is_downloaded_anew(server: Server, tmp_path: Path, damage: str) -> None:
    expected = disk(server)
    path = images.obtain(expected, cache=tmp_path)
    break_it, reason = DAMAGES[damage]
    break_it(path)
    message: list[str] = []
    assert images.obtain(expected, cache=tmp_path, say=message.append).read_bytes() == CONTENT
    assert [reason in line for line in message] == [True]
    assert len(server.requests) == 2


@pytest.mark.parametrize("damage", DAMAGES)
def test_an_image_of_the_users_own_that_is_broken_is_refused(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "mine.qcow2"
    path.write_bytes(CONTENT)
    expected = images.lock_file(path, "x86_64", ignition_spec="3.5.0").image("x86_64").disks["qemu"]
    assert images.obtain(expected, cache=tmp_path / "cache") == path
    break_it, reason = DAMAGES[damage]
    break_it(path)
    for ask in (images.look_for, images.obtain):
        with pytest.raises(FleetError, match=reason):
            ask(expected, cache=tmp_path / "cache")
    if reason != "its SHA-256 is":
        with pytest.raises(FleetError, match=reason):
            images.lock_file(path, "x86_64", ignition_spec="3.5.0")


def _steps(wanted: Disk, cache: Path) -> set[str]:
    steps: set[str] = set()
    images.obtain(wanted, cache=cache, progress=lambda step, done, total: steps.add(step))
    return steps


def test_an_image_is_read_once_for_each_change_of_its_file(server: Server, tmp_path: Path) -> None:
    expected = disk(server)
    own = tmp_path / "mine.qcow2"
    own.write_bytes(CONTENT)
    mine = images.lock_file(own, "x86_64", ignition_spec="3.5.0").image("x86_64").disks["qemu"]
    for each in (expected, mine):
        path = images.obtain(each, cache=tmp_path / "cache")
        images.obtain(each, cache=tmp_path / "cache")
        assert _steps(each, tmp_path / "cache") == set()
        os.utime(path)
        assert _steps(each, tmp_path / "cache") == {"checking"}


def test_an_image_is_on_the_disk_before_it_has_its_name(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    path = images.obtain(disk(server), cache=tmp_path)
    # The content under its scratch name, and then the folder that has the final one.
    assert synced.index(f"{path.name}.partial") < synced.index(path.parent.name)


def _expired(key: Tsk) -> Cert:
    """A key that held when it signed."""
    until = datetime.now(UTC) + timedelta(seconds=1)
    certificate = key.extract_certificate().set_expiration(until, key.certifier())
    while datetime.now(UTC) <= until:
        time.sleep(0.1)
    return certificate


def _revoked(key: Tsk) -> Cert:
    certificate = key.extract_certificate()
    return Cert.from_bytes(bytes(certificate) + bytes(certificate.revoke(key.certifier())))


OTHER = Tsk.generate("Somebody else <else@example.org>")
BAD_SIGNATURES: dict[str, Callable[[bytes], bytes]] = {
    "of another key": lambda packed: sign(OTHER.signer(), packed, mode=SignatureMode.DETACHED),
    "of other content": lambda packed: sign(SIGNER.signer(), packed + b"x", mode=SignatureMode.DETACHED),
    "that is none": lambda packed: b"<html>404</html>",
    "that is empty": lambda packed: b"",
    "inside a message": lambda packed: sign(SIGNER.signer(), packed, mode=SignatureMode.INLINE)[:60_000],
}


@pytest.mark.parametrize("kind", BAD_SIGNATURES)
def test_an_image_without_a_valid_signature_is_never_used(server: Server, tmp_path: Path, kind: str) -> None:
    expected = disk(server)
    server.files["/fcos.qcow2.xz.sig"] = BAD_SIGNATURES[kind](server.files["/fcos.qcow2.xz"])
    with pytest.raises(FleetError, match=r"The signature of .* is not valid: none of the keys"):
        images.obtain(expected, cache=tmp_path)
    assert not [file for file in tmp_path.rglob("*") if file.is_file() and file.name != "lock"]


@pytest.mark.parametrize("spoil", [_expired, _revoked])
def test_a_key_that_does_not_hold_today_proves_nothing(
    server: Server, tmp_path: Path, spoil: Callable[[Tsk], Cert]
) -> None:
    expected = disk(server)
    spoiled = str(spoil(SIGNER))
    with pytest.raises(FleetError, match="have expired, or were revoked"):
        images.obtain(expected.model_copy(update={"keys": spoiled}), cache=tmp_path)
    # Beside a key that holds, it is no hindrance.
    other = str(OTHER.extract_certificate())
    with pytest.raises(FleetError, match="is not valid"):
        images.obtain(expected.model_copy(update={"keys": spoiled + other}), cache=tmp_path)
    images.obtain(expected.model_copy(update={"keys": other + KEYS}), cache=tmp_path)


def test_without_keys_of_ones_own_an_image_is_to_be_signed_by_fedora(server: Server, tmp_path: Path) -> None:
    expected = disk(server).model_copy(update={"keys": ""})
    # Those of Fedora 44, 45, 46 (https://fedoraproject.org/security, "Current keys").
    with pytest.raises(FleetError, match="DBFCF71C6D9F90A6, 655A4B02F577861E, 96E7E91491211FCE"):
        images.obtain(expected, cache=tmp_path)


def test_an_image_that_was_downloaded_without_a_signature_does_not_serve_who_asks_for_one(
    server: Server, tmp_path: Path
) -> None:
    expected = disk(server)
    images.obtain(expected.model_copy(update={"unsigned": True}), cache=tmp_path)
    images.obtain(expected.model_copy(update={"unsigned": True}), cache=tmp_path)
    assert len(server.requests) == 1
    message: list[str] = []
    images.obtain(expected, cache=tmp_path, say=message.append)
    assert [line.split(": ")[1] for line in message] == ["its signature was not verified. It is downloaded anew."]
    assert len(server.requests) == 2
    # And one that is signed serves who asks for none.
    images.obtain(expected.model_copy(update={"unsigned": True}), cache=tmp_path)
    assert len(server.requests) == 2


def test_the_lock_says_whose_signatures_count_and_an_update_keeps_it(
    server: Server, folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder.path)
    metadata = json.loads(STREAM.read_text())
    entry = metadata["architectures"]["x86_64"]["artifacts"]["qemu"]["formats"]["qcow2.xz"]["disk"]
    made = disk(server)
    entry |= {"location": made.location, "signature": f"{server.url}/elsewhere.asc"}
    entry |= {"sha256": made.sha256, "uncompressed-sha256": made.uncompressed_sha256}
    server.files["/elsewhere.asc"] = server.files.pop("/fcos.qcow2.xz.sig")
    server.files["/streams/stable.json"] = json.dumps(metadata).encode()
    folder.write("keys.asc", KEYS)

    def image(command: str, *options: str) -> None:
        words = ["image", command, "fleet.yaml", "--base-url", server.url, *options]
        CliRunner().invoke(app, words, catch_exceptions=False)

    def trust() -> tuple[str, bool]:
        lock = images.read_lock(folder.path / "image.lock.yaml")
        locked = lock.image("x86_64").disks["qemu"]
        assert locked.signature == f"{server.url}/elsewhere.asc"
        return locked.keys, locked.unsigned

    image("lock")
    assert trust() == ("", False)
    image("update", "--keys", "keys.asc")
    assert trust() == (KEYS, False)
    image("update")
    assert trust() == (KEYS, False)
    image("update", "--unsigned")
    image("update")
    assert trust() == (KEYS, True)
    image("update", "--signed")
    assert trust() == (KEYS, False)
    images.obtain(images.read_lock(folder.path / "image.lock.yaml").image("x86_64").disks["qemu"], cache=folder.path)
    folder.write("keys.asc", "no keys")
    with pytest.raises(FleetError, match="none can be used"):
        image("update", "--keys", "keys.asc")
    with pytest.raises(FleetError, match="without a signature"):
        image("update", "--file", "base.bu", "--unsigned")


def test_a_lock_that_names_no_signature_finds_it_beside_the_image(server: Server, tmp_path: Path) -> None:
    expected = disk(server)
    assert expected.signature == ""
    path = tmp_path / "image.lock.yaml"
    image = LockedImage(release="44.1", ignition_spec="3.5.0", disks={"qemu": expected})
    images.write_lock(path, images.ImageLock(stream="stable", architectures={"x86_64": image}))
    assert "signature" not in path.read_text()
    images.obtain(
        images.read_lock(path).image("x86_64").disks["qemu"].model_copy(update={"keys": KEYS}), cache=tmp_path
    )


@pytest.fixture
def plain() -> Iterator[Server]:
    """A server without TLS."""
    made = Server(None)
    yield made
    made.close()


@pytest.mark.parametrize("redirected", [False, True])
@pytest.mark.parametrize("what", ["image", "signature", "stream"])
def test_nothing_comes_over_plain_http(
    server: Server, plain: Server, tmp_path: Path, what: str, redirected: bool
) -> None:
    expected = disk(server)
    plain.files = server.files = {**server.files, "/streams/stable.json": STREAM.read_bytes()}
    if redirected:
        name = {"image": "/fcos.qcow2.xz", "signature": "/fcos.qcow2.xz.sig", "stream": "/streams/stable.json"}[what]
        server.redirects[name] = plain.url + name
    elif what == "image":
        expected = expected.model_copy(update={"location": f"{plain.url}/fcos.qcow2.xz"})
    elif what == "signature":
        expected = expected.model_copy(update={"signature": f"{plain.url}/fcos.qcow2.xz.sig"})
    if what == "stream":
        with pytest.raises(FleetError, match="not asked for over https"):
            images.lock_stream("stable", platforms.artifacts(), base_url=server.url if redirected else plain.url)
    else:
        for ask in (images.look_for, images.obtain):
            with pytest.raises(FleetError, match="not asked for over https"):
                ask(expected, cache=tmp_path)
    assert plain.requests == []


def test_a_lock_with_a_plain_url_is_refused_for_platforms_that_hand_it_on(folder: Folder) -> None:
    bad = Disk(location="http://example.org/x.gz", sha256="0" * 64, uncompressed_sha256="0" * 64)
    image = LockedImage(release="44.1", ignition_spec="3.5.0", disks={"digitalocean": bad})
    path = folder.path / "image.lock.yaml"
    images.write_lock(path, images.ImageLock(stream="stable", architectures={"x86_64": image}))
    with pytest.raises(FleetError, match="not asked for over https"):
        images.read_lock(path)


def test_real_stream_metadata_names_a_signature_for_every_image() -> None:
    lock = images.parse_stream(json.loads(STREAM.read_text()), platforms.artifacts())
    disks = [disk for image in lock.architectures.values() for disk in image.disks.values()]
    assert len(disks) > 2
    assert all(disk.signature == f"{disk.location}.sig" for disk in disks)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["fcos.qcow2.xz", "fcos.qcow2.gz"])
@pytest.mark.parametrize("stated", [True, False])
def test_an_image_that_unpacks_to_more_than_it_says_is_stopped(
    server: Server, tmp_path: Path, name: str, stated: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As its header says: one MiB of disk. What says nothing has the limit of all.
    header = struct.pack(">4sIQIIQ", b"QFI\xfb", 3, 0, 0, 16, 1 << 20) if stated else b""
    monkeypatch.setattr(download, "_limit", lambda: (1 << 30) if stated else (20 << 20))
    expected = disk(server, name, content=header + bytes(100 << 20))
    steps: list[str] = []
    with pytest.raises(FleetError, match="than its own header says" if stated else "which no image of"):
        images.obtain(expected, cache=tmp_path, progress=lambda step, done, total: steps.append(step))
    # In pieces of a MiB, none of them after the one that was too much.
    assert 16 <= steps.count("decompressing") <= 20
    assert not list(tmp_path.rglob("*.qcow2*"))


def test_a_download_that_does_not_end_is_stopped(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = disk(server)
    monkeypatch.setattr(download, "_limit", lambda: 1000)
    with pytest.raises(FleetError, match="which no image of Fedora CoreOS has"):
        images.obtain(expected, cache=tmp_path)


@pytest.mark.parametrize(
    "answer",
    [b"", b"{", b"[]", b"null", b"1", b'{"stream": 1, "architectures": 2}', b"[" * 100_000, b"\xff", b" " * (17 << 20)],
    ids=["empty", "cut", "list", "null", "number", "types", "nested", "binary", "huge"],
)
def test_what_is_no_stream_metadata_is_said(server: Server, answer: bytes) -> None:
    server.files["/streams/stable.json"] = answer
    with pytest.raises(FleetError, match=r"no stream metadata|not what was asked for"):
        images.lock_stream("stable", platforms.artifacts(), base_url=server.url)


LOCK = """\
# Which Fedora CoreOS release this fleet runs, and which container images. Written by `fleet image lock`,
# `update` and `pin`; commit it: without it, machines of one fleet could differ.
architectures:
  x86_64:
    aws:
      eu-central-1: ami-0
      us-east-1: ami-1
    disks:
      qemu:
        location: https://example.org/qemu.qcow2.xz
        sha256: 'DIGEST'
        uncompressed_sha256: 'DIGEST'
    gcp:
      name: fedora-coreos-44-20260707-3-1-gcp-x86-64
      project: fedora-coreos-cloud
    ignition_spec: 3.6.0
    release: 44.20260707.3.1
stream: stable
""".replace("DIGEST", "1" * 64)


def test_a_lock_of_an_earlier_fleet_is_read_and_written_byte_for_byte(folder: Folder) -> None:
    path = folder.write("image.lock.yaml", LOCK)
    lock = images.read_lock(path)
    assert lock.image("x86_64").images == {
        "aws": {"eu-central-1": "ami-0", "us-east-1": "ami-1"},
        "gcp": {"name": "fedora-coreos-44-20260707-3-1-gcp-x86-64", "project": "fedora-coreos-cloud"},
    }
    images.write_lock(path, lock)
    assert path.read_text() == LOCK
    assert lock.model_dump() == images.ImageLock.model_validate(lock.model_dump()).model_dump()


@pytest.mark.parametrize(
    "wrong", ["diks: {qemu: {location: /x}}", "azure: [eastus]", "azure: 1", "disks: {qemu: text}"]
)
def test_a_lock_whose_image_is_no_image_is_refused(folder: Folder, wrong: str) -> None:
    path = folder.write("image.lock.yaml", LOCK.replace("    ignition_spec", f"    {wrong}\n    ignition_spec"))
    if wrong.startswith("disks"):
        path.write_text(LOCK.partition("    disks")[0] + f"    {wrong}" + LOCK[LOCK.index("\n    gcp") :])
    with pytest.raises(UsageError, match=r"image\.lock\.yaml:\d+:\d+: `\w+` .*Write a new one with"):
        images.read_lock(path)


def test_what_a_platform_says_it_needs_is_locked_and_nothing_else(folder: Folder) -> None:
    metadata = json.loads(STREAM.read_text())
    architecture = metadata["architectures"]["x86_64"]
    disk = architecture["artifacts"]["qemu"]["formats"]["qcow2.xz"]["disk"]
    architecture["artifacts"]["azure"] = {"release": "44.1", "formats": {"vhd.xz": {"disk": disk}}}
    architecture["images"]["ibmcloud"] = {"regions": {"eu-de": {"object": "fcos.qcow2", "bucket": "b"}}}
    architecture["images"]["kubevirt"] = {"image": "quay.io/fedora/fcos@sha256:0", "digest-ref": "x"}
    expected = (
        images.DiskArtifact("azure", "vhd.xz"),
        images.PublishedImage("ibmcloud", by_region="object"),
        images.PublishedImage("kubevirt", keys=("image",)),
    )
    locked = images.parse_stream(metadata, expected).image("x86_64")
    assert locked.disks["azure"].sha256 == disk["sha256"]
    assert locked.images == {"ibmcloud": {"eu-de": "fcos.qcow2"}, "kubevirt": {"image": "quay.io/fedora/fcos@sha256:0"}}
    assert locked.disks.keys() == {"azure"}
    images.write_lock(folder.path / "image.lock.yaml", images.parse_stream(metadata, expected))
    assert images.read_lock(folder.path / "image.lock.yaml").image("x86_64") == locked
