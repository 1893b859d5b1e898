"""The bench of the recipe, on a task that takes seconds."""

import numpy as np
import pytest
from tiny import task

from scripts import bench_tune
from smith.data import DATASETS


@pytest.mark.parametrize(("way", "budget"), [(way, 960 if way == "recipe" else 320) for way in bench_tune.WAYS])
def test_each_way_spends_the_budget_and_no_more(way, budget, tmp_path, monkeypatch):
    monkeypatch.setattr(bench_tune, "BUDGET", budget)

    def make(optimizer="nesterov"):
        return task(tmp_path, optimizer=optimizer)

    result = bench_tune.WAYS[way](make, 3)
    assert result.seed == 3 and bench_tune._final(result)[1] > 0.5
    assert 0.9 * budget <= sum(one.run.iterations for one in make().store.all()) <= budget


def test_the_table_has_paired_differences_and_goes_between_its_marks(tmp_path):
    recipe = np.array([[1.0, 0.5], [1.2, 0.4], [1.4, 0.6]])
    text = bench_tune.table({"a task": {"recipe": recipe, "other": recipe + [0.1, -0.05]}})
    assert "| a task | other | 1.3000 | 0.4500 | +0.1000 [+0.1000, +0.1000] | -0.0500 [-0.0500, -0.0500] |" in text
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- bench -->\nold\n<!-- /bench -->\nafter\n")
    bench_tune.write(page, text)
    assert page.read_text() == f"before\n<!-- bench -->\n{text}\n<!-- /bench -->\nafter\n"


def test_the_text_is_predicted_one_character_ahead(tmp_path):
    one = bench_tune.text_task(results_dir=tmp_path)
    arrays = DATASETS[one.base.data].arrays
    assert arrays
    inputs, following = arrays["train"]
    np.testing.assert_array_equal(inputs[:, 1:], following[:, :-1])
    np.testing.assert_array_equal(inputs[1:, 0], following[:-1, -1])
