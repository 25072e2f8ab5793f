"""``fleet graph``: a picture of a fleet's topology, as SVG, DOT or Mermaid.

:mod:`fleet.ops.graph.picture` says what is in it, in boxes, lines and words; a module for each format writes that. The
same topology gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from fleet.ops.graph.dot import as_dot
from fleet.ops.graph.mermaid import as_mermaid
from fleet.ops.graph.picture import picture_of
from fleet.ops.graph.svg import as_svg
from fleet.program.topology import Topology

Format = Literal["svg", "dot", "mermaid"]


def drawn(topology: Topology, form: Format) -> str:
    """A topology's picture, as text that ends with a newline.

    Args:
        topology: The topology.
        form: The format.
    """
    writers: dict[Format, Callable[..., str]] = {"svg": as_svg, "dot": as_dot, "mermaid": as_mermaid}
    return writers[form](picture_of(topology))
