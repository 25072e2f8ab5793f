"""The ``fleet`` command: parses arguments, and prints what :mod:`fleet.ops` gives.

What a command needs is imported when it runs: the command line itself starts in a fraction of the time.
"""

from __future__ import annotations

import errno
import inspect
import json
import re
import sys
import warnings
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from fleet.cli.exit_statuses import CHANGES, FAILED, exit_status
from fleet.cli.first import SpecFirst
from fleet.cli.options import (
    AsJson,
    AsMarkdown,
    ConfigOf,
    Detailed,
    FirstSource,
    Identity,
    NewImage,
    Node,
    OwnSource,
    PlatformOf,
    Spec,
    StackName,
    Yes,
)
from fleet.cli.terminal import Terminal, err, out
from fleet.errors import FleetError, FleetWarning, UsageError, unexpected
from fleet.ops.signals import SIGNALS, Stopped

if TYPE_CHECKING:
    from fleet.ops.ui import Ui


class _Commands(TyperGroup):
    """Commands whose help is folded at the terminal's width, not where their source is."""

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of a name, if there is one."""
        command = super().get_command(ctx, cmd_name)
        if command and command.help:
            command.help = re.sub(r"(?<!\n)\n(?!\n)", " ", inspect.cleandoc(command.help))
        return command


app = typer.Typer(
    cls=_Commands,
    help="Immutable Fedora CoreOS machines from Butane snippets and containers, on Pulumi.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
image_app = typer.Typer(
    cls=_Commands,
    help="The operating system's image, its release and download; digests of containers' images.",
    no_args_is_help=True,
)
app.add_typer(image_app, name="image")


@app.command()
def validate(spec: Spec, platform: PlatformOf = None, stack: ConfigOf = None) -> None:
    """Check a spec, its snippets and every node's merged config; change nothing.

    With a stack, for its platform and options, as `preview` would, but without what that needs to look at the stack:
    no secret and no passphrase, no image lock, no region or credentials. What is deployed is looked at where the
    stack's state is in files; outputs of other stacks are read if the spec takes any.
    """
    from fleet.ops import check

    nodes = check.validate(spec, platform=platform, stack=stack)
    out.print(f"{spec}: valid; nodes: {', '.join(nodes) or 'none'}.")


@app.command()
def render(
    spec: Spec,
    node: Annotated[str | None, typer.Option(help="Only this node, its config alone.", show_default=False)] = None,
    platform: PlatformOf = None,
    stack: ConfigOf = None,
    reveal: Annotated[bool, typer.Option(help="Secrets in plain text; else they are masked.")] = False,
) -> None:
    """Print the Ignition config of every node, a JSON line each, or of one node."""
    from fleet.ops import check

    # print, not Rich: these bytes are the config.
    for name, ignition in check.render(spec, Terminal(), node=node, platform=platform, stack=stack, reveal=reveal):
        print(ignition if node is not None else f'{{"node":{json.dumps(name)},"ignition":{ignition}}}')


class _Changes(Exception):  # noqa: N818  (no error)
    """A preview's ``--detailed-exitcode`` is to say that something would change."""


@app.command()
def preview(
    spec: OwnSource,
    stack: StackName,
    new_image: NewImage = False,
    as_json: AsJson = False,
    as_markdown: AsMarkdown = False,
    detailed: Detailed = False,
) -> None:
    """Show which nodes `up` would create, re-provision or remove, and why."""
    from fleet.ops.session import session

    if as_markdown:
        from fleet.cli.markdown import Collected, comment

        if as_json:
            raise UsageError("--json and --markdown are two forms of one output.", fix="Choose one.")
        collected = Collected()
        seen = session(spec, stack, collected, new_image=new_image).preview()
        print(comment(seen.summary, seen.nodes, collected.notes, stack=stack), end="")
    else:
        with _ui(as_json) as ui:
            seen = session(spec, stack, ui, new_image=new_image).preview()
    if seen.summary.changed and detailed:
        raise _Changes


@app.command()
def diff(
    spec: OwnSource,
    stack: StackName,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on standard output.")] = False,
) -> None:
    """Show, node by node, what `up` would change in the deployed config, secrets masked."""
    from fleet.ops.session import session

    nodes = session(spec, stack, Terminal()).diff()
    if as_json:
        print(json.dumps([{"node": name, **asdict(node)} for name, node in nodes.items()], indent=2))
        return
    terminal = Terminal()
    for name, node in nodes.items():
        terminal.say(name, str(node))
        for change in node.changes:
            out.print(f"  {change}", style="bold", markup=False)
            for line in change.diff:
                style = {"+": "green", "-": "red", "@": "cyan"}.get(line[:1], "")
                out.print(f"    {line}", style=style, markup=False)


@app.command()
def up(
    spec: OwnSource, stack: StackName, yes: Yes = False, new_image: NewImage = False, as_json: AsJson = False
) -> None:
    """Deploy the spec: re-provision what changed, one node after the other, each when the one before is ready."""
    from fleet.ops.session import session

    with _ui(as_json) as ui:
        if not yes:
            _need_terminal(as_json)
        begun = session(spec, stack, ui, new_image=new_image)
        if not yes:
            if begun.preview().summary.changed:
                _ask("Do it?")
            out.print()
        begun.up()


@app.command(cls=SpecFirst)
def ssh(
    spec: FirstSource,
    node: Node,
    command: Annotated[
        list[str] | None, typer.Argument(help="Run this, after `--`, in place of a shell.", show_default=False)
    ] = None,
    *,
    stack: StackName,
    identity: Identity = None,
) -> None:
    """Log in to a node as `core`."""
    from fleet.ops.session import become, session

    become(session(spec, stack, Terminal()).login(node, command or [], identity=identity))


@app.command(cls=SpecFirst)
def logs(
    spec: FirstSource,
    node: Node,
    service: Annotated[
        str | None,
        typer.Argument(help="A container, or a unit such as sshd.service; all by default.", show_default=False),
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
    from fleet.ops.session import become, session

    looking = session(spec, stack, Terminal())
    if console:
        print(looking.console(node, lines))
    else:
        become(looking.logs(node, service or "", follow=follow, lines=lines, identity=identity))


@app.command(cls=SpecFirst)
def replace(
    spec: FirstSource,
    node: Node,
    stack: StackName,
    yes: Yes = False,
    new_config: Annotated[
        bool, typer.Option("--new-config", help="Give it the spec's config in place of the one that is deployed.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Re-provision one node as it is deployed from a fresh image, if enough of its peers are ready."""
    from fleet.ops.session import session

    with _ui(as_json) as ui:
        if not yes:
            config = "the newest config" if new_config else "its deployed config"
            _ask(f"Re-provision {node} of stack {stack} with {config}?", as_json)
        session(spec, stack, ui).replace(node, new_config=new_config)


@app.command()
def rollback(
    spec: OwnSource,
    stack: StackName,
    yes: Yes = False,
    to: Annotated[
        int | None,
        typer.Option("--to", min=1, help="The rollout to go back to, as `history` counts them.", show_default=False),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Give nodes back the configs of before the last rollout, or of any that is kept, one by one, as `up` does."""
    from fleet.ops.session import session

    with _ui(as_json) as ui:
        if not yes:
            _ask(f"Roll stack {stack} back{f' to rollout {to}' if to else ''}?", as_json)
        session(spec, stack, ui).rollback(to)


@app.command()
def destroy(
    spec: OwnSource,
    stack: StackName,
    yes: Yes = False,
    delete_data_disks: Annotated[bool, typer.Option("--delete-data-disks", help="Delete data disks, too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove every node. Data disks are kept unless told otherwise."""
    from fleet.ops.session import session

    with _ui(as_json) as ui:
        if not yes:
            others = " and all else of the program" if spec.is_dir() else ""
            disks = " and every data disk" if delete_data_disks else ""
            what = f"every node{disks}{others}{'' if delete_data_disks else ' (data disks are kept)'}"
            _ask(f"Remove {what} of stack {stack}?", as_json)
        session(spec, stack, ui).destroy(delete_data_disks=delete_data_disks)


Base = Annotated[
    str,
    typer.Option(
        "--base-url",
        envvar="FLEET_STREAM_URL",
        help="Server of the stream metadata; by default Fedora's.",
        show_default=False,
    ),
]
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
    base_url: Base = "",
    keys: KeysOf = None,
    unsigned: Unsigned = None,
) -> None:
    """Write the image lock, unless there is one. A program's folder will do, for fleets that no file describes."""
    _write_lock(spec, file, base_url, keys, unsigned, renew=False)


@image_app.command("update")
def image_update(
    spec: Spec,
    file: File = None,
    base_url: Base = "",
    keys: KeysOf = None,
    unsigned: Unsigned = None,
) -> None:
    """Lock the stream's current release. Nodes take it when next re-provisioned, or with `fleet up --new-image`.

    Whose signatures count stays as the lock has it.
    """
    _write_lock(spec, file, base_url, keys, unsigned, renew=True)


@image_app.command("pin")
def image_pin(
    spec: Spec,
    platform: PlatformOf = None,
    stack: ConfigOf = None,
    update: Annotated[bool, typer.Option("--update", help="Renew the digests that are locked already, too.")] = False,
) -> None:
    """Lock the digest of every image that containers name by a tag, so that it never moves by itself."""
    from fleet.ops import image_lock

    path, before, pins = image_lock.pin(spec, platform=platform, stack=stack, update=update)
    for tag in sorted(pins.keys() | before.keys()):
        if (now := pins.get(tag)) != before.get(tag):
            out.print(f"{tag}  {now or 'not used any more'}")
    out.print(f"{path}: {len(pins)} container images locked.")


@image_app.command("download")
def image_download(spec: Spec) -> None:
    """Download the locked disk image for qemu, check it, and print its path."""
    from fleet.ops import image_lock

    print(image_lock.download(spec, Terminal()))


def _write_lock(
    spec: Path, file: Path | None, base_url: str, keys: Path | None, unsigned: bool | None, *, renew: bool
) -> None:
    from fleet.ops import image_lock

    written = image_lock.write_lock(spec, image_lock.Source(file, base_url, keys, unsigned), renew=renew)
    path, lock = written.path, written.lock
    before, now = written.releases
    if written.before == lock:
        out.print(f"{path}: nothing newer than {now}.")
        return
    trust = "; used without a signature" if lock.unsigned else "; signed by keys of your own" if lock.keys else ""
    out.print(f"{path}: {f'{before} → ' if before else ''}{now} ({lock.stream}{trust}).")


def _ui(as_json: bool) -> AbstractContextManager[Ui]:
    """What shows what a command does: the terminal, or, for programs, a stream of events."""
    if not as_json:
        return Terminal()
    from fleet.cli.stream import Stream

    return Stream()


def _ask(question: str, as_json: bool = False) -> None:
    """Ask whether something is meant.

    Raises:
        UsageError: It is not, or there is nobody to ask.
    """
    _need_terminal(as_json)
    if not typer.confirm(question):
        raise UsageError("Nothing was done.")


def _need_terminal(as_json: bool = False) -> None:
    """Refuse to go on where nobody can be asked.

    Raises:
        UsageError: There is no terminal, or it is shown events.
    """
    if as_json:
        raise UsageError("With `--json`, nobody is asked whether this is meant.", fix="Say `--yes` if it is.")
    if not sys.stdin.isatty():
        raise UsageError("There is no terminal to ask whether this is meant.", fix="Say `--yes` if it is.")


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    Terminal().warn(f"Warning: {message}")


def main() -> None:
    """Run the command; an error is one paragraph on standard error, and a signal ends it cleanly."""
    SIGNALS.catch(Terminal().warn)
    warnings.filterwarnings("once", category=FleetWarning)
    warnings.showwarning = _show_warning
    try:
        app()
    except _Changes:
        sys.exit(CHANGES)
    except SystemExit as ended:
        # A usage error of the command line's.
        sys.exit(exit_status(ended.code) if isinstance(ended.code, int) else ended.code)
    except FleetError as error:
        err.print(f"Error: {error}", markup=False)
        sys.exit(exit_status(error.exit_code))
    except Stopped as stopped:
        sys.exit(stopped.exit_code)
    except BrokenPipeError:
        # Whoever read the output has enough; Python would complain when it flushes at exit.
        sys.stdout = None
        sys.exit(FAILED)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        more = " Make room, and run the command again." if full else ""
        err.print(f"Error: {unexpected(error)}{more}", markup=False)
        sys.exit(FAILED)
    except Exception as error:
        err.print(f"Error: {unexpected(error)}", markup=False)
        sys.exit(FAILED)
