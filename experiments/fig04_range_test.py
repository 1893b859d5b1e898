"""Figure 4: LR range tests with three weight decays (shallow3, CIFAR-10).

The paper: with a rising learning rate the test loss goes from underfitting to a minimum and up again; with too large a
weight decay it turns earlier and higher. Panel b, on ImageNet, needs another network.

Run:     smith run fig04 --scale quick
Cost:    quick 40 s on 2 CPU cores
Expect:  published minima 0.733 at LR 0.0024 (WD=1e-4), 0.701 at 0.0056 (4e-3), 0.826 at 0.0049 (1e-2)
Assumed: batch size 512, which the paper does not give.
"""

from smith.cli import run_experiment
from smith.figure import Assumption, Figure, Panel, Published
from smith.run import Run, iterations
from smith.schedules import RangeTest

BASE = Run(
    data="cifar10", network="shallow3", batch_size=512, length=iterations(20_000), lr=RangeTest(0, 0.01), momentum=0.9
)
RUNS = {name: BASE.replace(weight_decay=wd) for name, wd in {"WD=1e-4": 1e-4, "WD=4e-3": 4e-3, "WD=1e-2": 1e-2}.items()}

FIGURE = Figure(
    "fig04",
    "LR range tests: from underfitting to overfitting",
    panels=(
        Panel(
            "a",
            "CIFAR-10, shallow3; LR range test",
            RUNS,
            x="learning_rate",
            log=True,
            xlim=(0, 0.01),
            ylim=(0.7, 2.3),
            published=Published("fig04a"),
        ),
    ),
    notes=("The batch size is an assumption.",),
    assumptions=(Assumption("batch_size", (256, 512, 1024), "a"),),
)

if __name__ == "__main__":
    run_experiment(FIGURE)
