"""What the commands that train nothing import: not what takes seconds."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from smith import cli, scales
from smith.store import results
from smith.store.results import COLUMNS

ROOT = Path(cli.__file__).resolve().parent.parent
SLOW = {
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "orbax",
    "matplotlib",
    "scipy",
    "pandas",
    "tensorflow_datasets",
    "tensorflow",
    "torch",
}


@pytest.mark.parametrize("args", ["list", "--help", "run --help"])
def test_list_and_help_import_nothing_slow(args, tmp_path):
    """Also where there are results to count, and to read the speeds of."""
    (tmp_path / "quick").mkdir()
    run = scales.named("quick").apply(cli.experiments(["fig09"])[0].runs()[0])
    rows = [dict.fromkeys(COLUMNS, 1)]
    results.write(tmp_path / "quick", run, 0, "done", rows, {"images_per_second": "1000"})
    command = [*args.split(), *(["--results-dir", str(tmp_path)] if args == "list" else [])]
    code = """if True:
        import contextlib, sys
        from smith import cli
        with contextlib.suppress(SystemExit):
            cli.main(sys.argv[1:])
        print("imported:", *sorted({name.split(".")[0] for name in sys.modules}))
    """
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, "-c", code, *command],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": path, "COLUMNS": "150"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, "")
    *shown, imported = done.stdout.splitlines()
    if args == "list":
        (line,) = [line for line in shown if line.split()[:1] == ["fig09"]]
        assert " 1/" in line
    else:
        assert "usage: smith" in "\n".join(shown)
    assert "smith" in imported.split() and not SLOW & set(imported.split())
