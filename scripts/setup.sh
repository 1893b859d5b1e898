#!/usr/bin/env bash
# Makes the environment: .venv with the pinned requirements, once, and again when they change.
#
#   scripts/setup.sh         what training and drawing need
#   scripts/setup.sh test    what the tests need too
#
# It takes the newest Python of 3.14 to 3.11 that is on PATH, among pyenv's versions, or known to uv.
# VENV names another folder than .venv; PYTHON names a version (3.11) or an interpreter.
set -euo pipefail
cd "$(dirname "$0")/.."
venv=${VENV:-.venv}

files=(requirements-cpu.txt)
if command -v nvidia-smi >/dev/null && nvidia-smi >/dev/null 2>&1; then files=(requirements.txt); fi
if [ "${1:-}" = test ]; then files+=(requirements-test.txt); fi

mark="$venv/.smith-$(cat "${files[0]}" requirements-*.txt pyproject.toml | cksum | tr ' ' -)"
if [ -e "$mark${1:+-$1}" ]; then exit 0; fi

# Prints the path of an interpreter if it is Python 3.$2 (any supported version without $2) and can make an environment.
interpreter() {
    "$1" -c "import ensurepip, sys, venv
if sys.version_info[:2] not in [(3, minor) for minor in [${2:-11, 12, 13, 14}]]: sys.exit(1)
print(sys.executable)" 2>/dev/null
}

find_python() { # Prints the path of the first Python found, of the minor versions given.
    local minor candidate
    for minor in "$@"; do
        for candidate in "python3.$minor" "${PYENV_ROOT:-$HOME/.pyenv}/versions/3.$minor".*/bin/python python3 python \
            "$(uv python find --no-project --no-python-downloads "3.$minor" 2>/dev/null || true)"; do
            interpreter "$candidate" "$minor" && return
        done
    done
    uv python install --quiet "3.$1" 2>/dev/null && interpreter "$(uv python find --no-project "3.$1")" # downloads it
}

if [ ! -x "$venv/bin/python" ]; then
    places="found on PATH, among pyenv's versions or through uv; install one, or name one with PYTHON="
    case ${PYTHON:-} in
        "") found=$(find_python 14 13 12 11) || problem="no Python 3.11 to 3.14 $places" ;;
        3.1[1-4]) found=$(find_python "${PYTHON#3.}") || problem="no Python $PYTHON $places" ;;
        *) found=$(interpreter "$PYTHON") || problem="PYTHON=$PYTHON is no Python 3.11 to 3.14 with venv and ensurepip" ;;
    esac
    if [ -n "${problem:-}" ]; then echo "setup: $problem" >&2 && exit 2; fi
    "$found" -m venv "$venv"
fi

echo "setup: installing ${files[*]} into $venv with $("$venv/bin/python" -V) (once; minutes)" >&2
if ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then # as in environments that uv made
    "$venv/bin/python" -m ensurepip >/dev/null
fi
arguments=()
for file in "${files[@]}"; do arguments+=(-r "$file"); done
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check "${arguments[@]}"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --editable .
touch "$mark" "$mark${1:+-$1}"
echo "setup: done; for smith on your PATH: . $(cd "$venv/bin" && pwd)/activate" >&2
