"""Which lines of a node's journal a name means."""

from __future__ import annotations

import json
import shlex
import subprocess

import pytest

from fleet.config.difference import UNKNOWN
from fleet.errors import UsageError
from fleet.ops import logs
from tests.conftest import Folder

MORE = """\
      tick: {image: "docker.io/library/busybox:1", command: ["true"], oneshot: true, run_as: app}
    users: {app: {uid: 1100}}
"""


@pytest.mark.parametrize("engine", ["podman", "docker"])
def test_the_containers_of_a_node_are_those_of_its_config(folder: Folder, engine: str) -> None:
    more = MORE if engine == "podman" else "    engine: docker\n"
    folder.write("fleet.yaml", (folder.path / "fleet.yaml").read_text() + more)
    rendered = folder.fleet("render", "fleet.yaml", "--node", "web-0")
    assert rendered.status == 0, rendered
    assert logs.containers(rendered.out) == (["hello", "tick"] if engine == "podman" else ["hello"])


@pytest.mark.parametrize("config", ["", UNKNOWN])
def test_of_a_node_whose_config_is_not_known_any_name_is_taken(config: str) -> None:
    command = logs.journal("hello", logs.containers(config), "web-0", follow=False, lines=10)
    assert "_SYSTEMD_UNIT=hello.service" in shlex.split(command)


def test_a_container_that_is_not_there_is_an_error_that_suggests_one() -> None:
    with pytest.raises(UsageError) as refused:
        logs.journal("helo", ["hello", "store"], "web-0", follow=False, lines=10)
    assert str(refused.value) == (
        "Node web-0 has no container helo. Did you mean `hello`? It has: hello, store. Another unit is named with its "
        "suffix: `helo.service`."
    )
    assert "_SYSTEMD_UNIT=sshd.service" in logs.journal("sshd.service", ["hello"], "web-0", follow=False, lines=10)


@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize("follow", [True, False])
def test_a_containers_own_lines_are_shown_and_systemds_only_without_them(
    own: bool, follow: bool, folder: Folder
) -> None:
    folder.write(
        "bin/journalctl", f'#!/bin/sh\ncase "$*" in *--quiet*) {"echo x" if own else ":"} ;; *) echo "$@" ;; esac\n'
    )
    folder.write("bin/sudo", '#!/bin/sh\nexec "$@"\n')
    for name in ("journalctl", "sudo"):
        (folder.path / "bin" / name).chmod(0o755)
    command = logs.journal("hello", ["hello"], "web-0", follow=follow, lines=7)
    shown = subprocess.run(
        ["sh", "-c", command],
        env={"PATH": f"{folder.path}/bin:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert ("CONTAINER_NAME=hello" in shown) is own
    assert ("UNIT=hello.service" in shown) is not own
    assert "--lines=7" in shown
    assert ("--follow" in shown) is follow


def test_everything_is_shown_where_nothing_is_named() -> None:
    assert logs.journal("", ["hello"], "web-0", follow=False, lines=5) == "sudo journalctl --no-pager --lines=5"


def test_a_config_without_contents_has_no_containers() -> None:
    units = [{"name": "x.service"}, {"name": "y.service", "contents": "Description=Container z\n"}]
    assert logs.containers(json.dumps({"systemd": {"units": units}})) == []


def test_a_container_is_also_called_what_podman_calls_that_of_a_quadlet_file() -> None:
    known = ["caddy", "systemd-own"]
    podmans, ours = (logs.journal(name, known, "web-0", follow=False, lines=5) for name in ("systemd-caddy", "caddy"))
    assert podmans == ours
    assert "CONTAINER_NAME=systemd-own" in logs.journal("systemd-own", known, "web-0", follow=False, lines=5)
