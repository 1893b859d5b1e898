"""Experiments in files anywhere: their names, and the mistakes in them. test_docs.py has one that registers things."""

from pathlib import Path

import pytest

from smith import experiments
from smith.cli import main
from smith.networks import NETWORKS
from smith.schedules import SCHEDULES
from smith.train.optim import SOLVERS

PLAIN = """
from smith import Figure, Panel, Run, iterations

FIGURE = Figure("{name}", "Mine", panels=(Panel("a", {{"": Run("mnist", "lenet", 64, iterations(100), lr=0.01)}}),))
"""


@pytest.fixture
def folder(monkeypatch) -> Path:
    """A folder of one's own in the place of experiments/."""

    def place(path: Path) -> Path:
        experiments.find(["all"])  # the project's own are loaded before, so that no file here is taken for one of them
        monkeypatch.setattr(experiments, "FOLDER", path)
        return path

    return place


def test_experiments_go_by_the_name_of_their_figure_whatever_the_file_is_called(tmp_path, folder):
    folder(tmp_path)
    for name in ("mine", "mine_adam", "mine_sgd"):
        (tmp_path / f"{name}.py").write_text(PLAIN.format(name=f"of_{name}"))
    (tmp_path / "_draft.py").write_text("1 / 0")
    (tmp_path / "bases.py").write_text("BASE = 1")
    found = experiments.find(["all"])
    assert {one.name: one.path.stem for one in found} == {f"of_{n}": n for n in ("mine", "mine_adam", "mine_sgd")}
    assert [one.name for one in experiments.find(["of_mine_sgd", "of_mine", "of_mine"])] == ["of_mine_sgd", "of_mine"]


def test_two_experiments_of_one_name_are_told_with_both_files(tmp_path, refused):
    copy, own = tmp_path / "copy.py", tmp_path / "own.py"
    copy.write_text(PLAIN.format(name="fig09"))
    own.write_text(PLAIN.format(name="own"))
    line = refused(2, "draw", copy)
    assert "'fig09'" in line and str(copy) in line and "experiments/fig09_weight_decay_constant_lr.py" in line
    other = tmp_path / "other.py"
    other.write_text(PLAIN.format(name="own"))
    line = refused(2, "draw", own, other)
    assert "both named 'own'" in line and str(own) in line and str(other) in line


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x = 1\ny = 1 / 0\n", "mine.py, line 2: ZeroDivisionError: division by zero"),
        ("def f(:\n", "mine.py: SyntaxError: "),
        ("import nothing_like_it\n", "mine.py, line 1: ModuleNotFoundError: No module named 'nothing_like_it'"),
        ("from smith import Run\nRun('mnist', 'lenet', 0, 1, lr=1)\n", "mine.py, line 2: batch size 0"),
        ("FIGURE = 3\n", "mine.py: an experiment has a FIGURE or a TABLE"),
    ],
)
def test_a_file_that_can_not_be_loaded_is_told_in_one_line(text, words, tmp_path, refused):
    (tmp_path / "mine.py").write_text(text)
    assert words in refused(2, "list", tmp_path / "mine.py")


@pytest.mark.parametrize(
    ("claims", "words"),
    [
        ("3", "CLAIMS are a tuple of smith.analysis.verdicts.Claim"),
        ("('less',)", "CLAIMS are a tuple of smith.analysis.verdicts.Claim"),
        ("(Claim('C01', 'Mine.', '', (), (), ''),)", "a claim named 'C01' is there already: give it another name"),
    ],
)
def test_claims_that_are_none_and_names_that_are_taken_are_told(claims, words, tmp_path, monkeypatch, refused):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results").mkdir()
    own = f"from smith.analysis.verdicts import Claim\nCLAIMS = {claims}\n"
    (tmp_path / "mine.py").write_text(PLAIN.format(name="mine") + own)
    line = refused(2, "report", "mine.py")
    assert words in line and "mine.py" in line


def test_a_file_that_is_not_there_and_a_broken_one_among_the_experiments_are_named(tmp_path, folder, refused):
    assert f"{tmp_path / 'mine.py'}: there is no such file" in refused(2, "run", tmp_path / "mine.py")
    (folder(tmp_path) / "broken.py").write_text("1 / 0")
    assert f"{tmp_path / 'broken.py'}, line 1: ZeroDivisionError" in refused(2, "list")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("@network('lenet')\ndef f(classes, options, *, rngs): ...", "network 'lenet' is smith.networks"),
        (
            "@dataset('mnist', image_shape=(1, 1, 1), classes=2, train_images=1, test_images=1)\ndef f(a, b): ...",
            "'mnist'",
        ),
        ("@solver('sgd')\ndef f(lr, m, wd, **_): ...", "solver 'sgd' is smith.train.optim"),
        ("class OneCycle(Schedule): ...", "schedule 'OneCycle' is smith.schedules.OneCycle already"),
        (
            "@metric('test_loss', unit='', label='', short='', guess=lambda n: 0.0)\ndef f(a, b): ...",
            "metric 'test_loss' is smith.metrics",
        ),
        (
            "@metric('test_error', unit='', label='', short='', guess=lambda n: 0.0)\ndef f(a, b): ...",
            "metric 'test_error': results have a column of that name",
        ),
    ],
)
def test_a_name_that_is_taken_is_told_in_one_line(text, words, tmp_path, refused):
    file = tmp_path / "taken.py"
    file.write_text(f"from smith import Schedule, dataset, metric, network, solver\n\n{text}\n")
    line = refused(2, "list", file)
    assert words in line and str(file) in line and "another name" in line


FAULTY = """
from flax import nnx
import jax.numpy as jnp
import optax
from smith import Figure, Panel, Run, Schedule, dataset, iterations, network, solver

class Rate(Schedule):
    def formula(self, total, per_epoch):
        return lambda t: RATE

RATE = 0.01

@network("small-of-one-s-own")
class Small(nnx.Module):
    def __init__(self, classes, options, *, rngs):
        self.dense = nnx.Linear(784, classes, rngs=rngs)

    def __call__(self, images, *, train=False, key=None):
        return self.dense(images.reshape(len(images), -1))

@solver("mine-of-one-s-own")
def mine(learning_rate, momentum, weight_decay, **_):
    return optax.sgd(learning_rate)

RUN = Run("mnist", "small-of-one-s-own", 16, iterations(6), lr=Rate(), solver="mine-of-one-s-own")
FIGURE = Figure("faulty", "Mine", panels=(Panel("a", {"": RUN}),))
"""


@pytest.mark.parametrize(
    ("right", "wrong", "words"),
    [
        ("RATE = 0.01", "RATE = 0.01", ""),  # a number for a rate, and all the rest, is right
        ("nnx.Linear(784, classes", "nnx.Linear(784, 3", "gives (16, 3): give (batch, 10), a number for each class"),
        ("nnx.Linear(784, classes", "nnx.Linear(7, classes", "faulty.py, line 19: TypeError: "),
        ("lambda t: RATE", "RATE", "formula of Rate gives 0.01: give a function of the iteration"),
        ("optax.sgd(learning_rate)", "None", "gives a NoneType: give an Optax transformation"),
        ("optax.sgd(learning_rate)", "optax.inject_hyperparams(optax.sgd)(learning_rate)", "inject_hyperparams out"),
        ("weight_decay, **_", "weight_decay", "it takes learning_rate, momentum, weight_decay, **_"),
        ('solver="mine', 'metrics="sharpness", start=5, solver="mine', "start 5: give a Snapshot of a Run"),
    ],
)
def test_a_fault_of_one_s_own_is_told_in_one_line(right, wrong, words, elsewhere, monkeypatch, capsys):
    for registry, name in ((SCHEDULES, "Rate"), (NETWORKS, "small-of-one-s-own"), (SOLVERS, "mine-of-one-s-own")):
        monkeypatch.delitem(registry.origins, name, raising=False)
    (elsewhere / "faulty.py").write_text(FAULTY.replace(right, wrong))
    command = ["run", "faulty.py", "--scale", "smoke", "--no-draw"]
    if words:
        with pytest.raises(SystemExit) as ended:
            main(command)
        line = capsys.readouterr().err.splitlines()[-1]
        assert (ended.value.code, words in line) == (2, True), line
    else:
        main(command)
        assert "1 run trained, 0 diverged" in capsys.readouterr().out
    assert bool(list(elsewhere.glob("results/smoke/*.parquet"))) == (not words)


def test_a_file_may_import_its_neighbours_and_two_files_may_have_the_same_name(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "same.py").write_text(PLAIN.format(name=name))
    (tmp_path / "one" / "my_neighbour.py").write_text("NAME = 'three'")
    (tmp_path / "one" / "third.py").write_text(
        "from my_neighbour import NAME" + PLAIN.replace('"{name}"', "NAME").replace("{{", "{").replace("}}", "}")
    )
    paths = [str(tmp_path / name) for name in ("one/same.py", "two/same.py", "one/third.py")]
    assert [one.name for one in experiments.find(paths)] == ["one", "two", "three"]
