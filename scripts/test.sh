#!/usr/bin/env bash
# Lint, types and tests, from nothing. Options go to pytest: scripts/test.sh --slow, scripts/test.sh -k schedules
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh test
venv=${VENV:-.venv}
"$venv/bin/ruff" check .
"$venv/bin/ruff" format --check .
"$venv/bin/basedpyright" --pythonpath "$venv/bin/python"
# A process for each core, with one thread each (tests/conftest.py).
"$venv/bin/python" -m pytest -n "$(getconf _NPROCESSORS_ONLN)" --maxprocesses 8 --dist worksteal "$@"
