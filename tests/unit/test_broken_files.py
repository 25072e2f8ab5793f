"""Every file that a command reads, broken in every way: one paragraph that says so, soon, and never a traceback."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fleet.cli import main
from fleet.config import _transpiler
from tests.conftest import Folder, Result

SPEC = """\
version: 1
name: web
secrets: {key: {file: secret.txt}}
groups:
  web:
    snippets: [base.bu, ready.ign]
    compose: compose.yaml
    containers:
      hello:
        image: docker.io/library/caddy:2
        secrets: [key]
        files: [{source: mounted.conf, target: /etc/mounted.conf}]
    builds:
      own: {context: build}
"""
FILES = {
    "fleet.yaml": SPEC,
    "base.bu": """\
variant: fcos
version: 1.6.0
storage:
  files: [{path: /etc/a, contents: {local: local.txt}}]
  trees: [{local: tree, path: /etc/tree}]
""",
    "ready.ign": '{"ignition": {"version": "3.4.0"}}',
    "compose.yaml": "services: {web: {image: docker.io/library/caddy:2}}\n",
    "mounted.conf": "a",
    "local.txt": "a",
    "tree/one": "a",
    "build/Containerfile": "FROM docker.io/library/caddy:2\n",
    "secret.txt": "a",
    "Pulumi.yaml": "name: web\nruntime: python\n",
    "Pulumi.test.yaml": "config:\n  fleet:platform: qemu\n",
    "spec.py": "def spec(config):\n    return {'name': 'web', 'groups': {'web': {}}}\n",
    "image.lock.yaml": f"""\
stream: local
architectures:
  x86_64:
    release: local
    ignition_spec: 3.5.0
    disks: {{qemu: {{location: /mine.qcow2, sha256: "{"0" * 64}", uncompressed_sha256: "{"0" * 64}"}}}}
""",
    "mine.qcow2": "an image",
    "keys.asc": "keys",
}
READERS: dict[str, list[tuple[str, ...]]] = {
    "fleet.yaml": [("validate", "fleet.yaml"), ("render", "fleet.yaml"), ("image", "download", "fleet.yaml")],
    "base.bu": [("validate", "fleet.yaml")],
    "ready.ign": [("validate", "fleet.yaml")],
    "compose.yaml": [("validate", "fleet.yaml")],
    "mounted.conf": [("validate", "fleet.yaml")],
    "local.txt": [("validate", "fleet.yaml")],
    "tree/one": [("validate", "fleet.yaml")],
    "build/Containerfile": [("validate", "fleet.yaml")],
    "secret.txt": [("render", "fleet.yaml", "--reveal")],
    "Pulumi.yaml": [("validate", "fleet.yaml", "--stack", "test"), ("status", "fleet.yaml", "--stack", "test")],
    "Pulumi.test.yaml": [("validate", "fleet.yaml", "--stack", "test"), ("render", "fleet.yaml", "--stack", "test")],
    "spec.py": [("validate", "spec.py")],
    "image.lock.yaml": [("image", "download", "fleet.yaml"), ("image", "pin", "fleet.yaml")],
    "mine.qcow2": [("image", "update", "fleet.yaml", "--file", "mine.qcow2")],
    "keys.asc": [("image", "update", "fleet.yaml", "--base-url", "https://127.0.0.1:1", "--keys", "keys.asc")],
}
OPAQUE = ("mounted.conf", "local.txt", "tree/one", "secret.txt", "build/Containerfile", "mine.qcow2")
"""What is in them is not looked at."""


def _replaced(by: Callable[[Path], object]) -> Callable[[Path], None]:
    def do(file: Path) -> None:
        file.unlink()
        by(file)

    return do


def _content(data: bytes) -> Callable[[Path], object]:
    return lambda file: file.write_bytes(data)


LAUGHS = b"a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n" + b"".join(
    b"a%d: &a%d [%s]\n" % (n, n, b",".join([b"*a%d" % (n - 1)] * 10)) for n in range(1, 10)
)
KINDS: dict[str, Callable[[Path], object]] = {
    "missing": Path.unlink,
    "a folder": _replaced(Path.mkdir),
    "a pipe": _replaced(os.mkfifo),
    "a device": _replaced(lambda file: file.symlink_to("/dev/zero")),
    "a circle of links": _replaced(lambda file: file.symlink_to(file)),
    "unreadable": lambda file: file.chmod(0),
    "huge": lambda file: os.truncate(file, 10 << 30),
}
CONTENTS: dict[str, bytes] = {
    "empty": b"",
    "no UTF-8": b"\xff\xfe\x00x",
    "NUL": b"a: \x00\n",
    "nested 500 times": b"[" * 500,
    "nested and closed": b"[" * 500 + b"]" * 500,
    "nested 100000 times": b"[" * 100_000,
    "JSON nested 100000 times": b'{"a":' * 100_000,
    "indented 500 times": b"".join(b" " * n + b"a:\n" for n in range(500)),
    "cut JSON": b'{"ignition": {"vers',
    "a list": b"[1, 2]",
    "a number": b"1",
    "no value of its tag": b"a: !!int x\n",
    "no date": b"a: !!timestamp x\n",
    "a number without end": b"a: " + b"9" * 10_000,
    "aliases that multiply": LAUGHS,
    "an alias in itself": b"a: &a [*a]\n",
    "merges that multiply": LAUGHS.replace(b"[x,", b"{<<: {x: 1}, k: [x,").replace(b"x]\n", b"x]}\n"),
}
KINDS |= {name: _content(data) for name, data in CONTENTS.items()}


def run(folder: Folder, arguments: tuple[str, ...]) -> Result:
    """Run the command in a fork, which takes a tenth of a new process's time. It may not override modes, as root may,
    nor have more than two GiB of memory.
    """
    streams = [folder.path.parent / name for name in ("out", "err")]
    child = os.fork()
    if child == 0:
        status = 70
        try:
            for number, file in enumerate(streams, start=1):
                os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
            sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
            os.chdir(folder.path)
            os.environ.clear()
            os.environ.update(folder.environment)
            # The process that the tests before have started is theirs.
            _transpiler._shared = None
            resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
            libc = ctypes.CDLL(None)
            for capability in (1, 2):
                # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH: what is started has them back otherwise (prctl(2)).
                libc.prctl(24, capability, 0, 0, 0)
            # capset(2), version 3: none.
            libc.capset((ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)())
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(40)
            sys.argv = ["fleet", *arguments]
            main()
            status = 0
        except SystemExit as end:
            status = int(end.code or 0)
        except BaseException as error:
            print(f"Traceback: {error!r}", file=sys.stderr)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    _, ended = os.waitpid(child, 0)
    out, err = (file.read_text() for file in streams)
    return Result(os.waitstatus_to_exitcode(ended), out, err)


@pytest.fixture
def whole(folder: Folder) -> Folder:
    for name, text in FILES.items():
        folder.write(name, text)
    return folder


SAMPLE = ("empty", "no UTF-8", "NUL", "nested 500 times", "aliases that multiply")
"""What is tried on all that is read, beside every kind of file: of what no one looks into, and of what another command
reads in the same way, the rest would show nothing."""


def _kinds(name: str, reader: int) -> Iterator[str]:
    for kind in KINDS:
        # An image is as large as it is.
        if (name, kind) != ("mine.qcow2", "huge") and (
            kind not in CONTENTS or kind in SAMPLE or (name not in OPAQUE and reader == 0)
        ):
            yield kind


CASES = [
    pytest.param(arguments, name, kind, id=f"{' '.join(arguments[:2])} - {name} - {kind}")
    for name, readers in READERS.items()
    for number, arguments in enumerate(readers)
    for kind in _kinds(name, number)
]


def test_the_files_are_right_before_they_are_broken(whole: Folder) -> None:
    for arguments in (*READERS["secret.txt"], *READERS["spec.py"], READERS["Pulumi.yaml"][0]):
        result = run(whole, arguments)
        assert result.status == 0, result


@pytest.mark.slow
@pytest.mark.parametrize(("arguments", "name", "kind"), CASES)
def test_a_broken_file_is_one_paragraph(whole: Folder, arguments: tuple[str, ...], name: str, kind: str) -> None:
    KINDS[kind](whole.path / name)
    result = run(whole, arguments)
    if name in OPAQUE and kind in CONTENTS and result.status == 0:
        return
    if (name, kind) == ("mounted.conf", "a folder"):
        # Which is mounted with what is in it.
        assert result.status == 0, result
        return
    if name == "tree/one" and kind in ("missing", "a folder", "a device", "a circle of links"):
        # A tree may have folders, and links, which become links on the node.
        assert result.status == 0, result
        return
    assert result.status in (1, 2), result
    assert result.err.startswith("Error: "), result.err
    # By its name, or by what it leads to, or is the config of.
    assert any(words in result.err for words in (Path(name).name, "/dev/zero", "stack test", "tree")), result.err
    assert "Traceback" not in result.err
    assert "a bug of fleet" not in result.err
    assert "\n\n" not in result.err.strip()
    assert len(result.err) < 2000, result.err
