"""Types that the models of workloads share."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, StrictFloat, StrictInt, model_validator

from fleet.model import PORT_NUMBER, Grammar, MalformedError, Model


def _scalar_to_text(value: Any) -> Any:
    """YAML reads `PORT: 80` as a number and `DEBUG: true` as a boolean; a container only knows text."""
    if isinstance(value, bool):
        raise ValueError("is a boolean in YAML; put it in quotes to say which text is meant")
    return str(value) if isinstance(value, int | float) else value


Text = Annotated[str, BeforeValidator(_scalar_to_text, json_schema_input_type=str | StrictInt | StrictFloat)]
"""A string; a number in YAML is taken as it is written."""

Label = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
"""A DNS label: lower-case letters, digits and dashes, 63 characters at most."""

NAME_PATTERN = r"^[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?$"

Name = Annotated[str, Field(pattern=NAME_PATTERN)]
"""The name of a container, or of what containers use: a DNS label that can have underscores too."""

HostName = Annotated[str, Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?$")]
"""A name in the DNS of a network of containers."""

Mode = Annotated[str, Field(pattern=r"^0?[0-7]{3}$")]
"""A file's permission bits: an octal text such as "0644"; YAML would read the bare number as another one."""


def _no_size(value: str) -> str:
    other = re.fullmatch(r"([0-9]+)\s*([bkmg])(?:i?b)?", value.lower())
    hint = f'"{other[1]}{other[2]}"' if other else '"512m" or "2g", for example'
    return f"{value!r} is no size, which is digits and one of b, k, m, g: write {hint}"


Memory = Annotated[Text, Grammar("([0-9]+[bkmg]?)?", _no_size, whole=0)]
"""A size such as "512m": digits and a unit of 1024s; bytes without a unit. Empty: no limit."""

SshKey = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]*(ssh-|ecdsa-|sk-)[^\x00-\x1f\x7f]+ [^\x00-\x1f\x7f]+$")]
"""A line of authorized_keys (sshd(8))."""

Word = Annotated[str, Field(pattern=r"^[^\s\x00-\x1f\x7f]+$")]
"""A word of a file that is read line by line: nothing in it ends the word or the line."""

UserName = Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_-]{0,31}$")]
"""The name of a user or a group of the node (useradd(8))."""

_PORT = r"(?:([0-9]+\.[0-9]+\.[0-9]+\.[0-9]+|\[[0-9a-fA-F:]+\]):)?(?:({number}):)?({number})(?:/(tcp|udp))?"
"""Address, port of the node, port of the container, protocol; ``{number}`` is how a port's number is written."""


class Port(Model):
    """A port of the container, published on the node. Written ``[ADDRESS:][NODE_PORT:]CONTAINER_PORT[/tcp|/udp]``.

    Attributes:
        node: Port on the node, 1 to 65535.
        container: Port in the container, 1 to 65535.
        protocol: "tcp" or "udp".
        address: The node's address to listen on; empty for all. A port on a loopback address is not reachable from
            outside, so no firewall opens it.

    Examples:
        node: 8080
        container: 80
        address: 127.0.0.1
    """

    other_forms = (
        {"type": "integer", "minimum": 1, "maximum": 65535},
        {"type": "string", "pattern": f"^{_PORT.replace('{number}', PORT_NUMBER)}$"},
    )

    node: int = Field(ge=1, le=65535)
    container: int = Field(ge=1, le=65535)
    protocol: Literal["tcp", "udp"] = "tcp"
    address: str = ""

    @model_validator(mode="before")
    @classmethod
    def _parse(cls, value: Any) -> Any:
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        if not isinstance(value, str):
            return value
        match = re.fullmatch(_PORT.replace("{number}", "[0-9]+"), value)
        if match is None:
            raise MalformedError('a port is written "8080:80", "8080:80/udp" or "127.0.0.1:8080:80"')
        address, node, container, protocol = match.groups()
        return {
            "node": int(node or container),
            "container": int(container),
            "protocol": protocol or "tcp",
            "address": address or "",
        }

    @property
    def public(self) -> bool:
        """Whether it is reachable from outside the node."""
        return not self.address.startswith(("127.", "[::1]"))

    def meets(self, other: Port) -> bool:
        """Whether both cannot be published on one node."""
        anywhere = {"", "0.0.0.0", "[::]"}
        same = self.address == other.address or not anywhere.isdisjoint((self.address, other.address))
        return same and (self.node, self.protocol) == (other.node, other.protocol)

    def __str__(self) -> str:
        return f"{self.address}{':' if self.address else ''}{self.node}:{self.container}/{self.protocol}"
