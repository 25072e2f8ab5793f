"""The real Pulumi engine and fleet's resources, with a stand-in for QEMU's process in place of a booting machine."""

from __future__ import annotations

import json
import subprocess

from tests.conftest import STACK, Result
from tests.engine.stack import OFFSET, Stack


def test_plain_pulumi_sees_the_same_state_as_fleet_and_does_the_same(stack: Stack) -> None:
    stack.spec(1, "one")
    assert stack.up().status == 0

    def pulumi(*arguments: str) -> Result:
        return stack.pulumi(*arguments, "--stack", "test", "--non-interactive")

    same = pulumi("preview", "--expect-no-changes")
    assert same.status == 0, same
    stack.spec(1, "two")
    stack.started()
    assert pulumi("up", "--yes").status == 0
    assert stack.started() == ["web-0"]
    stack.edit("fleet.yaml", "count: 1", "cuont: 1")
    refused = pulumi("up", "--yes")
    assert refused.status != 0
    assert "There is no key `cuont`" in refused.out
    assert "Traceback" not in refused.out


def test_diff_says_what_each_node_would_become_and_nothing_ever_shows_a_secret(stack: Stack) -> None:
    stack.spec(1, "one")
    stack.edit(
        "fleet.yaml", "groups:", "secrets:\n  token: {env: TOKEN}\nvariables:\n  token: {secret: token}\ngroups:"
    )
    stack.edit("fleet.yaml", "[base.bu]", "[{path: base.bu, variables: [token]}]")
    stack.edit("base.bu", '"hello"', '"key ${token}\\nhello\\n"')
    stack.environment["TOKEN"] = "tops3cret"
    everything = [stack.fleet("diff", *STACK), stack.up()]
    assert everything[0].out == "web-0  new\n"
    everything.append(stack.fleet("diff", *STACK))
    assert everything[-1].out == "web-0  unchanged\n"

    stack.edit("base.bu", "hello", "bye")
    stack.edit("fleet.yaml", "count: 1", "count: 2")
    everything.append(stack.fleet("diff", *STACK))
    shown = everything[-1].out
    assert "web-0  re-provision: file /etc/motd.d/fleet changed" in shown
    assert "     key (secret token)\n    -hello\n    +bye" in shown
    assert "web-1  new" in shown
    listed = json.loads(stack.fleet("diff", *STACK, "--json").out)
    assert [(node["node"], node["fate"]) for node in listed] == [("web-0", "re-provisioned"), ("web-1", "new")]
    assert listed[0]["changes"][0]["name"] == "/etc/motd.d/fleet"
    assert "-hello" in listed[0]["changes"][0]["diff"]

    stack.edit("base.bu", "bye", "hello")
    stack.edit("fleet.yaml", "count: 2", "count: 0")
    assert stack.fleet("diff", *STACK).out == "web-0  remove\n"
    stack.edit("fleet.yaml", "count: 0", "count: 1")
    stack.environment["TOKEN"] = "an0ther"
    everything.append(stack.fleet("preview", *STACK))
    assert "web-0  re-provision: a secret in its config changed" in everything[-1].out
    everything.append(stack.up())
    assert everything[-1].status == 0

    state = "".join(file.read_text() for file in (stack.path / ".pulumi").rglob("*.json*"))
    for text in (state, *(result.out + result.err for result in everything)):
        assert "tops3cret" not in text
        assert "an0ther" not in text


def test_a_new_image_changes_nothing_until_a_node_is_re_provisioned_anyway(stack: Stack) -> None:
    stack.spec(1, "one")
    assert stack.up().status == 0
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", stack.path / "newer.qcow2", "2G"], check=True)
    assert stack.fleet("image", "update", "fleet.yaml", "--file", "newer.qcow2").status == 0
    stack.started()
    assert stack.up().status == 0
    assert stack.started() == []
    stack.spec(1, "two")
    assert stack.up().status == 0
    assert stack.started() == ["web-0"]
    assert "nothing changes" in stack.fleet("up", *STACK, "--new-image", "--yes").out
    assert stack.started() == []


def test_nodes_move_to_a_new_image_if_asked_or_always_or_never_as_the_spec_has_it(stack: Stack) -> None:
    def update(size: int) -> None:
        subprocess.run(
            ["qemu-img", "create", "-q", "-f", "qcow2", stack.path / f"{size}.qcow2", f"{size}G"], check=True
        )
        assert stack.fleet("image", "update", "fleet.yaml", "--file", f"{size}.qcow2").status == 0

    stack.spec(2, "one")
    assert stack.up().status == 0
    update(2)
    stack.started()
    request = stack.fleet("up", *STACK, "--new-image", "--yes")
    assert "web-1  re-provision: a new image" in request.out
    assert stack.started() == ["web-0", "web-1"]
    assert "nothing changes" in stack.up().out

    stack.edit("fleet.yaml", "groups:", "image: {reprovision: always}\ngroups:")
    assert "nothing changes" in stack.up().out
    update(3)
    stack.sicken("web-1")
    assert stack.up().status == 1
    # A sick node goes first, and another image is as good a reason to hold back its peers as another config.
    assert stack.started() == ["web-1"]
    stack.heal("web-1")
    assert stack.up().status == 0
    assert stack.started() == ["web-0"]

    stack.edit("fleet.yaml", "always", "never")
    update(4)
    assert stack.up().status == 0
    assert stack.started() == []
    refused = stack.fleet("up", *STACK, "--new-image", "--yes")
    assert refused.status == 2
    assert "a new image never re-provisions nodes" in refused.err


def test_a_rollback_gives_nodes_their_configs_of_before_the_last_rollout(stack: Stack) -> None:
    stack.spec(2, "one")
    assert stack.up().status == 0
    none = stack.fleet("rollback", *STACK, "--yes")
    assert none.status == 1
    assert "has had one config only" in none.err
    assert stack.started() == ["web-0", "web-1"]
    stack.spec(2, "two")
    assert stack.up().status == 0
    stack.started()

    # A rollout that stopped half way goes back to what all had before it.
    stack.spec(2, "sick")
    assert stack.up().status == 1
    assert stack.started() == ["web-0"]
    back = stack.fleet("rollback", *STACK, "--yes")
    assert back.status == 0, back
    assert stack.started() == ["web-0"]
    stack.spec(2, "two")
    assert "nothing changes" in stack.up().out

    # One that went well goes back to the one before.
    assert stack.fleet("rollback", *STACK, "--yes").status == 0
    assert stack.started() == ["web-0", "web-1"]
    stack.spec(2, "one")
    assert "nothing changes" in stack.up().out


def test_a_replaced_node_stays_as_it_is_deployed_whatever_the_spec_says_by_now(stack: Stack) -> None:
    def replace(*more: str) -> Result:
        return stack.fleet("replace", "fleet.yaml", "web-0", "--stack", "test", "--yes", *more)

    def config() -> str:
        return (stack.path / ".fleet/test/nodes/web-0/config.ign").read_text()

    stack.spec(1, "one")
    assert stack.up().status == 0
    first = config()
    stack.spec(1, "sick")
    assert stack.up().status == 1

    # A config of which there is no record: no rollout ended with it, and the spec has another by now.
    stack.spec(2, "three")
    stack.started()
    refused = replace()
    assert refused.status == 1
    assert "neither the spec's nor one of those of rollouts that are kept" in refused.err
    assert "`fleet replace --new-config`" in refused.err
    assert stack.started() == []

    # After a rollback, which makes no node that only the spec has, the spec still has the newer config.
    assert stack.fleet("rollback", *STACK, "--yes").status == 0
    assert stack.started() == ["web-0"]
    replaced = replace()
    assert replaced.status == 0, replaced
    assert "web-0  keeps its deployed config; the spec has another, which `--new-config` would take" in replaced.out
    assert stack.started() == ["web-0"]
    assert config() == first

    # What re-provisions a node beside its config is not slipped in either.
    stack.edit("Pulumi.test.yaml", f"{OFFSET}", f"{OFFSET}, memory_mib: 2048")
    refused = replace()
    assert refused.status == 1
    assert "cannot be re-provisioned as it is deployed" in refused.err
    assert stack.started() == []
    assert replace("--new-config").status == 0
    assert stack.started() == ["web-0"]
    assert "three" in config()

    stack.spec(0, "three")
    refused = stack.fleet("rollback", *STACK, "--yes")
    assert refused.status == 1
    assert "A rollback would remove web-0: deployed, but not in the spec any more." in refused.err


def test_a_node_is_logged_in_to_with_host_keys_kept_by_machine_ready_or_not(stack: Stack) -> None:
    (stack.log.parent / "bin" / "ssh").write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    (stack.log.parent / "bin" / "ssh").chmod(0o755)
    stack.spec(2, "sick")
    refused = stack.fleet("ssh", "fleet.yaml", "web-0", "--stack", "test")
    assert refused.status == 2
    assert "There is no node web-0 in stack test. It has: none. `fleet up` makes" in refused.err
    assert stack.up().status == 1

    def machine() -> str:
        words = stack.fleet("ssh", "fleet.yaml", "web-0", "--stack", "test", "--", "uname", "-r").out.splitlines()
        assert words[:2] == ["-p", str(2222 + OFFSET)]
        assert words[-3:] == ["core@127.0.0.1", "uname", "-r"]
        return next(word for word in words if word.startswith("HostKeyAlias="))

    first = machine()
    assert machine() == first
    followed = stack.fleet("logs", "fleet.yaml", "web-0", "hello", "--stack", "test", "--follow", "-n", "5")
    command = followed.out.splitlines()[-1]
    # The container's own lines; systemd's if it has none.
    assert command.startswith("sudo sh -c ")
    assert "CONTAINER_NAME=hello" in command
    assert command.count("--lines=5 --follow") == 2
    assert "says hello" in stack.fleet("logs", "fleet.yaml", "web-0", "--stack", "test", "--console").out
    assert "There is no node web-7" in stack.fleet("logs", "fleet.yaml", "web-7", "--stack", "test").err
    stack.spec(2, "well")
    assert stack.up().status == 0
    assert machine() != first

    # Where it is is what was deployed, whatever the spec and the stack's options say by now.
    stack.edit("Pulumi.test.yaml", f"{OFFSET}", f"{OFFSET + 50}")
    assert machine() != first
    status = stack.fleet("status", *STACK)
    assert [line.split()[:3] for line in status.out.splitlines()[1:]] == [
        [f"web-{i}", "ready", "outdated"] for i in (0, 1)
    ]
    stack.write("fleet.yaml", "neither a spec nor YAML: [")
    assert machine() != first
    assert "says hello" in stack.fleet("logs", "fleet.yaml", "web-1", "--stack", "test", "--console").out


def test_destroy_keeps_data_disks_unless_told_and_a_new_node_takes_them_over(stack: Stack) -> None:
    stack.spec(1, "one")
    assert stack.up().status == 0
    disk = stack.path / ".fleet/test/disks/web-0-a.qcow2"
    inode = disk.stat().st_ino
    assert stack.fleet("destroy", *STACK).status == 2
    assert f"kept: {disk}" in stack.fleet("destroy", *STACK, "--yes").out
    assert stack.up().status == 0
    assert disk.stat().st_ino == inode
    assert f"deleted: {disk}" in stack.fleet("destroy", *STACK, "--yes", "--delete-data-disks").out
    assert not (stack.path / ".fleet/test").exists()
