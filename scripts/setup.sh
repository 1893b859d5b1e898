#!/usr/bin/env bash
# Makes the environment: .venv with the pinned requirements, once, and again when they change.
#
#   scripts/setup.sh         what training and drawing need
#   scripts/setup.sh test    what the tests need too
#
# VENV names another folder than .venv; PYTHON another interpreter than the first that is new enough.
set -euo pipefail
cd "$(dirname "$0")/.."
venv=${VENV:-.venv}

files=(requirements-cpu.txt)
if command -v nvidia-smi >/dev/null && nvidia-smi >/dev/null 2>&1; then files=(requirements.txt); fi
if [ "${1:-}" = test ]; then files+=(requirements-test.txt); fi

mark="$venv/.smith-$(cat "${files[0]}" requirements-*.txt pyproject.toml | cksum | tr ' ' -)"
if [ -e "$mark${1:+-$1}" ]; then exit 0; fi

new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }
if [ ! -x "$venv/bin/python" ]; then
    for python in ${PYTHON:-} python3 python3.11 python3.12 python3.13 python; do
        if new_enough "$python"; then found=$python && break; fi
    done
    if [ -z "${found:-}" ]; then
        echo "setup: no Python 3.11 or newer found; install one, or name it with PYTHON=" >&2
        exit 2
    fi
    "$found" -m venv "$venv"
fi

echo "setup: installing ${files[*]} into $venv (once; minutes)" >&2
arguments=()
for file in "${files[@]}"; do arguments+=(-r "$file"); done
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check "${arguments[@]}"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --editable .
touch "$mark" "$mark${1:+-$1}"
