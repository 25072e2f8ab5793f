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
_EVERYWHERE = "ContainersConfModule GlobalArgs PodmanArgs ServiceName"
KEYS = {
    "Container": _CONTAINER,
    "Pod": set(
        f"{_EVERYWHERE} AddHost DNS DNSOption DNSSearch ExitPolicy GIDMap HostName IP IP6 Label Network NetworkAlias "
        "PodName PublishPort RemapGid RemapUid RemapUidSize RemapUsers ShmSize StopTimeout SubGIDMap SubUIDMap UIDMap "
        "UserNS Volume".split()
    ),
    "Kube": set(
        f"{_EVERYWHERE} AutoUpdate ConfigMap ExitCodePropagation KubeDownForce LogDriver LogOpt Network PublishPort "
        "RemapGid RemapUid RemapUidSize RemapUsers SetWorkingDirectory UserNS Yaml".split()
    ),
    "Network": set(
        f"{_EVERYWHERE} DNS DisableDNS Driver Gateway IPAMDriver IPRange IPv6 InterfaceName Internal Label "
        "NetworkDeleteOnStop NetworkName Options Subnet".split()
    ),
    "Volume": set(f"{_EVERYWHERE} Copy Device Driver Group Image Label Options Type User VolumeName".split()),
    "Image": set(
        f"{_EVERYWHERE} AllTags Arch AuthFile CertDir Creds DecryptionKey Image ImageTag OS Policy Retry RetryDelay "
        "TLSVerify Variant".split()
    ),
    "Build": set(
        f"{_EVERYWHERE} Annotation Arch AuthFile BuildArg DNS DNSOption DNSSearch Environment File ForceRM GroupAdd "
        "IgnoreFile ImageTag Label Network Pull Retry RetryDelay Secret SetWorkingDirectory TLSVerify Target Variant "
        "Volume".split()
    ),
    "Quadlet": {"DefaultDependencies"},
}
"""By section of a Quadlet file that is Podman's."""
_NOT_IN_SERVICE = ("User", "Group", "DynamicUser")


def unknown_key(section: str, key: str) -> str:
    """What is wrong with a key of a Quadlet file; empty if nothing is.

    Args:
        section: "Container", "Service", ...: systemd itself reads the others, and only warns of what it does not know.
        key: The key.
    """
    names = KEYS.get(section)
    if names is not None and key not in names:
        close = difflib.get_close_matches(key.lower(), [known.lower() for known in names], n=1)
        hint = next((f"; did you mean {known}?" for known in sorted(names) if close == [known.lower()]), "")
        return f"Podman knows no key {key} in [{section}], and drops the whole unit for it{hint}"
    if section == "Service" and key in _NOT_IN_SERVICE:
        return f"Podman allows no {key} in [Service]: `run_as` says whose rootless Podman runs the container"
    return ""
