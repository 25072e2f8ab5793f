"""Stacks whose state is in no files: in a bucket of S3, with a key of KMS and no passphrase, in PostgreSQL, and on a
server that speaks as Pulumi's own service does, with journals."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from tests.conftest import FLEET, STACK
from tests.engine import state_server
from tests.engine.places import QemuPlace
from tests.engine.test_stopped import held

REGION = "eu-central-1"


@contextlib.contextmanager
def s3(place: QemuPlace) -> Iterator[str]:
    """A bucket; the stack's secrets are locked with a key of KMS, as its state alone says."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    session = boto3.Session(aws_access_key_id="x", aws_secret_access_key="x", region_name=REGION)
    endpoint = f"http://{host}:{port}"
    session.client("s3", endpoint_url=endpoint).create_bucket(
        Bucket="states", CreateBucketConfiguration={"LocationConstraint": REGION}
    )
    key = session.client("kms", endpoint_url=endpoint).create_key()["KeyMetadata"]["KeyId"]
    del place.stack.environment["PULUMI_CONFIG_PASSPHRASE"]
    place.stack.environment |= {
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
        "AWS_REGION": REGION,
        "AWS_ENDPOINT_URL": endpoint,
    }
    try:
        yield f"awskms:///{key}?region={REGION}&awssdk=v2"
    finally:
        server.stop()


@contextlib.contextmanager
def postgres(place: QemuPlace) -> Iterator[str]:
    """A database of a server that is started for it."""
    tools = next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin"))), None)
    initdb, server = (str(tools / name) if tools else shutil.which(name) for name in ("initdb", "postgres"))
    assert initdb, "no PostgreSQL server is installed: `tools/bootstrap backends` does so"
    assert server
    with tempfile.TemporaryDirectory() as folder:
        # The server refuses to run as root.
        user: Any = {"user": "postgres"} if os.geteuid() == 0 else {}
        if user:
            shutil.chown(folder, "postgres")
        data = f"{folder}/data"
        subprocess.run(
            [initdb, "-D", data, "-U", "fleet", "-A", "trust", "--no-sync"], check=True, capture_output=True, **user
        )
        options = ["-D", data, "-k", folder, "-h", "127.0.0.1", "-p", "15432", "-c", "fsync=off"]
        with subprocess.Popen([server, *options], stderr=subprocess.PIPE, text=True, **user) as process:
            assert process.stderr
            try:
                assert any("ready to accept connections" in line for line in process.stderr)
                yield "passphrase"
            finally:
                process.send_signal(signal.SIGINT)


@contextlib.contextmanager
def server(place: QemuPlace) -> Iterator[str]:
    """A server that keeps the key of the stack's secrets itself."""
    with state_server.serving(place.stack):
        yield "default"


URLS = {
    "s3": f"s3://states?region={REGION}&awssdk=v2&s3ForcePathStyle=true",
    "postgres": "postgres://fleet@127.0.0.1:15432/postgres?sslmode=disable",
    "server": "http://127.0.0.1:4780",
}


@pytest.fixture(params=[s3, postgres, server], ids=list(URLS))
def remote(request: pytest.FixtureRequest, qemu: QemuPlace) -> Iterator[QemuPlace]:
    """A stack that is made, and whose config file does not say what locks its secrets."""
    with request.param(qemu) as provider:
        qemu.stack.environment["PULUMI_BACKEND_URL"] = URLS[request.param.__name__]
        created = qemu.stack.pulumi("stack", "init", "test", "--secrets-provider", provider)
        assert created.status == 0, created
        yield qemu
        assert qemu.fleet("destroy").status == 0


@pytest.mark.long
def test_of_two_updates_one_waits_and_one_that_was_killed_is_repaired(remote: QemuPlace) -> None:
    remote.write("one", count=1)
    assert remote.fleet("up").status == 0
    settings = remote.stack.path / "Pulumi.test.yaml"
    retained = [
        line for line in settings.read_text().splitlines() if not line.startswith(("secretsprov", "encryptedk"))
    ]
    settings.write_text("\n".join(retained) + "\n")
    remote.write("held", count=1)
    remote.stack.edit("fleet.yaml", "ready_timeout: 8", "ready_timeout: 60")
    command: list[str | Path] = [FLEET, "up", *STACK, "--yes"]
    with held(remote, *command) as first:
        second = subprocess.Popen(
            command, cwd=remote.stack.path, env=remote.stack.environment, stdout=subprocess.PIPE, text=True
        )
        time.sleep(5)
        assert second.poll() is None
    assert first.status() == 0, first.output.read_text()
    message = second.communicate()[0]
    assert second.returncode == 0, message
    # It took nothing that the first was making for something left.
    assert "waiting" not in message
    assert "nothing changes" in message
    assert remote.started() == ["web-0"]

    remote.write("held again", count=1)
    with held(remote, *command) as update:
        for process, _ in update.left():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
    result = remote.fleet("up")
    assert result.status == 0, result
    state = json.loads(remote.stack.pulumi("stack", "export", "--stack", "test").out)["deployment"]
    assert not state.get("pending_operations")
    assert not remote.orphans()
    assert "held again" in remote.running()["web-0"].config.replace("%20", " ")
    assert "nothing changes" in remote.fleet("up").out
