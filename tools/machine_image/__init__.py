"""The stand-in machine image: Debian trixie packages and the real Ignition, booting as Fedora CoreOS does.

For machines that cannot reach Fedora's download site, tests and the demo boot this instead. It is made to look the
same from outside, so that a platform has one way to start a node:

- a GPT disk with a BIOS boot partition, ``boot`` and ``root``, started by GRUB from its MBR;
- GRUB adds ``ignition.firstboot`` while ``/ignition.firstboot`` is on ``boot``; the first boot removes that file;
- Ignition (the newest that the Go module proxy serves) runs in the initramfs and reads its config from fw_cfg;
- user ``core``, units enabled by presets, Podman with Quadlet.

And it carries the container images that cannot be pulled offline, under the references that specs name.

It is not Fedora CoreOS: no SELinux, no rpm-ostree, no Zincati, no Afterburn.

:func:`machine_image` builds what is missing in the cache and returns the path of the qcow2 file. It needs root.
"""

from tools.machine_image.build import IGNITION_SPEC, derived_image, machine_image, rootfs

__all__ = ["IGNITION_SPEC", "derived_image", "machine_image", "rootfs"]
