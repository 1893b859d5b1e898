"""Figure 11: weight decay at a constant learning rate and in an LR range test (resnet-56, CIFAR-10).

The paper: at a constant rate of 0.1 the largest weight decays do best (a); with rates that rise to more than 1 the best
is 1e-4, and 3.2e-4 diverges (b): large rates need less of the other regularisation (Remark 3).

Run:     smith run fig11 --scale quick
Cost:    quick 40 s on 2 CPU cores
Expect:  published losses at the end of a 0.418 (5.6e-4), 0.421 (1e-3), 0.469 (3.2e-4), 0.562 (1e-4)
Assumed: ghost batches of 206, the number next below TBS/4 that divides a batch of 1030.
"""

from smith.cli import run_experiment
from smith.figure import Assumption, Figure, Panel, Published
from smith.run import Run, iterations
from smith.schedules import CyclicalMomentum, RangeTest

CONSTANT = Run(
    data="cifar10",
    network="resnet-56",
    batch_size=1030,
    ghost_batch_size=206,
    mirror=True,
    length=iterations(20_000),
    lr=0.1,
    momentum=0.95,
)
RANGE = CONSTANT.replace(lr=RangeTest(0.1, 2.0), momentum=CyclicalMomentum(0.97, 0.8))
A = {"WD=1e-4": 1e-4, "WD=3.2e-4": 3.2e-4, "WD=5.6e-4": 5.6e-4, "WD=1e-3": 1e-3}
B = {"WD=1e-6": 1e-6, "WD=1e-5": 1e-5, "WD=1e-4": 1e-4, "WD=3.2e-4": 3.2e-4}

FIGURE = Figure(
    "fig11",
    "Weight decay of a deep network",
    panels=(
        Panel(
            "a",
            "CIFAR-10, resnet-56; LR=0.1, Mom=0.95, TBS=1030",
            {name: CONSTANT.replace(weight_decay=wd) for name, wd in A.items()},
            log=True,
            xlim=(0, 20_000),
            ylim=(0.4, 1.75),
            published=Published("fig11a", shift=200),
        ),
        Panel(
            "b",
            "CIFAR-10, resnet-56; LR range test, CM=0.97-0.8, TBS=1030",
            {name: RANGE.replace(weight_decay=wd) for name, wd in B.items()},
            x="learning_rate",
            log=True,
            xlim=(0.1, 1.15),
            ylim=(0.45, 1.5),
            published=Published("fig11b"),
        ),
    ),
    notes=("The ghost batches of 206 are an assumption.",),
    assumptions=(Assumption("ghost_batch_size", (103, 206, 515), "ab"),),
)

if __name__ == "__main__":
    run_experiment(FIGURE)
