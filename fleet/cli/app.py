"""The ``fleet`` command."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shlex
import sys
import warnings
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.table import Table

from fleet import images, platforms
from fleet.cli.board import Board
from fleet.errors import FleetError, FleetWarning, UsageError, unexpected
from fleet.ops.signals import SIGNALS, Stopped
from fleet.planner import plan_spec
from fleet.spec import Resolver, load_image, load_tags
from fleet.stack_config import ConfigReader

app = typer.Typer(
    help="Immutable Fedora CoreOS machines from Butane snippets and containers, on Pulumi.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
image_app = typer.Typer(
    help="The operating system's image, its release and download; digests of containers' images.", no_args_is_help=True
)
app.add_typer(image_app, name="image")

Spec = Annotated[Path, typer.Argument(help="The spec, such as fleet.yaml.", show_default=False, readable=False)]
StackName = Annotated[str, typer.Option("--stack", "-s", help="The Pulumi stack.", show_default=False)]
PlatformName = Annotated[str, typer.Option(help="The platform; `fleet doctor` lists those that are installed.")]
PlatformOf = Annotated[
    str | None,
    typer.Option("--platform", help="The platform; by default the stack's, or qemu."),
]
ConfigOf = Annotated[
    str | None,
    typer.Option("--stack", "-s", help="Take platform, options, variables from its config.", show_default=False),
]
Node = Annotated[str, typer.Argument(help="Its name, such as web-0.", show_default=False)]
Identity = Annotated[Path | None, typer.Option("--identity", "-i", help="A private key's file.", show_default=False)]
NewImage = Annotated[
    bool, typer.Option("--new-image", help="Re-provision nodes whose image is not the locked one any more, too.")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)


@app.command()
def new(
    folder: Annotated[Path, typer.Argument(help="Its folder; the folder's name is the fleet's.", show_default=False)],
    platform: PlatformName = platforms.DEFAULT,
) -> None:
    """Begin a fleet: a Pulumi project with a spec to change."""
    from fleet.ops.scaffold import begin

    spec, stack, note = begin(folder, platform)
    if note:
        out.print(note)
    out.print(f"{spec} is the spec. Pin a release of Fedora CoreOS, then make the fleet:")
    out.print(f"  fleet image lock {spec}\n  fleet up {spec} --stack {stack}")


@app.command()
def validate(spec: Spec, platform: PlatformOf = None, stack: ConfigOf = None) -> None:
    """Check a spec, its snippets and every node's merged config; make nothing.

    With a stack, for its platform and options, as `preview` would, but without what that needs to look at the stack:
    no secret and no passphrase, no image lock, no region or credentials. What is deployed is looked at where the
    stack's state is in files.
    """
    where, config = _offline(spec, platform, stack, reveal=False)
    if stack:
        where.check_stack(account=False)
    plan = plan_spec(spec, Resolver(config), where, need_lock=False)
    if stack:
        from fleet.ops.workspace import Project
        from fleet.program.state import with_state

        files = Project.around(spec).files(stack)
        where.check_deployed(with_state(plan, files.resources() if files else []))
    out.print(f"{spec}: valid; nodes: {', '.join(node.name for node in plan.nodes) or 'none'}.")


@app.command()
def render(
    spec: Spec,
    node: Annotated[str | None, typer.Option(help="Only this node, its config alone.", show_default=False)] = None,
    platform: PlatformOf = None,
    stack: ConfigOf = None,
    reveal: Annotated[bool, typer.Option(help="Secrets in plain text; else they are masked.")] = False,
) -> None:
    """Print the Ignition config of every node, a JSON line each, or of one node."""
    # This machine may not have as many ports as nodes would take under QEMU: their configs can be had all the same.
    where, config = _offline(spec, platform, stack, reveal=reveal)
    plan = plan_spec(spec, Resolver(config, reveal=reveal), where, need_lock=False, node=node, check=False)
    # print, not Rich: these bytes are the config.
    if node is not None:
        print(next(plan.nodes).config.ignition)
        return
    for each in plan.nodes:
        print(f'{{"node":{json.dumps(each.name)},"ignition":{each.config.ignition}}}')


@app.command()
def preview(spec: Spec, stack: StackName, new_image: NewImage = False) -> None:
    """Say which nodes `up` would make, re-provision or remove, and why."""
    from fleet.ops.session import Session

    Session(spec, stack, _say, new_image=new_image).preview()


@app.command()
def diff(
    spec: Spec,
    stack: StackName,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on standard output.")] = False,
) -> None:
    """Show, node by node, what `up` would change in the deployed config, secrets masked."""
    from fleet.ops.session import Session

    nodes = Session(spec, stack, _say).diff()
    if as_json:
        print(json.dumps([{"node": name, **asdict(node)} for name, node in nodes.items()], indent=2))
        return
    for name, node in nodes.items():
        _say(name, str(node))
        for change in node.changes:
            out.print(f"  {change}", style="bold", markup=False)
            for line in change.diff:
                style = {"+": "green", "-": "red", "@": "cyan"}.get(line[:1], "")
                out.print(f"    {line}", style=style, markup=False)


@app.command()
def up(spec: Spec, stack: StackName, yes: Yes = False, new_image: NewImage = False) -> None:
    """Make it so: re-provision what changed, one node after the other, each only when the one before is ready."""
    from fleet.ops.session import Session

    board = Board(out)
    if not yes:
        _need_terminal()
    session = Session(spec, stack, board.say, new_image=new_image, begin=board.begin)
    if not yes:
        if session.preview():
            _ask("Do it?")
        out.print()
    with board:
        session.up(_download_bar)


@app.command()
def status(
    spec: Spec,
    stack: StackName,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on standard output.")] = False,
) -> None:
    """Ask every node how it is. Exit status 1 if one is not ready."""
    from fleet.ops.session import Session

    nodes = Session(spec, stack, _say).status()
    if as_json:
        print(json.dumps([asdict(node) for node in nodes], indent=2))
    else:
        table = Table(box=None, pad_edge=False)
        for column in ("node", "state", "config", "reason"):
            table.add_column(column)
        for node in nodes:
            table.add_row(node.node, node.state, "outdated" if node.outdated else "current", node.reason)
        out.print(table)
    if any(node.state != "ready" for node in nodes):
        raise typer.Exit(1)


@app.command()
def ssh(
    spec: Spec,
    node: Node,
    command: Annotated[
        list[str] | None, typer.Argument(help="Run this, after `--`, in place of a shell.", show_default=False)
    ] = None,
    *,
    stack: StackName,
    identity: Identity = None,
) -> None:
    """Log in to a node as `core`."""
    _run_there(spec, node, stack, identity, command or [])


@app.command()
def logs(
    spec: Spec,
    node: Node,
    service: Annotated[
        str | None, typer.Argument(help="A container, or another service; all by default.", show_default=False)
    ] = None,
    *,
    stack: StackName,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as more comes.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="How many of the last ones.")] = 100,
    console: Annotated[
        bool, typer.Option("--console", help="The serial console, of a node that SSH does not reach.")
    ] = False,
    identity: Identity = None,
) -> None:
    """Show a node's journal, or what one of its containers wrote."""
    if console:
        from fleet.ops.session import Session

        print(Session(spec, stack, _say).console(node))
        return
    command = ["sudo", "journalctl", "--no-pager", f"--lines={lines}", *(["--follow"] if follow else [])]
    if service:
        # What the service wrote and what systemd says of it; root's and users' (systemd.journal-fields(7)).
        unit = service if "." in service else f"{service}.service"
        for field in ("_SYSTEMD_UNIT", "UNIT", "_SYSTEMD_USER_UNIT", "USER_UNIT"):
            command += [f"{field}={unit}", "+"]
        command.pop()
    _run_there(spec, node, stack, identity, [shlex.join(command)])


def _run_there(spec: Path, node: str, stack: str, identity: Path | None, command: list[str]) -> None:
    from fleet.ops.session import Session

    login = Session(spec, stack, _say).login(node, identity=identity)
    try:
        os.execvp(login[0], [*login, *command])
    except OSError as error:
        raise FleetError(f"ssh cannot be run: {error.strerror}.", fix="Install OpenSSH's client.") from None


@app.command()
def replace(
    spec: Spec,
    node: Node,
    stack: StackName,
    yes: Yes = False,
    new_config: Annotated[
        bool, typer.Option("--new-config", help="Give it the spec's config in place of the one that is deployed.")
    ] = False,
) -> None:
    """Re-provision one node as it is deployed from a fresh image, if enough of its peers are ready."""
    from fleet.ops.session import Session

    if not yes:
        _ask(f"Re-provision {node} of stack {stack} with {'the spec' if new_config else 'its deployed config'}?")
    Session(spec, stack, _say).replace(node, _download_bar, new_config=new_config)


@app.command()
def rollback(spec: Spec, stack: StackName, yes: Yes = False) -> None:
    """Give nodes back the configs of before the last rollout, one after the other, as `up` does."""
    from fleet.ops.session import Session

    if not yes:
        _ask(f"Roll stack {stack} back?")
    board = Board(out)
    with board:
        Session(spec, stack, board.say, begin=board.begin).rollback(_download_bar)


@app.command()
def destroy(
    spec: Spec,
    stack: StackName,
    yes: Yes = False,
    delete_data_disks: Annotated[bool, typer.Option("--delete-data-disks", help="Delete them too.")] = False,
) -> None:
    """Remove every node. Data disks are kept unless told otherwise."""
    from fleet.ops.session import Session

    if not yes:
        what = "every node and every data disk" if delete_data_disks else "every node (data disks are kept)"
        _ask(f"Remove {what} of stack {stack}?")
    Session(spec, stack, _say).destroy(delete_data_disks=delete_data_disks)


@app.command()
def doctor() -> None:
    """Say what this machine lacks, and how to get it."""
    from fleet.ops.doctor import examine

    if not examine(out):
        raise typer.Exit(1)


Base = Annotated[str, typer.Option("--base-url", envvar="FLEET_STREAM_URL", help="Server of the stream metadata.")]
File = Annotated[
    Path | None,
    typer.Option("--file", help="A disk image of your own instead of a stream.", show_default=False, readable=False),
]
KeysOf = Annotated[
    Path | None,
    typer.Option(
        "--keys", help="OpenPGP public keys that sign images, in place of Fedora's.", show_default=False, readable=False
    ),
]
Unsigned = Annotated[
    bool | None,
    typer.Option("--unsigned/--signed", help="Use images without a signature: checksums alone.", show_default=False),
]


@image_app.command("lock")
def image_lock(
    spec: Spec,
    file: File = None,
    base_url: Base = images.DEFAULT_BASE_URL,
    keys: KeysOf = None,
    unsigned: Unsigned = None,
) -> None:
    """Write the image lock, unless there is one."""
    _, path = load_image(spec)
    if path.exists():
        raise UsageError(f"There is a lock already: {path}.", fix="`fleet image update` moves it to a newer release.")
    _write_lock(spec, file, base_url, keys, unsigned)


@image_app.command("update")
def image_update(
    spec: Spec,
    file: File = None,
    base_url: Base = images.DEFAULT_BASE_URL,
    keys: KeysOf = None,
    unsigned: Unsigned = None,
) -> None:
    """Lock the stream's current release. Nodes take it when next re-provisioned, or with `fleet up --new-image`.

    Whose signatures count stays as the lock has it.
    """
    _write_lock(spec, file, base_url, keys, unsigned)


@image_app.command("pin")
def image_pin(
    spec: Spec,
    platform: PlatformOf = None,
    stack: ConfigOf = None,
    update: Annotated[bool, typer.Option("--update", help="Renew the digests that are locked already, too.")] = False,
) -> None:
    """Lock the digest of every image that containers name by a tag, so that it never moves by itself."""
    _, path = load_image(spec)
    lock = images.read_lock(path)
    where, config = _offline(spec, platform, stack, reveal=False)
    wanted = load_tags(spec, where.name, Resolver(config))
    kept = {} if update else {tag: lock.containers[tag] for tag in wanted & lock.containers.keys()}
    pins = {**kept, **images.current_digests(wanted - kept.keys())}
    for tag in sorted(pins.keys() | lock.containers.keys()):
        if (now := pins.get(tag)) != lock.containers.get(tag):
            out.print(f"{tag}  {now or 'not used any more'}")
    images.write_lock(path, lock.model_copy(update={"containers": pins}))
    out.print(f"{path}: {len(pins)} container images locked.")


@image_app.command("download")
def image_download(spec: Spec) -> None:
    """Download the locked disk image for qemu, check it, and print its path."""
    lock = images.read_lock(load_image(spec)[1])
    disk = lock.image("x86_64").disks.get(images.QEMU_DISK.name)
    if disk is None:
        raise FleetError("The image lock has no disk image for qemu.")
    with _download_bar() as progress:
        path = images.obtain(disk, progress=progress)
    print(path)


def _write_lock(spec: Path, file: Path | None, base_url: str, keys: Path | None, unsigned: bool | None) -> None:
    wanted, path = load_image(spec)
    if file and (keys or unsigned is not None):
        raise UsageError("An image on this machine is used without a signature.", fix="Leave out the other options.")
    before = images.read_lock(path) if path.exists() else None
    trusted = images.read_keys(keys) if keys else before.keys if before else ""
    if file:
        from fleet.config import NEWEST_SPEC

        lock = images.lock_file(file, "x86_64", ignition_spec=NEWEST_SPEC)
    else:
        lock = images.lock_stream(wanted.stream, platforms.artifacts(), base_url=base_url)
    if before:
        lock = lock.model_copy(update={"containers": before.containers})
    if not file:
        without = unsigned if unsigned is not None else bool(before and before.unsigned)
        lock = lock.model_copy(update={"keys": trusted, "unsigned": without})
    if before == lock:
        out.print(f"{path}: nothing newer than {_release(lock)}.")
        return
    images.write_lock(path, lock)
    moved = f"{_release(before)} → " if before and _release(before) != _release(lock) else ""
    trust = "; used without a signature" if lock.unsigned else "; signed by keys of your own" if lock.keys else ""
    out.print(f"{path}: {moved}{_release(lock)} ({lock.stream}{trust}).")


def _release(lock: images.ImageLock) -> str:
    return ", ".join(sorted({image.release for image in lock.architectures.values()}))


def _offline(
    spec: Path, platform: str | None, stack: str | None, *, reveal: bool
) -> tuple[platforms.Platform, ConfigReader | None]:
    """Where a spec's nodes are to run, and the config of the stack, where one is named, without touching its state.

    Args:
        spec: The spec.
        platform: The platform, if it is named.
        stack: The stack, if one is named; its config says which platform, and with which options.
        reveal: With the secrets of the stack's config, for which its passphrase is needed.

    Raises:
        UsageError: The stack is on another platform, or its config is wrong.
    """
    if not stack:
        return platforms.platform(platform or platforms.DEFAULT, project=spec.parent, stack="local"), None
    from fleet.ops.workspace import Project, Stack
    from fleet.program.deploy import stack_platform

    project = Project.around(spec)
    config = Stack(project, stack, "read").config if reveal else project.plain_config(stack)
    if platform:
        # What a stack's config does not say yet.
        config.setdefault("fleet:platform", platform)
    where = stack_platform(config.get, folder=project.folder, stack=stack.rpartition("/")[2])
    if platform not in (None, where.name):
        raise UsageError(f"Stack {stack} is on {where.name}, not on {platform}.", fix="Leave out `--platform`.")
    return where, lambda key: config.get(project.full_key(key))


def _ask(question: str) -> None:
    """Ask whether something is meant.

    Raises:
        UsageError: It is not, or there is nobody to ask.
    """
    _need_terminal()
    if not typer.confirm(question):
        raise UsageError("Nothing was done.")


def _need_terminal() -> None:
    """Refuse to go on where nobody can be asked.

    Raises:
        UsageError: There is no terminal.
    """
    if not sys.stdin.isatty():
        raise UsageError("There is no terminal to ask whether this is meant.", fix="Say `--yes` if it is.")


def _say(subject: str, text: str) -> None:
    Board(out).say(subject, text)


@contextlib.contextmanager
def _download_bar() -> Iterator[images.Progress]:
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(),
               TimeRemainingColumn())  # fmt: skip
    with Progress(*columns, console=err, transient=True) as bar:
        tasks: dict[str, Any] = {}

        def progress(step: str, done: int, total: int | None) -> None:
            if step not in tasks:
                tasks[step] = bar.add_task(step, total=total)
            bar.update(tasks[step], completed=done, total=total)

        yield progress


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    err.print(f"Warning: {message}", markup=False)


def main() -> None:
    """Run the command; an error is one paragraph on standard error, and a signal ends it cleanly."""
    SIGNALS.catch(lambda text: err.print(text, markup=False))
    warnings.filterwarnings("once", category=FleetWarning)
    warnings.showwarning = _show_warning
    try:
        app()
    except FleetError as error:
        err.print(f"Error: {error}", markup=False)
        sys.exit(error.exit_code)
    except Stopped as stopped:
        sys.exit(stopped.exit_code)
    except BrokenPipeError:
        # Whoever read the output has enough; Python would complain when it flushes at exit.
        sys.stdout = None
        sys.exit(1)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        more = " Make room, and run the command again." if full else ""
        err.print(f"Error: {unexpected(error)}{more}", markup=False)
        sys.exit(1)
    except Exception as error:
        err.print(f"Error: {unexpected(error)}", markup=False)
        sys.exit(1)
