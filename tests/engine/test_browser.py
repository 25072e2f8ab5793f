"""``fleet view`` in a real browser: Debian's Chromium, driven by Playwright.

With ``FLEET_PICTURES=FOLDER`` the pictures of the page are kept there, to be looked at.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

from fleet.view.page import exported
from tests.conftest import FLEET, STACK
from tests.engine.stack import Stack
from tests.view import NOW, going_on, group

pytestmark = [pytest.mark.long, pytest.mark.system]

NODES = [f"web-{index}" for index in range(5)]
READY = re.compile("(?<!not )ready")
PATIENCE = 60_000
"""Milliseconds that the page may take to show something, on a machine that is busy."""


@pytest.fixture
def browser(own_loopback: None) -> Iterator[Browser]:
    """The system's Chromium, with nothing of a user's, in the test's own network."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if not program:
        pytest.skip("Chromium is not here: `make test-machines` installs it")
    with sync_playwright() as playwright:
        # As root there is no sandbox to be had.
        sandbox = os.geteuid() != 0
        running = playwright.chromium.launch(executable_path=program, chromium_sandbox=sandbox)
        yield running
        running.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1280, "height": 600}, reduced_motion="reduce")
    context.set_default_timeout(PATIENCE)
    opened = context.new_page()
    yield opened
    context.close()


@contextmanager
def served(stack: Stack) -> Iterator[str]:
    """Runs ``fleet view``; yields the address that it prints."""
    process = subprocess.Popen(
        [FLEET, "view", *STACK, "--no-open"], cwd=stack.path, env=stack.environment, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout
        url = process.stdout.readline().strip()
        assert url.startswith("http://127.0.0.1:"), url
        yield url
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 130
    finally:
        process.kill()
        process.wait()


def write(stack: Stack, greeting: str) -> None:
    """Five nodes, of which one changes at a time; those that greet with "held" are not ready while there is `hold`."""
    stack.spec(len(NODES), greeting)
    stack.edit("fleet.yaml", "ready_timeout: 8", "ready_timeout: 120")


def card(page: Page, node: str) -> Locator:
    """What the page of all nodes has of a node."""
    return page.locator("main li", has=page.locator(f'[data-node="{node}"]')).first


def test_the_page_follows_a_rollout_of_five_nodes_without_a_reload(stack: Stack, page: Page) -> None:
    write(stack, "one")
    assert stack.up().status == 0
    loads: list[str] = []
    asked: set[str] = set()
    complaints: list[str] = []
    page.on("load", lambda loaded: loads.append(loaded.url))
    page.on("request", lambda request: asked.add(request.url))
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    with served(stack) as url:
        page.goto(url)
        assert "token" not in page.url
        for node in NODES:
            expect(card(page, node)).to_contain_text(READY, timeout=PATIENCE)
        page.evaluate("() => { window.sameDocument = true }")
        before = len(loads)

        write(stack, "held")
        hold = stack.log.with_name("hold")
        hold.touch()
        with ThreadPoolExecutor() as pool:
            updating = pool.submit(stack.up)
            try:
                expect(card(page, "web-0")).to_contain_text("starting", timeout=PATIENCE)
                expect(card(page, "web-4")).to_contain_text(READY)
                page.locator("header a", has_text="Rollout").first.click()
                expect(page.locator("main")).to_contain_text("web-4")
                picture(page, "live-light")
                page.emulate_media(color_scheme="dark")
                picture(page, "live-dark")
            finally:
                hold.unlink()
            assert updating.result().status == 0
        page.locator("header a", has_text="Nodes").first.click()
        for node in NODES:
            expect(card(page, node)).to_contain_text(READY, timeout=PATIENCE)
            expect(card(page, node)).not_to_contain_text("outdated", timeout=PATIENCE)
        assert page.evaluate("() => window.sameDocument") is True
        assert len(loads) == before
        origin = re.match(r"http://127\.0\.0\.1:\d+/", page.url)
        assert origin
        assert {each for each in asked if not each.startswith(origin[0])} == set()
    assert complaints == []


SIZES = {"5": (group("web", 5),), "200": (group("db", 9, port=5432), group("web", 151), group("worker", 40))}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_a_fleet_of_any_size_can_be_read_by_eye_and_by_keyboard(
    size: str, scheme: Literal["light", "dark"], page: Page, tmp_path: Path
) -> None:
    report = tmp_path / "report.html"
    report.write_text(exported(going_on(*SIZES[size]), {}, written=NOW))
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.emulate_media(color_scheme=scheme)
    page.goto(report.as_uri())
    names = [node.name for each in SIZES[size] for node in each.nodes]
    said = page.locator("main").inner_text()
    assert [name for name in names if not re.search(rf"\b{name}\b", said)] == []
    cut = "names => names.filter(each => each.scrollWidth > each.clientWidth).map(each => each.textContent)"
    assert page.locator("main li .clip").evaluate_all(cut) == []
    for name, anchor in {"nodes": "#/nodes", "rollout": "#/rollout", "network": "#/network"}.items():
        page.goto(report.as_uri() + anchor)
        expect(page.locator("main h2, main h3").first).to_be_visible()
        picture(page, f"{name}-{size}-{scheme}")
        for width in (1280, 390):
            page.set_viewport_size({"width": width, "height": 600})
            wide = page.evaluate("() => document.documentElement.scrollWidth")
            assert wide <= width, f"{name} is {wide} wide where there are {width}"
        page.set_viewport_size({"width": 1280, "height": 600})

    page.goto("about:blank")
    page.goto(report.as_uri())
    page.keyboard.press("/")
    expect(page.locator("#filter")).to_be_focused()
    page.keyboard.type("web-3")
    expect(page.locator('[data-node="web-2"]')).to_have_count(0)
    expect(page.locator('[data-node="web-3"]').first).to_be_visible()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="web-3", exact=True)).to_be_visible()
    # It needs nothing but itself.
    assert {url.partition("#")[0] for url in asked} - {"about:blank"} == {report.as_uri()}


def picture(page: Page, name: str) -> None:
    """Keep a picture of the page, if somebody wants to look at it."""
    if folder := os.environ.get("FLEET_PICTURES"):
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)
