"""Figure 7: constant and cyclical momentum (shallow3, CIFAR-10).

The paper: the best constant momentum is about 0.9 and shows in a range test (a); a momentum range test finds nothing,
the loss falls all the way (b); momentum that falls while the learning rate rises starts faster and reaches a lower
minimum than momentum that rises with it, which is stable to larger rates (c); a full schedule with the former ends
better than one with a constant momentum (d).

Run:     smith run fig07
Cost:    mini 90 s a seed on 2 CPU cores
Expect:  published minima in c: 0.758 (CM=0.97-0.7), 0.773 (0.95-0.8), 0.782 (Mom=0.9), 0.812 (0.8-1)
"""

from experiments.bases import SHALLOW3, cyclical, steps
from smith import Figure, Join, Panel, RangeTest, iterations, sweep
from smith.cli import run_experiment

RANGE = SHALLOW3.replace(batch_size=548, length=iterations(10_000), lr=RangeTest(0.002, 0.02), weight_decay=4e-3)
CONSTANT = sweep(RANGE, "Mom={}", momentum=(0.7, 0.9, 0.99))
CYCLICAL = (cyclical(0.8, 1.0), cyclical(0.95, 0.8), cyclical(0.97, 0.7))
MOMENTUM = RANGE.replace(lr=0.01, momentum=RangeTest(0.7, 1.0))

DROPS = (1 / 2, 3 / 4, 7 / 8, 19 / 20)  # at iterations 10,000, 15,000, 17,500 and 19,000
LONG = RANGE.replace(batch_size=536, length=iterations(20_000), lr=steps(0.007, DROPS))
WARM_UP = Join((RangeTest(0.001, 0.007), steps(0.007, tuple(2 * at - 1 for at in DROPS))), at=(1 / 2,))
FALLING = cyclical(0.97, 0.7, step_size=1 / 2)
FULL = {
    "Momentum=0.9; LR=0.007": LONG,
    "CM=0.97-0.7; CLR=0.001-0.007, step=10k": LONG.replace(lr=WARM_UP, momentum=FALLING),
}

BOTH = ("test_accuracy", "test_loss")
FIGURE = Figure(
    "fig07",
    "Constant and cyclical momentum",
    panels=(
        Panel("a", CONSTANT, x="learning_rate", ylim=(0.75, 1.8)),
        Panel("b", {"": MOMENTUM}, x="momentum", y=BOTH, ylim=(0.4, 1.65)),
        Panel("c", {"Mom=0.9": RANGE} | sweep(RANGE, "CM={}", momentum=CYCLICAL), x="learning_rate", ylim=(0.75, 1.6)),
        Panel("d", FULL, y=BOTH, ylim=(0.48, 1.45)),
    ),
    first_test_drawn_at_0=True,
)

if __name__ == "__main__":
    run_experiment(FIGURE)
