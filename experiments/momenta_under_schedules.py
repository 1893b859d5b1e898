"""Cyclical and constant momentum under three schedules (resnet-56, CIFAR-10). Our own.

The paper finds falling momentum as good as the best constant one with 1cycle (Remark 5, claim C11). Here it is tried
with a linear decay and with WSD too, falling and rising at the same times.

Run:     smith run momenta
Cost:    mini 50 s a seed on 2 CPU cores
Expect:  no published curve
Assumed: grids and budget; see experiments/beyond.py
"""

from experiments.beyond import BUDGETS, DEEP, FALLING, NOTE, RATES, WAYS, trained
from smith import Constant, Figure, Finals
from smith.analysis.claims.shared import IMAGES
from smith.analysis.measures import accuracy, minus
from smith.analysis.tuning import best, within
from smith.analysis.verdicts import Claim, Part
from smith.cli import run_experiment

BUDGET, DECAY, EQUAL = BUDGETS[DEEP][1], 1e-3, 0.005
MOMENTA = {"cyclical, 0.95-0.85": FALLING} | {f"constant, {m}": Constant(m) for m in (0.85, 0.9, 0.95)}
SCHEDULES = dict(zip("abc", ("1cycle", "linear", "WSD"), strict=True))
FIGURE = Figure(
    "momenta",
    "Cyclical and constant momentum under three schedules",
    panels=tuple(
        Finals(
            letter,
            {
                name: {
                    rate: trained(DEEP, BUDGET, WAYS[schedule], rate, DECAY).replace(momentum=momentum)
                    for rate in RATES[DEEP]
                }
                for name, momentum in MOMENTA.items()
            },
            "Peak rate, at the paper's scale",
            title=f"{schedule}: CIFAR-10, resnet-56, {BUDGET} epochs, WD={DECAY:g}",
        )
        for letter, schedule in SCHEDULES.items()
    ),
    notes=(NOTE,),
)
CLAIMS = (
    Claim(
        "E4",
        "Under every schedule cyclical momentum is at least as good as a tuned constant one: by half a point it is "
        "not worse.",
        "Remark 5, section 4.3, asked of other schedules",
        tuple(f"momenta{letter}" for letter in SCHEDULES),
        tuple(
            Part(
                f"{schedule}: final accuracy at most 0.005 below that of the best of 0.85, 0.9 and 0.95",
                within(FIGURE, letter, "c"),
                minus(best(accuracy, "cyclical"), best(accuracy, "constant")),
                -EQUAL,
                IMAGES,
            )
            for letter, schedule in SCHEDULES.items()
        ),
        "The margin is that of claim C11. Both are tuned over three peak rates, the constant one over three values of "
        "the momentum as well. Four of the twelve seeds choose, and the other eight are compared.",
    ),
)

if __name__ == "__main__":
    run_experiment(FIGURE)
