#!/bin/bash
# Writes the database beside the media, whole or not at all, for the backup to take both.
set -euo pipefail
dump=/var/lib/matrix/dump/synapse.dump
podman exec postgres pg_dump --format=custom --username synapse synapse >"$dump.partial"
mv "$dump.partial" "$dump"
