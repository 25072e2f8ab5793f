"""Suggestions for unknown keys: words of Compose, Kubernetes, Terraform, Quadlet and cloud-init.

Nearness alone would offer `internal` for `external`, or `image` for `timer`.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping

_WORDS: Mapping[str, tuple[str, ...]] = {
    key: tuple(keys.split())
    for words, keys in {
        "env environments environment_variables envs variables vars": "environment",
        "args cmd exec arguments": "command",
        "entry_point": "entrypoint",
        "cap_add capabilities": "add_capabilities",
        "cap_drop": "drop_capabilities",
        "publish publish_port published_ports expose port listen": "ports port",
        "services service apps workloads": "containers",
        "replicas instances scale node_count number": "count",
        "timer cron calendar on_calendar cronjob": "schedule calendar",
        "extra_hosts add_host hosts host_aliases": "add_hosts",
        "dns_servers nameservers": "dns dns_servers",
        "mem_limit memory_limit mem memory_max": "memory",
        "cpu cpu_limit cpu_quota vcpus": "cpus size",
        "pids_limit": "pids",
        "healthcheck health_check liveness liveness_probe livenessprobe health_cmd": "health ready",
        "readiness readiness_probe readinessprobe probe probes health checks wait_for": "ready",
        "test check cmd_shell": "command",
        "restart_policy restartpolicy": "restart",
        "stop_grace_period termination_grace_period_seconds": "stop_timeout",
        "timeout_start_sec": "start_timeout",
        "network network_mode": "networks",
        "volume mounts bind binds volume_mounts": "volumes",
        "mount_path mountpoint mount_point path where": "mount target",
        "sysctls": "sysctl",
        "workdir working_directory": "working_dir",
        "host_name": "hostname",
        "secret": "secrets",
        "config configs file": "files",
        "content contents inline data": "text",
        "src from_file local": "source",
        "dest destination dst": "target",
        "label annotations": "labels",
        "requires after wants depends needs links": "depends_on after",
        "build dockerfile": "builds",
        "network_name": "networks",
        "user_data userdata butane ignition config_file configs snippet": "snippets",
        "disks disk volume_claims persistent_volumes storage": "data_disks",
        "size_gb gib gb disk_size capacity_gib": "size_gib",
        "fs fstype filesystem file_system fs_type": "format",
        "instance_type machine_type flavor server_type plan type": "size",
        "ssh_keys authorized_keys ssh_key public_keys ssh_public_keys": "ssh_authorized_keys keys",
        "rolling rolling_update update_strategy update strategy deploy update_config": "rollout strategy",
        "max_unavailable parallelism batch concurrency": "window",
        "domain domains hostnames dns_names fqdn": "names",
        "container_image img": "image",
        "read_only_rootfs readonly": "read_only",
        "security_opt": "no_new_privileges",
        "pull_policy image_pull_policy imagepullpolicy": "pull",
        "os stream release": "image",
        "allow_from source_ranges cidr_blocks sources": "from",
    }.items()
    for key in words.split()
}
"""By word: keys that it may stand for; the first one that is valid at the place is suggested."""

_SENTENCES: Mapping[str, tuple[str, str]] = {
    "privileged": (
        "add_capabilities",
        "Say what it needs: `add_capabilities`, `devices`; all is `quadlet: {Container: {PodmanArgs: --privileged}}`.",
    ),
    "external": (
        "run_as",
        "Everything here is made on the node, new with each one: leave the key out.",
    ),
    "env_file": (
        "environment",
        "Write the variables under `environment`; what is secret goes to `secrets` with `type: env`.",
    ),
    "logging": (
        "quadlet",
        "Podman logs to the journal; another driver is `quadlet: {Container: {LogDriver: ...}}`.",
    ),
    "log_driver": ("quadlet", "Write `quadlet: {Container: {LogDriver: ...}}`."),
    "container_name": ("image", "A container's name is its key under `containers`."),
    "name": ("image", "A container's name is its key under `containers`."),
    "platform": ("groups", "The platform is the stack's: `pulumi config set fleet:platform PLATFORM`."),
    "region": ("groups", "The region is the stack's, in its `Pulumi.STACK.yaml`: see docs/platforms.md."),
    "provider": ("groups", "The platform is the stack's: `pulumi config set fleet:platform PLATFORM`."),
    "profiles": ("image", "A container that is not to run is left out."),
    "deploy": ("image", "Limits are `memory`, `cpus` and `pids`; how many nodes is `count` of the group."),
    "resources": ("image", "Limits are `memory`, `cpus` and `pids`."),
}
"""By word: a key that must be valid at the place for the sentence to apply, and the sentence."""


def hint(word: str, known: Collection[str]) -> str:
    """A sentence that helps with a key that does not exist.

    Args:
        word: The key.
        known: The keys that are known in its place.
    """
    plain = word.lower().replace("-", "_")
    needs, sentence = _SENTENCES.get(plain, ("", ""))
    if sentence and needs in known:
        return sentence
    match = next((key for key in _WORDS.get(plain, ()) if key in known), None)
    close = difflib.get_close_matches(plain, sorted(known), n=1, cutoff=0.75)
    match = match or (close[0] if close and plain not in _WORDS and plain not in _SENTENCES else None)
    if match:
        return f"Did you mean `{match}`?"
    return f"The keys here are: {', '.join(sorted(known))}." if known else "There are none here."


def nearest(word: str, known: Collection[str]) -> str:
    """A sentence that suggests the key with the most similar spelling; empty if there is none.

    Args:
        word: The key.
        known: The keys that there are.
    """
    close = difflib.get_close_matches(word.lower(), sorted(known), n=1, cutoff=0.75)
    return f"Did you mean `{close[0]}`?" if close else ""
