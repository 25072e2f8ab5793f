"""What a serial console tells: where a node is, and why it is not ready.

``data/consoles`` has what machines of the stand-in image wrote: one whose data disk was not attached, one whose config
Ignition refused, one with a container whose registry does not exist. What Fedora CoreOS writes in another way is here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet import console
from fleet.diagnosis import diagnose
from fleet.phases import Phase, Progress, disk_of, of_console, phase, read_progress, waited_for
from fleet.plan.report import JobReport, Report
from fleet.plan.unit_name import escape_path
from fleet.platforms import names, platform

CONSOLES = Path(__file__).with_name("data") / "consoles"
LATE_DISK, IGNITION_FAILS, IMAGE_MISSING = (
    (CONSOLES / f"{name}.txt").read_bytes().decode() for name in ("late-disk", "ignition-fails", "image-missing")
)
ANSWER = "http port 8080 / timed out after 8 s; last response: connection refused"

FIRMWARE = (
    "\x1bc\x1b[?7l\x1b[2J\x1b[0mSeaBIOS (version 1.16.3-debian-1.16.3-2)\r\n\r\n\r\niPXE (https://ipxe.org) 00:03.0 "
)
BOOT_LOADER = "Booting from Hard Disk...\r\nGRUB loading..\r\nWelcome to GRUB!\r\n\r\n"
ENTRY = "  Booting `Fedora CoreOS 44.20260705.3.0 (ostree:0)'\r\n\r\n"
KERNEL = (
    "[    0.000000] Linux version 6.15.4-200.fc42.x86_64 (mockbuild@fedora) (gcc)\r\n[    0.000000] Command line: x\r\n"
)
INITRAMFS = "\r\nWelcome to \x1b[0;34mFedora CoreOS 44.20260705.3.0 dracut-107-3.fc42 (Initramfs)\x1b[0m!\r\n\r\n"
FETCH = (
    "         Starting \x1b[0;1;39mignition-fetch.se…ervice\x1b[0m - Ignition (fetch)...\r\n"
    "[   12.000000] ignition[700]: Ignition 2.22.0\r\n[   12.100000] ignition[700]: Stage: fetch\r\n"
    "[   12.200000] ignition[700]: GET https://configs.example.org/web-0?X-Signature=topsecret: attempt #3\r\n"
    '[   12.300000] ignition[700]: GET error: Get "https://configs.example.org/web-0?X-Signature=topsecret": '
    "dial tcp: lookup configs.example.org: no such host\r\n"
)
ROOT = (
    "[   20.000000] systemd[1]: Switching root.\r\n"
    "\r\nWelcome to \x1b[0;34mFedora CoreOS 44.20260705.3.0 (CoreOS)\x1b[0m!\r\n\r\n"
)
JOB = "[\x1b[0;31m*\x1b[0;1;31m*\x1b[0m\x1b[0;31m*\x1b[0m   ] A start job is running for Container web (13s / 15min)\r"
LOGIN = "\r\nFedora CoreOS 44.20260705.3.0\r\nKernel 6.15.4 on x86_64 (ttyS0)\r\n\r\nweb-0 login: "
START = [
    (FIRMWARE, "firmware", "in its firmware"),
    (BOOT_LOADER, "boot loader", "in its boot loader"),
    (ENTRY, "boot loader", "in its boot loader"),
    (KERNEL, "kernel", "starting its kernel"),
    (INITRAMFS, "initramfs", "in its initramfs"),
    (FETCH, "Ignition", "Ignition (fetch)"),
    (ROOT, "units", "starting its units"),
    (JOB + "\n", "units", "waiting for Container web"),
    (LOGIN, "started", "its units have started"),
]
"""A start of Fedora CoreOS: what comes next, and the phase that it is then in."""


def _phases(text: str) -> list[str]:
    """Every phase that a console was in, as it grew, in order."""
    seen: list[str] = []
    for end in range(0, len(text) + 300, 300):
        now = of_console(text[:end])
        if now and [now.text] != seen[-1:]:
            seen.append(now.text)
    return seen


def test_a_console_shows_each_phase_of_a_start_as_it_comes() -> None:
    text = ""
    for more, step, words in START:
        text += more
        now = of_console(text)
        assert now is not None
        assert (now.step, now.text) == (step, words), more


@pytest.mark.parametrize("first", range(1, len(START)))
def test_a_console_whose_beginning_is_lost_is_in_the_same_phase_as_the_whole(first: int) -> None:
    parts = [more for more, _, _ in START]
    for last in range(first, len(parts)):
        whole, end = of_console("".join(parts[: last + 1])), of_console("".join(parts[first : last + 1])[1:])
        # Of a job alone nobody can tell what it is a part of.
        if parts[first] != parts[-2]:
            assert end == whole


def test_a_second_start_begins_anew() -> None:
    text = "".join(more for more, _, _ in START)
    again = of_console(f"{text}\r\n{FIRMWARE}")
    assert again == Phase("firmware", "in its firmware")


def test_real_machines_go_through_their_phases() -> None:
    begin = [f"Ignition ({stage})" for stage in ("fetch-offline", "kargs", "disks", "mount", "files")]
    late = _phases(LATE_DISK)
    assert late == [
        "in its initramfs", *begin, "starting its units",
        "waiting for data disk site (/dev/disk/by-id/virtio-data-site)",
    ]  # fmt: skip
    assert _phases(IGNITION_FAILS) == ["in its initramfs", *begin, "in emergency mode"]
    assert "waiting for flop.service, hello.service" in _phases(IMAGE_MISSING)


@pytest.mark.parametrize("text", ["", "\x1b[2J", "\r\n\r\n", "hello\r\n"])
def test_a_console_that_says_nothing_is_in_no_phase(text: str) -> None:
    assert of_console(text) is None
    now = phase(text, None, settle=10, answer=ANSWER)
    says = "hello" in text
    assert (now.step, now.note) == ("probing" if says else "firmware", ANSWER)


def test_a_node_whose_console_cannot_be_read_is_probed() -> None:
    assert phase(None, None, settle=10, answer=ANSWER) == Phase("probing", "probing", ANSWER)


@given(st.binary(max_size=400), st.sampled_from([LATE_DISK, IGNITION_FAILS, IMAGE_MISSING]), st.integers(0, 40_000))
def test_whatever_a_console_holds_is_read(noise: bytes, text: str, cut: int) -> None:
    garbled = text[cut : cut + 2000] + noise.decode("latin-1") + text[-500:]
    for line in console.lines(garbled):
        assert not re.search(r"[\x00-\x08\x0a-\x1f\x7f]", line)
    of_console(garbled)
    assert diagnose(garbled, None, settle=10, answer=ANSWER).cause


def test_what_a_terminal_redraws_is_one_line() -> None:
    shown = console.tail(LATE_DISK, 30)
    assert len([line for line in shown if "virtio" in line and "no limit" in line]) == 1
    assert len({console.event(line) for line in shown}) == 30


def test_the_config_that_ignition_shows_when_it_fails_is_never_shown() -> None:
    assert '"source": "data:,hello"' in IGNITION_FAILS
    for start in (0, IGNITION_FAILS.index("Full config:") + 400):
        text = "\n".join(console.lines(IGNITION_FAILS[start:]))
        assert "hello" not in text
        assert "gecos" not in text
        assert "Ignition failed: failed to create files" in text


def test_urls_lose_what_may_be_a_signature_and_data_its_content() -> None:
    (line,) = console.lines("GET https://a.example/x?sig=SECRET: data:text/plain;base64,U0VDUkVU end")
    assert line == "GET https://a.example/x?...: data:... end"


# Data disks.


@pytest.mark.parametrize(
    ("jobs", "expected"),
    [
        (
            ["Job dev-disk-by\\x2did-virt…tart running", "Job fleet-await-site.servi…tart running"],
            "waiting for data disk site (/dev/disk/by-id/virtio-data-site)",
        ),
        (["Job fleet-await-site.service/start running"], "waiting for data disk site"),
        (["Job fleet-await-site.servi…tart running"], "waiting for data disk site"),
        (["Job fleet-await-a-long-na…tart running"], "waiting for data disk a-long-na…"),
        (["A start job is running for Wait for data disk site"], "waiting for data disk site"),
    ],
)
def test_what_holds_a_start_up_for_a_data_disk_is_called_by_the_disk(jobs: Sequence[str], expected: str) -> None:
    count = len(jobs)
    shown = "".join(
        f"\r\x1b[K[\x1b[0;31m*     \x1b[0m] ({number} of {count}) {job} (1min 43s / no limit)\r\n"
        for number, job in enumerate(jobs, 1)
    )
    begun = LATE_DISK[: LATE_DISK.index("] Job dev-disk")]
    now = of_console(f"{begun}\r\n{shown}")
    assert now
    assert now.text == expected


@pytest.mark.parametrize("name", [name for name in names() if name not in ("libvirt", "toy")])
@pytest.mark.parametrize("disk", ["site", "a", "pg-17-data"])
def test_every_platform_whose_devices_are_called_like_their_data_disk_has_it_named(
    name: str, disk: str, tmp_path: Path
) -> None:
    path = platform(name, project=tmp_path, stack="test").disk_link(disk).path
    assert disk_of(path) == disk
    assert waited_for(f"{escape_path(path)}.device") == f"data disk {disk} ({path})"


def test_a_device_without_a_name_is_called_by_its_path(tmp_path: Path) -> None:
    path = platform("libvirt", project=tmp_path, stack="test").disk_link("site").path
    assert waited_for(f"{escape_path(path)}.device") == f"the device {path}"


# Causes.


def test_a_disk_that_is_not_there_is_the_cause_however_long_ago_that_was_said() -> None:
    text = (
        LATE_DISK
        + "[\x1b[0;31m*     \x1b[0m] Job dev-disk-by\\x2did-virtio\\x2ddat…tart running (9min 43s / no limit)\r\n" * 900
    )
    found_out = diagnose(text, None, settle=10, answer=ANSWER)
    assert found_out.cause == "its data disk site is not there: no device /dev/disk/by-id/virtio-data-site"
    assert "attached" in found_out.fix


def test_ignitions_own_error_is_the_cause_and_not_what_systemd_says_of_it() -> None:
    why = diagnose(IGNITION_FAILS, None, settle=10, answer=ANSWER)
    assert why.cause == (
        "Ignition (files) failed: failed to create files: error creating /sysroot/etc/os-release: error creating file "
        '"/sysroot/etc/os-release": A non regular file exists there already and overwrite is false'
    )
    assert "`overwrite: true`" in why.fix


def test_a_container_that_the_console_tells_of_is_the_cause_with_what_its_registry_says() -> None:
    why = diagnose(IMAGE_MISSING, None, settle=10, answer=ANSWER)
    assert why.cause == "container ghost: its image cannot be pulled: the registry cannot be reached"
    (line,) = why.evidence
    assert line.startswith("Error: initializing source docker://registry.example.invalid/ghost:1: pinging")


def ignition(*said: str, stage: str = "fetch") -> str:
    """A console with messages of Ignition's."""
    lines = [f"[   12.345678] ignition[700]: {line}\r\n" for line in (f"Stage: {stage}", *said)]
    return KERNEL + INITRAMFS + "".join(lines)


FAILURES = [
    (
        ignition("failed to acquire config: config is not valid", "Ignition failed: config is not valid"),
        "Ignition (fetch) failed: config is not valid",
        "",
    ),
    (
        ignition(
            "error at line 1, column 9: unsupported config version", "Ignition failed: unsupported config version"
        ),
        "Ignition (fetch) failed: unsupported config version",
        "fleet image update",
    ),
    (
        ignition("Ignition failed: failed to fetch config: hash verification failed (got a; expected b)"),
        "Ignition (fetch) failed: failed to fetch config: hash verification failed (got a; expected b)",
        "verification",
    ),
    (
        ignition(
            'disks: createFilesystems: op(3): filesystem at "/dev/vdb" is not of the correct type, label, or UUID',
            "Ignition failed: failed to create filesystems: failed to create filesystems: mismatch",
            stage="disks",
        )
        + "[FAILED] Failed to start ignition-disks.service - Ignition (disks).\r\n",
        "Ignition (disks) failed: failed to create filesystems: mismatch",
        "",
    ),
    (
        KERNEL + INITRAMFS + "[\x1b[0;1;31mFAILED\x1b[0m] Failed to start \x1b[0;1;39mIgnition (fetch)\x1b[0m.\r\n",
        "Ignition (fetch) failed",
        "",
    ),
    (
        KERNEL + "[    5.123456] Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)\r\n",
        "its kernel panicked: VFS: Unable to mount root fs on unknown-block(0,0)",
        "image lock",
    ),
    (
        KERNEL + "[    5.123456] Kernel panic - not syncing: System is deadlocked on memory: Out of memory\r\n",
        "its kernel panicked: System is deadlocked on memory: Out of memory",
        "memory",
    ),
    (
        KERNEL
        + ROOT
        + "[FAILED] Failed to mount var-data.mount - /var/data.\r\n[DEPEND] Dependency failed for Local File "
        'Systems.\r\nYou are in emergency mode. After logging in, type "journalctl -xb"\r\n',
        "it went into emergency mode because var-data.mount failed",
        "--console",
    ),
    (
        KERNEL
        + ROOT
        + "[ TIME ] Timed out waiting for device dev-disk-by…x2d.device - /dev/disk/by-id/virtio-data-db.\r\n",
        "its data disk db is not there: no device /dev/disk/by-id/virtio-data-db",
        "attached",
    ),
    (
        KERNEL + ROOT + "[  812.5] x\r\n[  812.543210] Out of memory: Killed process 900 (postgres) total-vm:1kB\r\n",
        "it was out of memory, and its kernel killed postgres",
        "memory",
    ),
    (
        KERNEL + INITRAMFS + FETCH,
        "Ignition (fetch) still tries GET https://configs.example.org/web-0?..., attempt 3",
        "DNS",
    ),
    (BOOT_LOADER, f"{ANSWER}; its console says that it is in its boot loader", ""),
    ("".join(more for more, _, _ in START), ANSWER, ""),
    # A unit of the system's own that failed is not taken for the cause, but shown.
    (KERNEL + ROOT + "[FAILED] Failed to start x.service - Something.\r\n" + LOGIN, ANSWER, ""),
    ("", ANSWER, ""),
]


@pytest.mark.parametrize(("text", "cause", "fix"), FAILURES, ids=range(len(FAILURES)))
def test_the_first_cause_is_told_in_a_plain_sentence(text: str, cause: str, fix: str) -> None:
    why = diagnose(text, None, settle=10, answer=ANSWER)
    assert why.cause == cause
    assert fix in why.fix
    assert bool(fix) == bool(why.fix)
    assert "topsecret" not in str(why)
    assert len(why.evidence) <= 6


def test_what_is_interleaved_with_systemds_lines_is_read_all_the_same() -> None:
    text = (
        f"{KERNEL}[  OK     18.007468] ignition[886]: Ignition failed: config is not valid\r\n"
        "[   18.007468] no filesystem specified\r\n0m] Stopped target Basic System.\r\n"
    )
    assert diagnose(text, None, settle=10, answer=ANSWER).cause == "Ignition failed: config is not valid"


def test_a_node_that_reports_has_left_behind_what_its_console_said() -> None:
    report = Report(
        version=1,
        jobs=(JobReport(unit="dev-disk-by\\x2did-virtio\\x2ddata\\x2ddb.device", type="start", state="running"),),
    )
    why = diagnose(IGNITION_FAILS, report, settle=10, answer=ANSWER)
    assert why.cause == "its data disk db is not there: no device /dev/disk/by-id/virtio-data-db"


# What is told.


def test_a_phase_is_told_when_it_changes_and_every_minute() -> None:
    progress, pulling = Progress(), Phase("pulling", "pulling the image of web")
    probing = (Phase("probing", "probing", "refused"), Phase("probing", "probing", "status 503"))
    told = [progress.line(probing[0], 0, 900), progress.line(pulling, 4, 900)]
    told += [progress.line(pulling, spent, 900) for spent in range(6, 150, 2)]
    # A unit that fails and is started again is no news each time.
    told += [progress.line(probing[1], 151, 900), progress.line(pulling, 152, 900), progress.line(probing[1], 190, 900)]
    assert [line for line in told if line] == [
        "probing: refused (0 s of 900 s)",
        "pulling the image of web (4 s of 900 s)",
        "still pulling the image of web (64 s of 900 s)",
        "still pulling the image of web (124 s of 900 s)",
        "still probing: status 503 (190 s of 900 s)",
    ]
    assert read_progress(told[1]) == ("pulling the image of web", 4, 900)
    assert read_progress("still pulling the image of web (64 s of 900 s)") == ("pulling the image of web", 64, 900)
    assert read_progress("stopping") is None
