"""The documentation as a site: ``make docs`` builds it in ``build/docs``, to be opened from the disk.

The pages are those that the repository shows: this puts them, with the files that they link to, into a folder of the
same layout, and has Sphinx make HTML of it (MyST reads the Markdown). Whatever Sphinx warns of is an error: a link or
an anchor that leads nowhere, a page that is in no table of contents. The search works without a server, and nothing is
fetched by a reader.

Sphinx and its theme are no part of the development environment: they are installed, as ``requirements-docs.lock`` pins
them, into the cache.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tools import cache

OUT = cache.ROOT / "build/docs"
LOCK = cache.ROOT / "requirements-docs.lock"
CONTENTS: dict[str, tuple[str, ...]] = {
    "Guides": (
        *(f"docs/guides/{name}.md" for name in (
            "README", "first-fleet", "rollouts", "data", "secrets", "private-networks", "large-fleets", "ci", "from-*",
            "what-happens-when",
        )),
        "docs/ci/README.md",
    ),
    "The spec": ("docs/spec.md", "docs/library.md", "docs/program.md", "docs/state.md"),
    "Looking at a fleet": ("docs/report.md", "docs/view.md", "docs/graph.md"),
    "Platforms": ("docs/platforms.md", "docs/platforms/*.md"),
    "Examples": ("examples/*/README.md",),
    "Reference": ("docs/reference/*.md",),
    "fleet itself": (
        "docs/architecture.md", "docs/adding-a-platform.md", "docs/performance.md", "CONTRIBUTING.md", "SECURITY.md",
        "CHANGELOG.md",
    ),
}  # fmt: skip
"""The pages beside README.md, by the heading over them in the table of contents."""
CONF = """\
project = "fleet"
author = "fleet's authors"
root_doc = "README"
extensions = ["myst_parser"]
exclude_patterns = []
html_theme = "furo"
html_title = "fleet"
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False
myst_heading_anchors = 4
# Languages that Pygments does not know, such as Butane's Quadlet files, stay as they are.
suppress_warnings = ["misc.highlighting_failure"]
"""
_LINK = re.compile(r"\]\(([^)\s#]+)(?:#[^)\s]*)?\)")


def pages() -> dict[str, list[Path]]:
    """The pages of each part of the table of contents, from the repository's root."""
    return {
        heading: [
            file.relative_to(cache.ROOT)
            for pattern in patterns
            for file in sorted(cache.ROOT.glob(pattern), key=lambda file: (file.name != "README.md", file))
        ]
        for heading, patterns in CONTENTS.items()
    }


def stage(tree: Path) -> None:
    """Put the pages, and what they link to, into a folder."""
    listed = pages()
    for page in [Path("README.md"), *(page for part in listed.values() for page in part)]:
        text = (cache.ROOT / page).read_text(encoding="utf-8")
        _write(tree / page, text)
        for target in _LINK.findall(text):
            file = (cache.ROOT / page.parent / target).resolve()
            if "://" not in target and file.is_file() and file.is_relative_to(cache.ROOT) and file.suffix != ".md":
                copy = tree / file.relative_to(cache.ROOT)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, copy)
    trees = [
        "\n".join(["", "```{toctree}", ":hidden:", f":caption: {heading}", "", *map(str, part), "```", ""])
        for heading, part in listed.items()
    ]
    with (tree / "README.md").open("a", encoding="utf-8") as file:
        file.write("".join(trees))
    _write(tree / "conf.py", CONF)


def build(out: Path) -> None:
    """Build the site.

    Args:
        out: Its folder, which is emptied.

    Raises:
        SystemExit: Sphinx warns of something.
    """
    sphinx = cache.built("docs-tools", cache.key_of(LOCK, sys.version), _install)
    with tempfile.TemporaryDirectory() as folder:
        stage(Path(folder))
        shutil.rmtree(out, ignore_errors=True)
        command = [sys.executable, "-m", "sphinx", "-b", "html", "-q", "-W", "--keep-going", folder, str(out)]
        environment = {**os.environ, "PYTHONPATH": str(sphinx)}
        if subprocess.run(command, env=environment).returncode:
            sys.exit("Error: the documentation has faults, as Sphinx says above.")
    shutil.rmtree(out / ".doctrees", ignore_errors=True)
    # The first page, by the name that servers look for.
    shutil.copyfile(out / "README.html", out / "index.html")


def _install(out: Path) -> None:
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes"]
    subprocess.run([*command, "--target", str(out), "-r", str(LOCK)], check=True)


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")


def main() -> None:
    """Build it, and say where it is."""
    build(OUT)
    print(f"The documentation is in {OUT.relative_to(cache.ROOT)}/index.html.")


if __name__ == "__main__":
    main()
