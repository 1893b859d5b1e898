"""Measures: what is read off small made-up traces, by hand; many seeds at once give what each gives."""

import numpy as np
import pytest
from made_up import NAN, result

from smith.analysis import measures
from smith.analysis.traces import Trace, published_trace, trace
from smith.run import Run, iterations
from smith.schedules import RangeTest

RANGE = Run("cifar10", "shallow3", 100, iterations(1_000), lr=RangeTest(0.1, 1.1), test_every=iterations(100))
TENTHS = np.arange(1, 11) / 10
CHANCE = float(np.log(10))


def of(loss=None, accuracy=None, run: Run = RANGE) -> Trace:
    columns = {"test_loss": loss, "test_accuracy": accuracy}
    lines = {name: (TENTHS, np.asarray(values, float)) for name, values in columns.items() if values is not None}
    return Trace(run, {"test_loss": CHANCE, "test_accuracy": 0.1}, lines)


def decays(**losses) -> dict[str, Trace]:
    """Returns traces of runs by the names of their weight decays, "a 0.001" as a_0_001."""
    named = {key.replace("_", " ", 1).replace("_", "."): loss for key, loss in losses.items()}
    return {n: of(loss, run=RANGE.replace(weight_decay=float(n.split(" ")[1]))) for n, loss in named.items()}


LOSS = [2.0, 1.5, 1.0, 0.8, 0.6, 0.5, 0.6, 0.8, 1.6, 2.2]


def test_a_result_is_read_on_the_scale_of_its_own_run():
    shorter = RANGE.replace(length=iterations(500))
    found = trace(RANGE, result(shorter, [1, 2, 3, 4, NAN], [100, 200, 300, 400, 500]))
    place, loss = found.lines["test_loss"]
    assert place == pytest.approx([0.2, 0.4, 0.6, 0.8, 1]) and loss == pytest.approx([1, 2, 3, 4, CHANCE])
    assert found.run == RANGE and found.guesses["test_accuracy"] == 0.1
    assert found.rate(np.array([0, 1])) == pytest.approx([0.1, 1.1])


@pytest.mark.parametrize(("axis", "x"), [("iteration", 500), ("learning_rate", 0.6), ("momentum", 0.85)])
def test_published_curves_are_read_on_the_same_axis(axis, x):
    run = RANGE.replace(momentum=RangeTest(0.7, 1.0))
    found = published_trace(run, axis, {"test_loss": (np.array([x]), np.ones(1))})
    assert found.lines["test_loss"][0] == pytest.approx([0.5])


def test_places_at_the_edges_count():
    assert of(LOSS).between("test_loss", 0.3, 0.5)[1].tolist() == [1.0, 0.8, 0.6]


def test_measures_of_one_run():
    found = of(LOSS, 0.1 * np.arange(10))
    assert measures.accuracy(found) == pytest.approx(0.9)
    assert measures.final_loss(found) == pytest.approx(np.log(2.2))
    assert measures.least_loss(found) == pytest.approx(np.log(0.5))
    assert measures.median_loss()(found) == pytest.approx(np.log(0.9))
    assert measures.median_loss(0.5)(found) == pytest.approx(np.log(1.0))
    assert measures.median_error(found) == pytest.approx(np.log(0.55))
    assert measures.mean_loss(0.3, 0.5)(found) == pytest.approx(np.log(0.8))
    assert measures.rise("test_accuracy", 0, 1)(found) == pytest.approx(1.0)
    assert measures.rise("test_loss", 0.8, 0.9)(found) == pytest.approx(np.log(2))
    assert measures.rate_of_minimum(found) == pytest.approx(np.log2(0.7))
    assert np.isnan(measures.mean_loss(0.31, 0.39)(found)) and np.isnan(measures.rise("test_loss", 0.3, 0.3)(found))


def test_the_end_and_the_least_are_means_over_a_tenth_of_the_tests():
    place = np.arange(1, 31) / 30
    found = Trace(RANGE, {}, {"test_loss": (place, np.arange(30.0)[::-1] + 1)})
    assert measures.final_loss(found) == pytest.approx(np.log(2)) == pytest.approx(measures.least_loss(found))


def test_differences_are_not_a_number_where_neither_run_trained():
    dead, alive = of(np.full(10, CHANCE)), of(LOSS)
    compare = measures.difference(measures.final_loss, "more", "less")
    assert compare({"more": dead, "less": alive}) == pytest.approx(np.log(CHANCE / 2.2))
    assert np.isnan(compare({"more": dead, "less": dead}))
    only = of(accuracy=np.full(10, 0.1))
    assert np.isnan(measures.difference(measures.accuracy, "more", "less")({"more": only, "less": only}))
    assert measures.mean_of(compare, compare)({"more": dead, "less": alive}) == pytest.approx(np.log(CHANCE / 2.2))


def test_two_range_tests_have_to_stay_below_the_same_loss():
    """The better run's middle to guessing is 1.4; the other, which learns less, is above it from its 8th test on."""
    other = [2.0, 1.5, 1.3, 1.2, 1.2, 1.2, 1.2, 1.5, 1.6, 1.7]
    ratio = measures.rate_of_divergence("one", "other")
    assert ratio({"one": of(LOSS), "other": of(other)}) == pytest.approx(np.log2(1.0 / 0.9))
    stays = of([2.0] + 9 * [0.5])
    assert ratio({"one": stays, "other": of(LOSS)}) == pytest.approx(np.log2(1.1 / 1.0))
    assert ratio({"one": stays, "other": stays}) == 0
    dead = of(np.full(10, CHANCE))
    assert np.isnan(ratio({"one": dead, "other": dead}))


def test_the_slope_over_doublings_of_the_batch_size():
    runs = {str(n): of(np.full(10, 2.0 / (1 + n)), run=RANGE.replace(batch_size=100 * 2**n)) for n in range(3)}
    found = measures.slope_over_batch_size(lambda t: t.lines["test_loss"][1][..., -1])(runs)
    assert found == pytest.approx((2 / 3 - 2) / 2)


def test_the_smallest_fall_from_part_to_part():
    falls = np.exp(-np.array([0, 0, 3, 3, 4, 4, 6, 6, 9, 9]) / 10)
    assert measures.steady_fall(0, 5)(of(falls)) == pytest.approx(0.1)
    assert measures.steady_fall(0.8, 2)(of(falls)) == pytest.approx(0, abs=1e-9)
    rises = np.r_[falls[:8], 1, 1]
    assert measures.steady_fall(0, 5)(of(rises)) == pytest.approx(-0.6)


def test_how_often_early_tests_have_the_order_of_the_end():
    a, b = np.linspace(1, 0.1, 10), np.r_[0.5, 0.5, np.full(8, 0.6)]  # a is above b up to its fifth test
    runs = {"a": of(a), "b": of(b)}
    assert measures.early_order("test_loss", 0.1, 1)(runs) == pytest.approx(0.5)
    assert measures.early_order("test_loss", 0.6, 1)(runs) == 1


def test_what_a_choice_saves():
    """In the end 0.001 costs nothing, 0.01 costs 1, 0.1 costs 2: at random 1, of which half is 0.5."""
    ends = {"a_0_001": 1.0, "a_0_01": np.e, "a_0_1": np.e**2}
    early = {"a_0_001": [5, 1], "a_0_01": [3, 2], "a_0_1": [4, 3]}  # the choice is 0.01, then 0.001
    runs = decays(**{name: [*early[name], *[end] * 8] for name, end in ends.items()})
    final = measures.final_loss
    saved = measures.saved_by_choice(measures.each_test("test_loss", 0.1, 0.2), final)(runs)
    assert saved == pytest.approx(0.5 - (1 + 0) / 2)
    assert measures.saved_by_choice(measures.median_after(0.2), final)(runs) == pytest.approx(0.5)
    dead = decays(a_0_001=np.full(10, CHANCE), a_0_01=np.full(10, CHANCE))
    assert np.isnan(measures.saved_by_choice(measures.median_after(0), final)(dead))


def test_a_choice_that_was_not_tried_elsewhere_counts_as_the_nearest_that_was():
    tried = decays(b_0_001=np.full(10, 1.0), b_0_0032=np.full(10, np.e))
    chosen = decays(a_0_001=np.full(10, 2.0), a_0_01=np.full(10, 1.0))  # 0.01, which counts as 0.0032
    saved = measures.saved_by_choice(measures.median_after(0), measures.final_loss, "a", "b")
    assert saved({**chosen, **tried}) == pytest.approx(0.5 / 2 - 1)


def test_choosing_by_accuracy_takes_the_highest():
    assert measures.each_test("test_accuracy", 0.1, 0.2)(of(accuracy=TENTHS)) == pytest.approx([-0.1, -0.2])


STATISTICS = {
    "difference": measures.difference(measures.least_loss, "a 0.001", "a 0.01"),
    "rate_of_divergence": measures.rate_of_divergence("a 0.001", "a 0.01"),
    "slope": measures.slope_over_batch_size(measures.final_loss),
    "early_order": measures.early_order("test_loss", 0.1, 0.5),
    "saved": measures.saved_by_choice(measures.each_test("test_loss", 0.1, 0.3), measures.median_loss()),
    "steady_fall": lambda runs: measures.steady_fall(0, 5)(runs["a 0.001"]),
    "rate_of_minimum": lambda runs: measures.rate_of_minimum(runs["a 0.001"]),
}


@pytest.mark.parametrize("name", STATISTICS)
def test_many_seeds_at_once_give_what_each_gives(name):
    losses = np.random.default_rng(0).uniform(0.3, 2.5, (3, 2, 4, 10))
    sizes = {"a 0.001": 100, "a 0.01": 200, "a 0.1": 400}

    def runs(at) -> dict[str, Trace]:
        made = [RANGE.replace(weight_decay=float(key[2:]), batch_size=size) for key, size in sizes.items()]
        return {key: of(loss[at], run=run) for key, loss, run in zip(sizes, losses, made, strict=True)}

    found = STATISTICS[name](runs(...))
    assert found.shape == (2, 4)
    for at in np.ndindex(2, 4):
        assert STATISTICS[name](runs(at)) == pytest.approx(found[at])
