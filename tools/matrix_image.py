"""The stand-in machine image with what `examples/matrix` runs: the real software, under the references that it names.

Synapse comes from PyPI, PostgreSQL, Caddy and restic from Debian. Element Web, which is neither's, is one static page.
"""

from __future__ import annotations

from pathlib import Path

from tools.machine_image import derived_image
from tools.machine_image.containers import ContainerImage

PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_POSTGRES_ENTRYPOINT = """\
#!/bin/bash
# Does what the official image's entry point does with the variables that the example sets.
set -euo pipefail
if [[ ! -s $PGDATA/PG_VERSION ]]; then
    eval "options=($POSTGRES_INITDB_ARGS)"
    initdb --username="$POSTGRES_USER" --pwfile=<(cat "$POSTGRES_PASSWORD_FILE"; echo) "${options[@]}"
    printf '\\nhost all all all scram-sha-256\\n' >>"$PGDATA/pg_hba.conf"
    pg_ctl -D "$PGDATA" -o "-c listen_addresses=''" -w start
    createdb --username "$POSTGRES_USER" "$POSTGRES_DB"
    pg_ctl -D "$PGDATA" -m fast -w stop
fi
exec "$@" -c "listen_addresses=*"
"""


def _postgres(version: str, suite: str) -> ContainerImage:
    return ContainerImage(
        f"docker.io/library/postgres:{version}",
        (f"postgresql-{version}", "bash", "coreutils", "dash"),  # popen(3) needs /bin/sh
        {
            "Entrypoint": ["/usr/local/bin/entrypoint"],
            "Cmd": ["postgres"],
            "Env": [f"{PATH}:/usr/lib/postgresql/{version}/bin", "LANG=C.UTF-8"],
            "StopSignal": "SIGINT",
        },
        suite=suite,
        files={"usr/local/bin/entrypoint": _POSTGRES_ENTRYPOINT},
        accounts={"postgres": 999},
        writable=("run/postgresql",),
    )


IMAGES = (
    ContainerImage(
        "docker.io/library/caddy:2.10",
        ("caddy", "ca-certificates", "busybox-static"),
        {"Cmd": ["caddy", "run", "--config", "/etc/caddy/Caddyfile", "--adapter", "caddyfile"], "Env": [PATH]},
    ),
    ContainerImage(
        "docker.io/matrixdotorg/synapse:v1.163.2",
        ("python3", "python3-psycopg2", "ca-certificates", "busybox-static"),
        {"Entrypoint": ["python3", "-m", "synapse.app.homeserver"], "Env": [PATH]},
        requirements=("matrix-synapse[redis]==1.163.2",),
    ),
    _postgres("15", "bookworm"),
    _postgres("17", "trixie"),
    ContainerImage(
        "docker.io/vectorim/element-web:v1.12.6",
        ("busybox-static",),
        {"Cmd": ["sh", "-c", "exec httpd -f -p ${ELEMENT_WEB_PORT:-80} -h /app"], "Env": [PATH]},
        files={"app/index.html": "Element Web is not here.\n"},
    ),
    ContainerImage(
        "docker.io/valkey/valkey:8.1",
        ("valkey-server",),
        {"Entrypoint": ["valkey-server"], "Env": [PATH]},
    ),
    ContainerImage(
        "docker.io/restic/restic:0.18.1",
        ("restic", "ca-certificates", "dash"),
        {"Entrypoint": ["/usr/bin/restic"], "Env": [PATH]},
    ),
)


def matrix_image() -> Path:
    """The image, built if it is not in the cache. Needs root."""
    return derived_image("matrix-machine-image", IMAGES)
