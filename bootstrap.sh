#!/bin/sh
# Makes .venv: finds a Python from 3.12 to 3.14, installs what a requirements file locks, by hash, and the `oxygen`
# command of this checkout. Needs nothing of ours.
# Usage: ./bootstrap.sh [requirements-dev.txt]
set -eu
cd "$(dirname "$0")"
requirements=${1:-requirements.txt}

# A Python that really runs (a pyenv shim may not), is of a fitting version, and can make environments.
fits() {
    "$1" -c 'import sys, venv, ensurepip; sys.exit(not (3, 12) <= sys.version_info[:2] <= (3, 14))' >/dev/null 2>&1
}

find_python() {
    passwd_home=$(eval echo "~$(id -un)") # HOME may be another
    roots="${PYENV_ROOT:-} ${HOME:-$passwd_home}/.pyenv $passwd_home/.pyenv"
    shim=$(command -v python3 2>/dev/null || true)
    case $shim in */shims/python3) roots="$roots ${shim%/shims/python3}" ;; esac
    for minor in 14 13 12; do
        for root in $roots; do
            for candidate in "$root"/versions/3.$minor*/bin/python3; do
                if fits "$candidate"; then echo "$candidate"; return; fi
            done
        done
        if fits "python3.$minor"; then command -v "python3.$minor"; return; fi
    done
    if fits python3; then command -v python3; fi
}

if [ -n "${PYTHON:-}" ] && ! fits "$PYTHON"; then
    echo "PYTHON=$PYTHON does not run, is not 3.12 to 3.14, or lacks venv (Debian: apt install python3-venv)." >&2
    exit 1
fi
python=${PYTHON:-$(find_python)}

if [ -x .venv/bin/python ] && ! fits .venv/bin/python; then rm -rf .venv; fi # its Python has gone

give_up() {
    echo "Oxygen Billing needs Python 3.12, 3.13 or 3.14 with venv, and found none. Install one (Debian: apt install" >&2
    echo "python3-venv; anywhere: https://docs.astral.sh/uv), or name it: PYTHON=/path/to/python3 make ..." >&2
    exit 1
}

if [ ! -x .venv/bin/python ]; then
    if [ -n "$python" ]; then
        echo "Making .venv with $python."
        "$python" -m venv --clear .venv
    else
        echo "No Python from 3.12 to 3.14 here; uv fetches one."
        uv=$(command -v uv || true)
        if [ -z "$uv" ]; then
            python3 -m venv .uv >/dev/null 2>&1 || give_up
            .uv/bin/python -m pip install --quiet --disable-pip-version-check uv || give_up
            uv=.uv/bin/uv
        fi
        "$uv" venv --quiet --clear --seed --python '>=3.12,<3.15' .venv || give_up
    fi
fi

echo "Installing $requirements."
if ! .venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r "$requirements"; then
    echo "The packages of $requirements could not be installed; the reason is above." >&2
    exit 1
fi

# With what was just locked: a checkout has no hash, so it cannot stand in the file.
if ! .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-index --no-deps --no-build-isolation -e .; then
    echo "The oxygen command could not be installed; the reason is above." >&2
    exit 1
fi
