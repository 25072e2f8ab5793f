"""Names of services that Fedora CoreOS itself has, which no unit of a workload may replace.

A Quadlet file ``sshd.container`` makes ``sshd.service``, in a folder that comes before the system's own: the node would
have no SSH. The services are those of the packages in Fedora CoreOS's manifest lock
(github.com/coreos/fedora-coreos-config, ``manifest-lock.x86_64.json``) and of its overlays, disabled ones too.
"""

from __future__ import annotations

_FAMILIES = (
    "afterburn", "console-login-helper-messages", "coreos", "fleet", "ignition", "initrd", "rpm-ostree", "rpm-ostreed",
    "sssd", "sshd", "systemd",
)  # fmt: skip
"""Each stands for the service of its name, and for all whose name begins with it and a dash."""

_SERVICES = {
    "audit-rules", "auditd", "auth-rpcgss-module", "blk-availability", "bootloader-update", "bootupd", "btrfs-scrub",
    "chrony-wait", "chronyd", "chronyd-restricted", "clevis-luks-askpass", "containerd", "dbus", "dbus-broker",
    "debug-shell", "dm-event", "dnf-makecache", "dnsmasq", "docker", "dracut-shutdown", "e2scrub-all", "e2scrub-reap",
    "emergency", "fstrim", "fwupd", "fwupd-refresh", "getty-static", "gssproxy", "ip6tables", "iptables",
    "irqbalance", "iscsi", "iscsi-init", "iscsi-onboot", "iscsi-shutdown", "iscsi-starter", "iscsid", "iscsiuio",
    "isnsd", "kdump", "kmod-static-nodes", "ldconfig", "logrotate", "lvm-devices-import", "lvm2-lvmpolld",
    "lvm2-monitor", "mdadm-last-resort", "mdcheck-continue", "mdcheck-start", "mdmonitor", "mdmonitor-oneshot",
    "microcode", "multipathd", "nfs-blkmap", "nfs-idmapd", "nfs-mountd", "nfs-server", "nfs-utils", "nftables",
    "nis-domainname", "nm-cloud-setup", "nm-priv-helper", "nvme-autoconnect", "nvmefc-boot-connections",
    "nvmf-autoconnect", "ostree-boot-complete", "ostree-finalize-staged", "ostree-prepare-root", "ostree-remount",
    "pam-namespace", "passim", "podman", "podman-auto-update", "podman-clean-transient", "podman-restart", "polkit",
    "quotaon", "raid-check", "rc-local", "rescue", "rpc-gssd", "rpc-statd", "rpc-statd-notify", "rpc-svcgssd",
    "rpcbind", "rpmdb-migrate", "rpmdb-rebuild", "rsyncd", "selinux-autorelabel", "selinux-autorelabel-mark",
    "selinux-check-proper-disable", "stalld", "teamd", "user-cloudinit", "user-cloudinit-proc-cmdline",
    "user-configdrive", "xfs-scrub-all", "zincati",
}  # fmt: skip


def is_system_service(name: str) -> bool:
    """Whether Fedora CoreOS, or fleet on it, has a service of this name.

    Args:
        name: Without ``.service``.
    """
    return name in _SERVICES or any(name == family or name.startswith(f"{family}-") for family in _FAMILIES)
