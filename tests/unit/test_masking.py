"""What hides secrets in texts, however the texts are made."""

from __future__ import annotations

import base64
import html
import json
import re
import shlex
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from fleet.masking import Mask
from fleet.workloads.quoting import word

WRITERS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "repr": repr,
    "bytes": lambda text: repr(text.encode()),
    "ascii": ascii,
    "json": json.dumps,
    "json with letters": lambda text: json.dumps(text, ensure_ascii=False),
    "json in json": lambda text: json.dumps(json.dumps({"a": text})),
    "json in repr": lambda text: repr(json.dumps(text)),
    "repr in repr": lambda text: repr(repr(text)),
    "yaml": lambda text: yaml.safe_dump({"a": text}, width=10**6),
    "yaml in double quotes": lambda text: yaml.safe_dump(text, default_style='"', width=10**6),
    "yaml in single quotes": lambda text: "'" + text.replace("'", "''") + "'",
    "shell": shlex.quote,
    "shell in repr": lambda text: repr(shlex.quote(text)),
    "url": quote,
    "whole url": lambda text: quote(text, safe=""),
    "form": quote_plus,
    "html": html.escape,
    "unit file": lambda text: word(text, "a test"),
}

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)


@pytest.mark.slow
@pytest.mark.parametrize("writer", WRITERS)
@given(st.data())
def test_a_secret_is_hidden_in_whatever_form_a_writer_gives_it(writer: str, data: st.DataObject) -> None:
    write = WRITERS[writer]
    # Control characters are no part of a unit file; YAML folds what else breaks lines.
    ordinary = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), min_size=1, max_size=12)
    value = data.draw(ordinary if writer in ("unit file", "yaml", "yaml in single quotes") else TEXTS)
    around = data.draw(st.sampled_from(["", "'\"", "\\", "user: '\""]))
    text = write(f"{around}A-{value}-Z")
    # The frame shows that nothing more than the value was taken, and is not itself escaped.
    masked = Mask({"pin": f"A-{value}-Z"})(f"[{text}]")
    assert "(secret pin)" in masked
    assert masked.startswith("[")
    assert masked.endswith("]")
    assert "A-" not in masked
    assert "-Z" not in masked


@given(TEXTS.filter(lambda text: len(text.encode()) >= 8), st.binary(max_size=4), st.binary(max_size=4))
@example("password", b"u:", b"")
def test_a_secret_is_hidden_in_base64_of_what_holds_it(value: str, before: bytes, after: bytes) -> None:
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        encoded = encode(before + value.encode() + after).decode()
        assert "(secret s)" in Mask({"s": value})(encoded)
    assert Mask({"s": value})(value.encode().hex()) == "(secret s)"


def test_the_lines_of_a_secret_are_hidden_by_themselves() -> None:
    key = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIE\nIAabcdefghijklmn=\n-----END PRIVATE KEY-----\n"
    shown = Mask({"tls": key})("last line: IAabcdefghijklmn= -----END PRIVATE KEY-----")
    assert shown == "last line: (secret tls) -----END PRIVATE KEY-----"


def test_a_secret_that_is_part_of_another_leaves_nothing_of_it() -> None:
    assert Mask({"short": "abc", "long": "xabcx", "none": ""})("abc xabcx") == "(secret short) (secret long)"


def test_names_of_secrets_are_not_masked_in_turn() -> None:
    assert Mask({"secret": "s", "e": "secret"})("s") == "(secret secret)"


def test_a_text_without_secrets_stays_as_it_is() -> None:
    assert Mask({})("a text") == Mask({"x": "other"})("a text") == "a text"


def test_a_text_of_backslashes_takes_no_time() -> None:
    text = "\\" * 20_000
    assert Mask({"s": "a\\b'\nc\\"})(text) == text


def test_a_mask_of_a_long_secret_costs_nothing_until_there_is_a_text(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[str] = []
    compile_ = re.compile

    def counted(pattern: str) -> re.Pattern[str]:
        compiled.append(pattern)
        return compile_(pattern)

    monkeypatch.setattr("fleet.masking.re.compile", counted)
    secrets = {"bundle": "\n".join(f"line {number} of it" for number in range(50))}
    masks = [Mask(secrets) for _ in range(3)]
    assert not compiled
    assert {mask("say line 7 of it") for mask in masks} == {"say (secret bundle)"}
    assert len(compiled) == 1


def test_a_text_of_blanks_takes_no_time() -> None:
    text = "a" + " " * 20_000
    assert Mask({"s": "a\n\n \n\nb", "t": "a\n\n\n\n\n\nc"})(text) == text
    assert Mask({"s": "a\n\n \n\nb"})("say a b, a\\n\\n \\n\\nb") == "say (secret s), (secret s)"
