"""Lints what docs/ci has for users to copy: ``make lint`` runs it.

actionlint is built from its Go module, the version that ``tools/gomodules/actionlint`` pins; GitLab's schema is the one
that check-jsonschema carries, so nothing is fetched.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tools import cache, go

EXAMPLES = cache.ROOT / "docs/ci"
_MODULE = go.MODULES / "actionlint"
_PACKAGE = "github.com/rhysd/actionlint/cmd/actionlint"


def actionlint() -> Path:
    """The command, in the cache; it is built if it is not there."""
    build = cache.built(
        "actionlint",
        cache.key_of(_MODULE),
        lambda out: go.build(_MODULE, _PACKAGE, out / "actionlint", variables={}, cgo=False),
    )
    return build / "actionlint"


def main() -> None:
    """Lint all of them.

    Raises:
        SystemExit: One is wrong; the linter has said how.
    """
    check = [str(Path(sys.executable).with_name("check-jsonschema")), "--quiet", "--builtin-schema"]
    gitlab = [*check, "vendor.gitlab-ci", "--data-transform", "gitlab-ci", str(EXAMPLES / "gitlab-ci.yml")]
    # No shellcheck and no pyflakes: what the machine happens to have is no part of it.
    github = [str(actionlint()), "-shellcheck=", "-pyflakes=", str(EXAMPLES / "github-actions.yml")]
    for command in (github, gitlab):
        if status := subprocess.run(command).returncode:
            sys.exit(status)


if __name__ == "__main__":
    main()
