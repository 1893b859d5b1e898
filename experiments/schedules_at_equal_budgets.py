"""Today's schedules beside 1cycle, each tuned, at three budgets (resnet-56 on CIFAR-10, LeNet on MNIST). Our own.

The paper compares 1cycle with steps and with a constant rate. Here are eight ways to train, each over six settings of
peak rate and weight decay, at budgets a factor of four apart. A third of the seeds chooses the setting, and the others
are compared. Panels c and d show the tuning at the middle budget.

Run:     smith run schedules
Cost:    mini 8 min a seed on 2 CPU cores
Expect:  no published curve
Assumed: grids and budgets; see experiments/beyond.py
"""

from experiments.beyond import BUDGETS, DECAYS, DEEP, MNIST, NOTE, RATES, TASKS, WAYS, grid
from smith import Figure, Finals
from smith.analysis.claims.shared import IMAGES
from smith.analysis.measures import accuracy, minus
from smith.analysis.tuning import best, within
from smith.analysis.verdicts import Claim, Part
from smith.cli import run_experiment

Y = {DEEP: ("test_accuracy",), MNIST: ("test_error",)}  # LeNet's accuracies are all near 1, but for those that fail
OVER_BUDGETS = [
    Finals(
        letter,
        {name: {budget: grid(task, budget, way) for budget in BUDGETS[task]} for name, way in WAYS.items()},
        "Epochs",
        Y[task],
        title=f"{what}: the best of six settings",
    )
    for letter, (what, task) in zip("ab", TASKS.items(), strict=True)
]
TUNING = [
    Finals(
        letter,
        {
            name: {rate: grid(task, BUDGETS[task][1], way, (rate,)) for rate in RATES[task]}
            for name, way in WAYS.items()
        },
        "Paper-scale peak rate (schedule-free SGD x 10, AdamW / 10)",
        Y[task],
        title=f"{what}, {BUDGETS[task][1]} epochs: the better of the weight decays {DECAYS[task][0]:g} and "
        f"{DECAYS[task][1]:g} (AdamW: 100 times)",
    )
    for letter, (what, task) in zip("cd", TASKS.items(), strict=True)
]
FIGURE = Figure(
    "schedules",
    "Schedules at equal budgets, tuned",
    panels=(*OVER_BUDGETS, *TUNING),
    notes=(NOTE,),
)


def apart(what: str, letter: str, one: str, other: str, above: float = 0.0) -> Part:
    """Returns the part: one way at a budget, such as "1cycle, 18", ends higher than another, both tuned."""
    grids = f"{one}, ", f"{other}, "
    statistic = minus(best(accuracy, grids[0]), best(accuracy, grids[1]))
    return Part(what, within(FIGURE, letter, *grids), statistic, above, IMAGES)


NAMED = [(letter, what, BUDGETS[task]) for letter, (what, task) in zip("ab", TASKS.items(), strict=True)]
CLAIMS = (
    Claim(
        "E1a",
        "Tuned 1cycle ends at a higher accuracy than a tuned linear decay after as many epochs.",
        "Our own question",
        ("schedulesa", "schedulesb"),
        tuple(
            apart(f"{what}, {budget:g} epochs", letter, f"1cycle, {budget:g}", f"linear, {budget:g}")
            for letter, what, budgets in NAMED
            for budget in budgets
        ),
        "Both have six settings. Four of the twelve seeds choose one; the other eight are compared. Linear decay to "
        "zero after a short warm-up is what most recent comparisons of schedules find best.",
    ),
    Claim(
        "E1b",
        "Super-convergence survives a tuned baseline: 1cycle comes in a quarter of the epochs to what a linear decay "
        "comes to.",
        "Our own question",
        ("schedulesa", "schedulesb"),
        tuple(
            apart(
                f"{what}, {few:g} epochs of 1cycle beside {many:g}: at most 0.01 below",
                letter, f"1cycle, {few:g}", f"linear, {many:g}", -0.01,
            )
            for letter, what, budgets in NAMED
            for few, many in zip(budgets, budgets[1:], strict=False)
        ),
        "The paper's own comparison is with a policy of steps at one rate. A margin of one point, because the claim is "
        "that training is as good and faster, not better. A quarter and not an eighth, as the budgets are.",
    ),
)  # fmt: skip

if __name__ == "__main__":
    run_experiment(FIGURE)
