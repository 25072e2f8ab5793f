"""The comment of `fleet preview --markdown`, as a reader of Markdown has it."""

from __future__ import annotations

import re
from html import unescape

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from fleet.cli.markdown import LONGEST, MARKER, code, comment
from fleet.config.difference import Change
from fleet.ops.events import Summary
from fleet.ops.report import NodeReport

PARSER = MarkdownIt("commonmark").enable("table")
HOSTILE = st.text(st.sampled_from("ab`|<>&!*_[](){}#\\~\"'@:/\n\r\t -=+é."), max_size=30)


def summary(counts: dict[str, int], *, changed: bool = True) -> Summary:
    return Summary("preview", "shop", changed, counts)


def tokens(text: str) -> list[Token]:
    """All tokens, those within lines, too."""
    return [inner for token in PARSER.parse(text) for inner in [token, *(token.children or ())]]


def flat(text: str) -> str:
    return " ".join(text.split())


def test_a_comment_has_what_would_change_why_and_how() -> None:
    change = Change("file", "/etc/motd", "changed", ("@@ -1 +1 @@", "-one", "+two"))
    nodes = {
        "web-0": NodeReport("re-provisioned", ("file /etc/motd changed",), (change,)),
        "web-1": NodeReport("re-provisioned", ("file /etc/motd changed",), (change,)),
        "db-0": NodeReport("unchanged"),
    }
    text = comment(summary({"re-provisioned": 2, "unchanged": 1}), nodes, ["web-0: is not ready"], stack="prod")
    assert text == (
        f"{MARKER}\n### `shop` on `prod`\n\n"
        "`fleet up` would change this: 2 re-provisioned, 1 unchanged.\n\n"
        "> `web-0: is not ready`\n\n"
        "| node | | why |\n| --- | --- | --- |\n"
        "| `web-0` | **re-provisioned** | `file /etc/motd changed` |\n"
        "| `web-1` | **re-provisioned** | `file /etc/motd changed` |\n"
        "\n<details><summary><code>file &#47;etc&#47;motd</code> changed on "
        "<code>web&#45;0&#44; web&#45;1</code></summary>\n\n"
        "```diff\n@@ -1 +1 @@\n-one\n+two\n```\n\n</details>\n"
    )


def test_nothing_is_a_line() -> None:
    text = comment(summary({"unchanged": 1}, changed=False), {"web-0": NodeReport("unchanged")}, [], stack="prod")
    assert text == f"{MARKER}\n### `shop` on `prod`\n\nNothing would change.\n\n"


@given(HOSTILE, HOSTILE, HOSTILE, st.lists(HOSTILE, max_size=4))
def test_what_users_chose_is_code_and_never_markup(name: str, reason: str, file: str, lines: list[str]) -> None:
    change = Change("file", file, "changed", tuple(f"+{line}" for line in lines))
    nodes = {f"n{name}": NodeReport("re-provisioned", (f"r{reason}",), (change,))}
    text = comment(summary({"re-provisioned": 1}), nodes, [f"w{reason}"], stack="prod")
    parsed = tokens(text)
    html = [token.content for token in parsed if token.type in ("html_block", "html_inline") and token.content.strip()]
    (title,) = [each for each in html if each.startswith("<details>")]
    allowed = {MARKER, "</details>", "<br>", title.strip()}
    assert {each.strip() for each in html} <= allowed
    inner = title.strip().removeprefix("<details><summary>").removesuffix("</summary>")
    # What users chose is in code alone, where no mention is made of anybody.
    codes = re.fullmatch("<code>([^<]*)</code> changed on <code>([^<]*)</code>", inner)
    assert codes
    assert [flat(unescape(each)) for each in codes.groups()] == [flat(f"file {file}"), flat(f"n{name}")]
    assert not {token.type for token in parsed} & {"link_open", "image", "em_open", "s_open"}
    spans = [flat(token.content) for token in parsed if token.type == "code_inline"]
    for shown in (f"n{name}", f"r{reason}", f"w{reason}"):
        assert flat(shown) in spans or ("|" in shown and shown[0] != "w")
    fences = [token.content for token in parsed if token.type == "fence"]
    assert len(fences) == (1 if lines else 0)


@given(HOSTILE)
def test_code_is_one_span_whatever_it_holds(text: str) -> None:
    spans = [token for token in tokens(f"x {code(text)} y") if token.type == "code_inline"]
    assert len(spans) == (1 if text.split() else 0)


@pytest.mark.parametrize("longest", [10, 1_000, 100_000])
@pytest.mark.parametrize("several", [1, 400])
@pytest.mark.parametrize("where", ["notes", "reasons", "files", "lines", "names"])
def test_no_comment_is_longer_than_a_comment_can_be_whatever_is_long(where: str, several: int, longest: int) -> None:
    texts = [f"{index} {'x|' * (longest // 2)}" for index in range(several)]

    def of(part: str, index: int) -> str:
        return texts[index] if part == where else f"{part} {index}"

    nodes = {
        of("names", index): NodeReport(
            "re-provisioned",
            (of("reasons", index),) * 6,
            (Change("file", of("files", index), "changed", (f"+{of('lines', index)}",)),),
        )
        for index in range(several)
    }
    text = comment(summary({"re-provisioned": several}), nodes, texts if where == "notes" else [], stack="prod")
    assert len(text) <= LONGEST
    assert text.count("<details>") == text.count("</details>")
    if where == "notes" and several > 1:
        assert "> 350 more: `fleet preview` shows all." in text


@pytest.mark.parametrize("size", [10, 4_000])
def test_a_comment_is_never_longer_than_a_comment_can_be_and_says_what_it_leaves_out(size: int) -> None:
    nodes = {
        f"web-{index}": NodeReport(
            "re-provisioned",
            tuple(f"file /etc/{number}/{'x' * 80} changed" for number in range(9)),
            (Change("file", f"/etc/{index}", "changed", ("+" + "y" * size,) * 20),),
        )
        for index in range(400)
    }
    text = comment(summary({"re-provisioned": 400}), nodes, [], stack="prod")
    assert len(text) <= LONGEST
    assert "more diffs are too long for a comment: `fleet diff` shows all." in text
    assert " more | | |" in text
    assert text.count("<details>") == text.count("</details>")
