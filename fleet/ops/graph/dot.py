r"""A picture as DOT, for Graphviz (https://graphviz.org/doc/info/lang.html).

Ids are made here and are plain words; every text is a label. In a quoted string a quotation mark is escaped by a
backslash, and in a label (an ``escString``) backslashes escape themselves and ``\n`` is a new line; Graphviz reads
HTML's character entities there, so ``&`` is one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from fleet.ops.graph.picture import Arrow, Box, Frame, Picture

_SHAPES = {
    "source": 'shape=oval, style=dashed, color="#4d7c0f"',
    "port": 'shape=box, style="rounded,filled", fillcolor="#dbeafe", color="#1d4ed8"',
    "pod": 'shape=box, style=dashed, color="#6d28d9"',
    "container": 'shape=box, style=filled, fillcolor="#ffffff", color="#334155"',
    "disk": 'shape=cylinder, style=filled, fillcolor="#fef3c7", color="#92400e"',
    "volume": 'shape=cylinder, style=dashed, color="#92400e"',
}
_LINES = {
    "reaches": 'color="#4d7c0f"',
    "serves": 'color="#1d4ed8"',
    "holds": 'color="#6d28d9", arrowhead=none',
    "needs": 'color="#334155", style=dashed',
    "stores": 'color="#92400e"',
}


def as_dot(picture: Picture) -> str:
    """The picture as a graph in DOT."""
    return "\n".join(_lines(picture)) + "\n"


def _lines(picture: Picture) -> Iterator[str]:
    yield f"digraph {label([picture.title])} {{"
    yield f"  graph [label={label([picture.title, picture.about, picture.network])}, labelloc=t, rankdir=LR,"
    yield '    compound=true, fontname="Helvetica", nodesep=0.2, ranksep=0.6]'
    yield '  node [fontname="Helvetica", fontsize=11, margin="0.12,0.06"]'
    yield '  edge [fontname="Helvetica", fontsize=10, arrowsize=0.7]'
    for frame in picture.frames:
        yield from _frame(frame)
    for frame in picture.frames:
        for other in frame.after:
            clusters = f"ltail=cluster_{frame.id}, lhead=cluster_{other}"
            yield f'  {frame.id}_nodes -> {other}_nodes [{clusters}, label="after", style=bold, constraint=false]'
    yield "}"


def _frame(frame: Frame) -> Iterator[str]:
    yield f"  subgraph cluster_{frame.id} {{"
    yield f'    graph [label={label(frame.heading)}, style=rounded, bgcolor="#f8fafc"]'
    yield f"    {frame.id}_nodes [shape=folder, label={label(frame.nodes)}]"
    for box in frame.boxes:
        yield f"    {_box(box)}"
    for arrow in frame.arrows:
        yield f"    {_arrow(arrow)}"
    yield "  }"


def _box(box: Box) -> str:
    return f"{box.id} [{_SHAPES[box.kind]}, label={label(box.texts)}]"


def _arrow(arrow: Arrow) -> str:
    return f"{arrow.tail} -> {arrow.head} [{_LINES[arrow.use]}]"


def label(lines: Iterable[str]) -> str:
    """Lines as a quoted string that shows them."""
    return '"' + "\\n".join(map(_escaped, filter(None, lines))) + '"'


def _escaped(text: str) -> str:
    visible = "".join(character if character.isprintable() else "\ufffd" for character in text)
    return visible.replace("&", "&amp;").replace("\\", "\\\\").replace('"', '\\"')
