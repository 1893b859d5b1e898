#!/usr/bin/env bash
# Runs every experiment and draws every figure, from nothing: environment, data, training, figures.
#
#   scripts/run_all.sh [smoke|quick|short|paper] [options of `smith run`]
#
# What is done is not done again, so the same command goes on after an interruption.
set -euo pipefail
cd "$(dirname "$0")/.."
scale=quick
if [ $# -gt 0 ] && [[ $1 != -* ]]; then scale=$1 && shift; fi

scripts/setup.sh
venv=${VENV:-.venv}
export PATH="$PWD/$venv/bin:$PATH"
case $venv in /*) export PATH="$venv/bin:$PATH" ;; esac

# TensorFlow is installed only if TFDS has to prepare a dataset.
if ! smith data >/dev/null 2>&1; then
    echo "run_all: installing requirements-prepare.txt to prepare the data (once; minutes)" >&2
    python -m pip install --quiet --disable-pip-version-check -r requirements-prepare.txt || true
    smith data || echo "run_all: going on with the data there are" >&2
fi
smith run all --scale "$scale" "$@"
