"""What can be learned of secrets without any key: from states, files, commands that run."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from fleet.dynamic.packing import unpack
from fleet.masking import Mask
from tests.conftest import meanwhile

_ENVELOPE = "4dabf18193072939515e22adb298388d"
_PACKED = "/Td6WFo"
"""What xz's files begin with, in base64."""


def unsealed(value: Any) -> Any:
    """A state without what is encrypted in it."""
    if isinstance(value, dict):
        return {} if _ENVELOPE in value else {key: unsealed(item) for key, item in value.items()}
    return [unsealed(item) for item in value] if isinstance(value, list) else value


def told(secret: str, text: str) -> bool:
    """Whether a text holds a secret in any form."""
    return Mask({"secret": secret})(text) != text


def digests(known: Sequence[str], text: str) -> list[str]:
    """The digests in a text, though cut, of any of what somebody could guess."""
    return sorted({form for whole in known for form in _digests(whole.encode()) if form[:16].lower() in text.lower()})


def _digests(raw: bytes) -> Iterator[str]:
    for kind in ("md5", "sha1", "sha256", "sha384", "sha512"):
        result = hashlib.new(kind, raw)
        yield result.hexdigest()
        yield base64.b64encode(result.digest()).decode()
        yield base64.urlsafe_b64encode(result.digest()).decode()


def arguments_meanwhile() -> AbstractContextManager[list[frozenset[str]]]:
    """Looks at the arguments of all processes meanwhile, over and over."""

    def look() -> frozenset[str]:
        seen = set()
        for process in Path("/proc").glob("[0-9]*"):
            try:
                seen.add((process / "cmdline").read_bytes().decode(errors="replace"))
            except OSError:
                continue  # It has ended.
        return frozenset(seen)

    return meanwhile(look, pause=0.005)


def text_of(state: Any) -> str:
    """All that a state says in plain text, with what is only packed unpacked."""
    return json.dumps(_unpacked(unsealed(state)), ensure_ascii=False)


def _unpacked(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _unpacked(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_unpacked(item) for item in value]
    return _unpacked(unpack(value)) if isinstance(value, str) and value.startswith(_PACKED) else value
