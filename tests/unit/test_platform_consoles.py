"""Serial consoles of the platforms that have machines elsewhere."""

from __future__ import annotations

import http.server
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import boto3
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from moto import mock_aws

from fleet.dynamic.ready import watcher_of
from fleet.errors import FleetError
from fleet.platforms.aws import console as aws
from fleet.platforms.aws.platform import Aws
from fleet.platforms.consoles import AskedConsole
from fleet.platforms.gcp import account as gcp_account
from fleet.platforms.gcp import console as gcp
from fleet.platforms.gcp.platform import Gcp
from fleet.platforms.libvirt import console as libvirt
from fleet.platforms.libvirt.platform import Libvirt

REGION = "eu-central-1"
DOMAIN = "5a0a6f0c-8d4b-4f0e-9d55-000000000001"


def until(true: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.delenv("AWS_PROFILE", raising=False)


@pytest.mark.usefixtures("credentials")
def test_an_instance_of_aws_shows_its_console() -> None:
    with mock_aws():
        ec2 = boto3.client("ec2", region_name=REGION)
        image = ec2.describe_images()["Images"][0]["ImageId"]
        (instance,) = ec2.run_instances(ImageId=image, MinCount=1, MaxCount=1)["Instances"]
        text = aws.Console(aws.argument(REGION, "", instance["InstanceId"])).console()
        assert "Linux version" in text
        with pytest.raises(FleetError, match=r"The console of i-0 cannot be read: .*InvalidInstanceID"):
            aws.Console(aws.argument(REGION, "", "i-0")).console()


@pytest.mark.usefixtures("credentials")
def test_an_instance_that_is_not_of_nitro_is_asked_for_what_it_keeps(monkeypatch: pytest.MonkeyPatch) -> None:
    from botocore.exceptions import ClientError

    class Ec2:
        def get_console_output(self, **wanted: object) -> dict[str, str]:
            if "Latest" in wanted:
                raise ClientError({"Error": {"Code": "UnsupportedOperation"}}, "GetConsoleOutput")
            return {"Output": "of before"}

    console = aws.Console(aws.argument(REGION, "", "i-0"))
    monkeypatch.setattr(console, "_client", Ec2())
    assert console.console() == "of before"


def test_a_profile_that_does_not_exist_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    with pytest.raises(FleetError, match="nobody"):
        aws.Console(aws.argument(REGION, "nobody", "i-0")).console()


class Google(http.server.BaseHTTPRequestHandler):
    """Google Cloud's API, with a machine web-0, and its tokens."""

    asked: list[tuple[str, str]]

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        self.asked.append((self.headers["Authorization"], url.query))
        there = url.path == "/projects/shop/zones/europe-west3-a/instances/web-0/serialPort"
        self._answer(200 if there else 404, {"contents": "[    0.000000] Linux version 6\r\n"})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(200, {"access_token": "of-the-account", "expires_in": 3600, "token_type": "Bearer"})

    def _answer(self, status: int, body: object) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, format: str, *values: object) -> None:  # noqa: A002
        pass


@pytest.fixture
def google(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """The API's URL, and what it was asked."""
    for name in ("GOOGLE_OAUTH_ACCESS_TOKEN", "GOOGLE_CREDENTIALS", "GOOGLE_APPLICATION_CREDENTIALS"):
        monkeypatch.delenv(name, raising=False)
    asked: list[tuple[str, str]] = []
    handler = type("Handler", (Google,), {"asked": asked})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setattr(gcp, "API", url)
        yield url, asked
        server.shutdown()


def test_an_instance_of_google_cloud_shows_its_console(
    google: tuple[str, list[tuple[str, str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOOGLE_OAUTH_ACCESS_TOKEN", "of-the-user")
    console = gcp.Console(gcp.argument("shop", "europe-west3-a", "web-0"))
    assert "Linux version" in console.console()
    # What was answered a moment ago serves.
    assert "Linux version" in console.console()
    ((authorization, query),) = google[1]
    assert authorization == "Bearer of-the-user"
    assert int(parse_qs(query)["start"][0]) < 0
    with pytest.raises(FleetError, match=r"The console of web-1 cannot be read: status 404\."):
        gcp.Console(gcp.argument("shop", "europe-west3-a", "web-1")).console()


@pytest.mark.parametrize("as_file", [True, False])
def test_a_service_accounts_key_is_used_as_the_provider_uses_it(
    google: tuple[str, list[tuple[str, str]]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, as_file: bool
) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    account = {"type": "service_account", "client_email": "fleet@shop.example", "private_key": key.decode(),
               "token_uri": f"{google[0]}/token"}  # fmt: skip
    file = tmp_path / "key.json"
    file.write_text(json.dumps(account))
    monkeypatch.setenv("GOOGLE_CREDENTIALS", str(file) if as_file else json.dumps(account))
    gcp.Console(gcp.argument("shop", "europe-west3-a", "web-0")).console()
    assert google[1][0][0] == "Bearer of-the-account"
    # `fleet doctor` asks with what `up` has.
    monkeypatch.setattr(gcp_account, "API", google[0])
    gcp_account.access(lambda key: None, "shop")
    assert google[1][1][0] == "Bearer of-the-account"


@pytest.mark.parametrize("token", ["hunter4711\n", "hunter4711\u00fc"])
def test_a_token_that_cannot_stand_in_a_header_is_not_shown(
    google: tuple[str, list[tuple[str, str]]], monkeypatch: pytest.MonkeyPatch, token: str
) -> None:
    monkeypatch.setenv("GOOGLE_OAUTH_ACCESS_TOKEN", token)
    with pytest.raises(FleetError, match=r"^The console of web-0 cannot be read: \w+Error\.$"):
        gcp.Console(gcp.argument("shop", "europe-west3-a", "web-0")).console()


def test_credentials_that_are_none_are_said_without_what_they_are(
    google: tuple[str, list[tuple[str, str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOOGLE_CREDENTIALS", '{"type": "hunter4711"}')
    with pytest.raises(FleetError, match="There are no credentials for Google Cloud that work: ") as refused:
        gcp.Console(gcp.argument("shop", "europe-west3-a", "web-0")).console()
    assert "hunter4711" not in str(refused.value)


VIRSH = """\
#!/bin/sh
echo "$@" >> "$0.asked"
case "$*" in
  *dumpxml*) cat "$0.xml" ;;
  *console*)
    test -t 0 || { echo "error: Cannot run interactive console without a controlling TTY" >&2; exit 1; }
    printf "Connected to domain 'web-test-web-0'\\nEscape character is ^] (Ctrl + ])\\n"
    printf '[    0.000000] Linux version 6\\r\\n'
    exec sleep 600 ;;
esac
"""
DEFINITION = "<domain><devices><console type='pty'>{log}</console></devices></domain>"


@pytest.fixture
def virsh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for virsh, whose domain has no log."""
    command = tmp_path / "bin" / "virsh"
    command.parent.mkdir()
    command.write_text(VIRSH)
    command.chmod(0o755)
    Path(f"{command}.xml").write_text(DEFINITION.format(log=""))
    monkeypatch.setenv("PATH", f"{command.parent}:/usr/bin:/bin")
    return command


def test_a_domain_is_looked_at_from_the_first_look_on(virsh: Path) -> None:
    console = libvirt.Console(libvirt.argument("qemu:///system", DOMAIN))
    try:
        assert console.console() == ""
        until(lambda: bool(console.console()), "the console is read")
        until(lambda: "Linux version 6" in console.console(), "what it shows is all the machine's")
        assert "Connected" not in console.console()
        assert "Escape" not in console.console()
        (look,) = [line for line in Path(f"{virsh}.asked").read_text().splitlines() if " console " in line]
        assert look.split()[-1] == DOMAIN
        assert "--force" not in look
    finally:
        console.close()


def test_a_domain_that_keeps_a_log_shows_what_was_before(virsh: Path, tmp_path: Path) -> None:
    log = tmp_path / "web-0.log"
    log.write_text("SeaBIOS\n")
    Path(f"{virsh}.xml").write_text(DEFINITION.format(log=f"<log file='{log}' append='off'/>"))
    assert libvirt.Console(libvirt.argument("qemu:///system", DOMAIN)).console() == "SeaBIOS\n"
    assert " console " not in Path(f"{virsh}.asked").read_text()


def test_a_machine_without_virsh_shows_no_consoles(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FleetError, match="`virsh`, which is not installed"):
        libvirt.Console(libvirt.argument("qemu:///system", DOMAIN)).console()


def test_an_api_that_fails_is_not_asked_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    class Failing(AskedConsole):
        asked = 0

        def read(self) -> str:
            Failing.asked += 1
            raise FleetError("It cannot be read.")

    monkeypatch.setattr("fleet.platforms.consoles._AGAIN", 0)
    console = Failing("{}")
    for _ in range(10):
        with pytest.raises(FleetError):
            console.console()
    assert Failing.asked == 3


MACHINES = {
    "aws": ({"id": "i-0"}, {"instance": "i-0", "region": REGION, "profile": "shop"}),
    "gcp": (
        {"project": "shop", "zone": "europe-west3-a", "name": "web-0", "id": "projects/shop"},
        {"project": "shop", "zone": "europe-west3-a", "name": "web-0"},
    ),
    "libvirt": ({"id": DOMAIN}, {"domain": DOMAIN, "uri": "qemu+ssh://host/system"}),
}
"""By platform: outputs of a machine, and what its console is asked by."""
CONFIG = {"aws:region": REGION, "aws:profile": "shop", "libvirt:uri": "qemu+ssh://host/system"}


PLATFORMS: Mapping[str, type[Aws | Gcp | Libvirt]] = {"aws": Aws, "gcp": Gcp, "libvirt": Libvirt}


@pytest.mark.parametrize("name", MACHINES)
def test_a_deployed_machine_is_shown_by_what_its_state_and_the_stacks_config_say(name: str, tmp_path: Path) -> None:
    where = PLATFORMS[name].from_options({}, project=tmp_path, stack="test", config=CONFIG.get)
    machine, place = MACHINES[name]
    watcher = watcher_of(where.deployed_peer("web-0", "192.0.2.1", machine, ()).describe()["watch"])
    assert isinstance(watcher, AskedConsole)
    assert watcher.place == place
    # Nobody is asked whether it lives.
    assert watcher.alive()
    assert watcher.reaches(80)
