#!/usr/bin/env bash
# Uses a GPU that one has for a short time: says what is there, measures speeds, trains what shows most, packs it.
#
#   scripts/gpu_campaign.sh MINUTES OUT [paper|smoke]
#
# It stops well before the end, and the next call goes on. OUT gets bench.json, and the scale's results and checkpoints in
# pieces of 15 MB: cat OUT/results.tar.* | tar x -C results
# PYTHON is the interpreter (python3, if not given); it needs what requirements.txt names, and no network. RESULTS is the
# folder of results (results/, if not given).
set -euo pipefail
if [ $# -lt 2 ] || ! [[ $1 =~ ^[1-9][0-9]*$ ]]; then echo "gpu_campaign: MINUTES OUT [paper|smoke]" >&2 && exit 2; fi
end=$((SECONDS + $1 * 60 - 60)) python=${PYTHON:-python3} scale=${3:-paper}
results=$(realpath -m "${RESULTS:-$(dirname "$0")/../results}")
mkdir -p "$2" && out=$(cd "$2" && pwd)
cd "$(dirname "$0")/.."
case $scale in paper | smoke) ;; *) echo "gpu_campaign: unknown scale '$scale': paper or smoke" >&2 && exit 2 ;; esac

"$python" -c "
import sys, jax, flax, optax, orbax.checkpoint, smith.cli
print('python', sys.version.split()[0], 'jax', jax.__version__, *jax.devices())" || {
    echo "gpu_campaign: $python lacks what requirements.txt names, or JAX does not start" >&2 && exit 2
}

# Speeds first: a tenth of the time, while nothing else runs.
timeout $((1 + $1 * 6)) "$python" scripts/bench.py --network shallow3 lenet resnet-56 --turns 3 --json "$out/bench.json" ||
    echo "gpu_campaign: no time for all of bench.py" >&2

# What shows most for its time, each to the seeds of a verdict: docs/performance.md has the images that each needs.
for name in fig06 fig14 fig07 fig09 fig08 fig05 fig11 table1 table2; do
    left=$((end - SECONDS))
    if [ $left -lt 10 ]; then break; fi
    "$python" -m smith run $name --scale "$scale" --no-draw --workers 1 --budget ${left}s \
        --results-dir "$results"
done
"$python" -m smith pack --scale "$scale" --results-dir "$results"
tar c -C "$results" "$scale" | split -b 15M - "$out/results.tar."
ls -l "$out"
