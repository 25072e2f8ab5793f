"""The page: one document that shows snapshots, served in parts, or written into one file that needs nothing else."""

from __future__ import annotations

import hashlib
import json
from base64 import b64encode
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any

import jinja2

from fleet.view.snapshot import Json


@cache
def static(name: str) -> str:
    """The text of a file of ``fleet/view/static``."""
    return (resources.files("fleet.view") / "static" / name).read_text(encoding="utf-8")


def live() -> str:
    """The document that follows a server: its style, script and data are beside it."""
    return _render(policy="", css="", js="", data="", title="fleet")


def exported(snapshot: Json, details: Mapping[str, Json], *, written: float) -> str:
    """The document that shows one snapshot, with all that it needs within it: no address of anything else.

    Its own Content-Security-Policy lets it load nothing, and run nothing but the script that was written.

    Args:
        snapshot: What it shows.
        details: By node, what the page shows of it alone (:meth:`fleet.view.server.Source.detail`).
        written: When, in seconds since 1970.
    """
    css, js = static("view.css"), static("view.js")
    policy = f"default-src 'none'; style-src '{_digest(css)}'; script-src '{_digest(js)}'; form-action 'none'"
    data = {"snapshot": snapshot, **_shared(details), "written": written}
    text = json.dumps(data, separators=(",", ":"), sort_keys=True)
    # What ends a script, or begins a comment in one (HTML, section "Restrictions for contents of script elements").
    text = text.replace("<", "\\u003c")
    title = f"{snapshot['fleet']} ({snapshot['stack']})"
    return _render(policy=policy, css=css, js=js, data=text, title=title)


def _shared(details: Mapping[str, Json]) -> dict[str, Any]:
    """Nodes' details, with each text of a config once: nodes of a group differ little."""
    texts: dict[str, int] = {}

    def without_texts(detail: Json) -> Json:
        entries = [{**entry, "text": texts.setdefault(entry["text"], len(texts))} for entry in detail.get("config", [])]
        return {**detail, "config": entries}

    shared = {name: without_texts(detail) for name, detail in details.items()}
    return {"details": shared, "texts": list(texts)}


def _digest(text: str) -> str:
    """A text's digest, as a Content-Security-Policy names what may be inline."""
    return f"sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
    return environment.from_string(static("page.html"))


def _render(**values: str) -> str:
    return _template().render(**values)
