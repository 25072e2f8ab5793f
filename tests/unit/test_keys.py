"""The tables of keys: each key is said to Podman, to Docker and by Compose files, or refused in words."""

from __future__ import annotations

import re
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from fleet.config import Snippet
from fleet.errors import FleetError
from fleet.model import Model, attributes
from fleet.workloads import (
    Build,
    Container,
    HealthCheck,
    ImagePull,
    Network,
    Pod,
    Volume,
    Workload,
    workload_snippet,
)
from fleet.workloads.compose import read_compose
from fleet.workloads.compose_model import BuildUse, Check, NetworkUse, Service, VolumeUse
from fleet.workloads.compose_project import Surroundings
from fleet.workloads.rendering import Key, Refused, Special, keys
from tools.reference import FOLDER, PAGES

IMAGE = "docker.io/library/busybox:1"
CHECK = {"command": "true"}

SAMPLES: dict[type[Model], dict[str, Any]] = {
    Container: {
        "image": "docker.io/library/caddy:2", "pull": "always", "entrypoint": ["/bin/x"], "command": ["run"],
        "environment": {"A": "1"}, "labels": {"a": "b"}, "pod": "front", "networks": ["net"], "ports": ["80:80"],
        "volumes": ["/var/lib/a:/a"], "files": [{"text": "x", "target": "/etc/x"}], "tmpfs": ["/run"],
        "depends_on": ["other"], "secrets": ["token"], "run_as": "app", "user": "10", "groups": [11],
        "working_dir": "/srv", "hostname": "h", "add_hosts": ["a:10.0.0.1"], "dns": ["10.0.0.2"],
        "devices": ["/dev/null"], "drop_capabilities": ["all"], "add_capabilities": ["CHOWN"],
        "no_new_privileges": True, "read_only": True, "init": True, "sysctl": {"net.a": 1}, "ulimits": ["nproc=5"],
        "auto_update": "registry", "pids": 5, "shm_size": "1m", "stop_signal": "SIGINT", "stop_timeout": 5,
        "health": CHECK, "oneshot": True, "schedule": "daily", "restart": "on-failure", "start_timeout": 5,
        "memory": "1m", "cpus": 1.5, "arguments": ["--ipc=host"], "quadlet": {"Service": {"Nice": "5"}},
    },
    HealthCheck: {
        "command": "false", "interval": "1s", "timeout": "1s", "retries": 5, "start_period": "1s",
        "on_failure": "restart", "notify": False,
    },
    Pod: {"networks": ["net"], "ports": ["80:80"], "add_hosts": ["a:10.0.0.1"], "dns": ["10.0.0.2"], "run_as": "app"},
    Network: {
        "subnets": ["10.1.0.0/24"], "internal": True, "dns": False, "dns_servers": ["10.0.0.2"], "ipv6": True,
        "options": {"mtu": "1400"}, "labels": {"a": "b"}, "run_as": "app",
    },
    Volume: {"labels": {"a": "b"}, "type": "tmpfs", "device": "tmpfs", "options": "size=1m", "run_as": "app"},
    ImagePull: {
        "image": "docker.io/library/caddy:2", "auth_file": "/etc/auth.json", "tls_verify": False, "run_as": "app",
    },
    Build: {
        "tag": "localhost/x:1", "file": "Other", "context": "elsewhere", "outside": True, "target": "t",
        "environment": {"A": "1"}, "args": {"A": "1"}, "run_as": "app",
    },
}  # fmt: skip
"""Of every field of the tables, a value that is not the default."""
FIELDS = [(model, field) for model, fields in SAMPLES.items() for field in fields]

COMPOSE: dict[str, dict[str, Any]] = {
    "image": {"image": "caddy:2"}, "pull": {"pull_policy": "always"}, "entrypoint": {"entrypoint": ["/bin/x"]},
    "command": {"command": ["run"]}, "environment": {"environment": {"A": "1"}}, "labels": {"labels": {"a": "b"}},
    "networks": {"networks": ["net"]}, "ports": {"ports": ["80:80"]}, "volumes": {"volumes": ["/var/lib/a:/a"]},
    "files": {"configs": ["c"]}, "tmpfs": {"tmpfs": "/run"}, "depends_on": {"depends_on": ["two"]},
    "secrets": {"secrets": ["token"]}, "user": {"user": "10"}, "groups": {"group_add": [11]},
    "working_dir": {"working_dir": "/srv"}, "hostname": {"hostname": "h"}, "add_hosts": {"extra_hosts": ["a:10.0.0.1"]},
    "dns": {"dns": "10.0.0.2"}, "devices": {"devices": ["/dev/null"]}, "drop_capabilities": {"cap_drop": ["ALL"]},
    "add_capabilities": {"cap_add": ["CHOWN"]}, "no_new_privileges": {"security_opt": ["no-new-privileges"]},
    "read_only": {"read_only": True}, "init": {"init": True}, "sysctl": {"sysctls": {"net.a": 1}},
    "ulimits": {"ulimits": {"nproc": 5}}, "pids": {"pids_limit": 5}, "shm_size": {"shm_size": "1m"},
    "stop_signal": {"stop_signal": "SIGINT"}, "stop_timeout": {"stop_grace_period": "5s"},
    "health": {"healthcheck": {"test": "true"}},
    "restart": {"restart": "on-failure"}, "memory": {"mem_limit": "1m"}, "cpus": {"cpus": 1.5},
    "arguments": {"ipc": "host"}, "quadlet": {"restart": "on-failure:5"},
}  # fmt: skip
"""By a container's field, what of a service in a Compose file sets it."""


def workload(model: type[Model], keys: dict[str, Any], engine: str) -> dict[str, Any]:
    """A workload that has one thing of a kind, with some keys."""
    minimum: dict[Any, dict[str, Any]] = {
        Container: {"image": IMAGE}, ImagePull: {"image": IMAGE}, HealthCheck: CHECK, Build: {"context": "here"},
    }  # fmt: skip
    thing = {**minimum.get(model, {}), **keys}
    whole: dict[str, Any] = {
        "engine": engine,
        "users": {"app": {"uid": 2001}},
        "networks": {"net": {}},
        "containers": {"other": {"image": IMAGE}},
    }
    if engine == "podman":
        whole["pods"] = {"front": {}}
    if model is HealthCheck:
        model, thing = Container, {"image": IMAGE, "health": thing}
    kind = {
        Container: "containers", Pod: "pods", Network: "networks", Volume: "volumes", ImagePull: "images",
        Build: "builds",
    }[model]  # fmt: skip
    return {**whole, kind: {**whole.get(kind, {}), "thing": thing}}


def compiled(model: type[Model], keys: dict[str, Any], engine: str, folder: Path) -> Snippet:
    spec = Workload.model_validate(workload(model, keys, engine))
    return workload_snippet(spec, secrets={"token": "t"}, folder=folder)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("here", "elsewhere"):
        (tmp_path / name).mkdir()
        for file in ("Containerfile", "Other"):
            (tmp_path / name / file).write_text(f"FROM {name}\n")
    return tmp_path


def models(model: type[Model] = Workload) -> Iterator[type[Model]]:
    """The models that are below another."""

    def inside(annotation: Any) -> Iterator[type[Model]]:
        if isinstance(annotation, type) and issubclass(annotation, Model):
            yield annotation
            yield from models(annotation)
        for argument in typing.get_args(annotation):
            yield from inside(argument)

    for field in model.model_fields.values():
        yield from inside(field.annotation)


def test_every_field_of_a_table_says_itself_to_each_and_has_a_sample_and_a_sentence() -> None:
    assert {model for model in models() if keys(model)} == set(SAMPLES)
    for model, samples in SAMPLES.items():
        assert [field for field, _ in keys(model)] == list(model.model_fields), model
        assert set(samples) == set(model.model_fields), model
        assert list(attributes(model)) == list(model.model_fields), model


def test_a_field_that_cannot_be_said_says_why_in_a_sentence() -> None:
    reasons = [way.word for model in SAMPLES for _, message in keys(model) for way in (message.docker, message.compose)
               if isinstance(way, Refused)]  # fmt: skip
    assert len(reasons) > 20
    assert [reason for reason in reasons if not re.fullmatch(r"[A-Z`].{12,}\.", reason)] == []


@pytest.mark.parametrize(("model", "field"), FIELDS, ids=lambda value: getattr(value, "__name__", value))
def test_every_field_reaches_podman(model: type[Model], field: str, folder: Path) -> None:
    plain = compiled(model, {}, "podman", folder)
    if field == "outside":  # What it changes is where files may be.
        with pytest.raises(FleetError, match="outside"):
            compiled(model, {"context": ".."}, "podman", folder / "here")
        (folder / "Containerfile").write_text("FROM x\n")
        assert compiled(model, {"context": "..", "outside": True}, "podman", folder / "here") != plain
        return
    assert compiled(model, {field: SAMPLES[model][field]}, "podman", folder) != plain


@pytest.mark.parametrize(("model", "field"), FIELDS, ids=lambda value: getattr(value, "__name__", value))
def test_every_field_reaches_docker_or_is_refused_with_its_reason(model: type[Model], field: str, folder: Path) -> None:
    message, value = dict(keys(model))[field], {field: SAMPLES[model][field]}
    if model in (Pod, Volume, ImagePull, Build):
        with pytest.raises(ValueError, match=f"the engine docker has no {model.__name__.lower().removesuffix('pull')}"):
            compiled(model, value, "docker", folder)
    elif isinstance(message.docker, Refused) and field != "pod":
        with pytest.raises(FleetError, match=re.escape(f"`{field}`, which the engine docker cannot do. ")) as caught:
            compiled(model, value, "docker", folder)
        assert message.docker.word in str(caught.value)
    elif field in ("pod", "on_failure"):
        with pytest.raises((FleetError, ValueError), match=r"not among `pods`|which the engine docker cannot do"):
            compiled(model, value, "docker", folder)
    else:
        assert compiled(model, value, "docker", folder) != compiled(model, {}, "docker", folder)


def read(folder: Path, service: dict[str, Any], two: dict[str, Any]) -> Container:
    """The container of a service in a Compose file."""
    file = {
        "services": {"one": {"image": "x/y", **service}, "two": {"image": "x/y", **two}},
        "networks": {"net": {}},
        "secrets": {"token": {"external": True}},
        "configs": {"c": {"content": "x"}},
    }
    path = folder / "compose.yaml"
    path.write_text(yaml.safe_dump(file))
    around = Surroundings(base=folder, boundary=None, variables={}, secrets=["token"])
    return Workload.model_validate(read_compose(path, around)).containers["one"]


def test_every_field_comes_from_a_compose_file_or_says_why_not(folder: Path) -> None:
    refused = {field for field, message in keys(Container) if isinstance(message.compose, Refused)}
    # What depends on a service makes it one that is to end.
    assert COMPOSE.keys() | {"oneshot"} == Container.model_fields.keys() - refused
    plain = read(folder, {}, {})
    for field, keys_of_one in COMPOSE.items():
        assert getattr(read(folder, keys_of_one, {}), field) != getattr(plain, field), field


def test_a_service_whose_end_another_waits_for_is_to_end(folder: Path) -> None:
    ends = {"depends_on": {"one": {"condition": "service_completed_successfully"}}}
    assert read(folder, {}, ends).oneshot


def test_what_compose_files_say_is_known_to_the_model_of_compose_files() -> None:
    parts: dict[type[Model], type[Model]] = {
        Container: Service, HealthCheck: Check, Network: NetworkUse, Volume: VolumeUse, Build: BuildUse,
    }  # fmt: skip
    for model, part in parts.items():
        for field, message in keys(model):
            match message.compose:
                case Key(key):
                    assert key in part.model_fields, (model, field)
                case Special(words):
                    for key in words.split():
                        assert key in {**part.model_fields, **Service.model_fields}, (model, field, key)


def test_the_reference_is_what_the_tables_say() -> None:
    for name, page in PAGES.items():
        assert (FOLDER / name).read_text() == page(), "run `make docs`"
