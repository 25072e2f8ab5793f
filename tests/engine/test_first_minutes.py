"""What `fleet new` says to type next, typed."""

from __future__ import annotations

import subprocess
import urllib.request

from tests.conftest import FLEET
from tests.engine.stack import Stack


def test_what_is_to_be_typed_ends_with_a_page_that_answers(stack: Stack) -> None:
    environment = {**stack.environment, "HOME": str(stack.path / "home")}
    environment["PATH"] = f"{environment['PATH']}:{FLEET.parent}"
    # Whoever has no passphrase set is told to.
    del environment["PULUMI_CONFIG_PASSPHRASE"]
    created = subprocess.run(
        [FLEET, "new", "site", "--image", "base.qcow2"],
        cwd=stack.path, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    _, _, script = created.partition("Then type:\n")
    assert [line.split()[:2] for line in script.splitlines()] == [
        ["export", "PULUMI_CONFIG_PASSPHRASE="], ["fleet", "preview"], ["fleet", "up"], ["fleet", "status"],
    ]  # fmt: skip
    typed = subprocess.run(
        ["sh", "-euxc", script],
        cwd=stack.path,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert typed.returncode == 0, typed
    with urllib.request.urlopen("http://127.0.0.1:8080/") as page:
        assert page.status == 200
