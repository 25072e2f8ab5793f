#!/bin/bash
# Has the database ready for PostgreSQL $POSTGRES, of the image $IMAGE, before that starts.
#
# A folder named after a major version is a whole cluster; it is made beside, and takes that name when all is in it. What
# goes in: the data of an older version, or a backup that was restored, or nothing. Whatever fails fails the unit, and
# leaves the old data as it was.
set -euo pipefail
data=/var/lib/matrix/postgres
wanted=$data/$POSTGRES
dump=/var/lib/matrix/dump/synapse.dump
user=999

[[ -d $wanted ]] && exit 0

old=$(find "$data" -mindepth 1 -maxdepth 1 -printf '%f\n' | grep -xE '[0-9]+' | sort -n | tail -n 1 || true)
if [[ -n $old && $old -gt $POSTGRES ]]; then
    echo "The data is PostgreSQL $old's; $POSTGRES cannot read it. Set the config's \`postgres\` to $old." >&2
    exit 1
fi
if [[ -z $old && -n $RESTORE && ! -s $dump ]]; then
    echo "There is no backup to restore: see restore.service." >&2
    exit 1
fi

cleanup() {
    podman rm --force --ignore --time 60 matrix-database-old matrix-database-new >/dev/null
}
trap cleanup EXIT
cleanup

# serve NAME VERSION FOLDER [OPTIONS]: a server that nothing but `podman exec` reaches.
serve() {
    podman run --detach --name "$1" --network none --user "$user:$user" --env PGDATA=/pgdata \
        --volume "$3:/pgdata:Z" --stop-signal SIGINT "${@:4}" "$IMAGE:$2" >/dev/null
    # While the image sets a new cluster up, its server does not listen to TCP.
    for ((i = 0; i < 600; i++)); do
        podman exec "$1" pg_isready --quiet --host 127.0.0.1 --username synapse && return
        [[ $(podman inspect --format '{{.State.Running}}' "$1") == true ]] || break
        sleep 1
    done
    echo "PostgreSQL $2 does not start:" >&2
    podman logs --tail 20 "$1" >&2
    exit 1
}

fill() {
    podman exec --interactive matrix-database-new \
        pg_restore --exit-on-error --no-owner --username synapse --dbname synapse
}

rm -rf "$wanted.partial"
install -d -o "$user" -g "$user" -m 0700 "$wanted.partial"
serve matrix-database-new "$POSTGRES" "$wanted.partial" \
    --secret "db-password,uid=$user,mode=0400" --env POSTGRES_PASSWORD_FILE=/run/secrets/db-password \
    --env POSTGRES_USER=synapse --env POSTGRES_DB=synapse --env POSTGRES_INITDB_ARGS="--encoding=UTF8 --locale=C"
if [[ -n $old ]]; then
    echo "Upgrading from PostgreSQL $old to $POSTGRES"
    serve matrix-database-old "$old" "$data/$old"
    podman exec matrix-database-old pg_dump --format=custom --username synapse synapse | fill
elif [[ -n $RESTORE ]]; then
    echo "Restoring $dump"
    fill <"$dump"
fi
podman stop --time 120 matrix-database-new >/dev/null
sync --file-system "$data"
mv --no-target-directory "$wanted.partial" "$wanted"
# Out of the way, so that nothing goes back to it unasked.
[[ -z $old ]] || mv --no-target-directory "$data/$old" "$data/$old.old"
sync --file-system "$data"
