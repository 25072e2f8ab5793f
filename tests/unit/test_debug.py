"""The debug lines of Pulumi's SDK, in the program of a spec."""

from __future__ import annotations

import asyncio
import subprocess
import sys

from fleet.program.debug import DebugLines


def test_debug_lines_are_sent_together_in_order_and_all_of_them() -> None:
    sent: list[str] = []
    lines = DebugLines(sent.append)
    words = [f"line {number}" for number in range(1000)]

    async def program() -> None:
        for word in words:
            lines.add(word)
        # The last of them are sent though nothing follows.
        while "\n".join(sent).count("\n") < len(words) - 1:
            await asyncio.sleep(0.01)

    asyncio.run(program())
    assert "\n".join(sent).split("\n") == words
    assert len(sent) < 20


def test_a_debug_line_outside_of_the_event_loop_is_sent_at_once() -> None:
    sent: list[str] = []
    lines = DebugLines(sent.append)
    lines.add("one")
    assert sent == ["one"]


ENGINE = """
import pulumi
from pulumi.runtime import settings
from fleet.program.debug import {how}

class Engine:
    def Log(self, request):
        print(request.severity, repr(request.message))

settings.SETTINGS.engine = Engine()
{how}()

import asyncio

async def program():
    pulumi.log.debug("before")
    pulumi.log.debug("it")
    pulumi.log.error("fails")
    pulumi.log.warn("careful")

asyncio.run(program())
"""


def _logged(how: str) -> list[str]:
    code = ENGINE.format(how=how)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.splitlines()


def test_what_led_to_an_error_is_logged_before_it() -> None:
    assert _logged("gather_debug") == ["0 'before\\nit'", "3 'fails'", "2 'careful'"]


def test_a_command_that_does_not_ask_for_debug_lines_sends_none() -> None:
    assert _logged("drop_debug") == ["3 'fails'", "2 'careful'"]
