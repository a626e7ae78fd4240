#!/bin/sh
# Everything that l1db needs on this machine, step by step.  A step that is done already costs nothing.
#
# With L1DB_DSN set, that server is used and none is installed or started here.
set -eu
cd "$(dirname "$0")/.."
. scripts/machine.sh

# Two runs in one checkout: the second waits for the first.
one_at_a_time() {
    exec 9>.l1db/lock
    flock --nonblock 9 || { say "waiting for another set-up of this checkout" && flock 9; }
}

# Required packages each time, because somebody may have removed one; optional ones are tried once.
packages() {
    sh scripts/packages.sh required
    [ -n "${L1DB_DSN:-}" ] || [ -e .l1db/optional-tried ] || {
        sh scripts/packages.sh optional
        : >.l1db/optional-tried
    }
}

# l1db and its dependencies in .venv.  The stamp holds where it was made and for what: a venv cannot be moved.
python_environment() {
    stamp="$(pwd -P) $(cksum <pyproject.toml)"
    installed=$(cat .venv/l1db-installed 2>/dev/null || true)
    [ "$installed" != "$stamp" ] || [ ! -x .venv/bin/l1db ] || return 0
    case "$installed" in
    "" | "$(pwd -P) "*) ;;
    *) rm -rf .venv ;;
    esac
    if ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
        say "making the Python environment .venv"
        "$(usable_python)" -m venv --clear .venv
    fi
    say "installing l1db and its dependencies into .venv"
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[test]' ||
        fail "pip install failed (above): if the network is the reason, run make again"
    echo "$stamp" >.venv/l1db-installed
}

own_state
one_at_a_time
packages
python_environment
[ -n "${L1DB_DSN:-}" ] || sh scripts/server.sh start
.venv/bin/l1db init
