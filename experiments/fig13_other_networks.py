"""Figure 13: LR range tests of wider and denser networks (wide-32 and densenet-40, CIFAR-10).

The paper: 1e-4 is the best weight decay of wide-32 (a); densenet-40 wants a smaller momentum (b) and a weight decay of
1e-6 or less with rates up to 4 (c); twice the batch in the same number of iterations does better (d).

Run:     smith run fig13 --scale quick
Cost:    quick 60 s on 2 CPU cores
Expect:  published best: loss 0.453 in a (1e-4); accuracy 0.854 in b (CM=0.9-0.85), 0.844 in c (1e-6), 0.875 in d (512)
"""

from smith.cli import run_experiment
from smith.figure import Figure, Panel, Published
from smith.run import Run, epochs, iterations
from smith.schedules import CyclicalMomentum, RangeTest

WIDE = Run(
    data="cifar10",
    network="wide-32",
    batch_size=512,
    ghost_batch_size=128,
    mirror=True,
    length=epochs(100),
    lr=RangeTest(0.1, 1.0),
    momentum=CyclicalMomentum(0.95, 0.85),
)
DENSE = Run(
    data="cifar10",
    network="densenet-40",
    batch_size=256,
    ghost_batch_size=64,
    mirror=True,
    length=iterations(9_765),  # 50 epochs; of 512 images, 100
    lr=RangeTest(0.1, 4.0),
    momentum=CyclicalMomentum(0.9, 0.85),
    weight_decay=1e-6,
)
MOMENTUM = DENSE.replace(lr=RangeTest(0.1, 1.0), weight_decay=1e-5)

FIGURE = Figure(
    "fig13",
    "LR range tests of other networks",
    panels=(
        Panel(
            "a",
            "CIFAR-10, wide-32; CM=0.95-0.85, TBS=512",
            {
                name: WIDE.replace(weight_decay=wd)
                for name, wd in {"WD=1e-3": 1e-3, "WD=1e-4": 1e-4, "WD=1e-5": 1e-5}.items()
            },
            x="learning_rate",
            log=True,
            xlim=(0.1, 1.0),
            ylim=(0.45, 4.2),
            published=Published("fig13a"),
        ),
        Panel(
            "b",
            "CIFAR-10, densenet-40; WD=1e-5, TBS=256",
            {
                f"CM={high:g}-0.85": MOMENTUM.replace(momentum=CyclicalMomentum(high, 0.85))
                for high in (0.9, 0.95, 0.97)
            },
            x="learning_rate",
            y="test_accuracy",
            xlim=(0.1, 1.0),
            ylim=(0.1, 0.9),
            published=Published("fig13b"),
        ),
        Panel(
            "c",
            "CIFAR-10, densenet-40; CM=0.9-0.85, TBS=256",
            {
                name: DENSE.replace(weight_decay=wd)
                for name, wd in {"WD=1e-4": 1e-4, "WD=1e-6": 1e-6, "WD=1e-7": 1e-7}.items()
            },
            x="learning_rate",
            y="test_accuracy",
            xlim=(0.1, 4.0),
            ylim=(0.1, 0.9),
            published=Published("fig13c"),
        ),
        Panel(
            "d",
            "CIFAR-10, densenet-40; CM=0.9-0.85, WD=1e-6",
            {"TBS=256": DENSE, "TBS=512": DENSE.replace(batch_size=512, ghost_batch_size=128)},
            x="learning_rate",
            y="test_accuracy",
            xlim=(0.1, 4.0),
            ylim=(0.1, 0.9),
            published=Published("fig13d"),
        ),
    ),
)

if __name__ == "__main__":
    run_experiment(FIGURE)
