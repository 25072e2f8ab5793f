"""Prints what Nomad's command line needs to reach the cluster: ``eval "$(python environment.py STACK)"``.

The certificate of the authority is put into ``.fleet/STACK``. The token is
the management token: keep it to yourself.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path


def pulumi(stack: str, *arguments: str) -> str:
    """What a command of Pulumi's prints."""
    command = ["pulumi", *arguments, "--stack", stack]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def main(stack: str) -> None:
    """Print it for a stack."""
    nodes = json.loads(pulumi(stack, "stack", "output", "nodes", "--json"))
    region = subprocess.run(
        ["pulumi", "config", "get", "region", "--stack", stack], capture_output=True, text=True
    ).stdout.strip()
    folder = Path(".fleet") / stack
    folder.mkdir(parents=True, exist_ok=True)
    file = (folder / "authority.pem").resolve()
    # Without its key: that stays in the config.
    text = pulumi(stack, "config", "get", "authority")
    file.write_text(text[text.index("-----BEGIN CERTIFICATE") :])
    variables = {
        "NOMAD_ADDR": f"https://{nodes['server-0']['endpoints']['4646']}",
        "NOMAD_CACERT": str(file),
        "NOMAD_TLS_SERVER_NAME": f"server.{region or 'global'}.nomad",
        "NOMAD_TOKEN": pulumi(stack, "config", "get", "acl_token").strip(),
    }
    for name, value in variables.items():
        print(f"export {name}={shlex.quote(value)}")


main(sys.argv[1])
