"""Figure 12: a weight-decay search that continues from one snapshot (shallow3, CIFAR-10).

The paper: one run, continued from a snapshot with several weight decays, finds the same best one more cheaply than a
run for each (figures 9 and 10). The snapshot is taken at iteration 1,000 (LR 0.00325) of the run with 1e-3; the curve
of 1e-3 is that run. Panel b needs another network.

Run:     smith run fig12 --scale quick
Cost:    quick 30 s on 2 CPU cores
Expect:  published: 3e-3 reaches 0.580, 1e-3 stays above 0.647, 1e-2 gets worse from the snapshot on
Assumed: batch size 2048, which the paper does not give.
"""

from smith.figure import Figure, Panel, Published
from smith.run import Run, Snapshot, iterations
from smith.schedules import RangeTest

PARENT = Run(
    data="cifar10",
    network="shallow3",
    batch_size=2048,
    length=iterations(4_000),
    lr=RangeTest(0.001, 0.01),
    momentum=0.95,
    weight_decay=1e-3,
)
CHILD = PARENT.replace(start=Snapshot(PARENT, at=iterations(1_000)))
RUNS = {"WD=1e-3": PARENT, "WD=3e-3": CHILD.replace(weight_decay=3e-3), "WD=1e-2": CHILD.replace(weight_decay=1e-2)}

FIGURE = Figure(
    "fig12",
    "Weight decay, continued from a snapshot",
    panels=(
        Panel(
            "a",
            "CIFAR-10, shallow3; Mom=0.95; restart from snapshot",
            RUNS,
            x="learning_rate",
            log=True,
            xlim=(0.001, 0.01),
            ylim=(0.55, 1.7),
            published=Published("fig12a"),
        ),
    ),
    notes=("The batch size is an assumption.",),
)

if __name__ == "__main__":
    FIGURE.main()
