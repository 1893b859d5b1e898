"""Weight decay and peak rate under four schedules (resnet-56, CIFAR-10). Our own.

The paper says that large rates need less weight decay, and shows it in range tests and at constant rates (Remark 3,
claim C07). Here the same is asked of 1cycle, linear decay, cosine and WSD.

Run:     smith run decays
Cost:    mini 55 s a seed on 2 CPU cores
Expect:  no published curve
Assumed: grids and budget; see experiments/beyond.py
"""

from experiments.beyond import BUDGETS, DEEP, NOTE, RATES, WAYS, trained
from smith import Figure, Finals
from smith.analysis.claims.shared import IMAGES
from smith.analysis.measures import accuracy, difference, minus
from smith.analysis.tuning import within
from smith.analysis.verdicts import Claim, Part
from smith.cli import run_experiment

DECAYS, BUDGET = (1e-4, 3e-4, 1e-3, 3e-3), BUDGETS[DEEP][1]
LEAST, MOST = f"LR={RATES[DEEP][0]:g}", f"LR={RATES[DEEP][-1]:g}"
SMALL, LARGE = "0.0001", "0.001"
SCHEDULES = dict(zip("abcd", ("1cycle", "linear", "cosine", "WSD"), strict=True))
FIGURE = Figure(
    "decays",
    "Weight decay under four schedules",
    panels=tuple(
        Finals(
            letter,
            {
                f"LR={rate:g}": {decay: trained(DEEP, BUDGET, WAYS[name], rate, decay) for decay in DECAYS}
                for rate in RATES[DEEP]
            },
            "Weight decay",
            title=f"{name}: CIFAR-10, resnet-56, {BUDGET} epochs",
        )
        for letter, name in SCHEDULES.items()
    ),
    notes=(NOTE,),
)
CLAIMS = (
    Claim(
        "E3",
        "Under every schedule more weight decay gains less with a large peak rate.",
        "Remark 3, section 4.1, asked of other schedules",
        tuple(f"decays{letter}" for letter in SCHEDULES),
        tuple(
            Part(
                f"{name}: 1e-3 gains more over 1e-4 at a peak of {RATES[DEEP][0]:g} than at {RATES[DEEP][-1]:g}",
                within(FIGURE, letter, *(f"{rate}, {decay}" for rate in (LEAST, MOST) for decay in (SMALL, LARGE))),
                minus(
                    difference(accuracy, f"{LEAST}, {LARGE}", f"{LEAST}, {SMALL}"),
                    difference(accuracy, f"{MOST}, {LARGE}", f"{MOST}, {SMALL}"),
                ),
                unit=IMAGES,
            )
            for letter, name in SCHEDULES.items()
        ),
        "As claim C07: two weight decays a factor of ten apart, and the least and the largest rate of the grid. The "
        "best weight decay of each rate would be a statement about the grid.",
    ),
)

if __name__ == "__main__":
    run_experiment(FIGURE)
