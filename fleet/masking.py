"""Masking secrets in output: errors, progress, answers of nodes.

A secret seldom stands in a text as it is: whatever formats the text may escape it, as Python's ``repr``, JSON, YAML,
Go's ``%q``, a shell's quotes, a unit file, a URL or HTML do, one inside the other, too. So each character of a secret
is looked for in every form that these give it. Mask a text before it is cut: of a secret that was cut, nothing is left
to recognise.
"""

from __future__ import annotations

import html
import re
from base64 import b64encode
from collections.abc import Iterator, Mapping
from functools import cache, lru_cache

_SHORTEST_LINE = 8
"""Characters. Output by line shows a line of a secret without the others; one that is shorter than
this, such as a brace, is no secret by itself."""
_ESCAPES = {"\0": "0", "\a": "a", "\b": "b", "\t": "t", "\n": "n", "\v": "v", "\f": "f", "\r": "r", "\x1b": "e",
          "\x85": "N", "\xa0": "_", "\u2028": "L", "\u2029": "P"}  # fmt: skip
"""Characters with a short escape; the last four in YAML."""
_DOUBLED = "'\"%${}"
"""Characters that some formats double instead of escaping: YAML, systemd, Python's and Go's templates."""


class Mask:
    """Replaces secrets by ``(secret NAME)``.

    Args:
        secrets: Values by name. One that is empty hides nothing.
    """

    def __init__(self, secrets: Mapping[str, str]) -> None:
        self._secrets = tuple(secrets.items())

    def __call__(self, text: str) -> str:
        """The text without the secrets."""
        pattern, names = _compiled(self._secrets)
        if pattern is None:
            return text
        return pattern.sub(lambda match: f"(secret {names[(match.lastindex or 1) - 1]})", text)


# Of a long secret this takes seconds, and most masks never see a text: what is well has nothing to say.
@lru_cache(maxsize=64)
def _compiled(secrets: tuple[tuple[str, str], ...]) -> tuple[re.Pattern[str] | None, list[str]]:
    """The pattern of all secrets, and the secret that each group belongs to."""
    forms = [(form, name) for name, value in secrets for form in _parts(value)]
    # The longest first: one secret may be part of another.
    forms.sort(key=lambda item: -len(item[0]))
    pattern = re.compile("|".join(f"({_pattern(form)})" for form, _ in forms)) if forms else None
    return pattern, [name for _, name in forms]


def _parts(value: str) -> Iterator[str]:
    """A secret, and its lines."""
    if value:
        yield value
        for line in value.splitlines():
            # The frame of a PEM text says nothing.
            if len(line.strip()) >= _SHORTEST_LINE and not line.startswith("-----") and line.strip() != value:
                yield line.strip()


def _pattern(value: str) -> str:
    """A regular expression, without groups that capture, of all forms of a value."""
    runs = re.findall(r"\\+|\s*\n\s*|[^\\]", value, re.DOTALL)
    whole = "".join(_of_run(run) for run in runs)
    return "|".join([whole, *_encoded(value.encode("utf-8", "surrogatepass"))])


def _of_run(run: str) -> str:
    if run[0] == "\\":
        return _of_backslashes(len(run))
    if "\n" in run:
        # Lines that were joined, or moved to the right: whatever blanks are there, once for all of them.
        return rf"(?:{''.join(map(_of_character, run))}|\s+)"
    return _of_character(run)


def _of_backslashes(count: int) -> str:
    return rf"(?:\\{{{count},}}|(?:%5[Cc]){{{count}}}|(?:\\+(?:x5[Cc]|u005[Cc]|134)){{{count}}})"


@cache
def _of_character(character: str) -> str:
    if character.isascii() and character.isalnum():
        return character
    code, raw = ord(character), character.encode("utf-8", "surrogatepass")
    literal = re.escape(character)
    # Escaped once, or over and over.
    forms = [rf"\\*{literal}"]
    if character in _DOUBLED:
        forms.insert(0, rf"\\*{literal}{{2}}")
    if character == "'":
        # A shell's: the quotes end, and begin again.
        forms[:0] = [r"""\\*'\\*"\\*'\\*"\\*'""", r"\\*'\\+'\\*'"]
    if character == " ":
        forms.append(r"\+")
    if character in _ESCAPES:
        forms.append(rf"\\+{_ESCAPES[character]}")
    if character in "<>&'\"":
        forms += [html.escape(character), f"&#{code};", f"&#[xX]0*{code:x};"]
    if code <= 0xFFFF:
        forms.append(rf"\\+u(?i:{code:04x})")
    else:
        high, low = 0xD800 + ((code - 0x10000) >> 10), 0xDC00 + ((code - 0x10000) & 0x3FF)
        forms.append(rf"\\+u(?i:{high:04x})\\+u(?i:{low:04x})")
    forms.append(rf"\\+U(?i:{code:08x})")
    if code <= 0xFF:
        forms.append(rf"\\+x(?i:{code:02x})")
    forms.append("".join(f"%(?i:{byte:02x})" for byte in raw))
    forms.append("".join(rf"\\+x(?i:{byte:02x})" for byte in raw))
    forms.append("".join(rf"\\+{byte:03o}" for byte in raw))
    return f"(?:{'|'.join(dict.fromkeys(forms))})"


def _encoded(raw: bytes) -> Iterator[str]:
    """Base64 of anything that holds a value, and its hexadecimal form, unless a word may be as short as these."""
    if len(raw) < 6:
        return
    yield f"(?i:{raw.hex()})"
    for offset in range(3):
        # Characters that depend on the value alone.
        text = b64encode(bytes(offset) + raw).decode()[-(-offset * 8 // 6) : (offset + len(raw)) * 8 // 6]
        yield re.escape(text).replace(r"\+", r"[+\-]").replace("/", "[/_]")
