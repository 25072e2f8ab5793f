"""A picture as SVG: one file with nothing outside it, text as text, light and dark as the reader's system is.

Widths of texts are reckoned, since nothing here knows the reader's font: they are those of DejaVu Sans, the widest of
the fonts that systems have for their own words; of a text that is too long for its box, "…" stands for a part, and the
whole is in a ``title``, which browsers show under the pointer.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from xml.sax.saxutils import escape

from fleet.ops.graph.layout import Layout, arranged, columns_of
from fleet.ops.graph.picture import Arrow, Box, Entry, Frame, Kind, Picture, counted

_MARGIN, _PADDING, _GAP, _LEAST = 24, 20, 14, 720
"""Around everything; within frames; between boxes and frames; of a frame's width."""
_LINE, _SMALL, _MONO, _TITLE = 16, 11, 10.5, 13
"""The height of a line; sizes of letters: of words, of what is typed, of names."""
_BETWEEN, _WIDEST = 60, 320
"""Between two columns, and the width of a box, at most."""

_COLUMNS: Mapping[Kind, tuple[int, bool]] = {
    "source": (0, False), "port": (1, False), "pod": (2, False), "container": (3, False), "disk": (4, True),
    "volume": (4, True),
}  # fmt: skip
"""The least column of each kind, and whether it is in the last."""

_LIGHT = {
    "page": "#ffffff", "frame": "#f6f8fa", "edge": "#d3dae2", "ink": "#18222d", "soft": "#56636f", "box": "#ffffff",
    "source": "#3f6212", "port": "#1d4ed8", "pod": "#6d28d9", "container": "#334155", "disk": "#92400e",
    "volume": "#92400e", "portfill": "#eaf1fe", "diskfill": "#fdf6e3", "well": "#15803d", "ill": "#b91c1c",
}  # fmt: skip
_DARK = {
    "page": "#0f151c", "frame": "#171f28", "edge": "#324050", "ink": "#e6edf3", "soft": "#9fb0c0", "box": "#1f2a35",
    "source": "#a3d65c", "port": "#7fb0ff", "pod": "#c4a5ff", "container": "#b4c2d0", "disk": "#f0b866",
    "volume": "#f0b866", "portfill": "#17283f", "diskfill": "#2b2415", "well": "#5fd38a", "ill": "#ff8f8a",
}  # fmt: skip

_STYLE = """\
text{{font-family:system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;fill:{ink};\
font-size:11px}}
.h1{{font-size:22px;font-weight:650}} .h2{{font-size:15px;font-weight:650}} .name{{font-size:13px;font-weight:600}}
.soft{{fill:{soft}}} .about{{font-size:12px;fill:{soft}}} .word{{fill:{soft};font-weight:600}}
.mono{{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace;font-size:10.5px}}
.page{{fill:{page}}} .frame{{fill:{frame};stroke:{edge}}} .network{{fill:none;stroke:{edge};stroke-dasharray:6 4}}
.chip,.box{{fill:{box};stroke:{edge}}}
.source .shape{{fill:none;stroke:{source};stroke-dasharray:4 3}} .port .shape{{fill:{portfill};stroke:{port}}}
.pod .shape{{fill:none;stroke:{pod};stroke-dasharray:6 3}} .container .shape{{fill:{box};stroke:{edge}}}
.container .bar{{fill:{container}}} .disk .shape{{fill:{diskfill};stroke:{disk}}}
.volume .shape{{fill:none;stroke:{volume};stroke-dasharray:4 3}}
.arrow{{fill:none;stroke-width:1.4}} .reaches{{stroke:{source}}} .serves{{stroke:{port}}} .holds{{stroke:{pod}}}
.needs{{stroke:{container};stroke-dasharray:5 3}} .stores{{stroke:{disk}}} .after{{stroke:{soft};stroke-width:2}}
.tip-reaches{{fill:{source}}} .tip-serves{{fill:{port}}} .tip-holds{{fill:{pod}}} .tip-needs{{fill:{container}}}
.tip-stores{{fill:{disk}}} .tip-after{{fill:{soft}}}
.well{{fill:{well};stroke:{well}}} .ill{{fill:{ill};stroke:{ill}}} .blank{{fill:none;stroke:{soft}}}
"""

_LEGEND = (
    ("reaches", "may reach"), ("serves", "leads to"), ("holds", "holds"), ("needs", "starts after"),
    ("stores", "has data on"),
)  # fmt: skip


@dataclass(frozen=True)
class _Inside:
    """What stands in a frame, and where: everything but the frame's width."""

    layout: Layout
    heights: Mapping[str, float]
    columns: Sequence[float]

    @property
    def width(self) -> float:
        """The least that it takes."""
        return sum(self.columns) + _BETWEEN * max(len(self.columns) - 1, 0)


def as_svg(picture: Picture) -> str:
    """The picture as an SVG document."""
    inside = {frame.id: _arrange(frame) for frame in picture.frames}
    header = width_of(f"{picture.title}  {picture.about}", 22)
    width = max([_LEAST, header, *(each.width + 2 * _PADDING for each in inside.values())])
    full = round(width + 2 * _MARGIN)
    body: list[str] = []
    y = _MARGIN + 20.0
    body.append(_text(_MARGIN, y, picture.title, "h1", size=22, most=width))
    y += 20
    body.append(_text(_MARGIN, y, picture.about, "about", size=12, most=width))
    y += 18
    top = y
    if picture.network:
        body.append(_text(_MARGIN + 10, y + 12, picture.network, "soft", most=width))
        y += 24
    places: dict[str, tuple[float, float]] = {}
    for frame in picture.frames:
        drawn, height = _frame(frame, inside[frame.id], y, width)
        places[frame.id] = y, height
        body += drawn
        y += height + 28
    body[2:2] = [_network(top, y - top - 12, width)] if picture.network else []
    y = y - 28 + (20 if picture.network else 8)
    body += _after(picture, places)
    used = {arrow.use for frame in picture.frames for arrow in frame.arrows}
    body += _legend(y + 14, used)
    height = round(y + (38 if used else 12))
    size = f'viewBox="0 0 {full} {height}" width="{full}" height="{height}"'
    dark = f"@media (prefers-color-scheme:dark){{\n{_STYLE.format(**_DARK)}}}"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-labelledby="fleet-title fleet-about">',
        f'<title id="fleet-title">{_clean(f"The fleet {picture.title}")}</title>',
        f'<desc id="fleet-about">{_clean(_described(picture))}</desc>',
        f"<style>\n{_STYLE.format(**_LIGHT)}{dark}\n</style>",
        "<defs>",
        *map(_tip, (*dict(_LEGEND), "after")),
        "</defs>",
        f'<rect class="page" width="{full}" height="{height}"/>',
        *body,
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _tip(use: str) -> str:
    """The tip of an arrow."""
    box = 'viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto-start-reverse"'
    return f'<marker id="tip-{use}" {box}><path d="M0 .5 7.5 4 0 7.5z" class="tip-{use}"/></marker>'


def _described(picture: Picture) -> str:
    """The picture in sentences, for who does not see it."""
    groups = ". ".join(
        f"Group {frame.title}: {frame.about}; containers: "
        f"{', '.join(box.title for box in frame.boxes if box.kind == 'container') or 'none'}"
        for frame in picture.frames
    )
    return f"{picture.title} {picture.about}. {picture.network and picture.network + '. '}{groups}."


def _arrange(frame: Frame) -> _Inside:
    arrows = [(arrow.tail, arrow.head) for arrow in frame.arrows]
    columns = columns_of({box.id: _COLUMNS[box.kind] for box in frame.boxes}, arrows)
    heights = {box.id: _height(box) for box in frame.boxes}
    widths = {box.id: _width(box) for box in frame.boxes}
    layout = arranged(heights, columns, arrows, _GAP)
    wide = [max(widths[id_] for id_, at in columns.items() if at == column) for column in range(layout.columns)]
    return _Inside(layout, heights, wide)


def _height(box: Box) -> float:
    extra = {"disk": 12, "volume": 12}.get(box.kind, 0)
    return len(box.texts) * _LINE + 12 + extra


def _width(box: Box) -> float:
    lines = [width_of(box.title, _TITLE, bold=True), *(_line_width(box, line) for line in box.lines)]
    return min(_WIDEST, max(lines) + 24)


def _line_width(box: Box, line: str) -> float:
    return width_of(line, _MONO, mono=True) if _is_mono(box, line) else width_of(line, _SMALL)


def _is_mono(box: Box, line: str) -> bool:
    """Whether a line is something that is typed: a port, a path, an image."""
    return box.kind == "port" or (box.kind in ("container", "disk") and "/" in line)


def _frame(frame: Frame, inside: _Inside, y: float, width: float) -> tuple[list[str], float]:
    """A group's frame at a height; gives its height, too."""
    left, room = _MARGIN + _PADDING, width - 2 * _PADDING
    parts: list[str] = []
    at = y + 26
    parts.append(_text(left, at, frame.title, "h2", size=15, most=room))
    beside = left + width_of(frame.title, 15, bold=True) + 12
    parts.append(_text(beside, at, frame.about, "about", size=12, most=max(_MARGIN + width - beside - 8, 60)))
    at += 8
    for word, text in frame.facts:
        for index, line in enumerate(_wrapped(text, room - 86)):
            at += _LINE
            if index == 0:
                parts.append(_text(left, at, word, "word"))
            parts.append(_text(left + 86, at, line, "", most=room - 86))
    at += 14
    chips, at = _chips(frame.entries, left, at, room)
    parts += chips
    gap = (room - sum(inside.columns)) / max(len(inside.columns) - 1, 1)
    gap = min(gap, _BETWEEN * 2.2)
    lefts = [left + sum(inside.columns[:column]) + gap * column for column in range(len(inside.columns))]
    at += 16 if frame.boxes else 0
    boxes = {box.id: box for box in frame.boxes}
    parts += _arrows(frame.arrows, boxes, inside, lefts, at)
    for box in frame.boxes:
        spot = inside.layout.spots[box.id]
        parts.append(_box(box, lefts[spot.column], at + spot.y, inside.columns[spot.column], inside.heights[box.id]))
    height = at + inside.layout.height + _PADDING - y
    shape = f'<rect class="frame" x="{_MARGIN}" y="{_n(y)}" width="{_n(width)}" height="{_n(height)}" rx="10"/>'
    return [f'<g aria-label="{_clean(f"group {frame.title}")}">', shape, *parts, "</g>"], height


def _chips(entries: Sequence[Entry], left: float, top: float, room: float) -> tuple[list[str], float]:
    """Nodes, side by side; gives where what is below them begins, too."""
    if not entries:
        return [_text(left, top + 12, "no nodes", "soft")], top + 20
    needed = max(
        max(width_of(each.title, _TITLE, bold=True), width_of(_below(each), _MONO, mono=True)) for each in entries
    )
    wide = min(room, max(96.0, needed + 22 + (16 if any(each.state for each in entries) else 0)))
    across = max(1, int((room + 8) // (wide + 8)))
    tall = 42 if any(_below(each) for each in entries) else 26
    parts: list[str] = []
    for index, entry in enumerate(entries):
        x, y = left + (index % across) * (wide + 8), top + (index // across) * (tall + 8)
        parts.append(f'<rect class="chip" x="{_n(x)}" y="{_n(y)}" width="{_n(wide)}" height="{tall}" rx="6"/>')
        indent = 10.0
        if entry.state:
            parts.append(_mark(entry.state, x + 14, y + 14))
            indent = 26.0
        parts.append(_text(x + indent, y + 18, entry.title, "name", size=_TITLE, most=wide - indent - 6))
        if below := _below(entry):
            parts.append(_text(x + indent, y + 34, below, "mono soft", size=_MONO, mono=True, most=wide - indent - 6))
    return parts, top + -(-len(entries) // across) * (tall + 8) - 8


def _below(entry: Entry) -> str:
    """What stands below a node's name."""
    several = counted(entry.count, "node") if entry.count > 1 and " more" not in entry.title else ""
    return ", ".join(filter(None, (entry.state, several, entry.detail)))


def _mark(state: str, x: float, y: float) -> str:
    """A state's sign, which has a shape of its own beside its colour: a disc, a ring, or a triangle."""
    if state == "ready":
        return f'<circle class="well" cx="{_n(x)}" cy="{_n(y)}" r="5"/>'
    if state == "not made":
        return f'<circle class="blank" cx="{_n(x)}" cy="{_n(y)}" r="5" stroke-width="2"/>'
    return f'<path class="ill" d="M{_n(x)} {_n(y - 6)} {_n(x + 6)} {_n(y + 5)} {_n(x - 6)} {_n(y + 5)}z"/>'


def _box(box: Box, x: float, y: float, wide: float, tall: float) -> str:
    parts = [
        f'<g class="{box.kind}">',
        f"<title>{_clean('; '.join(box.texts))}</title>",
        _shape(box.kind, x, y, wide, tall),
    ]
    at = y + 4 + (10 if box.kind in ("disk", "volume") else 0)
    for index, line in enumerate(box.texts):
        at += _LINE
        if index == 0 and box.title:
            parts.append(_text(x + 12, at - 1, line, "name", size=_TITLE, most=wide - 20))
            continue
        mono = _is_mono(box, line)
        style = "mono" if box.kind == "port" else "mono soft" if mono else "soft"
        parts.append(_text(x + 12, at, line, style, size=_MONO if mono else _SMALL, mono=mono, most=wide - 20))
    return "".join([*parts, "</g>"])


def _shape(kind: Kind, x: float, y: float, wide: float, tall: float) -> str:
    if kind in ("disk", "volume"):
        # A drum: its lid is an ellipse.
        rim, bottom = 6, y + tall - 6
        return (
            f'<path class="shape" d="M{_n(x)} {_n(y + rim)}a{_n(wide / 2)} {rim} 0 0 1 {_n(wide)} 0V{_n(bottom)}'
            f'a{_n(wide / 2)} {rim} 0 0 1 {_n(-wide)} 0zm0 0a{_n(wide / 2)} {rim} 0 0 0 {_n(wide)} 0"/>'
        )
    radius = {"source": 14, "port": 8, "pod": 6}.get(kind, 6)
    rect = f'x="{_n(x)}" y="{_n(y)}" width="{_n(wide)}" height="{_n(tall)}"'
    bar = f'<rect class="bar" x="{_n(x)}" y="{_n(y + 6)}" width="3" height="{_n(tall - 12)}"/>'
    return f'<rect class="shape" {rect} rx="{radius}"/>' + (bar if kind == "container" else "")


def _arrows(
    arrows: Sequence[Arrow], boxes: Mapping[str, Box], inside: _Inside, lefts: Sequence[float], top: float
) -> Iterator[str]:
    """Lines between boxes, each from a place of its own on its box's side."""
    layout = inside.layout
    drawn = [arrow for arrow in arrows if (arrow.tail, arrow.head) in layout.paths]

    def middle(name: str) -> float:
        return layout.spots[name].y + inside.heights[name] / 2

    def towards(end: str, arrow: Arrow) -> float:
        """The height that a line comes from, or goes to, on a side."""
        path = layout.paths[arrow.tail, arrow.head]
        if path:
            return path[0][1] if end == "tail" else path[-1][1]
        return middle(arrow.head if end == "tail" else arrow.tail)

    places: dict[tuple[Arrow, str], float] = {}
    for end in ("tail", "head"):
        sides: dict[str, list[Arrow]] = {}
        for arrow in drawn:
            sides.setdefault(arrow.tail if end == "tail" else arrow.head, []).append(arrow)
        for name, beside in sides.items():
            beside.sort(key=partial(towards, end))
            step = min(12.0, (inside.heights[name] - 16) / len(beside))
            for index, arrow in enumerate(beside):
                places[arrow, end] = middle(name) + (index - (len(beside) - 1) / 2) * step
    for arrow in drawn:
        tail, head = layout.spots[arrow.tail], layout.spots[arrow.head]
        x, y = lefts[tail.column] + inside.columns[tail.column], top + places[arrow, "tail"]
        path = [f"M{_n(x)} {_n(y)}"]
        for column, height in layout.paths[arrow.tail, arrow.head]:
            path.append(_curve(x, y, lefts[column], top + height) + f"H{_n(lefts[column] + inside.columns[column])}")
            x, y = lefts[column] + inside.columns[column], top + height
        path.append(_curve(x, y, lefts[head.column] - 1, top + places[arrow, "head"]))
        tip = "" if arrow.use == "holds" else f' marker-end="url(#tip-{arrow.use})"'
        words = dict(_LEGEND)[arrow.use]
        about = _clean(f"{_named(boxes[arrow.tail])} {words} {_named(boxes[arrow.head])}")
        yield f'<path class="arrow {arrow.use}" d="{"".join(path)}"{tip}><title>{about}</title></path>'


def _named(box: Box) -> str:
    return box.title or ", ".join(box.lines)


def _curve(x: float, y: float, to_x: float, to_y: float) -> str:
    half = (to_x - x) / 2
    return f"C{_n(x + half)} {_n(y)} {_n(to_x - half)} {_n(to_y)} {_n(to_x)} {_n(to_y)}"


def _network(top: float, height: float, width: float) -> str:
    """The line around the groups that share a private network."""
    x, wide = _MARGIN - 10, width + 20
    return f'<rect class="network" x="{x}" y="{_n(top - 6)}" width="{_n(wide)}" height="{_n(height)}" rx="14"/>'


def _after(picture: Picture, places: Mapping[str, tuple[float, float]]) -> Iterator[str]:
    """An arrow between neighbours of which one changes after the other; of others, the group's own facts tell."""
    for above, below in zip(picture.frames, picture.frames[1:], strict=False):
        x = _MARGIN + _PADDING + 10
        first, second = places[above.id][0] + places[above.id][1], places[below.id][0]
        if above.id in below.after:
            line = f"M{x} {_n(first)}V{_n(second - 1)}"
        elif below.id in above.after:
            line = f"M{x} {_n(second)}V{_n(first + 1)}"
        else:
            continue
        yield f'<path class="arrow after" d="{line}" marker-end="url(#tip-after)"/>'
        yield _text(x + 10, (first + second) / 2 + 4, "then", "soft")


def _legend(y: float, used: Iterable[str]) -> Iterator[str]:
    x = float(_MARGIN)
    for use, words in _LEGEND:
        if use in used:
            tip = "" if use == "holds" else f' marker-end="url(#tip-{use})"'
            yield f'<path class="arrow {use}" d="M{_n(x)} {_n(y - 4)}h28"{tip}/>'
            yield _text(x + 36, y, words, "soft")
            x += 36 + width_of(words, _SMALL) + 24


def _wrapped(text: str, room: float) -> Iterator[str]:
    """A text in lines that fit, broken at spaces."""
    line = ""
    for word in text.split(" "):
        longer = f"{line} {word}" if line else word
        if line and width_of(longer, _SMALL) > room:
            yield line
            line = word
        else:
            line = longer
    yield line


def _text(
    x: float, y: float, text: str, style: str, *, size: float = _SMALL, mono: bool = False, most: float | None = None
) -> str:
    bold = style in ("h1", "h2", "name", "word")
    shown = text if most is None else _shortened(text, size, most, mono=mono, bold=bold)
    whole = f"<title>{_clean(text)}</title>" if shown != text else ""
    named = f' class="{style}"' if style else ""
    return f'<text{named} x="{_n(x)}" y="{_n(y)}">{_clean(shown)}{whole}</text>'


def _shortened(text: str, size: float, most: float, *, mono: bool, bold: bool) -> str:
    if width_of(text, size, mono=mono, bold=bold) <= most:
        return text
    # The end of an image or a path tells more than its beginning.
    keep_end = mono and " " not in text
    for length in range(len(text) - 1, 0, -1):
        cut = f"…{text[-length:]}" if keep_end else f"{text[:length]}…"
        if width_of(cut, size, mono=mono, bold=bold) <= most:
            return cut
    return "…"


_NARROW, _SLIM, _BROAD = frozenset("iljI.,:;|!'` "), frozenset('ftr()[]{}/\\-"'), frozenset("mwMW@%…→—")


def width_of(text: str, size: float, *, mono: bool = False, bold: bool = False) -> float:
    """About how wide a text is, in the units of its size, rather too much than too little."""
    return size * sum(_em(character, mono) for character in text) * (1.13 if bold else 1.0)


def _em(character: str, mono: bool) -> float:
    if unicodedata.east_asian_width(character) in "WF":
        return 1.05
    if mono:
        return 0.62
    if character in _NARROW:
        return 0.34
    if character in _SLIM:
        return 0.43
    if character in _BROAD:
        return 1.0
    return 0.72 if character.isupper() else 0.62


def _n(number: float) -> str:
    """A number to a tenth, as short as it can be said."""
    return f"{round(number, 1) + 0.0:.1f}".removesuffix(".0")


def _clean(text: str) -> str:
    """A text as XML has it: what XML cannot have, or nobody can see, is a sign that says so."""
    return escape("".join(each if each.isprintable() else "\ufffd" for each in text), {'"': "&quot;"})
