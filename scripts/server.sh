#!/bin/sh
# The private PostgreSQL server of this checkout.  Usage: scripts/server.sh start | stop | remove
#
# Its data are in .l1db/data: a directory, or, where root made it, a link to a directory of the system user postgres,
# because PostgreSQL does not run as root and root's home is closed to others.  It listens on 127.0.0.1 and on a socket
# only, without passwords: whoever has a login on this machine may connect.  Other clusters are never touched.
set -eu
cd "$(dirname "$0")/.."
. scripts/machine.sh

checkout=$(pwd -P)
checksum=$(printf %s "$checkout" | cksum | cut -d ' ' -f 1)
state=$checkout/.l1db
roots_place=/var/lib/l1db/$checksum

# Forget a link that came here with a copy or move of the checkout: that server is another checkout's.
drop_foreign_link() {
    if [ -L "$state/data" ] && [ "$(readlink "$state/data")" != "$roots_place/data" ]; then
        say "this checkout was copied or moved; the database in $(readlink "$state/data") stays, this one gets its own"
        rm -f "$state/data" "$state/dsn" "$state/server"
    fi
}

# Run a command as the owner of the data, away from directories that the owner may not read, without our lock.
as_owner() {
    if [ "$(id -un)" = "$owner" ]; then
        (cd / && "$@" 9>&-)
    elif is_root; then
        (cd / && runuser -u "$owner" -- "$@" 9>&-)
    else
        fail "the server of this checkout belongs to $owner: run make as $owner or as root"
    fi
}

# Set place, data, owner, major and bin: where the server lives, whose it is, which PostgreSQL runs it.
locate() {
    if [ -d "$state/data" ]; then
        data=$(readlink -f "$state/data")
        owner=$(stat -c %U "$data")
    elif is_root; then
        data=$roots_place/data
        owner=postgres
    else
        data=$state/data
        owner=$(id -un)
    fi
    place=$(dirname "$data")
    log=$place/server.log
    if as_owner test -e "$data/PG_VERSION"; then
        major=$(as_owner cat "$data/PG_VERSION")
    else
        major=$(installed_major) || fail "PostgreSQL with q3c and PostGIS is not installed: sh scripts/packages.sh"
    fi
    bin=/usr/lib/postgresql/$major/bin
    [ -x "$bin/pg_ctl" ] ||
        fail "$data was made by PostgreSQL $major, which is gone: install it, or make clean to start anew"
}

# Make an empty cluster.  It is made aside and renamed, so an interrupted run leaves nothing that looks finished.
create() {
    say "making a private PostgreSQL $major cluster in $data"
    if is_root; then
        install -d -m 755 /var/lib/l1db
        install -d -m 755 -o "$owner" "$place"
        echo "$checkout" >"$place/checkout"
    fi
    as_owner rm -rf "$data.partial"
    as_owner "$bin/initdb" --pgdata "$data.partial" --username postgres --auth trust --encoding UTF8 \
        --locale C.UTF-8 >"$state/initdb.log" 2>&1 || fail "initdb failed, see $state/initdb.log"
    as_owner sh -c "echo \"include 'l1db.conf'\" >>'$data.partial/postgresql.conf'"
    as_owner mv "$data.partial" "$data"
    [ "$place" = "$state" ] || ln -sfn "$data" "$state/data"
}

# A free TCP port, the one used last if possible.  Below 32768, where outgoing connections take theirs.
free_port() {
    last=$(sed -n 's/.*port=\([0-9]*\).*/\1/p' "$state/dsn" 2>/dev/null || true)
    "$(usable_python)" - "${last:-0}" "$checksum" <<'PYTHON'
import socket
import sys

last, checksum = int(sys.argv[1]), int(sys.argv[2])
for port in [last or 25432] + [25433 + (checksum + i) % 4000 for i in range(4000)]:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            continue
    print(port)
    sys.exit()
sys.exit("no free port")
PYTHON
}

# A directory for the socket whose path stays below the 107 bytes that a socket may have.
socket_directory() {
    if [ ${#place} -lt 85 ]; then
        echo "$place"
    else
        as_owner mkdir -p -m 700 "/tmp/l1db-$checksum"
        echo "/tmp/l1db-$checksum"
    fi
}

# Write the settings.  Written at each start; your own belong into postgresql.conf below the include.
# shared_buffers is an eighth of the memory, used as the data grow.  fsync, max_connections and
# max_locks_per_transaction stay as PostgreSQL has them: l1db promises to fit.
configure() {
    memory=$(awk '/^MemTotal/ {print int($2 / 1024)}' /proc/meminfo)
    buffers=$((memory / 8 > 4096 ? 4096 : memory / 8))
    as_owner sh -c "cat >'$data/l1db.conf'" <<CONF
listen_addresses = '127.0.0.1'
port = $port
unix_socket_directories = '$(socket_directory)'
shared_buffers = ${buffers}MB
max_wal_size = 4GB
random_page_cost = 1.1
jit = off
timezone = 'UTC'
log_timezone = 'UTC'
CONF
}

# Is it up?  A process id alone is no proof: after a reboot it may be another process's.
running() {
    as_owner "$bin/pg_ctl" status --pgdata "$data" >/dev/null 2>&1 &&
        "$bin/pg_isready" --quiet --host 127.0.0.1 --port "$(as_owner sed -n 4p "$data/postmaster.pid")"
}

# Write down where the server is: dsn for l1db, server for people.
record() {
    port=$(as_owner sed -n 4p "$data/postmaster.pid")
    echo "host=127.0.0.1 port=$port user=postgres dbname=l1db" >"$state/dsn"
    cat >"$state/server" <<INFO
pid     $(as_owner sed -n 1p "$data/postmaster.pid")
port    $port
data    $data
log     $log
owner   $owner
version $major
INFO
}

# Start the server unless it is up.  A server that is just recovering or just dying needs a moment, so it tries again.
start() {
    own_state
    drop_foreign_link
    locate
    as_owner test -e "$data/PG_VERSION" || create
    for pause in 2 5 10 0; do
        if running; then
            [ -s "$state/dsn" ] || record
            return
        fi
        port=$(free_port)
        configure
        say "starting PostgreSQL $major on 127.0.0.1:$port"
        if as_owner "$bin/pg_ctl" start --timeout 120 --silent --pgdata "$data" --log "$log" >/dev/null 2>&1; then
            record
            return
        fi
        sleep $pause
    done
    fail "PostgreSQL does not start, see $log"
}

stop() {
    drop_foreign_link
    if [ -d "$state/data" ] && locate && as_owner "$bin/pg_ctl" status --pgdata "$data" >/dev/null 2>&1; then
        say "stopping the server in $data"
        as_owner "$bin/pg_ctl" stop --mode fast --silent --pgdata "$data" || fail "the server does not stop, see $log"
    else
        say "no server of this checkout is running"
    fi
}

remove() {
    if [ -d "$state/data" ]; then
        stop
        if [ "$place" = "$roots_place" ]; then
            is_root || fail "$place belongs to $owner: run make clean as root"
            rm -rf "$place"
        fi
        rm -rf "/tmp/l1db-$checksum"
    fi
    rm -rf "$state"
}

case "${1:-}" in
start) start ;;
stop) stop ;;
remove) remove ;;
*) fail "usage: scripts/server.sh start | stop | remove" ;;
esac
