#!/usr/bin/env bash
# Lint, types and tests, from nothing. Options go to pytest: scripts/test.sh --slow, scripts/test.sh -k schedules
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh test
venv=${VENV:-.venv}
"$venv/bin/ruff" check .
"$venv/bin/ruff" format --check .
"$venv/bin/basedpyright" --pythonpath "$venv/bin/python"
"$venv/bin/python" -m pytest "$@"
