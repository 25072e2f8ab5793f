"""Secrets that other programs tell: sops, age, any command. Stand-ins answer but in the last test."""

from __future__ import annotations

import json
import os
import pty
import shutil
import stat
import subprocess
import time
from pathlib import Path
from unittest.mock import patch

import psutil
import pytest

from fleet.errors import FleetError
from fleet.masking import Mask
from fleet.spec import Resolver, load_spec
from tests.conftest import FLEET, Folder, Result, file_text
from tools import secret_programs

CANARY = "kestrel'81\"wren\\27"
FILES = {"secrets.json": json.dumps({"db": {"password": CANARY}}), "secret.age": CANARY}
SOURCES = {
    "sops": "{sops: secret.age}",
    "a key of sops": "{sops: secrets.json, key: db.password}",
    "age": "{age: secret.age, identity: keys.txt}",
    "a command": "{command: [cat, secret.age]}",
}
"""How a spec names each source; stand-ins of sops and age show the file as it is."""

SPEC = """\
version: 1
name: web
secrets:
  s: SOURCE
variables:
  s: {secret: s}
groups:
  web:
    containers:
      app: {image: docker.io/library/caddy:2, environment: {TOKEN: "${s}"}, secrets: [s]}
"""


@pytest.fixture
def told(folder: Folder) -> Folder:
    """A folder with encrypted files, and stand-ins for sops and age, which note in ``runs`` what they are run with."""
    for name, text in {**FILES, "keys.txt": "AGE-SECRET-KEY-1\n"}.items():
        folder.write(name, text)
    for name in ("sops", "age"):
        script(folder, name, 'for file; do :; done; exec cat "$file"')
    folder.environment["PATH"] = f"{folder.path / 'bin'}{os.pathsep}{folder.environment['PATH']}"
    for name in ("AGE_IDENTITY", "SOPS_AGE_KEY_FILE", "XDG_CONFIG_HOME"):
        folder.environment.pop(name, None)
    folder.environment["HOME"] = str(folder.path / "home")
    return folder


def script(folder: Folder, name: str, text: str) -> None:
    file = folder.write(f"bin/{name}", f'#!/bin/sh\necho "$0 $*" >> {folder.path}/runs\n{text}\n')
    file.chmod(file.stat().st_mode | stat.S_IXUSR)


def runs(folder: Folder) -> list[str]:
    """What was run, and is forgotten."""
    file = folder.path / "runs"
    lines = file.read_text().splitlines() if file.exists() else []
    file.unlink(missing_ok=True)
    return lines


def revealed(folder: Folder, source: str, **environment: str) -> Result:
    folder.write("fleet.yaml", SPEC.replace("SOURCE", source))
    return folder.fleet("render", "fleet.yaml", "--node", "web-0", "--reveal", **environment)


def value(folder: Folder, source: str) -> str:
    """What a secret is read as."""
    file = folder.write("fleet.yaml", SPEC.replace("SOURCE", source))
    with patch.dict(os.environ, folder.environment):
        return load_spec(file, Resolver(reveal=True), "qemu").values.secrets["s"]


def refusal(folder: Folder, source: str) -> str:
    """Why a secret cannot be read."""
    with pytest.raises(FleetError) as caught:
        value(folder, source)
    return str(caught.value)


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_a_secret_arrives_character_for_character_less_one_newline(told: Folder, source: str) -> None:
    assert value(told, source) == CANARY
    if "key" not in source.partition(",")[2]:
        told.write("secret.age", f"{CANARY}\n\n")
        assert value(told, source) == f"{CANARY}\n"
    told.write("secrets.json", json.dumps({"db": {"password": f" {CANARY}\n\n"}}))
    assert value(told, SOURCES["a key of sops"]) == f" {CANARY}\n"
    result = revealed(told, source)
    assert result.status == 0, result.err
    expected = value(told, source)
    tree = json.loads(result.out)
    assert file_text(tree, "/etc/fleet/secrets/s") == file_text(tree, "/etc/fleet/secrets/app.TOKEN") == expected


def test_commands_that_do_not_need_a_secret_run_no_program(told: Folder) -> None:
    for name in ("cat", "sops", "age"):
        script(told, name, "exit 1")
    others = "".join(f"\n  s{index}: {source}" for index, source in enumerate(SOURCES.values()))
    told.write("fleet.yaml", SPEC.replace("SOURCE", SOURCES["sops"] + others).replace("[s]", "[s, s0, s1, s2, s3]"))
    for words in (["validate"], ["render"], ["graph"], ["migrate", "--to", "1"]):
        result = told.fleet(words[0], "fleet.yaml", *words[1:])
        assert result.status == 0, result
        assert "wren" not in result.out + result.err
    assert runs(told) == []


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_no_error_and_no_argument_shows_what_a_program_told(told: Folder, source: str) -> None:
    # The program tells the secret, says it where errors are said, too, and fails.
    for name in ("cat", "sops", "age"):
        script(told, name, f"/bin/cat {told.path}/secret.age; /bin/cat {told.path}/secret.age >&2; exit 3")
    failed = revealed(told, source)
    assert (failed.status, failed.out) == (1, "")
    assert "failed (status 3): (secret it tells)" in failed.err
    assert failed.err.startswith("Error: fleet.yaml:4:3: The secret s comes from ")
    told.write("bin/age", "").chmod(0)
    script(told, "cat", f"exec /bin/cat {told.path}/secret.age")
    script(told, "sops", 'for file; do :; done; exec /bin/cat "$file"')
    # A value that nothing can hold: the error is about it.
    told.write("secret.age", f"{CANARY}\0")
    told.write("secrets.json", json.dumps({"db": {"password": f"{CANARY}\0"}}))
    refused = revealed(told, source)
    for text in (failed.err, refused.out, refused.err, *runs(told)):
        assert Mask({"s": CANARY})(text) == text


@pytest.mark.parametrize("ending", ["exit 3", "sleep 600"], ids=["it fails", "it takes too long"])
@pytest.mark.parametrize("size", [1, 2000], ids=["short", "long"])
def test_what_a_program_told_is_in_no_error_however_it_ends(told: Folder, ending: str, size: int) -> None:
    told.write("secret.age", f"{CANARY}\n" * size)
    script(told, "tell", f"/bin/cat secret.age; /bin/cat secret.age >&2; {ending}")
    said = refusal(told, "{command: [./bin/tell], timeout: 1}")
    assert "secret it tells" in said or "is not shown, since the secret may be in it" in said
    assert Mask({"s": CANARY})(said) == said


def test_nothing_of_a_program_that_takes_too_long_is_left_running(told: Folder) -> None:
    script(told, "tell", "sleep 600 & echo $! > child; sleep 600")
    assert "did not end within 1 s" in refusal(told, "{command: [./bin/tell], timeout: 1}")
    child = int((told.path / "child").read_text())
    for _ in range(600):
        if not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE:
            return
        time.sleep(0.05)
    pytest.fail("its child runs on")


def test_keys_of_one_file_are_decrypted_once(told: Folder) -> None:
    told.write("secrets.json", json.dumps({"db": {"password": "a"}, "other": "b", "list": [{"c": "d"}]}))
    keys = {"s": "db.password", "t": "other", "u": "list.0.c"}
    sources = "".join(f"  {name}: {{sops: secrets.json, key: {key}}}\n" for name, key in keys.items())
    told.write("fleet.yaml", SPEC.replace("  s: SOURCE\n", sources).replace("[s]", "[s, t, u]"))
    result = told.fleet("render", "fleet.yaml", "--node", "web-0", "--reveal")
    tree = json.loads(result.out)
    assert [file_text(tree, f"/etc/fleet/secrets/{name}") for name in keys] == ["a", "b", "d"]
    (run,) = runs(told)
    assert run.endswith(f"/sops --decrypt --output-type json {told.path / 'secrets.json'}")


@pytest.mark.parametrize(
    ("key", "result"),
    [
        ("a.b", "whole"), ("a.c", "nested"), ("n", "5432"), ("f", "1.10"), ("t", "true"), ("l.1", "y"), ("e", ""),
    ],
)  # fmt: skip
def test_a_key_is_a_path_and_a_scalar_the_text_that_is_written(told: Folder, key: str, result: str) -> None:
    told.write(
        "secrets.json", '{"a.b": "whole", "a": {"b": "other", "c": "nested"}, "n": 5432, "f": 1.10, "t": true, '
        '"l": ["x", "y"], "e": ""}',
    )  # fmt: skip
    assert value(told, f"{{sops: secrets.json, key: '{key}'}}") == result


@pytest.mark.parametrize(
    ("key", "error"),
    [
        ("db.pasword", "which has no key pasword in db. Did you mean `password`?"),
        ("bd", "which has no key bd. There are: db, list, none."),
        ("db", "which is a mapping, not a text. Name one in it, such as `key: db.password`."),
        ("list.7", "which has no key 7 in list. There are: 0."),
        ("none", "which is null, not a text."),
        ("db.password.more", "which has no keys in db.password."),
    ],
)
def test_a_key_that_is_not_there_is_an_error_with_those_that_are(told: Folder, key: str, error: str) -> None:
    told.write("secrets.json", json.dumps({"db": {"password": CANARY}, "list": [1], "none": None}))
    assert refusal(told, f"{{sops: secrets.json, key: {key}}}").endswith(
        f"fleet.yaml:4:3: The secret s is {key} of secrets.json, {error}"
    )


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("{command: [no-such-program, a]}", "there is no program no-such-program here. Install it, or see to it"),
        ("{command: [./secret.age]}", "there is no program ./secret.age here"),
        ("{command: ['true']}", "comes from the command `true`, which printed nothing."),
        ("{command: [printf, '\\377']}", "the value is not UTF-8 text (byte 0). A secret is text"),
        ("{command: [head, -c, 5000000, /dev/zero]}", "which printed more than 4 MiB."),
        ("{command: ['yes'], timeout: 2}", "which printed more than 4 MiB."),
        ("{command: [sh, -c, 'yes >&2'], timeout: 2}", "which printed more than 4 MiB."),
        ("{command: [sh, -c, 'exec sleep 600 >&-'], timeout: 1}", "did not end within 1 s, and said nothing. Give it"),
        ("{command: [sh, -c, 'kill -9 $$']}", "which failed (signal 9), and said nothing."),
        ("{command: [sh, -c, 'echo no such entry >&2; exit 2']}", "which failed (status 2): no such entry."),
        ("{command: [sh, -c, 'sleep 600 & sleep 600'], timeout: 1}", "which did not end within 1 s"),
        ("{sops: nothing.yaml}", "There is no such file of the secret s: "),
        ("{sops: ../up.yaml}", "outside of the project's folder"),
        ("{age: ../up.age}", "outside of the project's folder"),
        ("{age: secret.age, identity: nothing.txt}", "is decrypted with "),
        ("{age: secret.age}", "nothing says with which identity. Name the file with `identity:` beside `age:`"),
    ],
)
def test_what_keeps_a_secret_from_being_had_is_said(told: Folder, source: str, error: str) -> None:
    said = refusal(told, source)
    assert "fleet.yaml:4:3: The secret s " in said or "fleet.yaml:4:3: There is no" in said
    assert error in said


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("{sops: a, age: b}", "a secret comes from one of"),
        ("{key: a}", "a secret comes from one of"),
        ("{file: a, key: b}", "`key` is one of a file that sops encrypted"),
        ("{sops: a, identity: b}", "`identity` is for a file that age encrypted"),
        ("{env: A, timeout: 5}", "`timeout` is for `sops`, `age` and `command`"),
        ("{command: []}", "a secret comes from one of"),
        ("{command: ['']}", "the first word of `command` is the program"),
        ("{command: pass show db}", "should be a"),
        ("{sops: a, generate: {}}", "what is generated is kept in the stack's config"),
        ("{sops: a, key: a..b}", "key"),
    ],
)
def test_a_source_that_says_no_one_thing_is_a_mistake(told: Folder, source: str, error: str) -> None:
    assert error in refusal(told, source)
    assert runs(told) == []


@pytest.mark.parametrize("program", ["sops", "age"])
def test_a_program_that_is_missing_is_an_error_with_how_to_get_it(told: Folder, program: str) -> None:
    (told.path / "bin" / program).unlink()
    source = SOURCES[program]
    if shutil.which(program):
        told.environment["PATH"] = str(told.path / "bin")
    assert f"by {program}, but there is no program {program} here. Install it: " in refusal(told, source)
    told.make_project("{}")
    looked_at = told.fleet("doctor", "fleet.yaml", "--stack", "test")
    assert f"missing  {program}: the secret s comes from it. Install it: " in " ".join(looked_at.out.split(" "))


def test_doctor_says_which_programs_tell_secrets_and_runs_none(told: Folder) -> None:
    told.make_project("{}")
    told.write("fleet.yaml", SPEC.replace("SOURCE", "{age: secret.age}\n  t: {command: [pass, show, t]}"))
    script(told, "pass", "echo t")
    shown = told.fleet("doctor", "fleet.yaml", "--stack", "test")
    assert f"ok       age: {told.path}/bin/age" in shown.out
    assert f"ok       pass: {told.path}/bin/pass" in shown.out
    assert "note     identity of age: none is here" in shown.out
    assert "sops" not in shown.out
    assert runs(told) == []


@pytest.mark.parametrize("where", ["AGE_IDENTITY", "SOPS_AGE_KEY_FILE", "home/.config/sops/age/keys.txt"])
def test_age_takes_the_identity_of_the_usual_places(told: Folder, where: str) -> None:
    file = told.path / "keys.txt"
    if "/" in where:
        file = told.write(where, "AGE-SECRET-KEY-1\n")
    else:
        told.environment[where] = str(file)
    assert value(told, "{age: secret.age}") == CANARY
    assert runs(told) == [f"{told.path}/bin/age --decrypt --identity {file} {told.path}/secret.age"]


def test_encrypted_files_and_identities_go_to_no_node_with_a_folder(told: Folder) -> None:
    told.write("site/Containerfile", "FROM scratch\n")
    for name in ("secrets.json", "secret.age", "keys.txt"):
        told.write(f"site/{name}", (told.path / name).read_text())
    sources = "{sops: site/secrets.json, key: db.password}\n  t: {age: site/secret.age, identity: site/keys.txt}"
    told.write("fleet.yaml", SPEC.replace("SOURCE", sources) + "    builds: {site: {context: site}}\n")
    result = told.fleet("render", "fleet.yaml", "--node", "web-0", "--reveal")
    assert result.status == 0, result.err
    paths = [file["path"] for file in json.loads(result.out)["storage"]["files"]]
    assert [path for path in paths if path.startswith("/etc/fleet/builds")] == ["/etc/fleet/builds/site/Containerfile"]


def test_a_program_is_run_in_the_specs_folder_with_nothing_to_read(told: Folder) -> None:
    script(told, "tell", 'cat; pwd; [ -t 0 ] || echo "$TOKEN"')
    source = "{command: [./bin/tell, --of, 'two words']}"
    told.environment["TOKEN"] = "t0ken"
    assert value(told, source) == f"{told.path}\nt0ken"
    assert runs(told) == ["./bin/tell --of two words"]


@pytest.mark.parametrize("source", [*SOURCES.values(), "{command: [./bin/tell]}"])
def test_paths_are_the_specs_wherever_the_command_runs(told: Folder, source: str) -> None:
    script(told, "tell", "exec cat secret.age")
    folder = told.path.name
    told.write("fleet.yaml", SPEC.replace("SOURCE", source))
    outer = Folder(told.path.parent, told.environment)
    result = outer.fleet("render", f"{folder}/fleet.yaml", "--node", "web-0", "--reveal")
    assert result.status == 0, result.err
    assert file_text(json.loads(result.out), "/etc/fleet/secrets/s") == CANARY


def test_a_program_has_the_terminal_to_ask_at(told: Folder) -> None:
    script(told, "tell", "printf 'Passphrase: ' >&2; read -r answer; echo \"<$answer>\"")
    told.write("fleet.yaml", SPEC.replace("SOURCE", "{command: [./bin/tell]}"))
    master, terminal = pty.openpty()
    process = subprocess.Popen(
        [FLEET, "render", "fleet.yaml", "--node", "web-0", "--reveal"],
        cwd=told.path, env=told.environment, stdin=terminal, stderr=terminal, stdout=subprocess.PIPE,
    )  # fmt: skip
    os.close(terminal)
    shown = b""
    while b"Passphrase: " not in shown:
        shown += os.read(master, 1000)
    os.write(master, b"kestrel81\n")
    out, _ = process.communicate()
    os.close(master)
    assert process.returncode == 0
    assert file_text(json.loads(out), "/etc/fleet/secrets/s") == "<kestrel81>"


@pytest.fixture(scope="session")
def programs() -> Path:
    return secret_programs.folder()


@pytest.mark.long
def test_the_real_sops_and_age_tell_secrets(folder: Folder, programs: Path) -> None:
    folder.environment |= {"PATH": f"{programs}{os.pathsep}{folder.environment['PATH']}", "HOME": str(folder.path)}

    def run(*words: str, **environment: str) -> str:
        result = subprocess.run(
            words, cwd=folder.path, env={**folder.environment, **environment}, capture_output=True, text=True
        )
        assert result.returncode == 0, result.stderr
        return result.stdout

    for name in ("keys.txt", "other.txt"):
        run("age-keygen", "-o", name)
    recipient = run("age-keygen", "-y", "keys.txt").strip()
    plain = {"db": {"password": CANARY, "port": 5432, "tls": "-----BEGIN A-----\nx\n-----END A-----\n"}}
    folder.write("secrets.yaml", json.dumps(plain))
    folder.write("other.env", "TOKEN=t0ken\n")
    folder.write("raw.txt", f"{CANARY}\n")
    for name in ("secrets.yaml", "other.env", "raw.txt"):
        run("sops", "--encrypt", "--age", recipient, "--in-place", name)
        assert "wren" not in (folder.path / name).read_text()
    folder.write("plain", f"{CANARY}\n")
    run("age", "--encrypt", "-r", recipient, "-o", "secret.age", "plain")
    run("age", "--encrypt", "--armor", "-r", recipient, "-o", "armored.age", "plain")
    (folder.path / "plain").write_bytes(b"\xff\xfe")
    run("age", "--encrypt", "-r", recipient, "-o", "binary.age", "plain")
    folder.environment["SOPS_AGE_KEY_FILE"] = str(folder.path / "keys.txt")
    for source, expected in {
        "{sops: secrets.yaml, key: db.password}": CANARY,
        "{sops: secrets.yaml, key: db.port}": "5432",
        "{sops: secrets.yaml, key: db.tls}": "-----BEGIN A-----\nx\n-----END A-----",
        "{sops: other.env, key: TOKEN}": "t0ken",
        "{sops: other.env}": "TOKEN=t0ken",
        "{sops: raw.txt}": CANARY,
        "{age: secret.age}": CANARY,
        "{age: armored.age, identity: keys.txt}": CANARY,
    }.items():
        assert value(folder, source) == expected, source
    folder.environment["SOPS_AGE_KEY_FILE"] = str(folder.path / "other.txt")
    for source, error in {
        "{sops: secrets.yaml, key: db.password}": "which failed (status 128): ",
        "{age: secret.age}": "which failed (status 1): age: error: no identity matched any of the recipients",
        "{age: binary.age, identity: keys.txt}": "the value is not UTF-8 text (byte 0)",
        "{sops: base.bu}": "which failed (status ",
    }.items():
        said = refusal(folder, source)
        assert error in said
        assert "wren" not in said
