"""Specs that are Python: a file whose function ``spec`` returns what a YAML spec would say.

For fleets whose shape follows from the stack's config. The function is given a :class:`SpecConfig` and returns the same
mapping as the YAML has; it is called whenever the spec is read, so it has to return the same for the same config.
Secrets are no part of it: the mapping names them, as YAML does, and ``${variable}`` stands for one.
"""

from __future__ import annotations

import os
import runpy
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from fleet.core_schema import Dumper
from fleet.document import Document
from fleet.errors import FleetError, Position, UsageError
from fleet.files import read_json, read_text
from fleet.stack_config import ConfigReader, Secure

SUFFIX = ".py"


class SpecConfig:
    """The stack's config, as a spec in Python reads it. Keys are the project's own unless they have a colon.

    Args:
        platform: The platform's name.
        read: Reads a key; ``None`` where no stack is named: examples then stand for what has to be configured, so that
            the spec can be checked.

    Attributes:
        platform: The platform's name, such as "qemu".
    """

    def __init__(self, platform: str, read: ConfigReader | None) -> None:
        self.platform, self._read = platform, read

    def get(self, key: str, default: str = "") -> str:
        """A text."""
        value = self._read(key) if self._read else None
        return default if value is None else str(value)

    def is_secret(self, key: str) -> bool:
        """Whether the stack's config has a secret there."""
        return self._read is not None and isinstance(self._read(key), Secure)

    def require(self, key: str, *, example: str) -> str:
        """A text that has to be there.

        Args:
            key: The key.
            example: What stands for it where no stack is named.

        Raises:
            UsageError: It is not.
        """
        if self._read is None:
            return example
        if not (value := self._read(key)):
            raise UsageError(f"The stack's config has no {key}.", fix=f"Set it: `pulumi config set {key} VALUE`.")
        return str(value)

    def flag(self, key: str, default: bool = False) -> bool:
        """Something that is so or not.

        Raises:
            UsageError: It is neither "true" nor "false".
        """
        return bool(self._parsed(key, default, lambda value: isinstance(value, bool), "`true` or `false`"))

    def number(self, key: str, default: int) -> int:
        """A whole number.

        Raises:
            UsageError: It is none.
        """
        # A boolean is an `int` in Python.
        return int(self._parsed(key, default, lambda value: type(value) is int, "a whole number"))

    def texts(self, key: str, *, example: Sequence[str] = ()) -> list[str]:
        """A list of texts, set by ``pulumi config set --path 'KEY[0]' VALUE``; empty by default.

        Args:
            key: The key.
            example: What stands for it where no stack is named.

        Raises:
            UsageError: It is none.
        """

        def is_valid(value: Any) -> bool:
            return isinstance(value, list) and all(isinstance(item, str) for item in value)

        return list(self._parsed(key, [] if self._read else example, is_valid, "a list of texts"))

    def _parsed(self, key: str, default: Any, is_valid: Callable[[Any], bool], what: str) -> Any:
        text = self.get(key)
        if not text:
            return default
        try:
            value = read_json(text)
        except ValueError:
            value = None
        if not is_valid(value):
            shown = "a secret" if self.is_secret(key) else repr(text)
            raise UsageError(f"{key} of the stack's config should be {what}, but is {shown}.")
        return value


def run(path: Path, config: SpecConfig) -> Document:
    """The document that a spec in Python makes.

    Args:
        path: Its file.
        config: What its function is given.

    Raises:
        UsageError: It cannot be read, fails, or returns no mapping of plain values.
        FleetError: It raised this itself.
    """
    returned = _call(path, config)
    if not isinstance(returned, Mapping):
        raise UsageError(f"`spec` returned {type(returned).__name__}, not a mapping.", at=Position.of(path))
    try:
        text = text_of(returned)
    except (yaml.YAMLError, RecursionError) as error:
        reason = (
            "it is nested too deeply"
            if isinstance(error, RecursionError)
            else str(error.args[-1] if error.args else error)
        )
        raise UsageError(f"`spec` returned what YAML cannot say: {reason}.", at=Position.of(path)) from None
    return Document(path, "spec", text)


def text_of(document: Mapping[str, Any]) -> str:
    """A document of plain values as YAML.

    Args:
        document: The document.

    Raises:
        yaml.YAMLError: A value is not plain.
    """
    return str(yaml.dump(dict(document), Dumper=Dumper, sort_keys=False, width=sys.maxsize))


def _call(path: Path, config: SpecConfig) -> Any:
    read_text(path, "spec")
    with _importing_from(Path(os.path.realpath(path)).parent):
        try:
            function = runpy.run_path(str(path), run_name="fleet_spec").get("spec")
            if not callable(function):
                raise UsageError("There is no function `spec` in it.", at=Position.of(path))
            return function(config)
        except FleetError:
            raise
        except SyntaxError as error:
            raise UsageError(f"The Python cannot be read: {error.msg}.", at=Position.of(path, error.lineno)) from None
        except (Exception, SystemExit) as error:
            frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
            at = Position.of(path, frames[-1].lineno if frames else None)
            raise UsageError(f"The spec failed: {type(error).__name__}: {error}.", at=at) from None


@contextmanager
def _importing_from(folder: Path) -> Iterator[None]:
    """A context in which modules beside the spec can be imported."""
    before = sys.dont_write_bytecode
    sys.path.insert(0, str(folder))
    # Whoever only looks at a project leaves nothing in it.
    sys.dont_write_bytecode = True
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        sys.dont_write_bytecode = before
