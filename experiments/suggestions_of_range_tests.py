"""How good is the rate that a range test suggests? Five rules beside a grid of peak rates for 1cycle. Our own.

The paper takes the largest rate of a range test that still trains well. Here a test is read by the usual rules. What
1cycle comes to at the suggested peak is compared with the best of seven peaks, a factor of two apart, for two networks
and two budgets each.

Run:     smith run suggestions
Cost:    mini 25 s a seed on 2 CPU cores
Expect:  no published curve
Assumed: ranges, grids and budgets; see experiments/beyond.py
"""

from math import log

from experiments.beyond import BUDGETS, DECAYS, DEEP, MNIST, NOTE, TASKS, WAYS, trained
from smith import Figure, Finals, Panel, RangeTest, epochs
from smith.analysis.claims.shared import IMAGES
from smith.analysis.measures import accuracy, minus
from smith.analysis.readings import READINGS
from smith.analysis.tuning import within, worth
from smith.analysis.verdicts import Claim, Part
from smith.cli import run_experiment

LENGTHS, STARTS = {DEEP: 15, MNIST: 4.3}, {DEEP: 0.025, MNIST: 0.005}  # epochs of a test; least peak of a grid
LETTERS = {DEEP: "ab", MNIST: "cd"}
TESTS = {
    task: task.replace(
        length=epochs(length),
        test_every=epochs(length / 40),
        lr=RangeTest(0.001, 10, exponential=True),
        weight_decay=DECAYS[task][0],
        give_up=4 * log(10),
    )
    for task, length in LENGTHS.items()
}
PEAKS = {task: tuple(start * 2**step for step in range(7)) for task, start in STARTS.items()}
FIGURE = Figure(
    "suggestions",
    "What a range test suggests, and what it is worth",
    panels=tuple(
        panel
        for what, task in TASKS.items()
        for panel in (
            Panel(LETTERS[task][0], {"range test": TESTS[task]}, x="learning_rate", title=f"{what}: the range test"),
            Finals(
                LETTERS[task][1],
                {
                    f"{budget:g} epochs": {
                        peak: trained(task, budget, WAYS["1cycle"], peak, DECAYS[task][0]) for peak in PEAKS[task]
                    }
                    for budget in BUDGETS[task][:2]
                },
                "Peak rate, at the paper's scale",
                title=f"{what}: 1cycle",
            ),
        )
    ),
    notes=(NOTE,),
)


def worth_of(rule: str, task, budget: float):
    """Returns the curves and the statistic: what a rule's suggestion is worth on a task with so many epochs."""
    test, grid = LETTERS[task]
    places = {**within(FIGURE, test), **within(FIGURE, grid, f"{budget:g} epochs, ")}
    return places, worth(accuracy, rule, "range test", f"{budget:g} epochs, ")


def better_than(rule: str, task, budget: float):
    """Returns the curves and the statistic: how much more the place of the least loss is worth than a rule's."""
    (places, ours), (_, theirs) = worth_of("minimum", task, budget), worth_of(rule, task, budget)
    return places, minus(ours, theirs)


EVERY = [(what, task, budget) for what, task in TASKS.items() for budget in BUDGETS[task][:2]]
CLAIMS = (
    Claim(
        "E5a",
        "The learning rate at which the loss of a range test is least is a good peak for 1cycle: it costs at most two "
        "points of accuracy.",
        "Section 4.1, asked of tasks with a grid",
        tuple(f"suggestions{letter}" for letter in "abcd"),
        tuple(
            Part(f"{what}, {budget:g} epochs: at most 0.02 lost", *worth_of("minimum", task, budget), -0.02, IMAGES)
            for what, task, budget in EVERY
        ),
        "The effect is the accuracy at the suggestion, between two peaks by a straight line, minus that of the best of "
        "seven peaks, which four of the twelve seeds choose. Each seed has a range test of its own.",
    ),
    Claim(
        "E5b",
        "It is a better peak than what the other rules suggest.",
        "Our own question",
        tuple(f"suggestions{letter}" for letter in "abcd"),
        tuple(
            Part(
                f"{what}, {budget:g} epochs: it is worth more than {rule}",
                *better_than(rule, task, budget),
                unit=IMAGES,
            )
            for rule in READINGS
            if rule != "minimum"
            for what, task, budget in EVERY
        ),
        "Rule by rule, task by task: one rule may suit one task.",
    ),
)

if __name__ == "__main__":
    run_experiment(FIGURE)
