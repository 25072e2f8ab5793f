"""A node's Ignition config, and how a platform is given it."""

from __future__ import annotations

import base64
import contextlib
import gzip
import hashlib
import json
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any


@dataclass(frozen=True)
class MachineConfig:
    """One node's Ignition config.

    Attributes:
        ignition: Canonical JSON, UTF-8 without a final newline.
        spec: The Ignition spec it is written in, for example "3.4.0".
    """

    ignition: str
    spec: str

    @cached_property
    def digest(self) -> str:
        """The SHA-256 of the canonical JSON, in hexadecimal."""
        return hashlib.sha256(self.ignition.encode()).hexdigest()

    @cached_property
    def tree(self) -> dict[str, Any]:
        """The config as Python values."""
        tree: dict[str, Any] = json.loads(self.ignition)
        return tree


@dataclass(frozen=True)
class Limits:
    """What a platform takes as user data.

    Attributes:
        raw: Bytes up to which the config is given as it is; ``None``: always.
        most: Bytes that user data may have at all; ``None``: any number.
        store: The URL, up to the object's name, at which the platform's object store has what is larger; ``s3://`` or
            ``gs://`` or ``https://``. Empty where there is none.
        option: The platform's option that gives it a store; empty if it can have none.
    """

    raw: int | None
    most: int | None
    store: str = ""
    option: str = ""


@dataclass(frozen=True)
class Delivery:
    """How one config is delivered.

    Attributes:
        user_data: What the platform is given.
        upload: What has to be in the object store first: the config itself; empty: nothing.
        object: The object's name in the store: made of its content, so an object never changes; of the content as it
            may be shown where that holds a secret, which a digest in a name would let be guessed.
    """

    user_data: str
    upload: str = ""
    object: str = ""


_GZIP = "H4sI"
"""What base64 of gzip's first three bytes is (RFC 1952): its magic number and its method."""
_STUB = re.compile(r'\{"ignition":\{"config":\{"replace":\{"compression":"gzip","source":"data:;base64,([^"]+)"')


def unpacked(text: str) -> str:
    """A config that may be compressed: what gzip made of it, in base64.

    Raises:
        ValueError: It is neither that nor JSON.
    """
    if text.startswith("{"):
        return text
    if not text.startswith(_GZIP):
        raise ValueError("It is neither JSON nor base64 of what gzip made.")
    try:
        return gzip.decompress(base64.b64decode(text, validate=True)).decode()
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(str(error)) from None


def configs_in(given: str) -> Iterator[str]:
    """The configs that what a machine was given may be: itself, compressed or not, and the one that it has as a stub.

    Args:
        given: Such as user data; any other text has none.
    """
    with contextlib.suppress(ValueError):
        yield unpacked(given)
        if stub := _STUB.match(given):
            yield unpacked(stub[1])
