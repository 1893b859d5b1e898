#!/usr/bin/env bash
# Trains every figure and table of the paper and draws it, from nothing: environment, data, training, figures.
#
#   scripts/run_all.sh [smoke|mini|paper] [options of `smith run`]
#
# Folders in the options are taken from where you stand; without them results/ and drawn/ of the repository are used.
# What the results that are here already show comes first: every figure, and the report with the verdicts on the claims.
# What is trained is not trained again, so the same command goes on after an interruption; with `--results-dir FOLDER`
# everything is trained anew. `smith run beyond` trains the experiments that go beyond the paper.
set -euo pipefail
here=$PWD
cd "$(dirname "$0")/.."
scale=mini
if [ $# -gt 0 ] && [[ $1 != -* ]]; then scale=$1 && shift; fi
case $scale in smoke | mini | paper) ;; *) echo "run_all: unknown scale '$scale': smoke, mini or paper" >&2 && exit 2 ;; esac

options=() data=()
while [ $# -gt 0 ]; do
    option=$1 && shift
    if [[ $option == --*-dir && $# -gt 0 ]]; then option+=="$1" && shift; fi
    if [[ $option == --*-dir=* ]]; then
        folder=${option#*=}
        [[ $folder == /* ]] || folder="$here/$folder"
        options+=("${option%%=*}" "$folder")
        if [[ $option == --data-dir=* ]]; then data=(--data-dir "$folder"); fi
    else
        options+=("$option")
    fi
done

scripts/setup.sh
venv=${VENV:-.venv}
export PATH="$PWD/$venv/bin:$PATH"
case $venv in /*) export PATH="$venv/bin:$PATH" ;; esac
smith draw all --scale "$scale"
smith report

# TensorFlow is installed only if TFDS has to prepare a dataset.
if ! smith data ${data[@]+"${data[@]}"} >/dev/null 2>&1; then
    echo "run_all: installing requirements-prepare.txt to prepare the data (once; minutes)" >&2
    python -m pip install --quiet --disable-pip-version-check -r requirements-prepare.txt || true
    smith data ${data[@]+"${data[@]}"} || echo "run_all: going on with the data there are" >&2
fi
smith run paper --scale "$scale" ${options[@]+"${options[@]}"}
