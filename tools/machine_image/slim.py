"""What makes the tree small, and its boot short under emulation."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

EXCLUDE = (
    "/etc/kernel/postinst.d/dracut",
    "/etc/kernel/postrm.d/dracut",
    "/usr/share/doc/*",
    "/usr/share/man/*",
    "/usr/share/locale/*",
    "/usr/share/i18n/*",
    "/lib/modules/*/kernel/drivers/gpu/*",
    "/usr/lib/modules/*/kernel/drivers/gpu/*",
)
"""dpkg path-exclude patterns."""

MASKED = """
    ldconfig.service systemd-journal-catalog-update.service systemd-update-done.service systemd-hwdb-update.service
    systemd-firstboot.service systemd-binfmt.service proc-sys-fs-binfmt_misc.automount proc-sys-fs-binfmt_misc.mount
    e2scrub_reap.service modprobe@drm.service modprobe@efi_pstore.service modprobe@fuse.service sys-kernel-debug.mount
    sys-kernel-tracing.mount dev-hugepages.mount systemd-networkd-persistent-storage.service systemd-pstore.service
    serial-getty@.service getty.target getty@.service systemd-ask-password-console.path systemd-ask-password-wall.path
    systemd-journal-flush.service systemd-udev-load-credentials.service netavark-dhcp-proxy.service
    netavark-dhcp-proxy.socket systemd-tpm2-setup.service systemd-tpm2-setup-early.service systemd-sysext.socket
    systemd-creds.socket systemd-initctl.socket systemd-hostnamed.socket systemd-journald-audit.socket
    sshd-keygen.service systemd-remount-fs.service systemd-network-generator.service
    systemd-logind-varlink.socket
""".split()

UDEV_RULES = """
    60-autosuspend 60-cdrom_id 60-drm 60-evdev 60-fido-id 60-infiniband 60-persistent-alsa
    60-persistent-input 60-persistent-storage-mtd 60-persistent-storage-tape 60-persistent-v4l 60-sensor 60-tpm2-id
    70-camera 70-joystick 70-memory 70-mouse 70-touchpad 71-seat 73-seat-late 75-probe_mtd
    75-net-description 78-sound-card 81-net-dhcp 82-net-auto-link-local 90-iocost 90-fwupd 60-serial 96-e2scrub
""".split()
"""Rules for hardware that a virtual machine has not; the power button it has, which `system_powerdown` presses."""

GENERATORS = """
    systemd-ssh-generator systemd-gpt-auto-generator systemd-hibernate-resume-generator systemd-bless-boot-generator
    systemd-rc-local-generator systemd-sysv-generator systemd-tpm2-generator systemd-integritysetup-generator
    systemd-veritysetup-generator systemd-system-update-generator systemd-cryptsetup-generator
    systemd-debug-generator
""".split()

BLACKLISTED_MODULES = """
    kvm_amd kvm_intel kvm ghash_clmulni_intel sha512_ssse3 sha256_ssse3 sha1_ssse3 aesni_intel crct10dif_pclmul
    crc32_pclmul serio_raw ahci vsock_loopback vmw_vsock_vmci_transport i2c_i801 lpc_ich
""".split()


def prune(root: Path) -> None:
    """Take out of a root file system what only costs time at boot."""
    units = root / "etc/systemd/system"
    # Presets decide what is enabled, as on FCOS, not Debian's package scripts.
    for item in units.iterdir():
        if item.is_symlink():
            item.unlink()
        elif item.suffix in {".wants", ".requires"}:
            shutil.rmtree(item)
    for unit in MASKED:
        (units / unit).symlink_to("/dev/null")
    for key in root.glob("etc/ssh/ssh_host_*"):
        key.unlink()
    # Made once: key generation under emulation takes longer than the rest of the boot.
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", root / "etc/ssh/ssh_host_ed25519_key"], check=True
    )
    for path in ("usr/lib/udev/hwdb.bin", "etc/udev/hwdb.bin"):
        (root / path).unlink(missing_ok=True)
    shutil.rmtree(root / "usr/lib/udev/hwdb.d", ignore_errors=True)
    for rule in UDEV_RULES:
        (root / f"usr/lib/udev/rules.d/{rule}.rules").unlink(missing_ok=True)
    for generator in GENERATORS:
        (root / f"usr/lib/systemd/system-generators/{generator}").unlink(missing_ok=True)
    (root / "etc/modprobe.d/slim.conf").write_text("".join(f"blacklist {name}\n" for name in BLACKLISTED_MODULES))
    for cache in ("var/cache/apt", "var/lib/apt/lists"):
        shutil.rmtree(root / cache, ignore_errors=True)
