"""Secrets that are generated once, on the real engine."""

from __future__ import annotations

import base64
import gzip
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fleet.program.exported import plain
from tests.conftest import FLEET, STACK, Result
from tests.engine.places import CloudPlace
from tests.engine.secrecy import arguments_meanwhile, digests, text_of, told, unsealed
from tests.engine.stack import Stack

SPEC = """\
version: 1
name: web
secrets:
  db: {config: db_password, generate: {}}
  key: {config: key, generate: {encoding: base64, prefix: "ed25519 0 "}}
groups:
  web:
    containers:
      hello:
        image: docker.io/library/caddy:2
        ports: ["8080:80"]
        secrets: [db, key]
    ready: [{http: {port: 8080}, interval: 0.1}]
"""


@pytest.mark.parametrize("command", ["fleet", "pulumi"])
def test_a_generated_secret_is_made_once_and_kept_in_the_config(stack: Stack, command: str) -> None:
    stack.write("fleet.yaml", SPEC)

    def up() -> None:
        plain = ("up", "--yes", "--stack", "test", "--non-interactive")
        result = stack.up() if command == "fleet" else stack.pulumi(*plain)
        assert result.status == 0, result
        assert not [value for value in stack.secrets().values() if value in result.out + result.err]

    assert stack.pulumi("stack", "init", "test").status == 0
    up()
    first = stack.secrets()
    assert set(first) == {"web:db_password", "web:key"}
    assert len(first["web:db_password"]) == 43
    assert first["web:key"].startswith("ed25519 0 ")
    state = (stack.path / ".pulumi/stacks/web/test.json").read_text()
    settings = (stack.path / "Pulumi.test.yaml").read_text()
    assert not [value for value in first.values() if value in state + settings]
    assert stack.started() == ["web-0"]
    up()
    assert stack.secrets() == first
    assert stack.started() == []


@pytest.mark.parametrize("made", [True, False])
def test_commands_at_once_make_a_stack_once_and_generate_its_secrets_once(stack: Stack, made: bool) -> None:
    stack.write("fleet.yaml", SPEC)
    assert not made or stack.pulumi("stack", "init", "test").status == 0
    commands = [["up", *STACK, "--yes"], ["preview", *STACK], ["up", *STACK, "--yes"], ["diff", *STACK]]
    running = [
        subprocess.Popen([FLEET, *words], cwd=stack.path, env=stack.environment, stdin=subprocess.DEVNULL)
        for words in commands
    ]
    assert [process.wait() for process in running] == [0, 0, 0, 0]
    shown = stack.fleet("render", *STACK, "--reveal", "--node", "web-0")
    assert (stack.path / ".fleet/test/nodes/web-0/config.ign").read_text() == shown.out.strip()
    assert set(stack.secrets()) == {"web:db_password", "web:key"}


CERTIFICATE = """\
  authority: {config: authority, generate: {authority: {name: shop}}}
  tls: {config: tls, generate: {certificate: {authority: authority, names: [web.internal], days: 100}}}
"""


def test_a_certificate_is_made_anew_before_it_ends_and_when_its_names_change(stack: Stack, tmp_path: Path) -> None:
    stack.write("fleet.yaml", SPEC.replace("  db:", CERTIFICATE + "  db:").replace("[db, key]", "[tls]"))
    assert stack.up().status == 0
    first = stack.secrets()
    bundle = tmp_path / "bundle.pem"
    bundle.write_text(first["web:tls"])
    checked = subprocess.run(
        ["openssl", "verify", "-x509_strict", "-verify_hostname", "web.internal", "-CAfile", bundle, bundle],
        capture_output=True,
        text=True,
    )
    assert checked.returncode == 0, checked.stderr
    assert stack.started() == ["web-0"]
    assert "nothing changes" in stack.up().out

    stack.edit("fleet.yaml", "days: 100", "days: 100, renew_days: 120")
    assert stack.up().status == 0
    second = stack.secrets()
    assert stack.started() == ["web-0"]
    assert second["web:tls"] != first["web:tls"]
    assert second["web:authority"] == first["web:authority"]

    stack.edit("fleet.yaml", "[web.internal], days: 100, renew_days: 120", "[shop.internal], days: 100")
    assert stack.up().status == 0
    assert stack.started() == ["web-0"]
    assert stack.secrets()["web:tls"] != second["web:tls"]


def test_what_is_no_authority_signs_nothing(stack: Stack) -> None:
    stack.write(
        "fleet.yaml", SPEC.replace("  db:", CERTIFICATE.replace("authority: authority", "authority: db") + "  db:")
    )
    failed = stack.up()
    assert failed.status == 1
    assert "The secret db cannot sign tls" in failed.err
    stack.edit("fleet.yaml", "authority: db", "authority: tls")
    assert "is to be signed by tls, which is no secret that is an authority" in stack.up().err


WORD = "kestrel'81\"wren\\27"
PIN = "7392518406"
CANARIES = """\
version: 1
name: web
secrets:
  word: {command: [printenv, WORD]}
  pin: {sops: pins.json, key: pin}
variables:
  word: {secret: word}
  pin: {secret: pin}
groups:
  web:
    count: 2
    containers:
      hello:
        image: docker.io/library/caddy:2
        ports: ["8080:80"]
        environment: {PIN: "${pin}", GREETING: one}
        files: [{target: /etc/word, text: "the word is ${word}"}]
        secrets: [word]
    ready:
      - http: {port: 8080, path: "/?word=${word}", body: "${pin}", host: "${word}.internal"}
      - ssh: {command: "printf 'osprey %s' '${pin}'"}
    ready_timeout: 6
"""


@pytest.fixture
def canaries(stack: Stack) -> Stack:
    """A stack whose secrets are in probes, too, and a node's SSH, whose server is a shell here."""
    stack.write("fleet.yaml", CANARIES)
    ssh = stack.tools / "ssh"
    ssh.write_text('#!/bin/bash\nexec /bin/sh -c "${@: -1}"\n')
    ssh.chmod(0o755)
    sops = stack.tools / "sops"
    sops.write_text('#!/bin/sh\nprintf \'{"pin": "%s"}\' "$PIN"\n')
    sops.chmod(0o755)
    stack.write("pins.json", "{}")
    stack.environment |= {"WORD": WORD, "PIN": PIN}
    return stack


def said(result: Result) -> str:
    """What a command said, checked for canaries."""
    text = result.out + result.err
    assert not told(WORD, text), text
    assert not told(PIN, text), text
    return text


def test_nothing_that_a_stack_does_shows_a_secret(canaries: Stack) -> None:
    stack = canaries
    rosters = stack.path / ".fleet/test/rosters"
    rosters.mkdir(parents=True, mode=0o755)
    (rosters / "web.json").write_text("[]")
    (rosters / "web.json").chmod(0o644)
    with arguments_meanwhile() as seen:
        # The path is echoed, which has no PIN in it.
        failed = stack.fleet("up", *STACK, "--yes", "--json")
        assert "the body does not contain '(secret pin)': '/?word=(secret word)'" in said(failed)
        stack.edit("fleet.yaml", 'path: "/?word=${word}"', 'path: "/?word=${word}&pin=${pin}"')
        up = stack.up()
        assert up.status == 0, up
        said(up)
        said(stack.fleet("status", *STACK, "--json"))
        stack.sicken("web-1")
        assert "http port 8080 /?word=(secret word)&pin=(secret pin): status 503" in said(
            stack.fleet("status", *STACK, "--json")
        )
        assert stack.fleet("view", *STACK, "--export", "report.html").status == 0
        page = (stack.path / "report.html").read_text()
        assert "/?word=(secret word)&pin=(secret pin): status 503" in page
        assert "/etc/containers/systemd/hello.container" in page
        said(Result(0, page, ""))
        stack.edit("fleet.yaml", "GREETING: one", "GREETING: two")
        held = stack.pulumi("up", "--yes", "--stack", "test", "--non-interactive", "--diff")
        assert held.status != 0
        assert "Node web-0 is left as it is: web-1 is not ready" in said(held)
        stack.heal("web-1")
        repeated = stack.pulumi("up", "--yes", "--stack", "test", "--non-interactive")
        assert repeated.status == 0, repeated
        said(repeated)
        stack.edit("fleet.yaml", "printf 'osprey", "false; printf 'osprey")
        for shown in (["diff"], ["preview"], ["preview", "--json"], ["status"]):
            said(stack.fleet(shown[0], *STACK, *shown[1:]))
        said(stack.pulumi("stack", "export", "--stack", "test"))
        history = said(stack.fleet("history", *STACK))
        # Rollouts of each kind: one that stopped at a probe with secrets, one of plain Pulumi's that a gate refused.
        assert "stopped at web-0: http port 8080" in history
        assert "the body does not contain '(secret pin)'" in history
        said(stack.fleet("history", *STACK, "--json"))
        for number in range(1, len(history.splitlines())):
            said(stack.fleet("history", "fleet.yaml", str(number), "--stack", "test"))
    arguments = "\n".join(sorted(frozenset().union(*seen)))
    assert "osprey" not in arguments
    assert not told(WORD, arguments)
    assert not told(PIN, arguments)

    configs = [file.read_text() for file in stack.path.glob(".fleet/test/nodes/*/config.ign")]
    assert len(configs) == 2
    for file in stack.path.glob(".pulumi/**/*"):
        if file.is_file():
            text = text_of(json.loads(file.read_text())) if ".json" in file.suffixes else file.read_text()
            assert not told(WORD, text), file
            assert not told(PIN, text), file
            assert not digests([PIN, WORD, *configs], text), file
    loose = {
        str(file.relative_to(stack.path)): oct(file.stat().st_mode)
        for file in (stack.path / ".fleet", *stack.path.glob(".fleet/**/*"))
        if file.stat().st_mode & 0o077 and not file.is_symlink()
    }
    assert not loose
    for file in stack.path.glob(".fleet/test/nodes/*/node.json"):
        assert not digests([PIN, WORD, *configs], file.read_text())


def test_no_picture_and_no_page_shows_a_secret(canaries: Stack) -> None:
    stack = canaries
    stack.edit("fleet.yaml", "count: 2", "count: 1")
    stack.edit("fleet.yaml", 'path: "/?word=${word}"', 'path: "/?word=${word}&pin=${pin}"')
    up = stack.up()
    assert up.status == 0, up
    for form in ("svg", "dot", "mermaid"):
        assert "hello" in said(stack.fleet("graph", *STACK, "--format", form))
    exported = stack.fleet("view", *STACK, "--export", "page.html")
    assert exported.status == 0, said(exported)
    page = (stack.path / "page.html").read_text()
    assert "(secret pin)" in page
    assert not told(WORD, page)
    assert not told(PIN, page)


@pytest.mark.long
def test_no_console_shows_a_secret_or_a_config(canaries: Stack) -> None:
    stack = canaries
    stack.edit("fleet.yaml", "count: 2", "count: 1")
    packed = base64.b64encode(gzip.compress(PIN.encode())).decode()

    def consoles(says: str) -> Iterator[str]:
        (log,) = stack.path.glob(".fleet/test/nodes/web-0/console.log")
        log.write_text(
            f"hello[7]: {says} {PIN} and {PIN[:4]}\x1b[0m{PIN[4:]}, {WORD}\r\n"
            "ignition[512]: Full config:\r\nignition[512]: {\r\n"
            f'ignition[512]:   "source": "data:;base64,{packed}"\r\n'
        )
        assert stack.fleet("view", *STACK, "--export", "page.html").status == 0
        for text in (
            said(stack.fleet("logs", "fleet.yaml", "web-0", "--stack", "test", "--console")),
            said(Result(0, (stack.path / "page.html").read_text(), "")),
        ):
            assert "Full config" not in text
            assert packed not in text
            yield text

    # It never becomes ready: the state does not know which secrets it has.
    assert stack.up().status == 1
    for text in consoles("one"):
        assert "one (secret pin) and (secret pin), (secret word)" in text
    del stack.environment["PIN"]
    for text in consoles("two"):
        assert "The console of web-0 may hold a secret that cannot be read" in text
        assert "PIN" in text
    # Ready with one value, while the spec has another by now, and looked at without any.
    stack.environment["PIN"] = PIN
    stack.edit("fleet.yaml", 'path: "/?word=${word}"', 'path: "/?word=${word}&pin=${pin}"')
    up = stack.up()
    assert up.status == 0, up
    stack.sicken("web-0")
    stack.environment["PIN"] = "8465197320"
    for text in consoles("three"):
        assert "three (secret pin) and (secret pin), (secret word)" in text
    del stack.environment["PIN"]
    for text in consoles("four"):
        assert "four (secret pin) and (secret pin), (secret word)" in text


def test_what_an_earlier_fleet_wrote_in_plain_text_is_sealed_without_a_machine_of_its_own(canaries: Stack) -> None:
    stack = canaries
    stack.edit("fleet.yaml", "count: 2", "count: 1")
    stack.edit("fleet.yaml", 'path: "/?word=${word}"', 'path: "/?word=${word}&pin=${pin}"')
    up = stack.up()
    assert up.status == 0, up
    assert stack.started() == ["web-0"]
    (config,) = (file.read_text() for file in stack.path.glob(".fleet/test/nodes/*/config.ign"))

    def earlier(resource: dict[str, Any]) -> None:
        kind = resource["type"].rpartition(":")[2]
        for part in ("inputs", "outputs") if kind in ("Ready", "QemuMachine") else ():
            has = resource[part]
            for key in ("probes", "digest"):
                if key in has:
                    has[key] = plain(has[key])
            has.pop("hidden", None)
        if kind == "QemuMachine":
            resource.pop("additionalSecretOutputs")

    shown = stack.pulumi("stack", "export", "--stack", "test", "--show-secrets")
    state = json.loads(shown.out)
    for resource in state["deployment"]["resources"]:
        earlier(resource)
    text = json.dumps(unsealed(state), ensure_ascii=False)
    assert told(PIN, text)
    assert digests([config], text)
    stack.write("earlier.json", json.dumps(state))
    assert stack.pulumi("stack", "import", "--stack", "test", "--file", "earlier.json").status == 0
    (stack.path / "earlier.json").unlink()

    up = stack.up()
    assert up.status == 0, up
    assert stack.started() == []
    state = json.loads((stack.path / ".pulumi/stacks/web/test.json").read_text())
    assert not told(PIN, text_of(state))
    assert not digests([config], text_of(state))
    assert "nothing changes" in stack.up().out


def test_programs_that_tell_secrets_are_run_once_by_commands_that_need_them_and_by_no_other(stack: Stack) -> None:
    stack.write("fleet.yaml", SPEC.replace("db: {config: db_password, generate: {}}", "db: {command: [./tell, db]}"))
    tell = stack.write("tell", '#!/bin/sh\necho "$1" >> runs\necho "of $1"\n')
    tell.chmod(0o755)

    def run_by(*words: str) -> int:
        (stack.path / "runs").write_text("")
        result = stack.fleet(*words)
        assert result.status == 0, result
        assert "of db" not in result.out + result.err
        return len((stack.path / "runs").read_text().splitlines())

    assert run_by("up", *STACK, "--yes") == 1
    assert stack.started() == ["web-0"]
    asking = [run_by(command, *STACK) for command in ("preview", "diff")]
    looking = [run_by(command, *STACK) for command in ("status", "history", "validate", "render")]
    assert (asking, looking) == ([1, 1], [0, 0, 0, 0])
    assert run_by("view", *STACK, "--export", "page.html") == 0
    assert run_by("replace", "fleet.yaml", "web-0", "--stack", "test", "--yes") == 0
    assert stack.started() == ["web-0"]
    stack.edit("tell", "of $1", "another of $1")
    # What is deployed counts as unchanged where nobody asks, and only there.
    assert run_by("status", *STACK) == 0
    assert "a secret in its config changed" in stack.fleet("diff", *STACK).out
    assert run_by("up", *STACK, "--yes") == 1
    assert stack.started() == ["web-0"]
    stack.edit("tell", "of $1", "a third of $1")
    assert run_by("rollback", *STACK, "--yes") == 0
    assert stack.started() == ["web-0"]
    assert run_by("destroy", *STACK, "--yes") == 0


@pytest.mark.long
def test_the_tokens_of_a_provider_are_no_arguments_when_what_a_killed_update_left_is_looked_for(
    aws: CloudPlace,
) -> None:
    aws.write("one", count=1)
    assert aws.fleet("up").status == 0
    stack = aws.stack
    secret = ("config", "set", "--secret", "aws:secretKey", WORD, "--stack", "test")
    assert stack.pulumi(*secret).status == 0
    # What an engine that is killed leaves.
    state = json.loads(aws.state_file.read_text())
    latest = state["checkpoint"]["latest"]
    machine = next(r for r in latest["resources"] if r["type"] == "aws:ec2/instance:Instance")
    started = {key: value for key, value in machine.items() if key not in ("id", "outputs")}
    latest["pending_operations"] = [{"resource": started, "type": "creating"}]
    aws.state_file.write_text(json.dumps(state))
    with arguments_meanwhile() as seen:
        up = aws.fleet("up")
    assert up.status == 0, up
    arguments = "\n".join(sorted(frozenset().union(*seen)))
    assert "--stack\0lookup" in arguments
    assert not told(WORD, arguments)
