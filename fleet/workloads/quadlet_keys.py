"""Keys that Podman's generator knows in a Quadlet file.

It drops a whole unit for one key that it does not know (``pkg/systemd/quadlet/quadlet.go``, ``checkForUnknownKeys``),
and says so in the journal alone.
"""

from __future__ import annotations

import difflib

_CONTAINER = set(
    "AddCapability AddDevice AddHost Annotation AppArmor AutoUpdate CgroupsMode ContainerName "
    "ContainersConfModule DNS DNSOption DNSSearch DropCapability Entrypoint Environment EnvironmentFile "
    "EnvironmentHost Exec ExposeHostPort GIDMap GlobalArgs Group GroupAdd HealthCmd HealthInterval "
    "HealthLogDestination HealthMaxLogCount HealthMaxLogSize HealthOnFailure HealthRetries HealthStartPeriod "
    "HealthStartupCmd HealthStartupInterval HealthStartupRetries HealthStartupSuccess HealthStartupTimeout "
    "HealthTimeout HostName HttpProxy IP IP6 Image Label LogDriver LogOpt Mask Memory Mount Network NetworkAlias "
    "NoNewPrivileges Notify PidsLimit Pod PodmanArgs PublishPort Pull ReadOnly ReadOnlyTmpfs ReloadCmd "
    "ReloadSignal RemapGid RemapUid RemapUidSize RemapUsers Retry RetryDelay Rootfs RunInit SeccompProfile Secret "
    "SecurityLabelDisable SecurityLabelFileType SecurityLabelLevel SecurityLabelNested SecurityLabelType "
    "ServiceName ShmSize StartWithPod StopSignal StopTimeout SubGIDMap SubUIDMap Sysctl Timezone Tmpfs UIDMap "
    "Ulimit Unmask User UserNS VolatileTmp Volume WorkingDir".split()
)
_NOT_IN_SERVICE = ("User", "Group", "DynamicUser")


def unknown_key(section: str, key: str) -> str:
    """What is wrong with a key of a ``.container`` file; empty if nothing is.

    Args:
        section: "Container", "Service", ...: systemd itself reads the others, and only warns of what it does not know.
        key: The key.
    """
    if section == "Container" and key not in _CONTAINER:
        close = difflib.get_close_matches(key.lower(), [known.lower() for known in _CONTAINER], n=1)
        hint = next((f"; did you mean {known}?" for known in sorted(_CONTAINER) if close == [known.lower()]), "")
        return f"Podman knows no key {key} in [Container], and drops the whole unit for it{hint}"
    if section == "Service" and key in _NOT_IN_SERVICE:
        return f"Podman allows no {key} in [Service]: `run_as` says whose rootless Podman runs the container"
    return ""
