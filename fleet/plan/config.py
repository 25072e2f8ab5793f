"""A node's Ignition config, and how a platform is given it."""

from __future__ import annotations

import hashlib
import json
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
