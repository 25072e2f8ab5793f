"""What a user writes reaches a real container on a booted machine exactly, root's or a user's, in a large config."""

from __future__ import annotations

import random
from collections.abc import Callable

import httpx
import pytest
import yaml

from tests.conftest import STACK, Folder
from tests.unit.test_judged import NASTY

pytestmark = pytest.mark.machine

OFFSET = 21_000
IMAGE = "docker.io/library/busybox:1"
ODD = "/var/lib/odd $name 100% 'q' \\é"
LOOK = "stat -c %u:%g:%a /disk > /out/disk; touch /disk/written || exit 1"
SERVE = "cat /proc/$$/environ > /out/environ; cat /proc/$$/cmdline > /out/cmdline; exec httpd -f -p 80 -h /out"


def texts() -> list[str]:
    """Texts of all sorts, the same ones each time."""
    source = random.Random(0)
    planes = [*range(1, 0x80), *range(0xA0, 0x250), *range(0x4E00, 0x4F00), *range(0x1F600, 0x1F640)]
    return [*NASTY, *("".join(chr(source.choice(planes)) for _ in range(12)) for _ in range(40))]


def get(port: int, path: str) -> bytes:
    return httpx.get(f"http://127.0.0.1:{port + OFFSET}/{path}", trust_env=False, timeout=10).content


def test_values_secrets_files_and_paths_arrive_in_containers_of_root_and_of_a_user(
    folder: Folder, machines: Callable[[str], Folder]
) -> None:
    secret = "a&b#c|d/e\\f \"q\" 'x' $HOME 100%\n\\"
    variables = {f"V{index}": text for index, text in enumerate(texts())}
    arguments = [text for text in texts() if text]
    spec = {
        "name": "web",
        "secrets": {"token": {"env": "TOKEN"}},
        "groups": {
            "web": {
                "snippets": ["base.bu"],
                "users": {"app": {"uid": 2001}},
                "containers": {
                    "probe": {
                        "image": IMAGE,
                        "entrypoint": [
                            "sh", "-c", f"mkdir /out; cp /run/secrets/token /etc/odd /odd*/inside /out; {SERVE}", "sh",
                        ],
                        "command": arguments,
                        "environment": variables,
                        "ports": ["8080:80"],
                        "secrets": ["token", {"name": "token", "type": "env", "target": "TOKEN"}],
                        "files": [{"text": "\n".join(texts()), "target": "/etc/odd"}],
                        "volumes": [f"{ODD}:/odd $x %h"],
                        "labels": {"l": "\n".join(texts())},
                    },
                    "mine": {
                        "image": IMAGE,
                        "run_as": "app",
                        "entrypoint": [
                            "sh", "-c", f"mkdir /out; cp /run/secrets/token /etc/mine /out; {LOOK}; {SERVE}",
                        ],
                        "ports": ["8081:80"],
                        "secrets": ["token"],
                        "files": [{"text": "mine", "target": "/etc/mine", "mode": "0600"}],
                        "volumes": ["/var/lib/mine:/disk"],
                    },
                },
                "data_disks": {"mine": {"size_gib": 1, "mount": "/var/lib/mine", "owner": "app", "mode": "0750"}},
                "ready_timeout": 300,
                "ready": [{"http": {"port": 8080, "path": "/cmdline"}}, {"http": {"port": 8081, "path": "/token"}}],
            }
        },
    }  # fmt: skip
    folder.write("fleet.yaml", yaml.safe_dump(spec))
    source = random.Random(1)
    words = [f"word{source.randrange(2000)}" for _ in range(8000)]
    butane = {
        "variant": "fcos",
        "version": "1.6.0",
        "storage": {
            "files": [
                {"path": f"{ODD}/inside", "contents": {"inline": "inside"}},
                {"path": "/etc/large", "contents": {"inline": " ".join(words)}},
            ]
        },
    }
    folder.write("base.bu", yaml.safe_dump(butane))
    stack = machines(f"{{port_offset: {OFFSET}, cpus: 1}}")
    stack.environment["TOKEN"] = secret
    rendered = stack.fleet("render", "fleet.yaml", "--node", "web-0")
    assert len(rendered.out) > 60_000, rendered.err
    up = stack.fleet("up", *STACK, "--yes")
    assert up.status == 0, up

    assert get(8080, "cmdline").decode().split("\0")[4:-1] == arguments
    environment = dict(entry.split("=", 1) for entry in get(8080, "environ").decode().split("\0")[:-1])
    assert {key: environment[key] for key in variables} == variables
    assert environment["TOKEN"] == secret
    assert get(8080, "token").decode() == secret
    assert get(8080, "odd").decode() == "\n".join(texts())
    assert get(8080, "inside") == b"inside"
    assert get(8081, "token").decode() == secret
    assert get(8081, "mine") == b"mine"
    # Whom the node knows as app is root in its rootless container.
    assert get(8081, "disk") == b"0:0:750\n"
