# What this machine has, and how the scripts speak.  Sourced by the others, from the top of the checkout.
# shellcheck shell=sh

# Packages of a major: all of them, or l1db cannot run on it.
server_packages() { echo "postgresql-$1 postgresql-$1-q3c postgresql-$1-postgis-3"; }

# One line on what is being done.
say() { echo "l1db: $*"; }

# One line on what went wrong and what to do, then the end.
fail() {
    echo "l1db: $*" >&2
    exit 1
}

is_root() { [ "$(id -u)" -eq 0 ]; }

# Make .l1db, which holds all that the set-up knows of this checkout.
own_state() {
    mkdir -p .l1db 2>/dev/null || true
    [ -w .l1db ] || fail "$(pwd -P)/.l1db cannot be written by $(id -un): run make as its owner"
}

# Control file of an extension: extension_file MAJOR NAME
extension_file() { echo "/usr/share/postgresql/$1/extension/$2.control"; }

# Newest PostgreSQL major on disk that has q3c and PostGIS; nothing and exit code 1 where there is none.
installed_major() {
    for major in 18 17 16 15; do
        if [ -x "/usr/lib/postgresql/$major/bin/initdb" ] &&
            [ -e "$(extension_file $major q3c)" ] && [ -e "$(extension_file $major postgis)" ]; then
            echo $major
            return
        fi
    done
    return 1
}

# A Python that can make a venv for us.  The first on PATH may be a shim without a version behind it, so each is tried.
usable_python() {
    for python in python3 /usr/bin/python3 python3.14 python3.13 python3.12 python3.11; do
        if "$python" -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$python"
            return
        fi
    done
    return 1
}
