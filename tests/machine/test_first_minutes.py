"""What `fleet new` says to type next, typed, on a machine that boots."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.conftest import FLEET, Folder
from tests.machine.conftest import ssh
from tools.machine_image import machine_image

pytestmark = [pytest.mark.machine, pytest.mark.long]


def test_what_is_to_be_typed_ends_with_a_page_that_answers_and_a_login(
    folder: Folder, machines: Callable[[str], Folder], key: Path, request: pytest.FixtureRequest
) -> None:
    image = machine_image()
    request.getfixturevalue("own_loopback")
    folder.environment["PATH"] += f":{FLEET.parent}"
    created = folder.fleet("new", "site", "--image", str(image), "--ssh-key", f"{key}.pub")
    assert created.status == 0, created
    _, _, script = created.out.partition("Then type:\n")
    typed = subprocess.run(
        ["sh", "-euxc", script],
        cwd=folder.path, env=folder.environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
    )  # fmt: skip
    assert typed.returncode == 0, typed
    assert httpx.get("http://127.0.0.1:8080/", trust_env=False, timeout=10).text == "hello"
    assert ssh(key, 2222, "hostname").stdout == "web-0\n"
