"""``fleet view``: who may read the page, what is pushed to it, what an exported one has, and the snapshot itself."""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import httpx
import pytest
from starlette.testclient import TestClient

from fleet import phases
from fleet.cli.view import view
from fleet.errors import FleetError, UsageError
from fleet.ops.progress import GAP_SECONDS, Stage, Step, of_last_rollout, stages, timeline
from fleet.plan import Report
from fleet.view import page
from fleet.view.server import HEADERS, HOST, Feed, Keys, application, cookie_name, serve
from fleet.view.snapshot import Asked, Json, Seen, state_of
from tests.view import NOW, container, going_on, group, ready, report

PORT = 4711
AT = f"http://{HOST}:{PORT}"


class Shown:
    """A source that a test holds in its hands."""

    def __init__(self) -> None:
        self.snapshot: Json = {"nodes": {"web-0": {"state": "ready"}}}
        self.error = ""
        self.fault: Exception | None = None
        self.looks = 0

    def look(self) -> Json:
        self.looks += 1
        if self.fault:
            raise self.fault
        if self.error:
            raise FleetError(self.error)
        return self.snapshot

    def detail(self, node: str) -> Json | None:
        if self.fault:
            raise self.fault
        return {"config": [], "console": "hello", "note": ""} if node == "web-0" else None

    def changes(self) -> Json:
        if self.fault:
            raise self.fault
        if self.error:
            raise FleetError(self.error)
        return {"nodes": []}


@pytest.fixture
def keys() -> Keys:
    return Keys()


@pytest.fixture
def stranger(keys: Keys) -> Iterator[TestClient]:
    """A client that knows the address alone."""
    with TestClient(application(Shown(), keys=keys, port=PORT), base_url=AT, follow_redirects=False) as client:
        yield client


@pytest.fixture
def reader(stranger: TestClient, keys: Keys) -> TestClient:
    """A client that has the cookie."""
    stranger.get("/", params={"token": keys.token})
    return stranger


def paths(keys: Keys) -> list[str]:
    """Every address of the server."""
    names = ["", "view.css", "view.js", "icon.svg", "events", "nodes/web-0", "changes", "none"]
    return ["/", *(f"/{keys.place}/{name}" for name in names)]


def test_the_token_is_exchanged_for_a_cookie_and_goes_from_the_address(stranger: TestClient, keys: Keys) -> None:
    answer = stranger.get("/", params={"token": keys.token})
    assert answer.status_code == 303
    assert answer.headers["location"] == f"/{keys.place}/"
    cookie = answer.headers["set-cookie"]
    assert {"HttpOnly", "SameSite=strict", f"Path=/{keys.place}/"} <= set(cookie.split("; "))
    assert keys.token not in cookie
    shown = stranger.get(answer.headers["location"])
    assert shown.status_code == 200
    assert "view.js" in shown.text


def test_the_keys_of_each_run_are_new() -> None:
    one, other = Keys(), Keys()
    values = [one.token, one.cookie, one.place, *one.tickets, other.token, other.cookie, other.place, *other.tickets]
    assert len(set(values)) == 8


def test_what_a_browser_is_started_with_lets_in_once(stranger: TestClient, keys: Keys) -> None:
    ticket = next(iter(keys.tickets))
    assert stranger.get("/", params={"token": ticket}).status_code == 303
    assert stranger.get("/", params={"token": ticket}).status_code == 403


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"])
def test_who_has_neither_token_nor_cookie_gets_nothing(stranger: TestClient, keys: Keys, method: str) -> None:
    for path in paths(keys):
        for wrong in ({}, {"Cookie": f"{cookie_name(PORT)}=guessed"}, {"Cookie": f"{cookie_name(PORT)}="}):
            answer = stranger.request(method, path, headers=wrong)
            assert (answer.status_code, answer.content) == (403, b""), path
            assert "set-cookie" not in answer.headers
    for token in ("", "guessed", keys.cookie, "\u00e4"):
        answer = stranger.request(method, "/", params={"token": token})
        assert (answer.status_code, answer.content) == (403, b"")


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": HOST},
        {"Host": f"evil.example:{PORT}"},
        {"Host": f"{HOST}:{PORT + 1}"},
        {"Host": f"{HOST}:{PORT}.evil.example"},
        {"Host": ""},
        {"Origin": "https://evil.example"},
        {"Origin": f"http://{HOST}:{PORT + 1}"},
        {"Origin": f"https://{HOST}:{PORT}"},
        {"Origin": f"http://localhost:{PORT}"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
    ids=str,
)
def test_another_host_or_origin_gets_nothing_even_with_the_token_and_the_cookie(
    reader: TestClient, keys: Keys, headers: dict[str, str]
) -> None:
    for path in paths(keys):
        answer = reader.get(path, params={"token": keys.token}, headers=headers)
        assert (answer.status_code, answer.content) == (403, b""), path


def test_the_servers_own_pages_are_let_in_by_either_of_its_names(reader: TestClient, keys: Keys) -> None:
    own = {"Origin": AT, "Sec-Fetch-Site": "same-origin"}
    assert reader.get(f"/{keys.place}/nodes/web-0", headers=own).json()["console"] == "hello"
    by_name = {"Host": f"localhost:{PORT}", "Origin": f"http://localhost:{PORT}"}
    assert reader.get(f"/{keys.place}/nodes/web-0", headers=by_name).status_code == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"])
def test_nothing_but_reading_is_answered(reader: TestClient, keys: Keys, method: str) -> None:
    for path in paths(keys)[1:]:
        answer = reader.request(method, path)
        assert (answer.status_code, answer.content) == (405, b""), path


def test_every_answer_says_what_a_browser_may_do_with_it(reader: TestClient, keys: Keys) -> None:
    for path in paths(keys):
        for method in ("GET", "HEAD") if not path.endswith("events") else ("HEAD",):
            answer = reader.request(method, path)
            assert {name: answer.headers[name] for name in HEADERS} == HEADERS, path
    policy = HEADERS["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert HEADERS["Cache-Control"] == "no-store"
    assert HEADERS["Referrer-Policy"] == "no-referrer"
    assert HEADERS["X-Content-Type-Options"] == "nosniff"


def test_a_node_that_is_not_there_is_not_found(reader: TestClient, keys: Keys) -> None:
    assert reader.get(f"/{keys.place}/nodes/web-1").status_code == 404
    assert reader.get(f"/{keys.place}/nodes/..%2f..%2fetc%2fpasswd").status_code == 404


def test_what_cannot_be_found_out_is_said_on_the_page(keys: Keys) -> None:
    source = Shown()
    source.error = "The spec is wrong."
    with TestClient(application(source, keys=keys, port=PORT), base_url=AT) as client:
        client.get("/", params={"token": keys.token})
        assert client.get(f"/{keys.place}/changes").json() == {"error": "The spec is wrong."}


async def _told(feed: Feed, count: int, between: list[Any]) -> list[Json]:
    """So many snapshots of a stream; after each, one of the actions is taken."""
    import asyncio

    looking = asyncio.create_task(feed.run())
    told = []
    stream = feed.events()
    try:
        async for text in stream:
            if "data: " in text:
                told.append(json.loads(text.partition("data: ")[2]))
                if len(told) == count:
                    break
                between.pop(0)()
    finally:
        await stream.aclose()  # type: ignore[attr-defined]
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)
    return told


def test_a_snapshot_is_sent_at_once_and_again_only_when_it_differs() -> None:
    import asyncio

    source = Shown()
    same = threading.Event()

    def change() -> None:
        source.snapshot = {"nodes": {"web-0": {"state": "starting"}}}
        same.set()

    def fail() -> None:
        source.error = "The state cannot be read."

    told = asyncio.run(_told(Feed(source, seconds=0.01), 3, [change, fail]))
    assert same.is_set()
    assert [each["nodes"]["web-0"]["state"] for each in told] == ["ready", "starting", "starting"]
    assert [each["trouble"] for each in told] == ["", "", "The state cannot be read."]


FAULTS = [KeyError("hunter4711"), ValueError("hunter4711"), OSError(28, "No space left"), RuntimeError("hunter4711")]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: type(fault).__name__)
def test_a_look_that_fails_in_any_way_is_told_and_the_page_goes_on(keys: Keys, fault: Exception) -> None:
    import asyncio

    source = Shown()

    def fail() -> None:
        source.fault = fault

    def mend() -> None:
        source.fault = None

    told = asyncio.run(asyncio.wait_for(_told(Feed(source, seconds=0.01), 3, [fail, mend]), 20))
    assert [each["nodes"]["web-0"]["state"] for each in told] == ["ready"] * 3
    assert [bool(each["trouble"]) for each in told] == [False, True, False]
    assert "hunter4711" not in json.dumps(told)
    source.fault = fault
    with TestClient(application(source, keys=keys, port=PORT), base_url=AT) as client:
        client.get("/", params={"token": keys.token})
        answers = client.get(f"/{keys.place}/changes").json()["error"], client.get(f"/{keys.place}/nodes/web-0").json()
    assert answers[0] == answers[1]["note"]
    assert answers[0]
    assert "hunter4711" not in answers[0]


def test_nobody_is_looked_at_while_nobody_looks(keys: Keys) -> None:
    source = Shown()
    with TestClient(application(source, keys=keys, port=PORT, seconds=0), base_url=AT) as client:
        client.get("/", params={"token": keys.token})
        client.get(f"/{keys.place}/")
        assert source.looks == 0


def test_a_port_that_is_in_use_is_refused_and_says_how_to_go_on() -> None:
    with socket.socket() as other:
        other.bind((HOST, 0))
        other.listen()
        with pytest.raises(UsageError, match="Leave `--port` out"):
            serve(Shown(), port=other.getsockname()[1], opened=lambda url, once: None, check=lambda: None)


def test_without_the_extra_the_command_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("fleet.cli.view.find_spec", lambda name: None)
    with pytest.raises(FleetError, match=r"pip install 'fcos-fleet\[view\]'"):
        view(tmp_path / "fleet.yaml", "test")


def test_the_server_answers_at_the_address_that_it_tells_and_ends_when_it_is_to() -> None:
    asked: list[int] = []

    class Enough(BaseException):
        pass

    def check() -> None:
        if asked:
            raise Enough

    def opened(url: str, once: str) -> None:
        for address in (once, url):
            asked.append(httpx.get(address, follow_redirects=True, trust_env=False).status_code)
        asked.append(httpx.get(once, trust_env=False).status_code)

    with pytest.raises(Enough):
        serve(Shown(), port=0, opened=opened, check=check)
    assert asked == [200, 200, 403]


def exported(snapshot: Json | None = None) -> str:
    shown = snapshot or going_on(group("web", 3))
    text = "mode: 0644\n</script><script>alert(1)</script><!--"
    details = {
        name: {"config": [{"kind": "file", "name": "/etc/a", "text": text}], "console": "", "note": ""}
        for name in shown["nodes"]
    }
    return page.exported(shown, details, written=NOW)


def test_an_exported_page_refers_to_nothing_outside_of_itself() -> None:
    text = exported()
    markup = re.sub(r"<script.*?</script>", "", text, flags=re.S)
    assert re.findall(r"""(?:src|href)\s*=\s*["']?([^"'\s>]+)""", markup) == ["#main"]
    assert not re.search(r"@import|url\(", text)
    allowed = {"http://www.w3.org/2000/svg"}  # a name of the language, which nobody asks for
    assert set(re.findall(r"https?://[\w./-]+", text)) <= allowed
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)
    assert policy
    assert "default-src &#39;none&#39;" in policy[1]
    assert "unsafe" not in policy[1]


def test_an_exported_page_runs_and_styles_exactly_what_its_policy_names() -> None:
    import hashlib
    from base64 import b64encode

    text = exported()
    policy = re.search(r'content="(default-src[^"]*)"', text)
    assert policy
    for element in ("style", "script"):
        (inline,) = re.findall(rf"<{element}>(.*?)</{element}>", text, flags=re.S)
        digest = b64encode(hashlib.sha256(inline.encode()).digest()).decode()
        assert f"{element}-src &#39;sha256-{digest}&#39;" in policy[1]


def test_no_text_of_a_fleet_ends_the_data_of_an_exported_page() -> None:
    shown = going_on(group("web", 2))
    shown["trouble"] = '</script><img src=x onerror=alert(1)> <!-- \u2028 &amp; "'
    text = exported(shown)
    (data,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', text, flags=re.S)
    assert json.loads(data)["snapshot"] == json.loads(json.dumps(shown))
    assert "<img" not in text
    assert "<!--" not in data


def test_an_exported_page_has_each_text_of_a_config_once() -> None:
    shown = going_on(group("web", 40))
    assert exported(shown).count("alert(1)") == 1


def test_the_same_fleet_gives_the_same_snapshot_and_the_same_bytes() -> None:
    one, other = (going_on(group("web", 3), group("db", 2, after=("web",))) for _ in range(2))
    assert json.dumps(one) == json.dumps(other)
    assert exported(one) == exported(other)


def test_a_snapshot_does_not_change_because_time_goes_by() -> None:
    def after(seconds: float) -> Json:
        told = report("web-0", container("app", seconds=3600 + seconds))
        asked = Asked(NOW + seconds, "", told.model_copy(update={"uptime_seconds": 7200 + seconds}))
        from fleet.program.topology import Topology
        from fleet.view.snapshot import snapshot

        topology = Topology(1, "web", "qemu", (group("web", 1),))
        nodes = {"web-0": ready("web-0", 0, asked=asked)}
        return snapshot(topology, nodes, spec="fleet.yaml", stack="local")

    assert after(0) == after(3) == after(600)


STATES: list[tuple[Seen, bool, str]] = [
    (Seen(Stage("none")), False, "not made"),
    (Seen(Stage("none")), True, "waiting"),
    (Seen(Stage("stopping", "m")), True, "stopping"),
    (Seen(Stage("stopped", "m")), True, "stopping"),
    (Seen(Stage("stopped", "m")), False, "not ready"),
    (Seen(Stage("making")), True, "starting"),
    (Seen(Stage("making")), False, "not ready"),
    (Seen(Stage("starting", "m")), True, "starting"),
    (Seen(Stage("starting", "m")), False, "not ready"),
    (Seen(Stage("ready", "m")), False, "unknown"),
    (Seen(Stage("ready", "m"), asked=Asked(NOW, "")), False, "ready"),
    (Seen(Stage("ready", "m"), asked=Asked(NOW, "")), True, "ready"),
    (Seen(Stage("ready", "m"), asked=Asked(NOW, "refused")), False, "not ready"),
    (Seen(Stage("ready", "m"), planned=False), False, "to be removed"),
    (Seen(Stage("stopping", "m"), planned=False), True, "stopping"),
]


@pytest.mark.parametrize(("seen", "running", "state"), STATES)
def test_a_nodes_state_is_a_word_and_every_other_than_ready_has_its_reason(
    seen: Seen, running: bool, state: str
) -> None:
    word, reason = state_of(seen, timeline(seen.stage, seen.noted), running)
    assert word == state
    assert bool(reason) == (state != "ready")


def test_the_page_has_a_shape_for_every_state() -> None:
    script = page.static("view.js")
    for word in {state for _, _, state in STATES}:
        assert re.search(rf'^    "{word}": \[h\("', script, flags=re.M), word


def test_the_timeline_has_a_colour_and_a_pattern_of_its_own_for_every_phase_of_a_start() -> None:
    script, style = page.static("view.js"), page.static("view.css")
    phrases = script.partition("const PHASES")[2].partition("const LEGEND")[0]
    known = dict(re.findall(r'\["([\w ]+)", "(p-\w+)"\]', phrases))
    assert {"waiting", "stopping", "stopped", "making", "booting", "ready", *get_args(phases.Step)} == known.keys()
    for kind in known.values():
        assert f".{kind} {{ --p: " in style


def test_units_are_told_by_what_is_wrong_with_them() -> None:
    nodes = going_on(group("web", 5))["nodes"]
    assert nodes["web-3"]["units"][1] | {"since": None} == {
        "unit": "app.service", "name": "app", "kind": "container", "user": "", "well": "soon",
        "text": "pulls its image", "restarts": 0, "health": "", "image": "", "since": None,
    }  # fmt: skip
    assert nodes["web-4"]["units"][1]["well"] == "no"
    assert nodes["web-4"]["units"][1]["restarts"] == 12
    assert nodes["web-0"]["units"][0]["well"] == "yes"


def test_why_there_is_no_report_is_told() -> None:
    from fleet.program.topology import Topology
    from fleet.view.snapshot import snapshot

    seen = ready("web-0", 0, asked=Asked(NOW, "", "report_from is empty, and SSH refused the key"))
    told = snapshot(Topology(1, "web", "aws", (group("web", 1),)), {"web-0": seen}, spec="s", stack="t")
    node = told["nodes"]["web-0"]
    assert (node["state"], node["known"]) == ("ready", False)
    assert node["unknown"] == "report_from is empty, and SSH refused the key"


MACHINE = "aws:ec2/instance:Instance"


def resource(kind: str, name: str, **fields: Any) -> Json:
    return {"type": kind, "urn": f"urn:pulumi:s::p::{kind}::{name}", "id": "m-1", **fields}


def at(second: int) -> str:
    return f"2026-11-28T10:00:{second:02}Z"


def stage_of(*resources: Json, pending: tuple[Json, ...] = ()) -> Stage:
    return stages({"resources": list(resources), "pending_operations": list(pending)}, MACHINE)["web-0"]


GATE = resource("pulumi-python:dynamic/fleet:Gate", "web-0", created=at(0), modified=at(10), id="web-0")
NEW = resource(MACHINE, "web-0", created=at(20), modified=at(20))
READY = resource("pulumi-python:dynamic/fleet:Ready", "web-0", created=at(50), outputs={"instance": "m-1"})


def test_where_a_node_is_follows_from_the_state_at_every_step_of_its_replacement() -> None:
    begin = stage_of(GATE, NEW).let_go
    assert begin is not None
    assert stage_of(GATE, NEW, pending=({"type": "deleting", "resource": NEW},)).phase == "stopping"
    assert stage_of(GATE, {**NEW, "pendingReplacement": True}).phase == "stopped"
    assert stage_of(GATE, pending=({"type": "creating", "resource": NEW},)).phase == "making"
    starting = stage_of(GATE, NEW)
    assert (starting.phase, starting.machine) == ("starting", "m-1")
    assert [(step.phase, step.since - begin) for step in starting.steps] == [("stopping", 0), ("booting", 10)]
    done = stage_of(GATE, NEW, READY)
    assert [(step.phase, step.since - begin) for step in done.steps] == [
        ("stopping", 0), ("booting", 10), ("ready", 40),
    ]  # fmt: skip


def test_a_readiness_of_the_machine_before_is_none() -> None:
    """With surge, the new machine is there before the old one's readiness goes."""
    old = {**READY, "outputs": {"instance": "m-0"}}
    assert stage_of(GATE, {**NEW, "id": "m-0", "delete": True}, NEW, old).phase == "starting"


def test_a_gate_that_changed_after_the_machine_was_made_did_not_let_it_go() -> None:
    later = {**GATE, "modified": at(55)}
    assert stage_of(later, NEW, READY).let_go is None


def test_a_state_of_an_engine_that_notes_no_times_has_states_and_no_timeline() -> None:
    times = ("created", "modified")
    bare = [{key: value for key, value in each.items() if key not in times} for each in (GATE, NEW, READY)]
    assert stage_of(*bare).phase == "ready"
    assert stage_of(*bare).steps == []


def test_what_was_noted_goes_between_what_the_state_says() -> None:
    stage = Stage("ready", "m", 110, 120, 160)
    noted = [Step("waiting", 100), Step("stopping", 111), Step("Ignition", 130), Step("Ignition", 133, "files"),
             Step("units", 140), Step("probing", 161)]  # fmt: skip
    steps = timeline(stage, noted, since=100)
    assert [(step.phase, step.since) for step in steps] == [
        ("waiting", 100), ("stopping", 110), ("booting", 120), ("Ignition", 130), ("units", 140), ("ready", 160),
    ]  # fmt: skip
    assert steps[3].text == "files"


def test_what_took_no_time_is_left_out_of_a_timeline_and_waiting_comes_first() -> None:
    noted = [Step("waiting", 100), Step("stopping", 100), Step("making", 105)]
    steps = timeline(Stage("ready", "m", 100, 120, 160), noted, since=100)
    assert [step.phase for step in steps] == ["stopping", "making", "booting", "ready"]


def test_a_node_that_a_rollout_has_not_come_to_waits() -> None:
    before = Stage("ready", "m", 10, 20, 60)
    assert timeline(before, [Step("waiting", 100)], since=100) == [Step("waiting", 100)]
    assert [step.phase for step in timeline(before, [Step("waiting", 100)])] == ["stopping", "booting", "ready"]


def test_the_last_rollout_is_told_from_earlier_ones_by_its_times() -> None:
    def steps(turn: float) -> list[Step]:
        return [Step("stopping", turn), Step("ready", turn + 60)]

    late = 1000 + GAP_SECONDS * 2
    touched = {"db-0": steps(1000), "web-0": steps(late + 70), "web-1": steps(late), "web-2": [Step("waiting", late)]}
    assert of_last_rollout({**touched, "web-3": []}) == ["web-1", "web-0", "web-2"]


def test_a_report_of_a_node_that_is_not_asked_yet_is_empty_and_not_wrong() -> None:
    seen = replace(ready("web-0", 0), asked=None)
    assert state_of(seen, (), running=False)[0] == "unknown"
    assert Report(version=1).containers == []
