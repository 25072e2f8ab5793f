"""What all snippets of the library share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from fleet.config import Snippet
from fleet.model import Model


@dataclass(frozen=True)
class NodeName:
    """The node that a snippet is for: its name, and its index in the group."""

    name: str
    index: int


class LibrarySnippet(Model):
    """A snippet that is generated from parameters.

    Attributes:
        use: Its name.
        override: Its values may replace those of earlier snippets.
    """

    per_node: ClassVar[bool] = False
    """Whether it differs between the nodes of a group."""

    use: str
    override: bool = False

    def snippet(self, node: NodeName) -> Snippet:
        """The snippet.

        Args:
            node: The node; any one of the group's unless :attr:`per_node`.

        Raises:
            FleetError: There is none for this node.
        """
        config = {"ignition": {"version": "3.0.0"}, **self._sections(node)}
        of_node = f" of {node.name}" if self.per_node else ""
        return Snippet.from_ignition(f"{self.use}{of_node}", config, override=self.override)

    def _sections(self, node: NodeName) -> dict[str, Any]:
        """The sections of the Ignition config, spec 3.0."""
        raise NotImplementedError
