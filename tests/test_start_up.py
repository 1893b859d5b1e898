"""What the commands that train nothing import: not what takes seconds."""

from pathlib import Path

import pytest
from processes import python
from small import write_result

from smith import experiments, scales
from smith.store import Store

JAX = {"jax", "jaxlib", "flax", "optax", "orbax", "tensorflow_datasets", "tensorflow", "torch"}
SLOW = JAX | {"matplotlib", "scipy", "pandas"}
CODE = """
import contextlib, sys
from smith import cli
for command in sys.argv[1:]:
    with contextlib.suppress(SystemExit):
        cli.main(command.split())
print("imported:", *sorted({name.split(".")[0] for name in sys.modules}))
"""
READ = {
    "--help": "usage: smith",
    "run --help": "usage: smith run",
    "list speed": "1/3",
    "status": "fig",
    "verify": "1 as they were written, 0 not",
}


def printed(code: str, *words: str, cwd: Path, **environment: str) -> str:
    """Runs Python code in a process of its own. Returns what it printed."""
    done = python("-c", code, *words, cwd=cwd, **environment)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.parametrize(("commands", "slow"), [(READ, SLOW), ({"draw speed": "speed.png"}, JAX)])
def test_commands_that_train_nothing_import_nothing_slow(commands, slow, tmp_path):
    """Also where there is a result to count, to read the speed of, and to draw."""
    store = Store(tmp_path / "results", scales.named("mini"))
    write_result(store, experiments.find(["speed"])[0].shows.runs()[0], seconds="10")
    shown, imported = printed(CODE, *commands, cwd=tmp_path, COLUMNS="150").split("imported: ")
    assert all(words in shown for words in commands.values()), shown
    assert "smith" in imported.split() and not slow & set(imported.split())


def test_all_names_can_be_imported_at_once_and_one_without_jax(tmp_path):
    code = """
import sys, smith
assert smith.Run and "jax" not in sys.modules
from smith import *
from smith import tune
print(Run.__name__, Task.__name__, tune.__name__, caffe_sgd.__name__, __name__)
"""
    assert printed(code, cwd=tmp_path).split() == ["Run", "Task", "smith.tune", "caffe_sgd", "__main__"]
