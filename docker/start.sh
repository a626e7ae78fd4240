#!/bin/sh
# Start of the container: make the cluster if the volume is empty, bring the database up to date, serve.
#
# L1DB_PASSWORD is the password of the role postgres for all who come over the network; needed at the first start.
set -eu

for bin in /usr/lib/postgresql/*/bin; do :; done # the newest, and the only one here
if ! [ -e "$PGDATA/PG_VERSION" ]; then
    [ -n "${L1DB_PASSWORD:-}" ] || { echo "l1db: set L1DB_PASSWORD" >&2 && exit 1; }
    password_file=$(mktemp)
    echo "$L1DB_PASSWORD" >"$password_file"
    "$bin/initdb" --username postgres --pwfile "$password_file" --auth-local trust --auth-host scram-sha-256 \
        --encoding UTF8 --locale C.UTF-8 >/dev/null
    rm "$password_file"
    echo "host all all all scram-sha-256" >>"$PGDATA/pg_hba.conf"
fi

# Nobody comes in over the network before the database is up to date.
"$bin/pg_ctl" start --wait --silent --options "-c listen_addresses=''"
l1db init
"$bin/pg_ctl" stop --mode fast --silent

exec "$bin/postgres" -c listen_addresses='*' -c unix_socket_directories=/var/run/postgresql \
    -c max_wal_size=4GB -c random_page_cost=1.1 -c jit=off -c timezone=UTC
