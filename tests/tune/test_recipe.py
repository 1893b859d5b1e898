"""Comparisons and the recipe on a small task, in Python and as commands."""

import re

import numpy as np
import optax
import pytest
from tiny import task

from smith import cli, epochs, iterations, tune
from smith.errors import UserError
from smith.tune import comparisons

LENGTH = epochs(3)
FAR = {"1e-7": {"lr": 1e-7}, "0.1": {"lr": 0.1}}


def test_a_comparison_pairs_seeds_and_tells_a_large_difference_but_not_with_one_seed(one):
    found = tune.compare(one, "learning rate", FAR, length=LENGTH, seeds=3)
    (difference,) = found.differences.values()
    assert found.best == "0.1" and found.seen and not found.tied and difference[1] > 0
    apart = found.losses["1e-7"] - found.losses["0.1"]
    assert difference[0] == pytest.approx(apart.mean())
    assert "0.1 is best with 3 seeds" in found.note
    found = tune.compare(one, "rate", FAR, length=LENGTH, seeds=1)
    assert not found.seen and found.best == "0.1"


def test_a_comparison_of_what_is_the_same_sees_no_difference(one):
    settings = {"a": {"lr": 0.1, "weight_decay": 1e-9}, "b": {"lr": 0.1, "weight_decay": 2e-9}}
    found = tune.compare(one, "weight decay", settings, length=LENGTH, seeds=3)
    assert not found.seen and "no difference seen" in found.note


@pytest.mark.parametrize("how", ["range test", "snapshot"])
def test_weight_decay_is_a_grid_and_then_the_middles_by_exponent(how, one):
    found = tune.weight_decay(one, 0.1, (0, 1e-2, 10), length=LENGTH, seeds=1, how=how)
    assert set(found.results) >= {"0", "0.01", "10"} and found.best != "10"
    assert 3 <= len(found.results) <= 5
    if how == "snapshot":
        assert all(result.run.start for results in found.results.values() for result in results)


def test_the_middles_are_between_the_best_and_its_neighbours():
    assert comparisons._middles([1e-5, 1e-4, 1e-3], 1e-4) == [3.2e-5, 3.2e-4]
    assert comparisons._middles([0, 1e-4], 1e-4) == []


def test_batch_sizes_are_compared_at_the_same_number_of_examples(one):
    found = tune.batch_size(one, 0.1, length=LENGTH, seeds=1)
    assert list(found.results) == ["16", "32", "64"]
    seen = [result.run.iterations * result.run.batch_size for (result,) in found.results.values()]
    assert max(seen) == min(seen)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda one: tune.momentum(one, 0.1, (1.0,)), "between 0 and 1"),
        (lambda one: tune.weight_decay(one, 0.1, (-1e-4, 0)), "at least 0"),
        (lambda one: tune.weight_decay(one, 0.1, how="guess"), "from scratch"),
        (lambda one: tune.batch_size(one, 0.1, (32,)), "at least two"),
        (lambda one: tune.batch_size(one, 0.1, (np.int64(32), 16.5)), "batch size 16.5"),
        (lambda one: tune.recipe(one, iterations(100)), "budget is too small"),
        (lambda one: tune.recipe(one, "soon"), "soon"),
        (lambda one: tune.recipe(one, -3), "budget -3"),
        (lambda one: tune.recipe(one, None), "budget None"),
        (lambda one: tune.weight_decay(one, 0.1, ("much",)), "much"),
        (lambda one: tune.recipe(one, steps=("colour",)), "colour"),
        (lambda one: tune.recipe(one, seeds=0), "0 seeds"),
        (lambda one: tune.recipe(one, length=0.5), "length 0.5"),
        (lambda one: tune.momentum(one, "0.1"), "learning rate '0.1'"),
        (lambda one: tune.recipe(one, iterations(120), steps=(), start=1e-12, stop=1e-9), "says nothing"),
    ],
)
def test_what_makes_no_sense_is_told(call, says, one):
    with pytest.raises(UserError, match=says):
        call(one)


BUDGET = iterations(16 * 40)


def test_the_recipe_goes_through_the_steps_of_the_paper_and_reports_them(one, tmp_path):
    plan = tune.recipe(one, BUDGET, seeds=1)
    assert [step.name for step in plan.steps] == ["learning rate", "batch size", "momentum", "weight decay"]
    assert sum(step.iterations for step in plan.steps) <= BUDGET.value
    trained = plan.train(epochs(5), seeds=2)
    assert trained.accuracy.min() > 0.5 and len(trained.clues) == 2
    page = plan.report(tmp_path / "page", trained)
    text = page.read_text()
    for step in plan.steps:
        assert step.chosen in text
    assert len(list((tmp_path / "page").glob("*.png"))) == 5
    assert "caffe_sgd(" in text and str(trained).split()[2] in text
    plan.report(tmp_path / "page")  # its own page may be written again
    assert str(tune.recipe(task(one.store.root), BUDGET, seeds=1)) == str(plan)


def test_what_the_optimizer_has_no_parameter_for_is_not_looked_for(tmp_path):
    without = [task(tmp_path, optimizer=one).without for one in (optax.adagrad, optax.adam, optax.adamw, "adamw")]
    assert without == [["momentum", "weight decay"], ["weight decay"], [], ()]
    plan = tune.recipe(task(tmp_path, optimizer=optax.adagrad), BUDGET, seeds=1, steps=("momentum", "weight decay"))
    assert [step.name for step in plan.steps] == ["learning rate"]


def test_curves_that_are_too_short_to_be_read_have_no_clues(one, tmp_path):
    plan = tune.recipe(one, BUDGET, seeds=1, steps=())
    trained = plan.train(iterations(4), test_every=iterations(1))
    assert trained.results and not trained.clues
    assert "Training" in plan.report(tmp_path / "page", trained).read_text()


def test_the_code_of_a_plan_gives_its_schedules(one):
    plan = tune.recipe(one, BUDGET, seeds=1, steps=())
    scope: dict = {}
    exec(plan.code(epochs(5)), scope)
    run = plan.run(epochs(5))
    lr = run.schedules()[0].build(run.iterations, run.iterations_per_epoch)
    places = np.arange(0, run.iterations, 7)
    np.testing.assert_allclose([scope["lr"](t) for t in places], [lr(t) for t in places], rtol=0.02)
    assert scope["momentum"](0) == pytest.approx(0.95)


TASK_FILE = """
from tiny import task
TASK = task({!r})
"""


def test_the_commands_search_suggest_and_report(one, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_task.py").write_text(TASK_FILE.format(str(one.store.root)))
    cli.main(["range-test", "my_task.py", "--lr", "1e-4..10", "--seeds", "2"])
    assert "1cycle from" in capsys.readouterr().out and (tmp_path / "range-test.png").is_file()
    cli.main(["tune", "my_task.py", "--budget", "1h", "--seeds", "1", "--train", "3"])
    out = capsys.readouterr().out
    assert "weight decay:" in out and "test accuracy" in out
    folder = tmp_path / "perceptron-tuned"
    page = (folder / "index.html").read_text()
    pictures = re.findall(r'<img src="(.+?)"', page)
    assert len(pictures) == 5 and all((folder / name).is_file() for name in pictures)
    headings = re.findall(r"<h2>(.*?)</h2>", page)
    assert headings[3].startswith("4. Weight decay: ") and headings[4:] == ["Training", "Elsewhere"]
    assert "seed 0: " in page and "from smith import CyclicalMomentum, OneCycle" in page and "Claims" not in page


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["range-test", "none.py"], "no such file"),
        (["range-test", "empty.py"], "no TASK"),
        (["range-test", "wrong.py"], "wrong.py, line 1: boom"),
        (["range-test", "my_task.py", "--lr", "fast"], "--lr fast"),
        (["range-test", "my_task.py", "--lr", "0.1"], "ranges: none"),
        (["range-test", "my_task.py", "--lr", "10..1"], "does not grow"),
        (["range-test", "my_task.py", "--length", "-1"], "--length -1: give a number from 0"),
        (["range-test", "my_task.py", "--length", "abc"], "--length abc: give a number from 0"),
        (["tune", "my_task.py", "--train", "-1"], "--train -1: give a number from 0"),
        (["tune", "my_task.py", "--seeds", "0"], "--seeds 0: give a whole number from 1"),
        (["tune", "my_task.py", "--budget", "0.01s"], "budget is too small"),
    ],
)
def test_bad_input_of_the_commands_is_one_line(words, says, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_task.py").write_text(TASK_FILE.format("results"))
    (tmp_path / "empty.py").write_text("")
    (tmp_path / "wrong.py").write_text('raise __import__("smith").UserError("boom")')
    with pytest.raises(SystemExit) as ended:
        cli.main(words)
    assert ended.value.code == 2
    assert says in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    ("status", "words", "says"),
    [
        (1, ["tune", "my_task.py", "--report-dir", "my_task.py"], "choose --report-dir"),
        (2, ["range-test", "my_task.py", "--plot", "x.pdf"], "x.pdf: a plot is a .png or a .svg file"),
    ],
)
def test_where_nothing_can_be_written_is_told_before_the_search(status, words, says, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_task.py").write_text(TASK_FILE.format("results"))
    with pytest.raises(SystemExit) as ended:
        cli.main(words)
    assert ended.value.code == status and says in capsys.readouterr().err
    assert not (tmp_path / "results").exists()
