#!/usr/bin/env bash
# Make .venv with the exact packages of requirements.lock and lowtide itself, editable. Free when nothing changed.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf 'lowtide: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

# A virtual environment knows its own path, so a moved checkout needs a new one.
print_stamp() {
    { pwd -P; cat requirements.lock pyproject.toml setup.py; } | sha256sum | cut -d' ' -f1
}

is_new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

find_python() {
    local candidate
    for candidate in "${PYTHON:-}" python3 python3.13 python3.12 python3.11; do
        if [ -n "$candidate" ] && is_new_enough "$candidate"; then
            command -v "$candidate"
            return
        fi
    done
    fail "no Python 3.11 or newer was found. Install one (Debian 12, Ubuntu 24.04 and newer:" \
        "apt-get install python3 python3-venv), or name one: make PYTHON=/path/to/python3.12 ..."
}

make_venv() {
    local python=$1 package
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        package="python$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')-venv"
        fail "$python cannot make virtual environments. As root: apt-get install $package"
    fi
    rm -rf .venv
    "$python" -m venv .venv
}

main() {
    local stamp python
    stamp=$(print_stamp)
    if [ "$(cat .venv/lowtide-stamp 2>/dev/null || true)" = "$stamp" ]; then
        return
    fi
    python=$(find_python)
    say "making .venv with $("$python" --version); the first time takes a minute or two"
    make_venv "$python"
    # The lock is complete, so that nothing is left to resolve.
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
    # The build backend is in the lock: nothing more is fetched.
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
    printf '%s\n' "$stamp" > .venv/lowtide-stamp
}

main
