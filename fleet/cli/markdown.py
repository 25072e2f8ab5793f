"""What ``fleet preview --markdown`` prints: a comment for a pull request, in GitHub's Markdown, which GitLab reads too.

The first line has a marker, by which a workflow finds its own comment again. What users chose (names, reasons, lines of
files) stands in code only: backticks, pipes and HTML in it are text. A comment has a limit, so whatever is too long is
left out, and said to be: diffs first, then rows.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from fleet.cli.terminal import Terminal
from fleet.ops.events import Event, Note, Summary, Warned

if TYPE_CHECKING:
    from fleet.ops.report import NodeReport

MARKER = "<!-- fleet preview -->"
LONGEST = 65_000
"""Characters: GitHub takes 65 536 in a comment; GitLab more."""
_MORE = 100
"""Characters that are kept for how many diffs are left out."""
_LONGEST_LINE = 500
"""Characters of a note or a reason."""
_MOST_NOTES = 50
_MOST_ROWS = 200
_MOST_REASONS = 5
_FATES = {"new": "new", "re-provisioned": "**re-provisioned**", "removed": "**removed**", "unchanged": "unchanged"}


class Collected(Terminal):
    """The :class:`fleet.ops.ui.Ui` of ``--markdown``: keeps what is to be in the comment; nothing else is printed.

    Attributes:
        notes: What was said of the fleet and its nodes, and warnings.
        summary: What it all came to.
    """

    def __init__(self) -> None:
        super().__init__()
        self.notes: list[str] = []
        self.summary: Summary | None = None

    def event(self, event: Event) -> None:
        """Keep it, if it is for the comment."""
        match event:
            case Summary():
                self.summary = event
            case Note():
                self.notes.append(f"{event.node}: {event.message}" if event.node else event.message)
            case Warned():
                self.notes.append(event.message)

    def warn(self, text: str) -> None:
        """Keep a warning."""
        self.notes.append(text)


def comment(summary: Summary, nodes: Mapping[str, NodeReport], notes: Sequence[str], *, stack: str) -> str:
    """The comment.

    Args:
        summary: What the preview came to.
        nodes: What would happen to nodes, by their names; secrets are masked.
        notes: What else was said.
        stack: The stack's name.
    """
    begin = [MARKER, f"### {code(summary.fleet)} on {code(stack)}", "", _headline(summary), "", *_notes(notes)]
    rows = _MOST_ROWS
    while len(text := _text([*begin, *_table(nodes, rows)])) > LONGEST - _MORE and rows:
        rows //= 2
    diffs = [_text(diff) for diff in _diffs(nodes)]
    shown = 0
    for diff in diffs:
        if len(text) + len(diff) > LONGEST - _MORE:
            break
        text, shown = text + diff, shown + 1
    if left_out := len(diffs) - shown:
        more = "1 more diff is" if left_out == 1 else f"{left_out} more diffs are"
        text += f"\n{more} too long for a comment: `fleet diff` shows all.\n"
    return text


def _text(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _notes(notes: Sequence[str]) -> Iterator[str]:
    several = list(dict.fromkeys(notes))
    yield from (f"> {code(_cut(note))}" for note in several[:_MOST_NOTES])
    if (more := len(several) - _MOST_NOTES) > 0:
        yield f"> {more} more: `fleet preview` shows all."
    if several:
        yield ""


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_LINE else f"{text[:_LONGEST_LINE]}..."


def code(text: str) -> str:
    """A text as code, in a line: nothing in it is Markdown or HTML.

    Its fence is longer than any run of backticks in it (CommonMark, "Code spans").
    """
    line = " ".join(text.split())
    if not line:
        return ""
    fence = "`" * (1 + max(map(len, re.findall("`+", line)), default=0))
    padding = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{fence}{padding}{line}{padding}{fence}"


def _cell(text: str) -> str:
    """A text as code, in a cell of a table.

    GitHub splits a row at pipes in code, too, unless they are escaped (GitHub Flavored Markdown, "Tables").
    """
    return code(text.replace("|", "\\|"))


def _headline(summary: Summary) -> str:
    if not summary.changed:
        return "Nothing would change."
    counts = ", ".join(f"{count} {fate}" for fate, count in summary.counts.items())
    return f"`fleet up` would change this: {counts or 'no node'}."


def _table(nodes: Mapping[str, NodeReport], most: int) -> Iterator[str]:
    changing = {name: node for name, node in nodes.items() if node.fate != "unchanged"}
    if not changing:
        return
    yield from ("| node | | why |", "| --- | --- | --- |")
    for name in list(changing)[:most]:
        node = changing[name]
        reasons = [_cell(_cut(reason)) for reason in node.reasons[:_MOST_REASONS]]
        if more := len(node.reasons) - _MOST_REASONS:
            reasons += [f"{more} more"] if more > 0 else []
        yield f"| {_cell(name)} | {_FATES[node.fate]} | {'<br>'.join(reasons)} |"
    if (more := len(changing) - most) > 0:
        yield f"| {more} more | | |"


def _diffs(nodes: Mapping[str, NodeReport]) -> Iterator[list[str]]:
    """A folded part for each diff; nodes that have the same one are named together."""
    alike: dict[tuple[str, str, str, tuple[str, ...]], list[str]] = {}
    for name, node in nodes.items():
        for change in node.changes:
            alike.setdefault((change.kind, change.name, change.how, change.diff), []).append(name)
    for (kind, what, how, lines), names in alike.items():
        shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        # In code, GitHub and GitLab make no mention of `@team`, which a reference to the character would not prevent.
        named = f"<code>{_html(' '.join(filter(None, [kind, _cut(what)])))}</code>"
        title = f"{named} {_html(how)} on <code>{_html(shown)}</code>"
        fence = "`" * (1 + max([2, *(len(run) for line in lines for run in re.findall("`+", line))]))
        body = [f"{fence}diff", *(re.sub(r"[\r\n]", " ", line) for line in lines), fence] if lines else []
        yield ["", f"<details><summary>{title}</summary>", "", *body, "", "</details>"]


def _html(text: str) -> str:
    """A text as HTML in which Markdown finds nothing, either: all but letters and digits is a reference."""
    line = " ".join(text.split())
    return re.sub(r"[^A-Za-z0-9 ]", lambda match: f"&#{ord(match[0])};", line)
