"""The stages of the build, each cached by its own inputs."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from tools import cache, go
from tools.machine_image import containers, disk, slim

HERE = Path(__file__).resolve().parent
SUITE = "trixie"
IGNITION_MODULE = go.MODULES / "ignition"
IGNITION_SPEC = "3.6.0"
"""What the Ignition in the image reads."""

PACKAGES = (
    "bash busybox-static catatonit conmon crun curl dbus dbus-user-session dosfstools dracut dracut-network e2fsprogs "
    "fdisk gdisk grub-pc-bin grub2-common iproute2 jq kmod libblkid1 libpam-systemd linux-image-cloud-amd64 netavark "
    "aardvark-dns nftables openssh-server passt passwd podman procps sudo systemd systemd-sysv tzdata uidmap udev "
    "util-linux util-linux-extra xfsprogs"
).split()

KERNEL_ARGUMENTS = (
    "root=LABEL=root rw console=ttyS0,115200 ignition.platform.id=qemu net.ifnames=0 mitigations=off loglevel=4 "
    "panic=5 rd.shell=0 rd.emergency=poweroff systemd.show_status=1 systemd.journald.forward_to_console=1 "
    "systemd.journald.max_level_console=info"
)
"""As on the FCOS images for QEMU (console, platform), and what keeps an emulated boot short and its log useful. A
failing Ignition powers the machine off: an emergency shell on a serial line helps nobody here. An emulated kernel now
and then panics while it patches its own code on several CPUs; it boots again."""


def machine_image() -> Path:
    """The bootable image, a qcow2 file, built if it is not in the cache. Needs root."""
    return cache.built("machine-image", _key(), _build) / "disk.qcow2"


def rootfs() -> Path:
    """The image's root file system as a folder: its tools judge, without a boot, what fleet generates."""
    return cache.built("machine-rootfs", _key(), lambda out: _root(out / "root")) / "root"


def _key() -> str:
    return cache.key_of(HERE, Path(cache.__file__), Path(go.__file__), IGNITION_MODULE)


def derived_image(name: str, images: Sequence[containers.ContainerImage]) -> Path:
    """The bootable image with more container images in it, built if it is not in the cache. Needs root."""
    key = cache.key_of(_key(), *map(containers.key_of, images))
    return cache.built(name, key, lambda out: _build(out, images)) / "disk.qcow2"


def _build(out: Path, images: Sequence[containers.ContainerImage] = ()) -> None:
    root = out / "root"
    _run("cp", "--archive", "--reflink=auto", rootfs(), root)
    if images:
        with _chroot_mounts(root):
            _load(root, images)
    boot = out / "boot"
    disk.boot_tree(root, boot, KERNEL_ARGUMENTS)
    disk.write(root, boot, out / "disk.raw", out / "disk.qcow2")
    shutil.rmtree(root)
    shutil.rmtree(boot)
    (out / "disk.raw").unlink()


def _root(root: Path) -> None:
    """Packages, overlay, Ignition, container images and initramfs: the root file system as it goes on the disk."""
    root.mkdir()
    packages = cache.built("debian-rootfs", cache.key_of(SUITE, *PACKAGES, str(slim.EXCLUDE)), _bootstrap)
    _run("tar", "-C", root, "--numeric-owner", "--xattrs", "-xpf", packages / "rootfs.tar")
    shutil.copytree(HERE / "overlay", root, dirs_exist_ok=True)
    _install_ignition(root)
    slim.prune(root)
    # Fedora's administrators' group, which the base config of the initramfs puts user core in.
    _run("chroot", root, "groupadd", "--system", "wheel")
    _first_boot_state(root)
    with _chroot_mounts(root):
        _load(root, containers.IMAGES)
        kernel = next((root / "usr/lib/modules").iterdir()).name
        _run("chroot", root, "dracut", "--force", "--quiet", "--no-hostonly", "/boot/initrd", kernel)


def _load(root: Path, images: Sequence[containers.ContainerImage]) -> None:
    """Give container images to the Podman of a root file system whose mounts are there."""
    for image, archive in containers.archives(bootstrap, images):
        if image.rootless:
            # A user's Podman has images of its own: `overlay` has a unit that loads these.
            (root / "usr/share/rootless-images").mkdir(exist_ok=True)
            shutil.copyfile(archive, root / f"usr/share/rootless-images/{archive.parent.parent.name}.tar")
        shutil.copyfile(archive, root / "image.tar")
        _run("chroot", root, "podman", "load", "--quiet", "--input", "/image.tar")
        (root / "image.tar").unlink()


def bootstrap(packages: Sequence[str], out: Path, *, variant: str = "minbase", suite: str = SUITE) -> None:
    """Unpack and configure Debian packages, with what they need, to a tar file."""
    mirror = _mirror()
    keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"
    _run(
        "mmdebstrap",
        "--quiet",
        f"--variant={variant}",
        f"--include={','.join(packages)}",
        '--aptopt=APT::Install-Recommends "false"',
        *(f"--dpkgopt=path-exclude={pattern}" for pattern in slim.EXCLUDE),
        # dracut's kernel hook would make an initramfs that nothing uses.
        '--essential-hook=mkdir -p "$1/etc/kernel/postinst.d"; '
        'printf "#!/bin/sh\\n" > "$1/etc/kernel/postinst.d/dracut"; chmod 755 "$1/etc/kernel/postinst.d/dracut"',
        suite,
        out,
        *([f"deb [signed-by={keyring}] {mirror} {suite} main"] if mirror else []),
    )


def _bootstrap(out: Path) -> None:
    bootstrap(PACKAGES, out / "rootfs.tar")


def _mirror() -> str:
    """The Debian mirror that apt on this machine is set to; empty where there is none: mmdebstrap knows a default."""
    if not shutil.which("apt-get"):
        return ""
    listed = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"], capture_output=True, text=True
    ).stdout.split()
    return next((uri for uri in listed if re.search(r"/debian/?$", uri)), "")


def _install_ignition(root: Path) -> None:
    """Put the pinned Ignition, and its own dracut module, in the place of Debian's packaging."""
    binary = cache.built("ignition", cache.key_of(IGNITION_MODULE, Path(go.__file__)), _build_ignition) / "ignition"
    source = subprocess.run(
        [go.go(), "list", "-m", "-f", "{{.Dir}}", "github.com/coreos/ignition/v2"],
        cwd=IGNITION_MODULE,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    module = root / "usr/lib/dracut/modules.d/30ignition"
    module.mkdir(parents=True)
    for item in (Path(source) / "dracut/30ignition").iterdir():
        target = module / item.name
        shutil.copyfile(item, target)
        target.chmod(0o755 if item.suffix == ".sh" or item.name == "ignition-generator" else 0o644)
    setup = module / "module-setup.sh"
    # Ignition fetches by itself; dracut's curl and its wait for a network only cost time.
    setup.write_text(setup.read_text().replace("echo qemu systemd url-lib network", "echo qemu systemd"))
    shutil.copy(binary, module / "ignition")
    (root / "usr/libexec").mkdir(exist_ok=True)
    (root / "usr/libexec/ignition-apply").symlink_to("../lib/dracut/modules.d/30ignition/ignition")


def _build_ignition(out: Path) -> None:
    package = "github.com/coreos/ignition/v2/internal"
    go.build(
        IGNITION_MODULE,
        package,
        out / "ignition",
        variables={
            f"{package}/version.Raw": go.pinned_version(IGNITION_MODULE, "github.com/coreos/ignition/v2"),
            f"{package}/distro.selinuxRelabel": "false",
        },
        cgo=True,
    )


def _first_boot_state(root: Path) -> None:
    """A machine id of "uninitialized" makes systemd apply presets at the first boot, as FCOS does."""
    (root / "etc/machine-id").write_text("uninitialized\n")
    (root / "var/lib/dbus/machine-id").unlink(missing_ok=True)
    (root / "etc/fstab").write_text("")
    (root / "etc/hostname").unlink(missing_ok=True)
    default_target = root / "etc/systemd/system/default.target"
    default_target.unlink(missing_ok=True)
    default_target.symlink_to("/usr/lib/systemd/system/multi-user.target")


@contextlib.contextmanager
def _chroot_mounts(root: Path) -> Iterator[None]:
    # The root is bound to itself: Podman remounts what it finds at "/", which must be a mount point.
    mounts: tuple[tuple[str, list[str | Path]], ...] = (
        ("", ["--bind", root]),
        ("proc", ["-t", "proc", "proc"]),
        ("sys", ["-t", "sysfs", "sys"]),
        ("dev", ["--bind", "/dev"]),
    )
    result: list[Path] = []
    try:
        for name, arguments in mounts:
            _run("mount", *arguments, root / name)
            result.append(root / name)
        yield
    finally:
        for path in reversed(result):
            _run("umount", "--recursive", path)


def _run(*command: str | os.PathLike[str]) -> None:
    subprocess.run(command, check=True)
