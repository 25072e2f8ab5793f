"""Secrets that other programs tell: files that sops or age encrypted, and commands such as ``pass``, ``op``, ``vault``.

A program is run without a shell, in the spec's folder, and tells the value on its standard output, which goes into this
process alone: into no file, and not into any argument or error. What it says on standard error is in the error if it
fails. At a terminal that is the terminal itself, and so is its input, so that it can ask for a passphrase or have a
pinentry do so; nor does it get a process group of its own, which could not read from there.

Programs are run once in a command, by those commands alone that compare or deploy configs. sops decrypts a file once
for all keys of it.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import selectors
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fleet.boundary import Boundary
from fleet.errors import FleetError, Position
from fleet.files import TEXT_MOST, read_bytes
from fleet.hints import nearest
from fleet.masking import Mask
from fleet.processes import kill_descendants
from fleet.spec.model import SecretSource

IDENTITY = "AGE_IDENTITY"
"""The environment variable with the path of the file of age's identities; :data:`SOPS_IDENTITY` is the next."""
SOPS_IDENTITY = "SOPS_AGE_KEY_FILE"

INSTALL = {
    "sops": "Install it: https://getsops.io/docs/#download has it for every system.",
    "age": "Install it: packages of most systems are called age, and https://age-encryption.org has it too.",
}
"""How to get the programs that fleet itself names."""

_SHOWN = 600
"""Characters of what a program said that an error shows: the last ones."""
_SEARCHED = 1 << 14
"""Bytes of a value that are looked for in what a program said: of more, that takes seconds."""


class NotAskedError(FleetError):
    """A secret is told by a program, which the command does not run: what is deployed counts as unchanged."""


def program_of(source: SecretSource) -> str:
    """The program that tells a secret, as it is looked for on PATH; empty where none does."""
    if source.command:
        return source.command[0]
    return "sops" if source.sops else "age" if source.age else ""


class Programs:
    """What programs told, for the time of one command.

    Args:
        folder: The spec's folder.
    """

    def __init__(self, folder: Path) -> None:
        # Programs run there, so that a relative path would be another one to them.
        self._folder = Path(os.path.realpath(folder))
        self._decrypted: dict[Path, Any] = {}

    def tell(self, name: str, source: SecretSource, at: Position) -> str:
        """A secret's value, less one newline at its end.

        Args:
            name: Its name.
            source: Where it comes from: ``sops``, ``age`` or ``command``.
            at: Where the spec says so.

        Raises:
            FleetError: The program is not there, fails, takes too long, or tells what is no text; or the file has no
                such key.
        """
        if source.command:
            value = self._run(name, source, source.command, at)
            if not value:
                raise FleetError(f"{_from(name, source)}, which printed nothing.", at=at)
        elif source.sops and source.key:
            value = self._of_key(name, source, at)
        elif source.sops:
            value = self._run(name, source, ["sops", "--decrypt", str(self._file(name, source.sops, source, at))], at)
        else:
            value = self._of_age(name, source, at)
        return value.removesuffix("\n")

    def _file(self, name: str, path: str, source: SecretSource, at: Position) -> Path:
        file = self._folder / path
        Boundary.of(self._folder / "spec").check(file, f"The secret {name}", outside=source.outside, at=at)
        read_bytes(file, f"file of the secret {name}", at=at, kind=FleetError)
        return Path(os.path.realpath(file))

    def _of_key(self, name: str, source: SecretSource, at: Position) -> str:
        file = self._file(name, source.sops, source, at)
        if file not in self._decrypted:
            text = self._run(name, source, ["sops", "--decrypt", "--output-type", "json", str(file)], at)
            try:
                # Numbers as they are written.
                self._decrypted[file] = json.loads(text, parse_int=str, parse_float=str)
            except (ValueError, RecursionError):
                raise FleetError(f"{_from(name, source)}, which printed no JSON of it.", at=at) from None
        return _at_key(self._decrypted[file], name, source, at)

    def _of_age(self, name: str, source: SecretSource, at: Position) -> str:
        file = self._file(name, source.age, source, at)
        words = ["age", "--decrypt"]
        if source.identity or not _has_passphrase(file):
            words += ["--identity", str(self._identity(name, source, at))]
        return self._run(name, source, [*words, str(file)], at)

    def _identity(self, name: str, source: SecretSource, at: Position) -> Path:
        if source.identity:
            path = self._folder / Path(source.identity).expanduser()
            if not path.is_file():
                raise FleetError(f"The secret {name} is decrypted with {path}, which is no file.", at=at)
            return path
        if usual := usual_identity():
            return usual
        raise FleetError(
            f"The secret {name} is decrypted by age, but nothing says with which identity.",
            at=at,
            fix=f"Name the file with `identity:` beside `age:`, or with {IDENTITY} in the environment; "
            f"{_places()[-1]} is taken, too.",
        )

    def _run(self, name: str, source: SecretSource, words: Sequence[str], at: Position) -> str:
        """What a program prints."""
        told_by = _from(name, source)
        if not where_is(words[0], self._folder):
            raise FleetError(
                f"{told_by}, but there is no program {words[0]} here.",
                at=at,
                fix=INSTALL.get(words[0], "Install it, or see to it that it is on PATH."),
            )
        asks = _at_terminal()
        try:
            process = subprocess.Popen(
                list(words),
                cwd=self._folder,
                stdin=None if asks else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=None if asks else subprocess.PIPE,
            )
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise FleetError(f"{told_by}, which cannot be run: {reason}.", at=at) from None
        output, errors = bytearray(), None if asks else bytearray()
        try:
            _read(process, output, errors, time.monotonic() + source.timeout)
        except subprocess.TimeoutExpired:
            raise FleetError(
                f"{told_by}, which did not end within {source.timeout} s{_said(output, errors)}.",
                at=at,
                fix="Give it longer with `timeout:`, in seconds, if it waits for somebody.",
            ) from None
        finally:
            if process.poll() is None:
                kill_descendants(process.pid)
                process.kill()
                process.wait()
            for pipe in filter(None, (process.stdout, process.stderr)):
                pipe.close()
        if max(len(output), len(errors or b"")) > TEXT_MOST:
            raise FleetError(f"{told_by}, which printed more than {TEXT_MOST >> 20} MiB.", at=at)
        if process.returncode:
            status = f"status {process.returncode}" if process.returncode > 0 else f"signal {-process.returncode}"
            raise FleetError(f"{told_by}, which failed ({status}){_said(output, errors)}.", at=at)
        try:
            return output.decode()
        except UnicodeDecodeError as error:
            raise FleetError(
                f"{told_by}, but the value is not UTF-8 text (byte {error.start}).",
                at=at,
                fix="A secret is text: encode what is none, as base64 for one.",
            ) from None


def usual_identity() -> Path | None:
    """The file of age's identities where nothing in the spec names one; ``None``: there is none.

    The one that :data:`IDENTITY` or :data:`SOPS_IDENTITY` name, else that of sops, ``sops/age/keys.txt`` in the user's
    folder of configs.
    """
    return next((path for path in _places() if path.is_file()), None)


def _places() -> list[Path]:
    named = [Path(os.environ[name]).expanduser() for name in (IDENTITY, SOPS_IDENTITY) if os.environ.get(name)]
    home = Path.home() / ("Library/Application Support" if sys.platform == "darwin" else ".config")
    return [*named, Path(os.environ.get("XDG_CONFIG_HOME") or home) / "sops/age/keys.txt"]


def _from(name: str, source: SecretSource) -> str:
    """The beginning of a sentence about a secret and its program."""
    if source.command:
        return f"The secret {name} comes from the command `{shlex.join(source.command)}`"
    file, program = (source.sops, "sops") if source.sops else (source.age, "age")
    return f"The secret {name} comes from {file} by {program}"


def where_is(program: str, folder: Path) -> str | None:
    """The path of a program; ``None``: there is none.

    Args:
        program: Its name, for PATH, or its path from the spec's folder.
        folder: The spec's folder.
    """
    return shutil.which(os.path.realpath(folder / program) if "/" in program else program)


def _at_terminal() -> bool:
    """Whether somebody can see a question and answer it."""
    try:
        return all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stderr))
    except ValueError:  # one is closed
        return False


def _read(process: subprocess.Popen[bytes], output: bytearray, errors: bytearray | None, deadline: float) -> None:
    """Read what a program prints until it ends, or has printed more than is taken: it may print without end.

    Args:
        process: The program.
        output: Takes its standard output.
        errors: Takes its standard error; ``None``: that is the terminal.
        deadline: When it has to have ended, by the monotonic clock.

    Raises:
        TimeoutExpired: It has not.
    """
    with selectors.DefaultSelector() as pipes:
        for pipe, taken in ((process.stdout, output), (process.stderr, errors)):
            if pipe is not None and taken is not None:
                pipes.register(pipe, selectors.EVENT_READ, taken)
        while pipes.get_map():
            left = deadline - time.monotonic()
            if left <= 0:
                raise subprocess.TimeoutExpired(process.args, left)
            for key, _ in pipes.select(left):
                piece = os.read(key.fd, 1 << 16)
                if not piece:
                    pipes.unregister(key.fileobj)
                key.data.extend(piece)
                if len(key.data) > TEXT_MOST:
                    return
    process.wait(max(0, deadline - time.monotonic()))


def _said(output: bytearray, errors: bytearray | None) -> str:
    """What a program said of its failure, as the end of a sentence: its last lines, without what it has to tell.

    Args:
        output: Its standard output.
        errors: Its standard error; ``None``: that was the terminal.
    """
    if errors is None:
        return ", and may have said above why"
    if len(output) > _SEARCHED:
        return ", and what it said is not shown, since the secret may be in it"
    text = errors.decode(errors="replace")
    # A script may repeat what another one told.
    text = Mask({"it tells": output.decode(errors="replace").strip()})(text)
    text = "".join(character if character.isprintable() else " " for character in text)
    text = " ".join(text.split())
    if len(text) > _SHOWN:
        text = f"... {text[-_SHOWN:]}"
    return f": {text.rstrip('.')}" if text else ", and said nothing"


def _at_key(content: Any, name: str, source: SecretSource, at: Position) -> str:
    """The value at a path of keys with dots between them; a key that has dots itself is taken as a whole first."""
    value, rest, before = content, source.key, ""
    while rest:
        step = _step(value, rest)
        if step is None:
            known = _keys(value)
            where = f" in {before}" if before else ""
            what = f"has no key {rest.partition('.')[0]}{where}" if known else f"has no keys{where or ' at all'}"
            near = nearest(rest.partition(".")[0], known)
            raise FleetError(
                f"The secret {name} is {source.key} of {source.sops}, which {what}.",
                at=at,
                fix=near or (f"There are: {', '.join(known[:20])}." if known else ""),
            )
        key, value = step
        before, rest = f"{before}.{key}".lstrip("."), rest[len(key) + 1 :]
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, str):
        kind = "a mapping" if isinstance(value, Mapping) else "a list" if isinstance(value, list) else "null"
        known = _keys(value)
        raise FleetError(
            f"The secret {name} is {source.key} of {source.sops}, which is {kind}, not a text.",
            at=at,
            fix=f"Name one in it, such as `key: {source.key}.{known[0]}`." if known else "",
        )
    return value


def _step(value: Any, path: str) -> tuple[str, Any] | None:
    """The longest beginning of a path that is a key, and what is there."""
    parts = path.split(".")
    for count in range(len(parts), 0, -1):
        key = ".".join(parts[:count])
        if isinstance(value, Mapping) and key in value:
            return key, value[key]
        if isinstance(value, list) and key.isascii() and key.isdigit() and int(key) < len(value):
            return key, value[int(key)]
    return None


def _keys(value: Any) -> list[str]:
    if isinstance(value, Mapping):
        return [str(key) for key in value]
    return [str(index) for index in range(len(value))] if isinstance(value, list) else []


_ARMOR = b"-----BEGIN AGE ENCRYPTED FILE-----"


def _has_passphrase(file: Path) -> bool:
    """Whether a file is encrypted with a passphrase, for which age asks, and not for identities.

    The first stanza of the header says so (age-encryption.org/v1, "The scrypt recipient type").
    """
    with file.open("rb") as content:
        head = content.read(512)
    if head.lstrip().startswith(_ARMOR):
        lines = head.lstrip().removeprefix(_ARMOR).split()
        try:
            head = base64.b64decode(lines[0]) if lines else b""
        except binascii.Error:
            return False
    return head.startswith(b"age-encryption.org/v1\n-> scrypt ")
