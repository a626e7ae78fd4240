#!/bin/sh
# Distribution packages, installed only where missing.  Usage: scripts/packages.sh [required | optional | peers]
#
# required: PostgreSQL with q3c and PostGIS (not when L1DB_DSN names a server), and a Python that can make a venv.
# optional: plpgsql_check, which the tests use; pgsphere, which l1db uses where present.  Neither can fail the set-up.
# peers: Java and Maven, by which the tests have a real Kafka.  Only asked for by name, since nobody else needs them.
# shellcheck disable=SC2086  # lists of packages are split into words on purpose
set -eu
cd "$(dirname "$0")/.."
. scripts/machine.sh

# pgsphere below this version cannot be created on PostgreSQL's newer minor releases.
pgsphere_needs=1.3.2
createcluster_hold=/etc/postgresql-common/createcluster.d/l1db-during-setup.conf

# Run a command as root: directly or through a sudo that asks nothing.
as_root() {
    if is_root; then "$@"; else sudo -n "$@"; fi
}

may_install() {
    command -v apt-get >/dev/null && { is_root || sudo -n true 2>/dev/null; }
}

apt_get() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get --quiet --yes \
        -o DPkg::Lock::Timeout=120 -o Acquire::Retries=3 "$@" >"$apt_log" 2>&1
}

# Refresh apt's lists.  They have a lock of their own that does not wait, so we do.  A broken source of somebody else's
# is no reason to stop: the installation will tell.
apt_update() {
    for _ in 1 2 3 4 5 6; do
        apt_get update && return
        grep -q 'Could not get lock' "$apt_log" || return 0
        sleep 10
    done
}

apt_install() { apt_get install --no-install-recommends "$@"; }

apt_has() {
    for package in "$@"; do
        apt-cache show --no-all-versions "$package" >/dev/null 2>&1 || return 1
    done
}

# Newest PostgreSQL major that apt offers with q3c and PostGIS.
apt_major() {
    for major in 18 17 16 15; do
        # shellcheck disable=SC2046  # the same
        if apt_has $(server_packages $major); then
            echo $major
            return
        fi
    done
    return 1
}

# The distribution makes a cluster N/main on port 5432 when it installs a server.  Nobody asked for that one: hold it
# back while we install, and only then.
hold_main_cluster() {
    as_root mkdir -p "$(dirname $createcluster_hold)"
    echo 'create_main_cluster = false' | as_root tee $createcluster_hold >/dev/null
    trap 'as_root rm -f $createcluster_hold; rm -f "$apt_log"' EXIT
}

# Say the line to run when we may not install ourselves.
refuse() {
    line="sh $(pwd -P)/scripts/packages.sh"
    if command -v sudo >/dev/null; then line="sudo $line"; else line="su -c '$line'"; fi
    fail "missing: $1.  Root can install it: run this line, then make again:  $line"
}

required() {
    need_python=$(usable_python >/dev/null || echo python3-venv)
    need_server=
    [ -n "${L1DB_DSN:-}" ] || installed_major >/dev/null || need_server=yes
    [ -n "$need_python$need_server" ] || return 0

    if ! may_install; then
        [ -z "$need_server" ] || refuse "PostgreSQL with q3c and PostGIS${need_python:+, $need_python}"
        refuse "$need_python"
    fi
    say "refreshing the package lists"
    apt_update
    packages=$need_python
    if [ -n "$need_server" ]; then
        major=$(apt_major) ||
            fail "apt offers no PostgreSQL with q3c and PostGIS: try apt-get update, or set L1DB_DSN to one"
        packages="$packages $(server_packages "$major")"
        hold_main_cluster
    fi
    say "installing$(printf ' %s' $packages)"
    if ! apt_install $packages; then
        tail -n 5 "$apt_log" >&2
        fail "apt-get install failed (above), try again:  apt-get install$(printf ' %s' $packages)"
    fi
    usable_python >/dev/null || fail "no Python 3.11 or newer: Debian 12, Debian 13 and Ubuntu 24.04 have one"
}

working_pgsphere() {
    version=$(sed -n "s/^default_version *= *'\(.*\)'/\1/p" "$(extension_file "$1" pg_sphere)" 2>/dev/null)
    [ -n "$version" ] && dpkg --compare-versions "$version" ge $pgsphere_needs
}

# Newest version of pgsphere that apt offers and that works: pgsphere_version MAJOR
pgsphere_version() {
    apt-cache madison "postgresql-$1-pgsphere" | cut -d '|' -f 2 | tr -d ' ' | while read -r version; do
        if dpkg --compare-versions "$version" ge $pgsphere_needs; then
            echo "$version"
            break
        fi
    done
}

# Derive a backports source from the machine's own entry for this release: same mirror, same key, "-backports".
# Backports rank below the release in apt, so nothing else comes from there unasked.  Prints the file made.
add_backports() {
    codename=$(. /etc/os-release && echo "$VERSION_CODENAME")
    lists=/etc/apt/sources.list.d
    backports=$lists/l1db-backports
    entry=$(awk -v suite="$codename" -f scripts/backports_deb822.awk $lists/*.sources 2>/dev/null || true)
    if [ -n "$entry" ]; then
        backports=$backports.sources
    else
        # deb [options] mirror release components
        entry=$(cat /etc/apt/sources.list $lists/*.list 2>/dev/null |
            sed -n -E "s/^(deb +(\[[^]]*\] +)?[^ ]+ +$codename) .*/\1-backports main/p" | head -n 1)
        [ -n "$entry" ] || return 1
        backports=$backports.list
    fi
    printf '%s\n' "$entry" | as_root tee $backports >/dev/null
    echo $backports
}

# pgsphere, from backports where the release's own does not work (Debian 12).
install_pgsphere() {
    added=
    version=$(pgsphere_version "$1")
    if [ -z "$version" ] && [ "$(. /etc/os-release && echo "$ID")" = debian ]; then
        added=$(add_backports) || return 1
        apt_update
        version=$(pgsphere_version "$1")
    fi
    if [ -n "$version" ] && apt_install "postgresql-$1-pgsphere=$version"; then
        return 0
    fi
    [ -z "$added" ] || as_root rm -f "$added"
    return 1
}

optional() {
    [ -z "${L1DB_DSN:-}" ] || return 0
    major=$(installed_major) || return 0
    check=postgresql-$major-plpgsql-check
    sphere=postgresql-$major-pgsphere
    [ ! -e "$(extension_file "$major" plpgsql_check)" ] || check=
    ! working_pgsphere "$major" || sphere=
    [ -n "$check$sphere" ] || return 0

    if ! may_install; then
        say "optional, not installed (needs root):$(printf ' %s' $check $sphere)"
        return 0
    fi
    apt_has $check $sphere || apt_update
    if [ -n "$check" ]; then
        say "installing $check (optional)"
        apt_install "$check" || say "$check cannot be installed: the tests that lint functions will say so"
    fi
    if [ -n "$sphere" ]; then
        say "installing $sphere (optional)"
        install_pgsphere "$major" || say "no working $sphere here: l1db runs without coverage maps"
    fi
}

peers() {
    java=default-jre-headless
    maven=maven
    ! command -v java >/dev/null || java=
    ! command -v mvn >/dev/null || maven=
    [ -n "$java$maven" ] || return 0

    if ! may_install; then
        say "optional, not installed (needs root):$(printf ' %s' $java $maven)"
        return 0
    fi
    apt_has $java $maven || apt_update
    say "installing$(printf ' %s' $java $maven) (optional)"
    apt_install $java $maven || say "no Java and Maven here: Kafka is tested on librdkafka's mock only"
}

apt_log=$(mktemp)
trap 'rm -f "$apt_log"' EXIT
case "${1:-all}" in
required) required ;;
optional) optional ;;
peers) peers ;;
all) required && optional ;;
*) fail "usage: scripts/packages.sh [required | optional | peers]" ;;
esac
