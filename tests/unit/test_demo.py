"""What `make demo` shows, and where it has Pulumi's command from."""

from __future__ import annotations

import hashlib
import io
import os
import platform
import pty
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from tests.https import Server
from tools import cache, go, pulumi_hosts
from tools.cache import ROOT

VERSION = go.pinned_version(pulumi_hosts.MODULE, pulumi_hosts.PACKAGE)
PROGRAMS = ("pulumi", "pulumi-language-python", "pulumi-language-python-exec", "pulumi-resource-pulumi-python")
WORK = """\
from pathlib import Path
from tools.steps import Steps, StepError, tell
steps = Steps(3, Path({log!r}))
try:
    steps.run("First", ["sh", "-c", "echo noise; echo more >&2; echo 'step: half done'"])
    steps.show("Second", ["echo", "to be seen"])
    steps.run("Third", ["sh", "-c", "for i in $(seq 100); do echo line $i; done; exit 3"])
except StepError:
    raise SystemExit(1)
"""


def work(log: Path) -> list[str | Path]:
    return [sys.executable, "-c", WORK.format(log=str(log))]


def test_a_step_says_what_it_is_at_and_its_noise_goes_to_a_file(tmp_path: Path) -> None:
    log = tmp_path / "new" / "demo.log"
    done = subprocess.run(work(log), cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    shown = re.sub(r"\d+:\d\d$", "TIME", done.stdout, flags=re.MULTILINE).splitlines()
    assert shown == [
        "[1/3] First ... TIME",
        "[1/3] First: half done ... TIME",
        "[1/3] First: half done, done in TIME",
        "[2/3] Second ... TIME",
        "to be seen",
        "[2/3] Second, done in TIME",
        "[3/3] Third ... TIME",
        "[3/3] Third, failed (status 3) after TIME",
    ]
    # What failed shows its end, and where the rest is.
    assert done.stderr.splitlines() == [*(f"line {i}" for i in range(76, 101)), f"All of its output is in {log}."]
    assert "noise\nmore\n" in log.read_text()
    assert "line 1\n" in log.read_text()


def test_at_a_terminal_a_step_is_one_line_that_is_written_over(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    with subprocess.Popen(work(tmp_path / "log"), cwd=ROOT, stdout=theirs, stderr=subprocess.DEVNULL) as process:
        os.close(theirs)
        shown = b""
        try:
            while piece := os.read(ours, 4096):
                shown += piece
        except OSError:  # At its end.
            pass
    os.close(ours)
    assert process.returncode == 1
    lines = [line.split(b"\r")[-1] for line in shown.split(b"\r\n")]
    assert re.fullmatch(rb"\[1/3\] First: half done, done in \d+:\d\d\x1b\[K", lines[0]), lines


@pytest.fixture
def archive(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The release that is pinned, on servers that stand in for Pulumi's; its name. There is nothing in the cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(pulumi_hosts, "RELEASES", f"{server.url}/sdk")
    monkeypatch.setattr(pulumi_hosts, "CHECKSUMS", f"{server.url}/download")
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as content:
        for program in (*PROGRAMS, "../../outside"):
            text = f"#!/bin/sh\necho {program}\n".encode()
            entry = tarfile.TarInfo(f"pulumi/{program}")
            entry.size = len(text)
            content.addfile(entry, io.BytesIO(text))
        link = tarfile.TarInfo("pulumi/link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        content.addfile(link)
    name = f"pulumi-{VERSION}-linux-x64.tar.gz"
    server.files[f"/sdk/{name}"] = packed.getvalue()
    checksum = hashlib.sha256(packed.getvalue()).hexdigest()
    checksums = f"{'0' * 64}  pulumi-{VERSION}-darwin-x64.tar.gz\n{checksum}  {name}\n"
    server.files[f"/download/{VERSION}/pulumi-{VERSION[1:]}-checksums.txt"] = checksums.encode()
    return name


def test_with_internet_pulumis_own_release_is_taken_once(archive: str, server: Server, tmp_path: Path) -> None:
    bin_dir = tmp_path / "bin"
    bin_dir.mkdir()
    folder = pulumi_hosts.release()
    assert folder
    assert {file.name for file in folder.iterdir()} == {*PROGRAMS, "outside"}
    assert not (tmp_path / "outside").exists()
    assert len(server.requests) == 2
    assert pulumi_hosts.release() == folder
    assert len(server.requests) == 2
    assert [file.name for file in folder.parent.iterdir() if not file.name.startswith(".lock")] == [archive]


def test_its_programs_are_those_of_the_virtual_environment(
    archive: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bin_dir = tmp_path / "bin"
    bin_dir.mkdir()
    monkeypatch.setenv("PATH", f"{bin_dir}:/usr/bin:/bin")
    assert pulumi_hosts.install(bin_dir) == bin_dir / "pulumi"
    for program in PROGRAMS:
        assert subprocess.run([program], capture_output=True, text=True, check=True).stdout == f"{program}\n"


def test_an_archive_with_another_checksum_is_not_used(archive: str, server: Server) -> None:
    server.files[f"/sdk/{archive}"] += b"more"
    with pytest.raises(SystemExit, match=r"has another SHA-256 than .*checksums\.txt says"):
        pulumi_hosts.release()
    kept = [file.name for file in (cache.cache_dir() / "pulumi-release").iterdir() if not file.name.startswith(".")]
    assert kept == []


@pytest.mark.parametrize("missing", ["/sdk/", "/download/", "/"])
def test_where_the_release_cannot_be_had_one_is_built(archive: str, server: Server, missing: str) -> None:
    for path in [path for path in server.files if path.startswith(missing)]:
        del server.files[path]
    assert pulumi_hosts.release() is None


def test_where_one_has_been_built_no_server_is_asked(archive: str, server: Server) -> None:
    (cache.cache_dir() / "pulumi" / pulumi_hosts._build_key()).mkdir(parents=True)
    assert pulumi_hosts.release() is None
    assert server.requests == []
