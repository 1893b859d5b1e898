"""Whose 1cycle? Six policies of that name on the same task (resnet-56, CIFAR-10). Our own.

The paper has one policy, and others made more of it: PyTorch's in two and in three phases, fastai's, Optax's linear
one, the callback that Keras' users take. They differ in how long the rate rises and how it falls, where it begins and
ends, and what the momentum does. A seventh is the author's without its tail, the last tenth of the training.

Run:     smith run variants
Cost:    mini 30 s a seed on 2 CPU cores
Expect:  no published curve
Assumed: grids and budgets; see experiments/beyond.py
"""

from experiments.beyond import BUDGETS, DEEP, NOTE, RATES, VARIANTS, trained
from smith import Figure, Finals
from smith.analysis.claims.shared import IMAGES
from smith.analysis.measures import accuracy, minus
from smith.analysis.tuning import best, within
from smith.analysis.verdicts import Claim, Part
from smith.cli import run_experiment

DECAY, EQUAL, NO_TAIL = 1e-3, 0.01, "the author's without a tail"
SHOWN = dict(zip("ab", BUDGETS[DEEP][:2], strict=True))
FIGURE = Figure(
    "variants",
    "Six policies called 1cycle",
    panels=tuple(
        Finals(
            letter,
            {
                name: {rate: trained(DEEP, budget, way, rate, DECAY) for rate in RATES[DEEP]}
                for name, way in VARIANTS.items()
            },
            "Peak rate, at the paper's scale",
            title=f"CIFAR-10, resnet-56, {budget:g} epochs, WD={DECAY:g}",
        )
        for letter, budget in SHOWN.items()
    ),
    notes=(NOTE,),
)
CLAIMS = (
    Claim(
        "E6",
        "The author's 1cycle is as good as the policies that others made of it: by a point it is not worse.",
        "Our own question",
        tuple(f"variants{letter}" for letter in SHOWN),
        tuple(
            Part(
                f"{budget:g} epochs: final accuracy at most 0.01 below that of {name}",
                within(FIGURE, letter, "the author's, ", f"{name}, "),
                minus(best(accuracy, "the author's, "), best(accuracy, f"{name}, ")),
                -EQUAL,
                IMAGES,
            )
            for letter, budget in SHOWN.items()
            for name in VARIANTS
            if not name.startswith("the author's")
        ),
        "Each is tuned over the same three peak rates, by four of the twelve seeds; the other eight are compared.",
    ),
    Claim(
        "E7",
        "In short runs the author's 1cycle is better without its tail, the last tenth with hardly any rate.",
        "Our own question",
        tuple(f"variants{letter}" for letter in SHOWN),
        tuple(
            Part(
                f"{budget:g} epochs: higher final accuracy with a step size of 0.5 than of 0.45",
                within(FIGURE, letter, "the author's, ", f"{NO_TAIL}, "),
                minus(best(accuracy, f"{NO_TAIL}, "), best(accuracy, "the author's, ")),
                unit=IMAGES,
            )
            for letter, budget in SHOWN.items()
        ),
        "Asked after four seeds (100 to 103) at one peak had suggested it, before any of the twelve. Caffe's velocity "
        "has the learning rate inside: at a momentum of 0.95 it moves the network on for some twenty iterations after "
        "the rate has gone, which is much of a run of sixty or of 234.",
    ),
)

if __name__ == "__main__":
    run_experiment(FIGURE)
