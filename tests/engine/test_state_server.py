"""`fleet state serve`: plain Pulumi on it, and what is left when a command or the server is killed."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import FLEET, Folder
from tests.engine.cloud import World
from tests.engine.cloud import serving as cloud
from tests.engine.on.libvirt import Libvirt
from tests.engine.state_server import Server, serving, state_of

pytestmark = pytest.mark.long

PROGRAM = """\
import pulumi
import pulumi_libvirt as libvirt

pulumi.export("secret", pulumi.Output.secret({secret!r}))
for number in range({count}):
    libvirt.Volume(f"v{{number}}", name=f"v{{number}}-{tag}", pool="default", size=1 << 20)
"""
UP = ("up", "--yes", "--skip-preview", "--non-interactive", "--stack", "test", "--parallel", "4")


@pytest.fixture
def disks(folder: Folder) -> Iterator[Libvirt]:
    """Disks, for a project whose program makes them; each takes a while."""

    class Slow(Libvirt):
        def create(self, kind: str, name: str, props: dict[str, Any]) -> tuple[str, dict[str, Any]]:
            created = super().create(kind, name, props)
            time.sleep(0.1)  # It is there, and the engine does not know yet.
            return created

    world = World()
    libvirt = Slow(world)
    folder.write("Pulumi.yaml", "name: web\nruntime: python\n")
    with cloud(libvirt) as providers:
        folder.environment |= {"PULUMI_DEBUG_PROVIDERS": providers, "PULUMI_SKIP_UPDATE_CHECK": "true"}
        yield libvirt
    world.close()


@pytest.fixture
def server(folder: Folder, disks: Libvirt) -> Iterator[Server]:
    """A server with a stack that has not been updated."""
    with serving(folder) as started:
        created = folder.pulumi("stack", "init", "test")
        assert created.status == 0, created
        yield started


def program(folder: Folder, tag: str, count: int = 3) -> None:
    folder.write("__main__.py", PROGRAM.format(tag=tag, count=count, secret="not for the disk"))


def missing(disks: Libvirt, state: dict[str, Any]) -> set[str]:
    """Disks that a state does not know, but for those that it says may be there."""
    known = {resource["id"] for resource in state.get("resources", ()) if resource.get("id")}
    begun = [each["resource"]["inputs"]["name"] for each in state.get("pending_operations", ())]
    return {id_ for id_, props in disks.of("Volume").items() if id_ not in known and props["name"] not in begun}


@pytest.mark.parametrize("skip", ["", "true"], ids=["whole states in memory", "none"])
@pytest.mark.parametrize("part", ["command", "server"])
def test_nothing_is_lost_when_a_part_is_killed(
    folder: Folder, server: Server, disks: Libvirt, part: str, skip: str
) -> None:
    if skip:
        folder.environment["PULUMI_SKIP_CHECKPOINTS"] = skip
    source = random.Random(part + skip)
    environment = {**folder.environment, "PATH": f"{folder.environment['PATH']}:{FLEET.parent}"}
    interrupted = 0
    for number in range(5):
        program(folder, f"round-{number}", count=12)
        before = len(disks.of("Volume"))
        update = subprocess.Popen(
            ["pulumi", *UP], cwd=folder.path, env=environment, stdout=subprocess.DEVNULL, start_new_session=True
        )
        while disks.of("Volume").keys() and len(disks.of("Volume")) == before and update.poll() is None:
            time.sleep(0.01)
        time.sleep(source.uniform(0, 0.8))
        interrupted += update.poll() is None
        if part == "command":
            with contextlib.suppress(ProcessLookupError):
                os.killpg(update.pid, signal.SIGKILL)
        else:
            server.kill()
            server.start()
        update.wait()
        time.sleep(0.5)  # The cloud ends what it was asked for.
        state = state_of(folder)
        assert not missing(disks, state)
        # As a user says that there is nothing of what was begun.
        for id_ in disks.of("Volume").keys() - {resource.get("id") for resource in state.get("resources", ())}:
            disks.delete("Volume", id_)
        state["pending_operations"] = []
        imported = subprocess.run(
            ["pulumi", "stack", "import", "--stack", "test"],
            input=json.dumps({"version": 3, "deployment": state}),
            cwd=folder.path,
            env=environment,
            text=True,
            capture_output=True,
        )
        # Of an update that was killed, nothing holds the stack.
        assert imported.returncode == 0, imported.stderr
    assert interrupted
    result = folder.pulumi(*UP)
    assert result.status == 0, result
    assert len(disks.of("Volume")) == 12


def test_secrets_are_in_no_file_of_the_server_and_survive_a_new_name(folder: Folder, server: Server) -> None:
    program(folder, "one")
    assert folder.pulumi("config", "set", "--secret", "--stack", "test", "password", "not for the disk").status == 0
    assert folder.pulumi(*UP).status == 0
    for file in server.folder.iterdir():
        assert b"not for the disk" not in file.read_bytes(), file
        assert file.stat().st_mode & 0o077 == 0, file
    assert folder.pulumi("stack", "rename", "prod", "--stack", "test").status == 0
    assert folder.pulumi("config", "get", "password", "--stack", "prod").out.strip() == "not for the disk"
    shown = folder.pulumi("stack", "output", "secret", "--show-secrets", "--stack", "prod")
    assert shown.out.strip() == "not for the disk"
    refused = folder.pulumi("stack", "rm", "prod", "--yes")
    assert refused.status != 0
    assert "still has resources" in refused.err + refused.out


def test_a_state_moves_from_files_to_the_server_and_back(folder: Folder, disks: Libvirt, tmp_path: Path) -> None:
    files = {"PULUMI_BACKEND_URL": f"file://{tmp_path}", "PULUMI_CONFIG_PASSPHRASE": "test"}
    folder.environment |= files
    assert folder.pulumi("stack", "init", "test").status == 0
    program(folder, "one")
    assert folder.pulumi(*UP).status == 0
    made = disks.of("Volume").keys()
    assert folder.pulumi("stack", "export", "--stack", "test", "--file", "state.json").status == 0
    with serving(folder):
        folder.environment["PULUMI_CONFIG_PASSPHRASE"] = "test"
        for words in (
            ("stack", "init", "test", "--secrets-provider", "passphrase"),
            ("stack", "import", "--stack", "test", "--file", "state.json"),
            ("stack", "change-secrets-provider", "default", "--stack", "test"),
        ):
            result = folder.pulumi(*words)
            assert result.status == 0, result
        del folder.environment["PULUMI_CONFIG_PASSPHRASE"]
        result = folder.pulumi(*UP, "--expect-no-changes")
        assert result.status == 0, result
        history = json.loads(folder.pulumi("stack", "history", "--json", "--stack", "test").out)
        assert history[0]["kind"] == "update"
        assert history[0]["result"] == "succeeded"
        assert folder.pulumi("stack", "output", "secret", "--show-secrets").out.strip() == "not for the disk"
        exported = folder.pulumi("stack", "export", "--show-secrets", "--stack", "test", "--file", "state.json")
        assert exported.status == 0, exported
    result = folder.pulumi("stack", "import", "--stack", "test", "--file", "state.json")
    assert result.status == 0, result
    assert folder.pulumi("stack", "output", "secret", "--show-secrets").out.strip() == "not for the disk"
    result = folder.pulumi(*UP, "--expect-no-changes")
    assert result.status == 0, result
    assert disks.of("Volume").keys() == made


def test_an_update_that_is_cancelled_writes_no_more(folder: Folder, server: Server, disks: Libvirt) -> None:
    program(folder, "one", count=40)
    environment = {**folder.environment, "PATH": f"{folder.environment['PATH']}:{FLEET.parent}"}
    with subprocess.Popen(
        ["pulumi", *UP], cwd=folder.path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as update:
        journal = sqlite3.connect(f"file:{server.folder}/state.db?mode=ro", uri=True)
        while not journal.execute("SELECT count(*) FROM journal").fetchone()[0]:
            assert update.poll() is None
            time.sleep(0.02)
        journal.close()
        busy = folder.pulumi(*UP)
        assert busy.status != 0
        assert "[409] Conflict: Another update is currently in progress. The stack is held by " in busy.out + busy.err
        assert folder.pulumi("cancel", "--yes", "--stack", "test").status == 0
        assert update.communicate()[0].count("no longer holds the stack")
    assert update.returncode != 0
    time.sleep(0.5)  # The cloud ends what it was asked for.
    # What was going on when it was cancelled is known to have begun.
    state = state_of(folder)
    assert not missing(disks, state)
    for id_ in disks.of("Volume").keys() - {resource.get("id") for resource in state.get("resources", ())}:
        disks.delete("Volume", id_)
    result = folder.pulumi(*UP)
    assert result.status == 0, result


def ask(server: Server, method: str, path: str, *, release: str = "v3.274.1", token: str = "", **body: Any) -> Any:
    return httpx.request(
        method,
        f"{server.url}/api/{path}",
        headers={
            "Authorization": f"token {token or server.token}",
            "User-Agent": f"pulumi-cli/1 ({release}; linux)",
        },
        json=body or None,
    )


@pytest.mark.parametrize(("release", "journal"), [("v3.225.0", 2), ("v3.274.1", 2), ("v3.999.0", None)])
def test_a_command_line_that_is_newer_than_the_replay_is_offered_no_journal(
    server: Server, release: str, journal: int | None
) -> None:
    stack = "stacks/organization/web/test"
    begun = ask(
        server, "POST", f"{stack}/begin-update", release=release, updateKind="update", program={}, journalVersion=2
    ).json()
    assert begun.get("journalVersion") == journal
    assert bool(begun.get("messages")) == (journal is None)


def test_nobody_without_a_token_is_answered(folder: Folder, server: Server) -> None:
    paths = ["user", "user/stacks", *(f"stacks/organization/web/test{end}" for end in ("", "/export", "/updates"))]
    for path in paths:
        assert ask(server, "GET", path).status_code == 200, path
        assert ask(server, "GET", path, token="fleet-0").status_code == 401, path
        assert httpx.get(f"{server.url}/api/{path}").status_code == 401, path
    issued = folder.fleet("state", "token", "anna", "--folder", str(server.folder), PATH=server.environment["PATH"])
    assert ask(server, "GET", "user", token=issued.out.strip()).json()["githubLogin"] == "anna"
    folder.fleet("state", "token", "--remove", "anna", "--folder", str(server.folder), PATH=server.environment["PATH"])
    assert ask(server, "GET", "user", token=issued.out.strip()).status_code == 401


@pytest.mark.parametrize("listen", ["0.0.0.0:4781", "192.0.2.1:4781", "example.org:4781", "[::]:4781"])
def test_no_state_passes_in_plain_text_to_other_machines(folder: Folder, server: Server, listen: str) -> None:
    result = folder.fleet(
        "state", "serve", "--folder", str(server.folder), "--listen", listen, PATH=server.environment["PATH"]
    )
    assert result.status == 2
    assert "--tls-cert" in result.err
