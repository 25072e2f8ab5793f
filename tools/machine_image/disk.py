"""The disk: partitions, file systems and GRUB, written without a loop device."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
from pathlib import Path

MIB = 1 << 20
SECTOR = 512
BIOS_BOOT, BOOT, ROOT = 1, 3, 4
"""Partition numbers, FCOS's (2 is its EFI system partition)."""
BOOT_MIB, ROOT_MIB = 128, 3072

GRUB_MODULES = "biosdisk part_gpt ext2 normal linux search search_label test configfile serial terminal minicmd".split()


def boot_tree(root: Path, boot: Path, kernel_arguments: str) -> None:
    """Move the kernel out of ``root`` and lay out the ``boot`` file system, with GRUB's first stages beside it."""
    (boot / "fs/grub").mkdir(parents=True)
    kernel = next((root / "boot").glob("vmlinuz-*"))
    shutil.copyfile(kernel, boot / "fs/vmlinuz")
    shutil.move(root / "boot/initrd", boot / "fs/initrd")
    for leftover in [*(root / "boot").iterdir(), *root.glob("vmlinuz*"), *root.glob("initrd*")]:
        leftover.unlink()
    (boot / "fs/ignition.firstboot").touch()
    (boot / "fs/grub/grub.cfg").write_text(
        "serial --unit=0 --speed=115200\n"
        "terminal_output serial\n"
        "set firstboot=\n"
        'if [ -f /ignition.firstboot ]; then set firstboot="ignition.firstboot"; fi\n'
        f"linux /vmlinuz {kernel_arguments} $firstboot\n"
        "initrd /initrd\n"
        "boot\n"
    )
    (root / "grub-early.cfg").write_text("search --label boot --set=root\nconfigfile /grub/grub.cfg\n")
    _run(
        "chroot", root, "grub-mkimage", "-O", "i386-pc", "-p", "/grub", "-c", "/grub-early.cfg", "-o", "/core.img",
        *GRUB_MODULES,
    )  # fmt: skip
    shutil.move(root / "core.img", boot / "core.img")
    (root / "grub-early.cfg").unlink()
    shutil.copyfile(root / "usr/lib/grub/i386-pc/boot.img", boot / "boot.img")


def write(root: Path, boot: Path, raw: Path, qcow2: Path) -> None:
    """Write the disk image."""
    starts = {BIOS_BOOT: 1, BOOT: 2, ROOT: 2 + BOOT_MIB}
    with raw.open("wb") as out:
        out.truncate((starts[ROOT] + ROOT_MIB + 1) * MIB)
    table = (
        "label: gpt\n"
        f"{BIOS_BOOT}: start={starts[BIOS_BOOT]}MiB, size=1MiB, "
        "type=21686148-6449-6E6F-744E-656564454649, name=BIOS-BOOT\n"
        f"{BOOT}: start={starts[BOOT]}MiB, size={BOOT_MIB}MiB, name=boot\n"
        f"{ROOT}: start={starts[ROOT]}MiB, size={ROOT_MIB}MiB, type=4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709, name=root\n"
    )
    _run("sfdisk", "--quiet", raw, stdin=table)
    _make_file_system("boot", boot / "fs", raw, starts[BOOT], BOOT_MIB)
    _make_file_system("root", root, raw, starts[ROOT], ROOT_MIB)
    _install_grub(boot, raw, starts[BIOS_BOOT] * MIB // SECTOR)
    _run("qemu-img", "convert", "-O", "qcow2", raw, qcow2)


def _make_file_system(label: str, tree: Path, raw: Path, start_mib: int, size_mib: int) -> None:
    _run(
        "mke2fs", "-q", "-t", "ext4", "-L", label, "-d", tree, "-m", "0", "-O", "^metadata_csum_seed,^orphan_file",
        "-E", f"offset={start_mib * MIB},lazy_itable_init=1,root_owner=0:0", raw, f"{size_mib}M",
    )  # fmt: skip


def _install_grub(boot: Path, raw: Path, core_sector: int) -> None:
    """Do grub-install's work on an image file: boot.img in the MBR, core.img in the BIOS boot partition.

    Offsets are those of GRUB's ``include/grub/i386/pc/boot.h``: boot.img holds core's first sector at 0x5C and a
    drive-check jump at 0x66 (two NOPs: use the drive that the BIOS booted from); core's first sector ends in a block
    list, whose first entry is at 0x1F4: next sector, number of sectors, load segment.
    """
    core = bytearray((boot / "core.img").read_bytes())
    core += bytes(-len(core) % SECTOR)
    struct.pack_into("<QHH", core, 0x1F4, core_sector + 1, len(core) // SECTOR - 1, 0x820)
    mbr = bytearray((boot / "boot.img").read_bytes())
    struct.pack_into("<Q", mbr, 0x5C, core_sector)
    mbr[0x66:0x68] = b"\x90\x90"
    with raw.open("r+b") as disk:
        partition_table = os.pread(disk.fileno(), SECTOR, 0)[0x1B8:]
        os.pwrite(disk.fileno(), bytes(mbr[:0x1B8]) + partition_table, 0)
        os.pwrite(disk.fileno(), core, core_sector * SECTOR)


def _run(*command: str | os.PathLike[str], stdin: str | None = None) -> None:
    subprocess.run(command, check=True, text=True, input=stdin)
