"""What a stack has, with as few runs of Pulumi's command as can be.

The command takes a tenth of a second and more each time that it runs, and several where a service has the state. Most
of what it tells stands in files: the config of a stack but for its secrets, and the state, where the backend is one of
files, unless secrets are in it, which the command alone can decrypt. So it is asked for what is in no file, when that
is needed, and once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from fleet.files import read_json
from fleet.ops.backend import Backend
from fleet.program.exported import has_encrypted
from fleet.stack_config import Secure


class Config(Mapping[str, str]):
    """A stack's config by full key, secrets in plain text, which are read when the first of them is asked for.

    Args:
        plain: The config, with anything :class:`Secure` in the place of each secret.
        read: Reads all of it.
    """

    def __init__(self, plain: Mapping[str, str], read: Callable[[], Mapping[str, str]]) -> None:
        self._plain, self._read = plain, read

    @cached_property
    def _whole(self) -> Mapping[str, str]:
        return self._read()

    def __getitem__(self, key: str) -> str:
        value = self._plain[key]
        return self._whole[key] if isinstance(value, Secure) else value

    def __iter__(self) -> Iterator[str]:
        return iter(self._plain)

    def __len__(self) -> int:
        return len(self._plain)


@dataclass(frozen=True)
class State:
    """A state as it was read.

    Attributes:
        version: Of its format (``apitype.UntypedDeployment`` of github.com/pulumi/pulumi).
        deployment: It itself, for whoever asked alone.
    """

    version: int
    deployment: dict[str, Any]


@dataclass(frozen=True)
class _Text:
    """A state as text.

    Attributes:
        text: As it is in its file, or as Pulumi's command gives it.
        is_open: No secret in it is encrypted.
        stamp: What tells it from the next one, if it is in a file.
    """

    text: bytes
    is_open: bool
    stamp: object


class StateReader:
    """Reads a stack's state.

    Args:
        export: Runs ``pulumi stack export`` with more options, and gives what it prints.
        files: Where the state is, if the backend is one of files.

    Attributes:
        files: As given; may be set to where a copy of it is.
    """

    def __init__(self, export: Callable[..., str], files: Backend | None) -> None:
        self.files = files
        self._export = export
        self._last: _Text | None = None

    def read(self, *, is_open: bool, anew: bool) -> State:
        """The state.

        Args:
            is_open: Secrets in it are to be in plain text; else they may be encrypted.
            anew: It is to be as it is now; else it may be as it was when it was last read.

        Raises:
            CommandError: It cannot be read; :class:`StackNotFoundError`: the stack is not there.
            FleetError: Its file is not whole.
        """
        stamp = self.files.stamp if self.files else None
        last = self._last
        if last and (last.stamp != stamp if self.files else anew):
            last = None
        if last is None or (is_open and not last.is_open):
            last = self._last = self._text(stamp, is_open=is_open)
        try:
            content = read_json(last.text)
            deployment = content["checkpoint"].get("latest") if "checkpoint" in content else content.get("deployment")
            return State(int(content["version"]), dict(deployment or {}))
        except (ValueError, KeyError, TypeError, AttributeError):
            if self.files is None:
                raise
            raise self.files.cut_off() from None

    def _text(self, stamp: object, *, is_open: bool) -> _Text:
        text = self.files.text if self.files else None
        if text is not None:
            has_secrets = has_encrypted(text)
            if not (has_secrets and is_open):
                return _Text(text, not has_secrets, stamp)
        text = (self._export("--show-secrets") if is_open else self._export()).encode()
        return _Text(text, is_open or not has_encrypted(text), stamp)
