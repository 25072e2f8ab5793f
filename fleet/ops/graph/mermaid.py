"""A picture as Mermaid's ``flowchart``, which GitHub and wikis draw (https://mermaid.js.org/syntax/flowchart.html).

Ids are made here and are plain words; every text is a quoted label, in which all but letters, digits and a few signs
that mean nothing are entities by number, such as ``#34;``; and so is what begins a line, lest that looks like
Markdown's lists, which labels cannot have.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from fleet.ops.graph.picture import Box, Frame, Picture

_SHAPES = {
    "source": ("([", "])"),
    "port": ("(", ")"),
    "pod": ("[[", "]]"),
    "container": ("[", "]"),
    "disk": ("[(", ")]"),
    "volume": ("[(", ")]"),
}
_LINES = {"reaches": "-->", "serves": "-->", "holds": "---", "needs": "-.->", "stores": "-->"}
_PLAIN = frozenset(" .,/_-")


def as_mermaid(picture: Picture) -> str:
    """The picture as a flowchart."""
    return "\n".join(_lines(picture)) + "\n"


def _lines(picture: Picture) -> Iterator[str]:
    yield "flowchart LR"
    yield f"  subgraph fleet[{label([picture.title, picture.about, picture.network])}]"
    for frame in picture.frames:
        yield from _frame(frame)
    yield "  end"
    for frame in picture.frames:
        for other in frame.after:
            yield f'  {frame.id} -. "after" .-> {other}'


def _frame(frame: Frame) -> Iterator[str]:
    yield f"    subgraph {frame.id}[{label(frame.heading)}]"
    yield f"      {frame.id}_nodes{{{{{label(frame.nodes)}}}}}"
    for box in frame.boxes:
        yield f"      {_box(box)}"
    for arrow in frame.arrows:
        yield f"      {arrow.tail} {_LINES[arrow.use]} {arrow.head}"
    yield "    end"


def _box(box: Box) -> str:
    begin, end = _SHAPES[box.kind]
    return f"{box.id}{begin}{label(box.texts)}{end}"


def label(lines: Iterable[str]) -> str:
    """Lines as a quoted label that shows them."""
    return '"' + "<br>".join(map(_escaped, filter(None, lines))) + '"'


def _escaped(line: str) -> str:
    first = line[0] if line[0].isascii() and line[0].isalpha() else _entity(line[0])
    return first + "".join(each if _is_plain(each) else _entity(each) for each in line[1:])


def _is_plain(character: str) -> bool:
    return character in _PLAIN or (character.isascii() and character.isalnum())


def _entity(character: str) -> str:
    return f"#{ord(character)};" if character.isprintable() else "#65533;"
