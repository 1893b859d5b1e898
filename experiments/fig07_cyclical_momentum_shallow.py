"""Figure 7: constant and cyclical momentum (shallow3, CIFAR-10).

The paper: the best constant momentum is about 0.9 and shows in a range test (a); a momentum range test finds nothing,
the loss falls all the way (b); momentum that falls while the learning rate rises starts faster and reaches a lower
minimum than momentum that rises with it, which is stable to larger rates (c); a full schedule with the former ends
better than one with a constant momentum (d).

Run:     smith run fig07 --scale quick
Cost:    quick 85 s on 2 CPU cores
Expect:  published minima in c: 0.758 (CM=0.97-0.7), 0.773 (0.95-0.8), 0.782 (Mom=0.9), 0.812 (0.8-1)
"""

from smith.cli import run_experiment
from smith.figure import Figure, Panel, Published
from smith.run import Run, iterations
from smith.schedules import CyclicalMomentum, Join, Multistep, RangeTest

RANGE = Run(
    data="cifar10",
    network="shallow3",
    batch_size=548,
    length=iterations(10_000),
    lr=RangeTest(0.002, 0.02),
    momentum=0.9,
    weight_decay=4e-3,
)
CONSTANT = {f"Mom={m:g}": RANGE.replace(momentum=m) for m in (0.7, 0.9, 0.99)}
CYCLICAL = {
    "Mom=0.9": RANGE,
    "CM=0.8-1": RANGE.replace(momentum=CyclicalMomentum(high=1.0, low=0.8, rising=True)),
    "CM=0.95-0.8": RANGE.replace(momentum=CyclicalMomentum(high=0.95, low=0.8)),
    "CM=0.97-0.7": RANGE.replace(momentum=CyclicalMomentum(high=0.97, low=0.7)),
}
MOMENTUM_RANGE = {"": RANGE.replace(lr=0.01, momentum=RangeTest(0.7, 1.0))}

DROPS = (1 / 2, 3 / 4, 7 / 8, 19 / 20)  # at iterations 10,000, 15,000, 17,500 and 19,000
LONG = RANGE.replace(batch_size=536, length=iterations(20_000), lr=Multistep(0.007, factor=0.316, at=DROPS))
WARM_UP = RangeTest(0.001, 0.007)
AFTER = Multistep(0.007, factor=0.316, at=tuple(2 * at - 1 for at in DROPS))
FULL = {
    "Momentum=0.9; LR=0.007": LONG,
    "CM=0.97-0.7; CLR=0.001-0.007, step=10k": LONG.replace(
        lr=Join((WARM_UP, AFTER), at=(1 / 2,)), momentum=CyclicalMomentum(high=0.97, low=0.7, step_size=1 / 2)
    ),
}

FIGURE = Figure(
    "fig07",
    "Constant and cyclical momentum",
    panels=(
        Panel(
            "a",
            "LR range test, constant momentum; TBS=548, WD=4e-3",
            CONSTANT,
            x="learning_rate",
            log=True,
            xlim=(0.002, 0.02),
            ylim=(0.75, 1.8),
            published=Published("fig07a"),
        ),
        Panel(
            "b",
            "Momentum range test, LR=0.01; TBS=548, WD=4e-3",
            MOMENTUM_RANGE,
            x="momentum",
            y=("test_accuracy", "test_loss"),
            log=True,
            xlim=(0.7, 1.0),
            ylim=(0.4, 1.65),
            published=Published("fig07b"),
        ),
        Panel(
            "c",
            "LR range test, cyclical momentum; TBS=548, WD=4e-3",
            CYCLICAL,
            x="learning_rate",
            log=True,
            xlim=(0.002, 0.02),
            ylim=(0.75, 1.6),
            published=Published("fig07c"),
        ),
        Panel(
            "d",
            "Full schedules; TBS=536, WD=4e-3",
            FULL,
            y=("test_accuracy", "test_loss"),
            log=True,
            xlim=(0, 20_000),
            ylim=(0.48, 1.45),
            published=Published("fig07d", shift=200),
        ),
    ),
)

if __name__ == "__main__":
    run_experiment(FIGURE)
