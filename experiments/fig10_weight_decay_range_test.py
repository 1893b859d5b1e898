"""Figure 10: a weight-decay search in an LR range test with cyclical momentum (shallow3, CIFAR-10).

The paper: one short run per weight decay is enough to choose it; the best value with a large learning rate is smaller
than the best at a constant one (figure 9, Remark 3).

Run:     smith run fig10 --scale quick
Cost:    quick 30 s on 2 CPU cores
Expect:  published minima 0.641 (WD=1.8e-3), 0.648 (3.2e-3), 0.670 (1e-3), 0.850 (1e-2)
Assumed: batch size 512, which the paper does not give.
"""

from smith.cli import run_experiment
from smith.figure import Assumption, Figure, Panel, Published
from smith.run import Run, iterations
from smith.schedules import CyclicalMomentum, RangeTest

BASE = Run(
    data="cifar10",
    network="shallow3",
    batch_size=512,
    length=iterations(8_000),
    lr=RangeTest(0.001, 0.01),
    momentum=CyclicalMomentum(high=0.98, low=0.8),
)
WEIGHT_DECAYS = {"WD=1e-3": 1e-3, "WD=1.8e-3": 1.8e-3, "WD=3.2e-3": 3.2e-3, "WD=1e-2": 1e-2}
RUNS = {name: BASE.replace(weight_decay=wd) for name, wd in WEIGHT_DECAYS.items()}
TITLE = "CIFAR-10, shallow3; CLR=0.001-0.01, CM=0.98-0.8"

FIGURE = Figure(
    "fig10",
    "Weight decay in an LR range test",
    panels=(
        Panel(
            "a",
            TITLE,
            RUNS,
            x="learning_rate",
            log=True,
            xlim=(0.001, 0.01),
            ylim=(0.6, 2.0),
            published=Published("fig10a"),
        ),
        Panel(
            "b",
            TITLE,
            RUNS,
            x="learning_rate",
            y="test_accuracy",
            xlim=(0.001, 0.01),
            ylim=(0.2, 0.82),
            published=Published("fig10b"),
        ),
    ),
    notes=("The batch size is an assumption.",),
    assumptions=(Assumption("batch_size", (256, 512, 1024), "ab"),),
)

if __name__ == "__main__":
    run_experiment(FIGURE)
