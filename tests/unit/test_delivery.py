"""Delivery: raw if it fits, compressed if not, uploaded if need be, refused with reasons otherwise."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json

import pytest

from fleet.config import Snippet, compose, compressed, deliver, packed
from fleet.config.ignition import file
from fleet.errors import FleetError
from fleet.plan import Limits, MachineConfig, configs_in, unpacked
from fleet.workloads import Workload, report_snippet


def config(*contents: str) -> MachineConfig:
    files = [file(f"/etc/{index}", text, mode=0o644) for index, text in enumerate(contents)]
    return compose([Snippet.from_ignition("x", {"ignition": {"version": "3.0.0"}, "storage": {"files": files}})])


REPETITIVE = config("".join(f"line {n} of a file that compresses well\n" for n in range(1000)))
RANDOM = config(*(hashlib.sha256(str(n).encode()).hexdigest() * (n % 7) for n in range(400)))


def test_what_fits_is_delivered_as_it_is() -> None:
    assert deliver(REPETITIVE, Limits(raw=None, most=None), node="n").user_data == REPETITIVE.ignition
    assert deliver(config("x"), Limits(raw=16384, most=16384), node="n").user_data == config("x").ignition


def test_what_does_not_fit_is_a_stub_that_holds_it_compressed() -> None:
    stub = deliver(REPETITIVE, Limits(raw=16384, most=16384), node="n").user_data
    assert len(stub) <= 16384 < len(REPETITIVE.ignition)
    replace = json.loads(stub)["ignition"]["config"]["replace"]
    data = base64.b64decode(replace["source"].removeprefix("data:;base64,"))
    assert gzip.decompress(data).decode() == REPETITIVE.ignition
    assert data[4:8] == b"\0\0\0\0"  # no time of compression


@pytest.mark.parametrize("made", [config(), config("x"), REPETITIVE, RANDOM], ids=["empty", "short", "long", "random"])
def test_a_platform_is_given_the_shorter_of_a_config_and_a_stub_and_both_are_read_back(made: MachineConfig) -> None:
    given = packed(made.ignition)
    assert len(given) <= len(made.ignition)
    assert given == packed(made.ignition)
    assert made.ignition in configs_in(given)
    assert made.ignition in configs_in(made.ignition)
    assert made.ignition in configs_in(compressed(made.ignition))
    # It is one that Ignition takes.
    assert compose([Snippet("given", given, "ignition")])


def test_a_stub_is_not_packed_again() -> None:
    stub = deliver(REPETITIVE, Limits(raw=16384, most=16384), node="n").user_data
    assert packed(stub) == stub
    stored = deliver(RANDOM, Limits(raw=16384, most=16384, store="s3://bucket/n/"), node="n").user_data
    assert packed(stored) == stored


@pytest.mark.parametrize("text", ["", "x", "web-0.qcow2", "H4sI", "H4sIAAAAAAAA", "AAAA", "é"])
def test_what_is_no_config_holds_none(text: str) -> None:
    assert list(configs_in(text)) == []
    with pytest.raises(ValueError):  # noqa: PT011
        unpacked(text)


def test_what_is_larger_still_goes_to_the_object_store_with_its_hash() -> None:
    delivery = deliver(RANDOM, Limits(raw=16384, most=16384, store="s3://bucket/n/"), node="n")
    replace = json.loads(delivery.user_data)["ignition"]["config"]["replace"]
    assert replace["source"] == f"s3://bucket/n/{delivery.object}"
    assert delivery.upload == RANDOM.ignition
    assert replace["verification"]["hash"] == "sha512-" + hashlib.sha512(RANDOM.ignition.encode()).hexdigest()


def test_what_fits_in_no_way_is_refused_with_its_largest_entries() -> None:
    with pytest.raises(FleetError, match=r"config of web-0 is \d+ bytes.*takes 16384.*entries are file /etc/\d+"):
        deliver(RANDOM, Limits(raw=16384, most=16384), node="web-0")


def test_what_fits_in_no_way_is_refused_with_the_ways_out_that_there_are() -> None:
    def fix(made: MachineConfig, option: str) -> str:
        with pytest.raises(FleetError) as refused:
            deliver(made, Limits(raw=16, most=16, option=option), node="web-0")
        return refused.value.fix or ""

    reporting = compose([report_snippet(Workload(), {}, port=7790)])
    assert "`report: false`" in fix(reporting, "")
    assert "`report: false`" not in fix(RANDOM, "")
    assert "option `bucket`" in fix(RANDOM, "bucket")
    assert "bucket" not in fix(RANDOM, "")


@pytest.mark.parametrize("how", ["compressed", "uploaded"])
def test_the_stub_is_valid_ignition(how: str) -> None:
    if how == "compressed":
        stub = deliver(REPETITIVE, Limits(raw=0, most=None), node="n").user_data
    else:
        stub = deliver(REPETITIVE, Limits(raw=0, most=0, store="s3://bucket/n/"), node="n").user_data
    # Compression is what needs 3.1.
    assert compose([Snippet("stub", stub, "ignition")]).spec == ("3.1.0" if how == "compressed" else "3.0.0")


def test_the_name_of_an_object_tells_nothing_of_a_secret_in_it() -> None:
    limits = Limits(raw=0, most=0, store="s3://bucket/n/")
    pins = [config(f"pin {pin}") for pin in (1, 2)]
    plain = [deliver(pin, limits, node="web-0").object for pin in pins]
    assert len(set(plain)) == 2
    sealed = [deliver(pin, limits, node="web-0", shown=config("pin (secret pin)").ignition) for pin in pins]
    assert len({delivery.object for delivery in sealed}) == 1
    assert sealed[0].user_data != sealed[1].user_data
    other = deliver(pins[0], limits, node="web-1", shown=config("pin (secret pin)").ignition)
    assert other.object != sealed[0].object
