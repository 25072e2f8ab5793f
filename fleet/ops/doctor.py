"""``fleet doctor``: what this machine lacks, and how to get it; and, for a stack, what its platform needs."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path

from fleet import images, platforms
from fleet.config import _transpiler
from fleet.errors import FleetError, unexpected
from fleet.files import stack_folder
from fleet.images.download import default_cache
from fleet.ops.check import place
from fleet.ops.deadline import DeadlineError, within
from fleet.ops.workspace import find_pulumi
from fleet.platforms.diagnosis import LIMIT, Check, Verdict, command, run
from fleet.project import Project, short_name
from fleet.spec import load_references, load_sources
from fleet.spec.model import SecretSource
from fleet.spec.sources import INSTALL, program_of, usual_identity, where_is
from fleet.stack_config import DEFAULT_PLATFORM, no_config

_ROOM, _LITTLE_ROOM = 8 << 30, 2 << 30
"""Bytes: below the first, an image and a few nodes' disks may not fit; below the second, nor does an image."""
_MOST_APART = 60
"""Seconds that this machine's clock may differ from a server's; clouds refuse requests that are some minutes off."""
_DOCKER = "registry-1.docker.io"
"""Where the registry is that references call docker.io."""


@dataclass(frozen=True)
class Finding:
    """What was looked at.

    Attributes:
        subject: What.
        works: Whether it does; ``None``: it does, but could be better, or that is not known.
        text: What was seen, or the remedy.
    """

    subject: str
    works: bool | None
    text: str


def findings(spec: Path | None = None, stack: str = "") -> Iterator[Finding]:
    """Look at all that fleet needs on this machine.

    Args:
        spec: The spec whose stack is looked at, too.
        stack: Its stack.

    Raises:
        FleetError: The spec or the stack's config is wrong.
    """
    if spec is None:
        where = platforms.platform(DEFAULT_PLATFORM, project=Path.cwd(), stack="local")
        checks = [*_machine(), *where.checks(no_config)]
    else:
        project = Project.around(spec)
        config = project.plain_config(stack)
        where, known = place(spec, platform=None, stack=stack)
        # Another stack that cannot be read is no fault of this machine's.
        resolver = replace(known, references=None)
        references = load_references(spec, where.name, resolver)
        sources = _sources(spec.parent, load_sources(spec, where.name, resolver))
        folder = stack_folder(project.folder, short_name(stack))
        checks = [*_machine(), *where.checks(config.get), *sources, *_registries(references), *_disks(folder), _clock()]
    yield from map(_looked_at, checks)


def _looked_at(check: Check) -> Finding:
    """What a check sees, within its time."""
    try:
        verdict = within(2 * LIMIT, check.look)
    except FleetError as error:
        verdict = Verdict(False, str(error))
    except (TimeoutError, DeadlineError) as error:
        verdict = Verdict(None, str(error))
    # Whatever somebody else's platform raises is no reason not to look at the rest.
    except Exception as error:
        verdict = Verdict(False, unexpected(error))
    return Finding(check.subject, verdict.works, verdict.text)


def _machine() -> Iterator[Check]:
    """What every stack needs."""
    yield Check("transpiler", _transpiler_state)
    yield Check("platforms", _platforms_state)
    yield Check("Pulumi CLI", _pulumi_state)
    for host in ("pulumi-language-python", "pulumi-resource-pulumi-python"):
        yield Check(host, lambda host=host: _host_state(host))  # type: ignore[misc]
    yield command("ssh", "openssh-client", "openssh-clients")


def _transpiler_state() -> Verdict:
    _transpiler.shared()
    return Verdict(True, str(_transpiler.BINARY))


def _platforms_state() -> Verdict:
    """Which platforms are installed, and what is wrong with those that cannot be used."""
    wrong = []
    for name in platforms.names():
        try:
            platforms.platform_class(name)
        except FleetError as error:
            wrong.append(str(error))
    return Verdict(not wrong, " ".join(wrong) or ", ".join(platforms.names()))


def _pulumi_state() -> Verdict:
    try:
        find_pulumi()
    except FleetError:
        return Verdict(
            False,
            "see https://www.pulumi.com/docs/iac/download-install/, or `make demo` in fleet's repository brings it",
        )
    answer = run("pulumi", "version")
    return Verdict(answer.returncode == 0, answer.stdout.strip() or answer.stderr.strip())


def _host_state(host: str) -> Verdict:
    where = shutil.which(host)
    return Verdict(bool(where), where or "install Pulumi's release archive, which brings it beside the CLI")


def _sources(folder: Path, secrets: Mapping[str, SecretSource]) -> Iterator[Check]:
    """The programs that tell a spec's secrets; none is run.

    Args:
        folder: The spec's folder.
        secrets: Where they come from, by name.
    """
    for program in sorted({program_of(source) for source in secrets.values()} - {""}):
        names = [name for name, source in secrets.items() if program_of(source) == program]
        yield Check(program, lambda program=program, names=names: _program_state(program, folder, names))  # type: ignore[misc]
    if any(source.age and not source.identity for source in secrets.values()):
        yield Check("identity of age", _identity_state)


def _program_state(program: str, folder: Path, names: Sequence[str]) -> Verdict:
    where = where_is(program, folder)
    what = f"the secret {names[0]} comes" if len(names) == 1 else f"the secrets {', '.join(names)} come"
    return Verdict(bool(where), where or f"{what} from it. {INSTALL.get(program, 'Have it on PATH.')}")


def _identity_state() -> Verdict:
    where = usual_identity()
    return Verdict(bool(where) or None, str(where or "none is here: only files with a passphrase can be decrypted"))


def _registries(references: set[str]) -> Iterator[Check]:
    """The registries that a spec's images are pulled from. Nodes do that; what is reached here, they may reach, too."""
    hosts = {reference.partition("/")[0] for reference in references if "/" in reference}
    for host in sorted(host for host in hosts if re.search(r"[.:]|^localhost$", host)):
        yield Check(f"registry {host}", lambda host=host: _registry_state(host))  # type: ignore[misc]


def _registry_state(host: str) -> Verdict:
    """What a registry answers to the request by which one is known (OCI distribution spec, "Determining Support")."""
    import httpx  # slow to import

    try:
        status = httpx.head(f"https://{_DOCKER if host == 'docker.io' else host}/v2/", timeout=LIMIT / 2).status_code
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return Verdict(None, f"it does not answer here ({type(error).__name__}); nodes pull from it")
    if status in (200, 401):
        return Verdict(True, "answers" if status == 200 else "answers; who may pull, it asks then")
    return Verdict(None, f"it answered {status}, not as a registry does; nodes pull from it")


def _disks(folder: Path) -> Sequence[Check]:
    """Room for what a stack keeps on this machine, and for images."""
    return [
        Check("disk space of the stack", lambda: _room(folder)),
        Check("disk space of images", lambda: _room(default_cache())),
    ]


def _room(folder: Path) -> Verdict:
    there = next(each for each in (folder, *folder.parents) if each.exists())
    free = shutil.disk_usage(there).free
    text = f"{free / (1 << 30):.1f} GiB are free in {there}"
    if free >= _ROOM:
        return Verdict(True, text)
    return Verdict(None if free >= _LITTLE_ROOM else False, f"{text}; an image takes about 2 GiB: make room")


def _clock() -> Check:
    return Check("clock", _clock_state)


def _clock_state() -> Verdict:
    """How far this machine's clock is from the date that the server of images answers with, or what NTP says of it."""
    import httpx  # slow to import

    try:
        answer = httpx.head(f"{images.DEFAULT_BASE_URL}/", timeout=LIMIT / 2)
        apart = abs((datetime.now(UTC) - parsedate_to_datetime(answer.headers["Date"])).total_seconds())
    except (httpx.HTTPError, KeyError, ValueError, TypeError):
        return _ntp_state()
    if apart > _MOST_APART:
        return Verdict(False, f"it is {apart:.0f} s off, and servers refuse what is: `sudo timedatectl set-ntp true`")
    return Verdict(True, f"within {max(apart, 1):.0f} s of a server's")


def _ntp_state() -> Verdict:
    if shutil.which("timedatectl"):
        answer = run("timedatectl", "show", "--property=NTPSynchronized", "--value").stdout.strip()
        if answer in ("yes", "no"):
            return Verdict(
                answer == "yes" or None,
                "NTP keeps it" if answer == "yes" else "NTP does not keep it: `sudo timedatectl set-ntp true`",
            )
    return Verdict(None, "no server could be asked, and nothing here says whether it is right")
