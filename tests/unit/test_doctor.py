"""`fleet doctor`: what a stack's platform needs of this machine, asked of stand-ins."""

from __future__ import annotations

import http.server
import os
import re
import shutil
import socket
import time
from collections import namedtuple
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

import pytest
from moto import mock_aws

from fleet import images
from fleet.ops import doctor
from fleet.platforms import names, platform
from fleet.platforms.aws.account import identity
from fleet.platforms.diagnosis import Check, Verdict, plugin, sdk
from fleet.platforms.digitalocean.account import account
from fleet.platforms.gcp import account as gcp_account
from fleet.platforms.libvirt import daemon as libvirt_daemon
from fleet.stack_config import Secure, no_config
from tests.conftest import Folder
from tests.engine.cases import case
from tests.https import Server

CANARY = "canary-4f1c9d"
SECRETS = {
    "AWS_ACCESS_KEY_ID": CANARY, "AWS_SECRET_ACCESS_KEY": CANARY, "AWS_SESSION_TOKEN": CANARY,
    "DIGITALOCEAN_TOKEN": CANARY, "GOOGLE_OAUTH_ACCESS_TOKEN": CANARY, "GOOGLE_CREDENTIALS": CANARY,
}  # fmt: skip
NOWHERE = {
    "DIGITALOCEAN_API_URL": "https://127.0.0.1:1", "AWS_ENDPOINT_URL": "https://127.0.0.1:1",
    "HTTPS_PROXY": "http://127.0.0.1:1", "AWS_EC2_METADATA_DISABLED": "true",
}  # fmt: skip


@pytest.fixture
def project(folder: Folder) -> Folder:
    folder.write("Pulumi.yaml", 'name: web\nruntime: python\nbackend: {url: "file://."}\n')
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", names())
def test_a_stacks_platform_is_looked_at_without_a_network_and_tells_no_secret(project: Folder, name: str) -> None:
    project.write("Pulumi.test.yaml", f"config:\n  fleet:platform: {name}\n  {case(name).text}\n")
    result = project.fleet("doctor", "fleet.yaml", **SECRETS, **NOWHERE)
    assert CANARY not in result.out + result.err
    lines = dict(re.findall(r"^(?:ok|note|missing) +([^:]+(?::\d+)?): (.*)$", result.out, re.MULTILINE))
    assert len(lines) == len(result.out.splitlines()), result.out
    assert lines.keys() >= {"transpiler", "Pulumi CLI", "registry docker.io", "disk space of images", "clock"}
    where = platform(name, case(name).config.get(f"fleet:{name}", {}), project=project.path, stack="test")
    checked = {check.subject for check in where.checks(no_config)}
    assert checked
    assert lines.keys() >= checked
    # What only another platform needs is nothing to this stack.
    assert ("qemu-img" in lines) == (name == "qemu")
    assert result.status == int("missing" in result.out)


def test_a_stack_without_a_spec_is_a_mistake(folder: Folder) -> None:
    refused = folder.fleet("doctor", "--stack", "test")
    assert (refused.status, refused.out) == (2, "")
    assert "Name the spec, too: `fleet doctor SPEC --stack test`." in refused.err


@pytest.mark.parametrize("arguments", [("--stack", "tset"), ("--stack", "test", "--stack", "other")])
def test_a_stack_that_is_not_there_is_an_error(project: Folder, arguments: tuple[str, ...]) -> None:
    project.write("Pulumi.test.yaml", "config:\n  fleet:platform: qemu\n")
    refused = project.fleet("doctor", "fleet.yaml", *arguments)
    assert (refused.status, refused.out) == (2, "")
    assert "There is no stack" in refused.err


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ({"/v2/account": b'{"account": {"status": "active"}}'}, Verdict(True, "the account is active")),
        ({"/v2/account": b"[]"}, Verdict(False, "does not answer as DigitalOcean does (TypeError)")),
        ({}, Verdict(None, "answered 404")),
    ],
)
def test_digitalocean_is_asked_for_the_account(
    server: Server, monkeypatch: pytest.MonkeyPatch, answers: Mapping[str, bytes], expected: Verdict
) -> None:
    server.files.update(answers)
    monkeypatch.setenv("DIGITALOCEAN_API_URL", server.url)
    monkeypatch.setenv("DIGITALOCEAN_TOKEN", CANARY)
    verdict = account(no_config)
    assert verdict.works is expected.works
    assert expected.text in verdict.text


@pytest.mark.parametrize(
    ("status", "works", "text"), [(401, False, "refuses the token: make one at"), (403, None, "scope `account:read`")]
)
def test_a_token_that_digitalocean_refuses_is_missing(
    server: Server, monkeypatch: pytest.MonkeyPatch, status: int, works: bool | None, text: str
) -> None:
    server.status = status
    monkeypatch.setenv("DIGITALOCEAN_API_URL", server.url)
    monkeypatch.setenv("DIGITALOCEAN_TOKEN", CANARY)
    verdict = account(no_config)
    assert (verdict.works, text in verdict.text, CANARY in verdict.text) == (works, True, False)


def test_without_a_token_it_is_said_where_one_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DIGITALOCEAN_TOKEN", "DIGITALOCEAN_ACCESS_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    assert account(no_config).works is False
    assert "set DIGITALOCEAN_TOKEN" in account(no_config).text


def test_a_token_that_cannot_stand_in_a_header_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    for value in (f"{CANARY}\n", f"{CANARY}ü"):
        monkeypatch.setenv("DIGITALOCEAN_TOKEN", value)
        monkeypatch.setenv("DIGITALOCEAN_API_URL", "https://127.0.0.1:1")
        assert CANARY not in account(no_config).text


def test_secrets_of_the_stacks_config_are_not_read() -> None:
    def config(key: str) -> str | None:
        return Secure(CANARY)

    for verdict in (account(config), identity(config, "eu-central-1"), gcp_account.access(config, "shop")):
        assert verdict.works is None
        assert "not read here" in verdict.text


def test_aws_says_who_this_machine_is(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    with mock_aws():
        verdict = identity(no_config, "eu-central-1")
    assert verdict.works, verdict
    assert verdict.text.startswith("arn:aws:sts::123456789012:")


def test_without_credentials_aws_is_not_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [*SECRETS, "AWS_PROFILE"]:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    verdict = identity(no_config, "eu-central-1")
    assert verdict.works is False
    assert "Unable to locate credentials: `aws configure sso`" in verdict.text


@pytest.mark.parametrize(
    ("status", "works", "text"),
    [(200, True, "project shop answers"), (401, False, "refuses them"), (403, False, "grant a role"),
     (404, False, "there is no project shop"), (500, False, "answered 500")],
)  # fmt: skip
def test_google_cloud_is_asked_for_the_project(
    server: Server, monkeypatch: pytest.MonkeyPatch, status: int, works: bool, text: str
) -> None:
    server.files["/compute/v1/projects/shop?fields=name"] = b"{}"
    server.status = status
    monkeypatch.setattr(gcp_account, "API", server.url)
    monkeypatch.setenv("GOOGLE_OAUTH_ACCESS_TOKEN", CANARY)
    verdict = gcp_account.access(no_config, "shop")
    assert (verdict.works, text in verdict.text, CANARY in verdict.text) == (works, True, False)


@pytest.mark.parametrize(
    ("script", "works", "text"),
    [
        ("exit 0", True, "qemu+ssh://host/system has the pool images"),
        ("echo 'error: Storage pool not found: no pool' >&2; exit 1", False, "virsh pool-define-as images dir"),
        ("echo 'error: failed to connect' >&2; exit 1", False, "does not answer: failed to connect"),
    ],
)
def test_libvirt_is_asked_for_its_pool(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, works: bool, text: str
) -> None:
    (tmp_path / "virsh").write_text(f"#!/bin/sh\n{script}\n")
    (tmp_path / "virsh").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    verdict = libvirt_daemon.daemon("qemu+ssh://me@host/system?keyfile=/root/key", "images")
    assert verdict.works is works
    assert text in verdict.text
    assert "keyfile" not in verdict.text


def test_without_virsh_a_local_daemon_is_asked_by_its_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(libvirt_daemon, "SOCKETS", (str(tmp_path / "socket"),))
    assert libvirt_daemon.daemon("qemu:///system", "default").works is False
    assert libvirt_daemon.daemon("qemu+ssh://host/system", "default").works is None
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
        listening.listen()
        assert libvirt_daemon.daemon("qemu:///system", "default").works is True


def test_a_registry_is_one_that_answers_as_one(server: Server) -> None:
    host = server.url.removeprefix("https://")

    def found(reference: str) -> Verdict:
        (check,) = doctor._registries({reference, "app.image", "name.build", "a/b"})
        return check.look()

    assert found(f"{host}/site:1").works is None
    server.files["/v2/"] = b""
    assert found(f"{host}/site@sha256:{'0' * 64}") == Verdict(True, "answers")
    server.status = 401
    assert found(f"{host}/site:1").works is True
    assert found("127.0.0.1:1/site:1").works is None


@pytest.mark.parametrize(("seconds", "works"), [(0, True), (-3600, False), (3600, False)])
def test_the_clock_is_compared_with_a_servers(
    server: Server, monkeypatch: pytest.MonkeyPatch, seconds: int, works: bool
) -> None:
    server.files["/"] = b""
    monkeypatch.setattr(images, "DEFAULT_BASE_URL", server.url)
    original = http.server.BaseHTTPRequestHandler.date_time_string
    monkeypatch.setattr(
        http.server.BaseHTTPRequestHandler, "date_time_string", lambda self: original(self, time.time() + seconds)
    )
    assert doctor._clock_state().works is works


def test_without_a_server_ntp_says_how_the_clock_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "DEFAULT_BASE_URL", "https://127.0.0.1:1")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert doctor._clock_state().works is None
    for answer, works in (("yes", True), ("no", None)):
        (tmp_path / "timedatectl").write_text(f"#!/bin/sh\necho {answer}\n")
        (tmp_path / "timedatectl").chmod(0o755)
        assert doctor._clock_state().works is works


@pytest.mark.parametrize(("gib", "works"), [(100, True), (5, None), (1, False)])
def test_little_room_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gib: int, works: bool | None) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(0, 0, gib << 30))
    verdict = doctor._room(tmp_path / "not" / "there" / "yet")
    assert (verdict.works, f"{gib}.0 GiB are free in {tmp_path}" in verdict.text) == (works, True)


def test_a_plugin_of_another_version_is_said_to_be_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PULUMI_HOME", str(tmp_path))
    wanted = metadata.version("pulumi")
    assert plugin("box", "pulumi").look().works is None
    (tmp_path / "plugins/resource-box-v0.1.0").mkdir(parents=True)
    assert "(0.1.0 is there)" in plugin("box", "pulumi").look().text
    (tmp_path / f"plugins/resource-box-v{wanted}").mkdir()
    assert plugin("box", "pulumi").look() == Verdict(True, f"box {wanted}")
    assert sdk("pulumi", "box").look().works
    assert "pip install 'fcos-fleet[box]'" in sdk("pulumi_box", "box").look().text


def test_a_check_that_hangs_or_breaks_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "LIMIT", 0.1)

    def breaks() -> Verdict:
        raise ZeroDivisionError(CANARY)

    def hangs() -> Verdict:
        time.sleep(3600)
        return Verdict(True, "")

    assert doctor._looked_at(Check("slow", hangs)) == doctor.Finding("slow", None, "no answer within 0.2 s")
    broken = doctor._looked_at(Check("broken", breaks))
    assert broken.works is False
    assert CANARY not in broken.text
