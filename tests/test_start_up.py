"""What the commands that train nothing import: not what takes seconds."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from smith import cli, experiments, scales
from smith.store import COLUMNS, Store, results

ROOT = Path(cli.__file__).resolve().parent.parent
JAX = {"jax", "jaxlib", "flax", "optax", "orbax", "tensorflow_datasets", "tensorflow", "torch"}
SLOW = JAX | {"matplotlib", "scipy", "pandas"}
CODE = """
import contextlib, sys
with contextlib.suppress(SystemExit):
    from smith import cli
    cli.main(sys.argv[1:])
print("imported:", *sorted({name.split(".")[0] for name in sys.modules}))
"""


@pytest.mark.parametrize(
    ("args", "slow", "words"),
    [
        ("--help", SLOW, "usage: smith"),
        ("run --help", SLOW, "usage: smith run"),
        ("list fig09", SLOW, "1/4"),
        ("status", SLOW, "fig"),
        ("verify", SLOW, "1 as they were written, 0 not"),
        ("draw fig09", JAX, "fig09.png"),
    ],
)
def test_commands_that_train_nothing_import_nothing_slow(args, slow, words, tmp_path):
    """Also where there is a result to count, to read the speed of, and to draw."""
    store = Store(tmp_path / "results", scales.named("mini"))
    store.folder.mkdir(parents=True)
    run = store.trained(experiments.find(["fig09"])[0].shows.runs()[0])
    results.write(store.folder, run, 0, "done", [dict.fromkeys(COLUMNS, 1)], {"seconds": "10"})
    search = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", CODE, *args.split()],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": search, "COLUMNS": "150"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, "")
    *shown, imported = done.stdout.splitlines()
    assert words in "\n".join(shown)
    assert "smith" in imported.split()
    assert slow & set(imported.split()) == set()


def test_all_names_can_be_imported_at_once():
    code = "from smith import *; print(Run.__name__, Task.__name__, caffe_sgd.__name__, __name__)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["Run", "Task", "caffe_sgd", "__main__"]
