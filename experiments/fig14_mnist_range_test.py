"""Figure 14: LR range tests on MNIST, with constant and cyclical momentum and four weight decays (LeNet).

The paper: falling cyclical momentum gives a lower test loss, and over a wider range of learning rates, than the best
constant momentum (a); weight decays separate in one short run (b).

Run:     smith run fig14 --scale quick
Cost:    quick 30 s on 2 CPU cores; paper about 25 min a curve on one core
Expect:  published minima in b: 0.032 (WD=1e-3), 0.036 (5e-4), 0.041 (3e-3), 0.043 (1e-4)
Note:    the axis of the paper's panel a prints a tenth of the true learning rate (0.001-0.02 for 0.01-0.2): with the
         printed rates LeNet never diverges and its early loss is three times the published one. Ours has the true one.
"""

from smith.cli import run_experiment
from smith.figure import Figure, Panel, Published
from smith.run import Run, epochs, iterations
from smith.schedules import CyclicalMomentum, RangeTest

FALLING = CyclicalMomentum(high=0.95, low=0.8)
A = Run(
    data="mnist",
    network="lenet",
    batch_size=512,
    length=epochs(50),
    lr=RangeTest(0.01, 0.2),
    momentum=0.9,
    weight_decay=5e-4,
    solver="sgd",
    test_every=iterations(100),
)
B = A.replace(lr=RangeTest(0.01, 0.4), momentum=FALLING)
WEIGHT_DECAYS = {"WD=1e-4": 1e-4, "WD=5e-4": 5e-4, "WD=1e-3": 1e-3, "WD=3e-3": 3e-3}

FIGURE = Figure(
    "fig14",
    "MNIST: momentum and weight decay in LR range tests",
    panels=(
        Panel(
            "a",
            "MNIST, LeNet; LR range test, WD=5e-4, TBS=512",
            {"Momentum=0.9": A, "Momentum=0.95 - 0.8": A.replace(momentum=FALLING)},
            x="learning_rate",
            log=True,
            xlim=(0.01, 0.2),
            ylim=(0.028, 0.18),
            published=Published("fig14a", factor=10),
        ),
        Panel(
            "b",
            "MNIST, LeNet; LR range test, CM=0.95-0.8, TBS=512",
            {name: B.replace(weight_decay=wd) for name, wd in WEIGHT_DECAYS.items()},
            x="learning_rate",
            log=True,
            xlim=(0.01, 0.31),
            ylim=(0.03, 0.125),
            published=Published("fig14b"),
        ),
    ),
    notes=("The paper's axis in a prints a tenth of the learning rate; here it is the true one.",),
)

if __name__ == "__main__":
    run_experiment(FIGURE)
