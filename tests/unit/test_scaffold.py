"""A fleet's first files, by `fleet new`."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import subprocess
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from fleet.errors import FleetError, UsageError
from fleet.ops.image_lock import Source, write_lock
from fleet.ops.scaffold import begin, own_keys, read_key
from fleet.planner import plan_spec
from fleet.platforms import names, platform
from fleet.spec import Resolver
from tests.conftest import FLEET, Folder, small_disk
from tests.https import Server

STREAM = Path(__file__).parent / "data" / "stable.json"


@pytest.mark.parametrize("platform", names())
def test_a_new_fleet_is_a_valid_project_on_its_platform(folder: Folder, home: Path, platform: str) -> None:
    created = folder.fleet("new", "site", "--platform", platform)
    assert created.status == 0, created.err
    stack = "local" if platform == "qemu" else platform
    assert "fleet up site/fleet.yaml --yes" in created.out
    site = folder.path / "site"
    assert {file.name for file in site.iterdir()} == {
        ".gitignore", "Pulumi.yaml", f"Pulumi.{stack}.yaml", "__main__.py", "base.bu", "fleet.schema.json",
        "fleet.yaml",
    }  # fmt: skip
    assert (site / "Pulumi.yaml").read_text().startswith("name: site\n")
    valid = folder.fleet("validate", "site/fleet.yaml", "--platform", platform)
    assert valid.status == 0, valid.err


def test_nothing_that_is_there_is_overwritten(folder: Folder, home: Path) -> None:
    mine = folder.write("site/fleet.yaml", "mine")
    refused = folder.fleet("new", "site")
    assert refused.status == 2
    assert f"{Path('site/fleet.yaml')} is there already; nothing was written" in refused.err
    assert mine.read_text() == "mine"
    assert [file.name for file in mine.parent.iterdir()] == ["fleet.yaml"]


@pytest.mark.parametrize("arguments", [("My Site",), ("site", "--platform", "azure")])
def test_a_name_or_platform_that_cannot_be_is_refused(folder: Folder, arguments: tuple[str, ...]) -> None:
    assert folder.fleet("new", *arguments).status == 2
    assert not (folder.path / arguments[0]).exists()


@pytest.fixture
def keys(home: Path) -> dict[str, str]:
    """Public keys in ``~/.ssh``, by file, in the order in which ssh would be given them."""
    lines = {}
    for kind in ("ed25519", "ecdsa", "rsa"):
        file = home / ".ssh" / f"id_{kind}"
        subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-C", "me@home", "-f", file], check=True)
        lines[f"id_{kind}.pub"] = file.with_suffix(".pub").read_text().strip()
    return lines


@pytest.fixture
def home(folder: Folder, tmp_path: Path) -> Path:
    """A home without a key, which the folder's commands have; there is no server of releases."""
    (tmp_path / "home" / ".ssh").mkdir(parents=True)
    folder.environment |= {"HOME": str(tmp_path / "home"), "FLEET_STREAM_URL": "https://127.0.0.1:1"}
    return tmp_path / "home"


def logins(spec: Path) -> list[str]:
    """The keys that may log in to a spec's nodes, as it is rendered."""
    where = platform("qemu", project=spec.parent, stack="local")
    (node,) = plan_spec(spec, Resolver(), where, need_lock=False).nodes
    users = json.loads(node.config.ignition).get("passwd", {}).get("users", [])
    return [key for user in users if user["name"] == "core" for key in user["sshAuthorizedKeys"]]


def test_the_spec_names_its_schema_and_fits_it(folder: Folder, home: Path) -> None:
    assert folder.fleet("new", "site").status == 0
    text = (folder.path / "site/fleet.yaml").read_text()
    name = re.fullmatch(r"# yaml-language-server: \$schema=(\S+)", text.partition("\n")[0])
    assert name
    schema = json.loads((folder.path / "site" / name[1]).read_text())
    Draft202012Validator(schema).validate(yaml.safe_load(text))


@pytest.mark.system
def test_without_a_terminal_the_key_that_ssh_would_use_may_log_in(
    folder: Folder, home: Path, keys: dict[str, str]
) -> None:
    created = folder.fleet("new", "site")
    assert created.status == 0, created
    assert "Of 3 public keys in ~/.ssh, id_ed25519.pub is taken; `--ssh-key` names another." in created.out
    assert f"{home}/.ssh/id_ed25519.pub may log in" in created.out
    assert logins(folder.path / "site/fleet.yaml") == [keys["id_ed25519.pub"]]
    named = folder.fleet("new", "other", "--ssh-key", str(home / ".ssh/id_rsa.pub"))
    assert named.status == 0, named
    assert logins(folder.path / "other/fleet.yaml") == [keys["id_rsa.pub"]]


def test_without_a_key_it_is_said_how_to_make_one(folder: Folder, home: Path) -> None:
    created = folder.fleet("new", "site")
    assert "there is no public SSH key in ~/.ssh. `ssh-keygen -t ed25519` makes one" in created.out
    assert logins(folder.path / "site/fleet.yaml") == []


ED25519 = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ7ASGQCGLVnd2K+n2ZfE5uRwBHG7PyEgRtSNeY5wvQ8"


@pytest.mark.parametrize(
    "comment", ["", "me@home", "${HOME}", '"quoted": {yaml}', "# more", "zwei Wörter", "%i `id` $(id)"]
)
def test_a_keys_comment_breaks_no_spec(folder: Folder, comment: str) -> None:
    begin(folder.path / "site", "qemu", read_key(folder.write("key.pub", f"{ED25519} {comment}\n")))
    folder.edit("site/fleet.yaml", "groups:", "variables: {HOME: {value: here}}\ngroups:")
    (login,) = logins(folder.path / "site/fleet.yaml")
    assert login in (f"{ED25519} {comment}", ED25519)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1\n", "This is a private key, which stays on this machine."),
        ("", "This is no public SSH key."),
        ("ssh-ed25519", "This is no public SSH key."),
        ("ssh-ed25519 AAAA me@home", "This is no public SSH key."),
        (ED25519.replace("ssh-ed25519", "ssh-rsa", 1), "This is no public SSH key."),
        (f"{ED25519}\n{ED25519}", "This is no public SSH key."),
        ("ssh-ed25519-cert-v01@openssh.com AAAAIHNzaC1lZDI1NTE5LWNlcnQtdjAxQG9wZW5zc2guY29t x", "no public SSH key."),
    ],
)
def test_what_is_no_public_key_is_refused(home: Path, monkeypatch: pytest.MonkeyPatch, text: str, reason: str) -> None:
    file = home / ".ssh/id_rsa.pub"
    file.write_text(text)
    with pytest.raises(UsageError) as caught:
        read_key(file)
    assert reason in str(caught.value)
    assert "b3BlbnNzaC1" not in str(caught.value)
    # Where nobody named it, it is left out.
    monkeypatch.setenv("HOME", str(home))
    assert own_keys() == []


def test_a_key_that_is_none_is_refused_before_anything_is_written(folder: Folder, home: Path) -> None:
    refused = folder.fleet("new", "site", "--ssh-key", "base.bu")
    assert (refused.status, "This is no public SSH key." in refused.err) == (2, True), refused
    assert not (folder.path / "site").exists()


def test_the_current_release_is_locked_if_the_server_answers(folder: Folder, home: Path, server: Server) -> None:
    server.files["/streams/stable.json"] = STREAM.read_bytes()
    folder.environment["SSL_CERT_FILE"] = os.environ["SSL_CERT_FILE"]
    created = folder.fleet("new", "site", "--base-url", server.url)
    assert created.status == 0, created
    assert "site/image.lock.yaml locks the image: " in created.out
    assert commands(created.out)[0] == "fleet preview site/fleet.yaml"


@pytest.mark.parametrize("platform", names())
def test_if_no_server_answers_the_last_words_are_what_works_on_the_platform(
    folder: Folder, home: Path, platform: str
) -> None:
    created = folder.fleet("new", "site", "--platform", platform)
    assert created.status == 0, created
    assert "No image is locked yet. The download of https://127.0.0.1:1/streams/stable.json failed" in created.out
    takes_files = platform in ("qemu", "libvirt")
    assert ("`fleet image lock site/fleet.yaml --file IMAGE.qcow2`" in created.out) == takes_files
    assert ("and lock one: `fleet image lock site/fleet.yaml`" in created.out) != takes_files
    assert commands(created.out) == [
        "fleet image lock site/fleet.yaml", "fleet up site/fleet.yaml --yes", "fleet status site/fleet.yaml",
    ]  # fmt: skip


def test_a_mirror_that_did_not_answer_is_named_again_in_the_first_command(folder: Folder, home: Path) -> None:
    created = folder.fleet("new", "site", "--base-url", "https://127.0.0.1:1/mirror")
    assert commands(created.out)[0] == "fleet image lock site/fleet.yaml --base-url https://127.0.0.1:1/mirror"


@pytest.mark.parametrize("platform", names())
def test_an_image_of_ones_own_is_refused_where_no_machine_starts_from_it(folder: Folder, platform: str) -> None:
    folder.write("own.qcow2", "QFI")
    created = folder.fleet("new", "site", "--platform", platform, "--image", "own.qcow2")
    if platform in ("qemu", "libvirt"):
        assert created.status == 0, created
        assert "site/image.lock.yaml locks the image: local." in created.out
    else:
        assert created.status == 2, created
        assert f"Machines of {platform} cannot start from a disk image on this machine." in created.err
        assert not (folder.path / "site").exists()


def test_a_server_that_never_answers_is_not_waited_for(folder: Folder, server: Server) -> None:
    server.files["/streams/stable.json"] = STREAM.read_bytes()
    server.may_go_on.clear()
    spec = folder.path / "fleet.yaml"
    with pytest.raises(FleetError, match=r"did not answer within 0\.2 s"):
        write_lock(spec, Source(base_url=server.url), renew=False, patience=0.2)
    server.may_go_on.set()
    assert not (folder.path / "image.lock.yaml").exists()


@pytest.mark.system
def test_at_a_terminal_it_asks_which_platform_and_key(folder: Folder, home: Path, keys: dict[str, str]) -> None:
    del folder.environment["PULUMI_CONFIG_PASSPHRASE"]
    shown = typed(folder, ["new", "site"], "azure\naws\nid_rsa.pub\n")
    assert "Platform [qemu/aws/digitalocean/gcp/libvirt]" in shown
    assert "Please select one of the available options" in shown
    assert "[id_ed25519.pub/id_ecdsa.pub/id_rsa.pub/none]" in shown
    assert (folder.path / "site/Pulumi.aws.yaml").exists()
    assert logins(folder.path / "site/fleet.yaml") == [keys["id_rsa.pub"]]
    assert "`fleet up` asks for it, twice at first" in shown
    assert commands(shown)[1:] == ["fleet up site/fleet.yaml", "fleet status site/fleet.yaml"]
    assert "Nobody may log in; `ssh_authorized_keys` in the spec" in typed(folder, ["new", "other"], "\nnone\n")
    assert logins(folder.path / "other/fleet.yaml") == []


def commands(shown: str) -> list[str]:
    """What is to be typed next, by the name that users know."""
    _, _, after = shown.replace("\r", "").partition("Then type:\n")
    return [re.sub(r"\S*fleet (?=image|preview|up|status)", "fleet ", line.strip()) for line in after.splitlines()]


def typed(folder: Folder, arguments: list[str], answers: str) -> str:
    """What a command shows at a terminal at which answers are typed."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [FLEET, *arguments], cwd=folder.path, env={**folder.environment, "COLUMNS": "500"}, stdin=theirs, stdout=theirs,
        stderr=theirs, start_new_session=True,
    ) as command:  # fmt: skip
        os.close(theirs)
        os.write(ours, answers.encode())
        shown = b""
        with contextlib.suppress(OSError):  # At its end.
            while piece := os.read(ours, 4096):
                shown += piece
    os.close(ours)
    assert command.returncode == 0, shown.decode()
    return re.sub(r"\x1b\[[0-9;]*m", "", shown.decode())


@pytest.mark.system
def test_on_a_full_disk_nothing_is_begun(folder: Folder) -> None:
    folder.path.mkdir(exist_ok=True)
    with small_disk(folder.path / "site", "8k") as fill:
        room = fill()
        refused = folder.fleet("new", "site")
        assert refused.status == 1
        assert "site cannot be written: No space left on device." in refused.err
        assert list((folder.path / "site").iterdir()) == [room]
        room.unlink()
