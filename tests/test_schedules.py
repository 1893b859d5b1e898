"""The schedules: against every logged value of the author, PyTorch's and fastai's policies, and their own promises."""

import csv
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from smith.errors import UserError
from smith.lengths import Length, Time, epochs, iterations, resolve
from smith.policies import (
    FastaiMomentum,
    FastaiOneCycle,
    OptaxOneCycle,
    PyTorchMomentum,
    PyTorchOneCycle,
    WarmupStableDecay,
)
from smith.schedules import (
    SCHEDULES,
    Constant,
    CyclicalMomentum,
    Exponential,
    Inverse,
    Join,
    Multistep,
    OneCycle,
    RangeTest,
    Scaled,
    Schedule,
    Triangular,
)

LOGS = Path(__file__).parent / "author_runs"
CIFAR_EPOCH = 50_000 / 512


def values(schedule: Schedule, total: int, counts, per_epoch: float = CIFAR_EPOCH) -> np.ndarray:
    """Returns a schedule's values at `counts` in a run of `total` iterations, jitted as for users, and vmapped."""
    options = {"xla_backend_optimization_level": 3}  # the last digit depends on it
    result = jax.jit(jax.vmap(schedule.build(total, per_epoch)), compiler_options=options)(jnp.asarray(counts))
    assert result.dtype == jnp.float32
    return np.asarray(result)


def at(schedule: Schedule, total: int, count: int) -> float:
    return float(schedule.build(total, CIFAR_EPOCH)(count))


def printed(value: float) -> str:
    """Returns a number as Caffe prints it, with six digits."""
    return f"{float(value):.6g}"


# --- the author's logs ---

DENSENET_DROPS = (19_531, 29_296, 34_178, 36_619)
# Caffe passes at most one step value per iteration, and the author's fifth, 35,398, stands behind the fourth: it acts
# one iteration after that.
DENSENET_AT = tuple(iterations(n) for n in (*DENSENET_DROPS, DENSENET_DROPS[-1] + 1))
WIDE32, RESNET50_A, RESNET50_B, INCEPTION = map(iterations, (2_246, 75_000, 95_000, 108_000))

AUTHOR = {
    "cifar10_resnet56_1cycle_tbs512": (9_277, OneCycle(0.08, 0.8, iterations(4_003)), Constant(0.95)),
    "cifar10_wide32_1cycle_50ep": (4_882, OneCycle(0.1, 1, WIDE32), CyclicalMomentum(0.95, 0.85, WIDE32)),
    "cifar10_densenet40_step_400ep": (39_062, Multistep(0.1, 0.316, DENSENET_AT), Constant(0.9)),
    "imagenet_resnet50_standard": (1_340_000, Exponential(0.1, 0.94, iterations(20_000)), Constant(0.9)),
}
for decay, up in {"1e-6": RESNET50_A, "3e-6": RESNET50_B}.items():
    both = OneCycle(0.05, 1, up), CyclicalMomentum(0.95, 0.85, up)
    AUTHOR[f"imagenet_resnet50_1cycle_wd{decay}"] = (200_000, *both)
for decay in ("1e-5", "1e-6_1", "3e-6_1", "3e-6_2"):
    # The momentum's step size was set to ten times the rate's, beyond the run.
    both = OneCycle(0.05, 1, INCEPTION), CyclicalMomentum(0.95, 0.85, iterations(1_080_000))
    AUTHOR[f"imagenet_inception_resnet_v2_1cycle_wd{decay}"] = (1_080_000, *both)


def logged(name: str) -> tuple[np.ndarray, list[str], list[str]]:
    """Returns the iterations of a log, and the learning rate and momentum printed at each."""
    with open(LOGS / f"{name}.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["lr"]]
    return np.array([int(r["iteration"]) for r in rows]), [r["lr"] for r in rows], [r["momentum"] for r in rows]


@pytest.mark.parametrize("name", [file.stem for file in LOGS.glob("*.csv")])
def test_every_digit_of_the_authors_logs(name):
    total, lr, momentum = AUTHOR[name]
    counts, rates, momenta = logged(name)
    assert len(counts) > 20
    assert list(map(printed, values(lr, total, counts))) == list(map(printed, rates))
    assert list(map(printed, values(momentum, total, counts))) == list(map(printed, momenta))


ONE_CYCLE = OneCycle(base=0.08, peak=0.8, step_size=iterations(4_003))
CYCLICAL = CyclicalMomentum(high=0.95, low=0.85, step_size=iterations(2_246))


def test_the_iterations_of_the_protocol():
    for schedule, total, expected in (
        (ONE_CYCLE, 9_277, {200: 0.115973, 4_200: 0.76063, 8_000: 0.00119905, 8_200: 8e-05, 9_277: 8e-05}),
        (CYCLICAL, 4_882, {2_400: 0.856857, 4_400: 0.945904, 4_600: 0.947596, 4_800: 0.943143}),
    ):
        assert [printed(at(schedule, total, t)) for t in expected] == [printed(value) for value in expected.values()]


# --- lengths ---


def test_lengths_in_iterations():
    for count, expected in {95: 9_277, 41: 4_003, 50: 4_882, 23: 2_246, 400: 39_062, 0.001: 1}.items():
        assert resolve(epochs(count), 0, CIFAR_EPOCH) == expected  # rounded down, as the author did
    assert resolve(0.1 + 0.2, 1_000, CIFAR_EPOCH) == 300 and resolve(7 / 8, 16_000, CIFAR_EPOCH) == 14_000
    assert resolve(iterations(9_277), 0, CIFAR_EPOCH) == 9_277
    assert str(epochs(95)) == "95 epochs" and epochs(95) * 2 == Length(190, "epochs")


# --- where the pieces meet ---


@pytest.mark.parametrize(
    ("schedule", "total", "expected"),
    [
        (ONE_CYCLE, 9_277, {0: 0.08, 4_003: 0.8, 8_006: 8e-5, 9_277: 8e-5}),
        (OneCycle(0.1, 1, epochs(41)), 9_277, {4_003: 1, 8_006: 1e-4}),
        (OneCycle(0.1, 1, 0.5), 100, {50: 1, 75: 0.5, 100: 1e-4}),
        (CYCLICAL, 9_000, {0: 0.95, 2_246: 0.85, 4_492: 0.95, 6_738: 0.9, 8_984: 0.95}),
        (CyclicalMomentum(0.98, 0.8), 8_000, {0: 0.98, 4_000: 0.89, 8_000: 0.8}),
        (CyclicalMomentum(1, 0.8, 0.25, rising=True), 8_000, {0: 0.8, 2_000: 1, 4_000: 0.8, 6_000: 0.9, 8_000: 0.8}),
        (RangeTest(0, 0.01), 20_000, {0: 0, 5_000: 0.0025, 20_000: 0.01}),
        (RangeTest(0.1, 1, iterations(10)), 25, {0: 0.1, 10: 1, 11: 0.91, 15: 0.55, 20: 0.1, 25: 0.1}),
        (Triangular(0.1, 3), 10_000, {0: 0.1, 5_000: 3, 10_000: 0.1}),
        (Triangular(0.1, 3, iterations(10)), 45, {10: 3, 20: 0.1, 30: 3, 40: 0.1, 45: 1.55}),
        (Multistep(0.35, 0.1, (iterations(50), iterations(70))), 80, {49: 0.35, 50: 0.035, 69: 0.035, 70: 0.0035}),
        (Multistep(5, 0.316, (1 / 2, 3 / 4, 7 / 8, 15 / 16)), 16_000, {7_999: 5, 8_000: 1.58, 12_000: 0.49928}),
        (Exponential(0.1, 0.94, iterations(20)), 100, {19: 0.1, 20: 0.094, 39: 0.094, 40: 0.08836}),
        (Inverse(0.01, iterations(10_000)), 10_000, {0: 0.01, 10_000: 0.01 * 2**-0.75}),
        (Constant(0.95), 10, {0: 0.95, 10: 0.95}),
    ],
    ids=lambda value: str(value) if isinstance(value, Schedule) else "",
)
def test_values_where_the_pieces_meet(schedule, total, expected):
    assert values(schedule, total, list(expected)) == pytest.approx(list(expected.values()), rel=1e-6, abs=1e-9)


def test_figure_7d_warms_up_and_drops_four_times():
    schedule = Join((RangeTest(0.001, 0.007), Multistep(0.007, 0.316, (0, 0.5, 0.75, 0.9))), at=(0.5,))
    rates = values(schedule, 20_000, np.arange(20_001))
    assert list(np.flatnonzero(np.diff(rates) < 0) + 1) == [10_000, 15_000, 17_500, 19_000]
    assert rates[[0, 5_000]] == pytest.approx([0.001, 0.004])
    assert rates[[10_000, 15_000, 17_500, 19_000]] == pytest.approx(0.007 * 0.316 ** np.array([1, 2, 3, 4]))


def test_a_part_of_a_join_counts_from_its_own_beginning():
    schedule = Join((Constant(0.5), RangeTest(0, 1), Constant(0.25)), at=(iterations(10), 0.9))
    assert values(schedule, 100, [0, 9, 10, 50, 89, 90, 100]) == pytest.approx([0.5, 0.5, 0, 0.5, 0.9875, 0.25, 0.25])


# --- every schedule, of any run ---

SHARES = st.floats(0.01, 1)
RATES = st.floats(1e-5, 10)
PAIRS = st.tuples(RATES, RATES).map(sorted)
MOMENTA = st.tuples(st.floats(0, 1), st.floats(0, 1)).map(lambda pair: sorted(pair, reverse=True))
ANNEAL = st.sampled_from(["cosine", "linear"])
TOTALS = st.integers(250, 200_000)  # the smallest share of half of them is an iteration at least

CYCLICAL_MOMENTA = st.one_of(
    st.builds(lambda pair, share, rising: CyclicalMomentum(*pair, share, rising), MOMENTA, SHARES, st.booleans()),
    st.builds(lambda pair, three, shape: PyTorchMomentum(*pair, three, anneal=shape), MOMENTA, st.booleans(), ANNEAL),
    st.builds(lambda pair: FastaiMomentum(*pair), MOMENTA),
)
BOUNDED = st.one_of(
    CYCLICAL_MOMENTA,
    st.builds(lambda kind, pair, share: kind(*pair, share), st.sampled_from([RangeTest, Triangular]), PAIRS, SHARES),
    st.builds(lambda pair, share: OneCycle(*pair, share), PAIRS, SHARES),
)
SIMPLE = st.one_of(
    BOUNDED,
    st.builds(Constant, RATES),
    st.builds(lambda value, share: Multistep(value, 0.316, (share, 1.0)), RATES, SHARES),
    st.builds(lambda value, share: Exponential(value, 0.94, share), RATES, SHARES),
    st.builds(lambda value, share: Inverse(value, share), RATES, SHARES),
    st.builds(lambda peak, three, shape: PyTorchOneCycle(peak, three, anneal=shape), RATES, st.booleans(), ANNEAL),
    st.builds(
        lambda kind, peak: kind(peak), st.sampled_from([FastaiOneCycle, OptaxOneCycle, WarmupStableDecay]), RATES
    ),
)
ANY = st.one_of(SIMPLE, st.builds(lambda a, b: Join((a, b), at=(0.5,)), SIMPLE, SIMPLE))
COUNTS = st.lists(st.integers(-10, 400_000), min_size=8, max_size=8)


@settings(max_examples=40)
@given(ANY, TOTALS, COUNTS)
def test_any_schedule_is_finite_keeps_its_last_value_and_is_vmapped_as_it_is_alone(schedule, total, counts):
    first, last, *past = values(schedule, total, [0, total, total + 1, 10 * total, -1])
    assert past == [last, last, first]
    together = values(schedule, total, counts)
    assert np.isfinite(together).all() and (together >= 0).all()
    assert at(schedule, total, counts[0]) == pytest.approx(together[0], rel=1e-4, abs=1e-6)


@settings(max_examples=40)
@given(BOUNDED, TOTALS, COUNTS)
@example(ONE_CYCLE, 9_277, [0, 1, 4_002, 4_003, 4_004, 8_006, 8_007, 9_277])
@example(CyclicalMomentum(1, 0.3, 0.25, rising=True), 4_003, list(range(4_003)))
def test_a_schedule_stays_between_its_bounds(schedule, total, counts):
    low, high = (getattr(schedule, name) for name in schedule.ordered)
    low = low / 1000 if isinstance(schedule, OneCycle) else low
    found = values(schedule, total, [0, total, *counts])
    assert (found >= low * (1 - 1e-6) - 1e-9).all() and (found <= high * (1 + 1e-6)).all()
    assert (found <= 1).all() or high > 1


@settings(max_examples=15)
@given(st.builds(lambda pair, share: RangeTest(*pair, share), PAIRS, SHARES), TOTALS, COUNTS)
def test_a_range_test_rises_to_its_step_size_and_comes_back_by_twice_that(schedule, total, counts):
    steps = resolve(schedule.step_size, total, CIFAR_EPOCH)
    counts = np.clip(sorted(counts), 0, total)
    rates = values(schedule, total, counts)
    assert (np.diff(rates[counts <= steps]) >= 0).all() and (np.diff(rates[counts >= steps]) <= 0).all()
    assert rates[counts >= 2 * steps] == pytest.approx(schedule.start)


@pytest.mark.parametrize("every", [1, 7, 97, 271, 1_999])
def test_an_exponential_drops_at_every_multiple_and_not_one_iteration_later(every):
    schedule, drops = Exponential(1.0, 0.5, iterations(every)), np.arange(1, 100)
    total = 100 * every
    assert values(schedule, total, drops * every) == pytest.approx(0.5**drops, rel=1e-5)
    assert values(schedule, total, drops * every - 1) == pytest.approx(0.5 ** (drops - 1), rel=1e-5)


@pytest.mark.parametrize("slots", [False, True])
def test_a_schedule_of_ones_own_needs_a_formula_only(slots):
    @dataclass(frozen=True, slots=slots)
    class Half(Schedule):
        value: float
        after: Time

        def formula(self, total, per_epoch):
            moment = resolve(self.after, total, per_epoch)
            return lambda t: jnp.where(t < moment, self.value, self.value / 2)

    assert SCHEDULES["Half"] is Half and str(Half(1, 0.5)) == "half"
    assert values(Half(1.0, epochs(1)), 200, [0, 96, 97, 300]).tolist() == [1, 1, 0.5, 0.5]


# --- PyTorch and fastai ---

# OneCycleLR(max_lr=0.8, total_steps=237), printed by torch 2.13.0 at these steps.
PYTORCH_STEPS = (0, 35, 70, 71, 140, 200, 236)
PYTORCH_PRINTED = {  # (three_phase, anneal): learning rates, momenta
    (False, "cosine"): (
        [0.032, 0.415139536, 0.799996144, 0.799941909, 0.497847543, 0.0894068054, 3.2e-06],
        [0.95, 0.90011204, 0.850000502, 0.850007261, 0.887769208, 0.938824505, 0.95],
    ),
    (False, "linear"): (
        [0.032, 0.415452211, 0.798904422, 0.795660054, 0.462930824, 0.173601059, 3.2e-06],
        [0.95, 0.900071327, 0.850142653, 0.850542495, 0.892133816, 0.928300181, 0.95],
    ),
    (True, "cosine"): (
        [0.032, 0.415139536, 0.799996144, 0.799687686, 0.0320154249, 0.00991564863, 3.2e-06],
        [0.95, 0.90011204, 0.850000502, 0.850040666, 0.949997992, 0.95, 0.95],
    ),
    (True, "linear"): (
        [0.032, 0.415452211, 0.798904422, 0.7901398, 0.0341911555, 0.0120270497, 3.2e-06],
        [0.95, 0.900071327, 0.850142653, 0.85128388, 0.949714693, 0.95, 0.95],
    ),
}


@pytest.mark.parametrize(("three_phase", "anneal"), PYTORCH_PRINTED)
def test_pytorchs_policy_at_steps_that_torch_printed(three_phase, anneal):
    rates, momenta = PYTORCH_PRINTED[three_phase, anneal]
    ours = values(PyTorchOneCycle(0.8, three_phase, anneal=anneal), 237, PYTORCH_STEPS)
    assert ours == pytest.approx(rates, rel=1e-5, abs=2e-7)
    assert values(PyTorchMomentum(three_phase=three_phase, anneal=anneal), 237, PYTORCH_STEPS) == pytest.approx(momenta)


def combined_cosine(share: float, start: float, middle: float, end: float, position: np.ndarray) -> np.ndarray:
    """Returns fastai's `combined_cos`: half a cosine from start to middle, then half a cosine from there to end."""

    def cosine(a: float, b: float, x: np.ndarray) -> np.ndarray:
        return a + (1 + np.cos(np.pi * (1 - x))) * (b - a) / 2

    down = cosine(middle, end, (position - share) / (1 - share))
    return np.where(position < share, cosine(start, middle, position / share), down)


@pytest.mark.parametrize("share", [0.25, 0.4])
def test_fastais_policy_at_every_step(share):
    steps = np.arange(1001)
    rates = combined_cosine(share, 0.8 / 25, 0.8, 0.8 / 1e5, steps / 1000)
    assert values(FastaiOneCycle(0.8, share), 1000, steps) == pytest.approx(rates, rel=1e-5, abs=2e-7)
    momenta = combined_cosine(share, 0.95, 0.85, 0.95, steps / 1000)
    assert values(FastaiMomentum(0.95, 0.85, share), 1000, steps) == pytest.approx(momenta, rel=1e-6)


# --- Optax, Keras, warm-up and cooldown ---


@pytest.mark.parametrize("total", [237, 1_000])
def test_optaxs_linear_policy_at_every_step(total):
    theirs = optax.linear_onecycle_schedule(total, 0.8)
    expected = [float(theirs(step)) for step in range(0, total + 1, 7)]
    assert values(OptaxOneCycle(0.8), total, range(0, total + 1, 7)) == pytest.approx(expected, rel=1e-5, abs=2e-7)


def test_the_callback_of_keras_is_optaxs_policy_with_other_numbers():
    """A tenth of the peak, the peak, a tenth again, and in the last tenth of the run down to a hundredth of that."""
    found = values(OptaxOneCycle(0.8, 0.45, 0.9, 10, 100), 1_000, [0, 225, 450, 675, 900, 950, 1_000])
    assert found == pytest.approx([0.08, 0.44, 0.8, 0.44, 0.08, 0.0404, 0.0008], rel=1e-5)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [  # at a twentieth of the run, its middle, 0.8, 0.85 and its end
        (WarmupStableDecay(2.0), [2, 2, 2, 2 * (1 - 0.25**0.5), 0]),
        (WarmupStableDecay(2.0, 0.95, "linear"), [2, 2 * 0.5 / 0.95, 2 * 0.2 / 0.95, 2 * 0.15 / 0.95, 0]),
        (WarmupStableDecay(2.0, 0.95, "cosine"), [2, *(1 + np.cos(np.pi * np.array([45, 75, 80]) / 95)), 0]),
        (WarmupStableDecay(2.0, 0.0), [2, 2, 2, 2, 2]),
    ],
    ids=str,
)
def test_warm_up_and_cooldown(schedule, expected):
    assert values(schedule, 1_000, [50, 500, 800, 850, 1_000]) == pytest.approx(expected, abs=1e-5)
    assert values(schedule, 1_000, [0, 24]) == pytest.approx([2 / 51, 50 / 51], rel=1e-5)


# --- mistakes ---


@pytest.mark.parametrize(
    "mistake",
    [
        *(lambda kind=kind: kind(0.8, 0.08, 0.5) for kind in (OneCycle, Triangular, RangeTest)),
        *(lambda kind=kind: kind(0.85, 0.95) for kind in (CyclicalMomentum, PyTorchMomentum, FastaiMomentum)),
        lambda: OneCycle(float("nan"), 0.08, iterations(100)),
        *(lambda value=value: Constant(value) for value in (-0.1, float("inf"), "0.1", None, 1j)),
        *(lambda kind=kind: kind(-1, 0.5, 0.5) for kind in (OneCycle, Triangular, RangeTest, CyclicalMomentum)),
        *(
            lambda kind=kind, n=n: kind(0.1, pct_start=n)
            for kind in (PyTorchOneCycle, FastaiOneCycle)
            for n in (-0.1, 2)
        ),
        *(lambda kind=kind: kind(1.5, 0.5) for kind in (CyclicalMomentum, PyTorchMomentum, FastaiMomentum)),
        *(lambda name=name: PyTorchOneCycle(0.1, **{name: 0.0}) for name in ("div_factor", "final_div_factor")),
        *(lambda name=name: FastaiOneCycle(0.1, **{name: -1.0}) for name in ("div", "div_final")),
        *(lambda kind=kind: kind(0.1, anneal="cos") for kind in (PyTorchOneCycle, PyTorchMomentum)),
        lambda: WarmupStableDecay(0.1, 0.96),
        lambda: WarmupStableDecay(0.1, shape="square"),
        lambda: Multistep(0.1, -1, (0.5,)),
        lambda: Multistep(0.1, 0.1, 0.5),
        lambda: Exponential(0.1, float("inf"), 0.5),
        lambda: Inverse(0.1, 0.5, power=-1),
        lambda: Scaled(0.1, 2),
        lambda: Join((0.1, Constant(1)), at=(0.5,)),
        lambda: Join([Constant(1)], at=()),
        *(lambda n=n: iterations(n) for n in (0, -1, float("inf"), "9")),
        *(lambda n=n: epochs(n) for n in (-0.5, float("nan"))),
        lambda: epochs(2) * -1,
    ],
)
def test_values_that_make_no_schedule_are_refused(mistake):
    with pytest.raises(UserError) as error:
        mistake()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "schedule",
    [
        *(OneCycle(0.08, 0.8, time) for time in (iterations(1_001), epochs(11), 1.1, 0.0, -0.5, float("nan"), "1")),
        CyclicalMomentum(0.95, 0.85, iterations(1_080_000)),
        RangeTest(0, 1, 2.0),
        Triangular(0, 1, epochs(100)),
        *(Multistep(0.1, 0.1, (time,)) for time in (iterations(1_001), 1.5, -0.5)),
        Exponential(0.1, 0.94, 0.0),
        Inverse(0.1, 0.0),
        *(Join((Constant(1), Constant(2)), at) for at in ((), (0.2, 0.5), (1.0,), (0.0,), (iterations(2_000),))),
        Join((Constant(1), Constant(2), Constant(3)), at=(0.6, 0.5)),
        Join((OneCycle(0.1, 1, iterations(600)), Constant(1)), at=(0.5,)),
    ],
    ids=repr,
)
def test_times_that_do_not_fit_the_run_are_refused(schedule):
    with pytest.raises(UserError) as error:
        schedule.build(1_000, CIFAR_EPOCH)
    assert "\n" not in str(error.value)
