"""``make demo``: the stack in ``stacks/`` under QEMU, from nothing to an answering page.

Run by the system's Python before there is a virtual environment, so the standard library is all it uses.
"""

from __future__ import annotations

import os
import sys
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tools.steps import StepError, Steps  # noqa: E402  (this folder's parent is not on the path before)

SPEC = "stacks/fleet.yaml"
URL = "http://127.0.0.1:8080/"
BIN = ROOT / ".venv" / "bin"


def main() -> None:
    os.chdir(ROOT)
    # The demo has no secrets, so an empty passphrase will do.
    os.environ.setdefault("PULUMI_CONFIG_PASSPHRASE", "")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fleet"
    steps = Steps(6, cache / "demo.log")
    python = BIN / "python"
    try:
        steps.run("System packages: QEMU, SSH, git", [sys.executable, "tools/packages.py", "base"])
        steps.run("Python environment, and fleet in it (some minutes, once)", ["tools/bootstrap"])
        steps.run("Pulumi's command", [python, "-m", "tools.pulumi_hosts"])
        steps.run("A release of Fedora CoreOS", [python, "-m", "tools.demo_image", SPEC])
        steps.show("A node under QEMU", [BIN / "fleet", "up", SPEC, "--stack", "local", "--yes"])
        steps.run("Its page", [sys.executable, __file__, "page"])
    except StepError:
        sys.exit(1)
    print(_NEXT.format(url=URL, page=_read(""), count=len(_read("provisioned.txt").splitlines()), passphrase=_hint()))


def _read(path: str) -> str:
    # A proxy would be asked for its own loopback.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(URL + path, timeout=30) as answer:
        text: str = answer.read().decode()
    return text


def _hint() -> str:
    return (
        "export PULUMI_CONFIG_PASSPHRASE=   # empty: this stack has no secrets\n  "
        if not os.environ["PULUMI_CONFIG_PASSPHRASE"]
        else ""
    )


_NEXT = """
{url} answers: {page}
{url}provisioned.txt is on the data disk and has {count} line(s), one for each time that the node was provisioned.

Change it: edit GREETING in stacks/fleet.yaml, then
  {passphrase}.venv/bin/fleet preview stacks/fleet.yaml --stack local
  .venv/bin/fleet up stacks/fleet.yaml --stack local
The node is stopped and a new one is started from a fresh image with the new config; its data disk stays.
The same with Pulumi alone: (cd stacks && PATH=$PWD/../.venv/bin:$PATH pulumi up --stack local)

Remove it, but not its data:
  .venv/bin/fleet destroy stacks/fleet.yaml --stack local"""

if __name__ == "__main__":
    if sys.argv[1:] == ["page"]:
        try:
            print(_read(""), _read("provisioned.txt"), sep="\n")
        except (urllib.error.URLError, OSError) as error:
            sys.exit(f"Error: {URL} does not answer: {error}")
    else:
        main()
