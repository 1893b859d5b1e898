"""Figure 12: a weight-decay search that continues from one snapshot (shallow3 and resnet-56, CIFAR-10).

The paper: one run, continued from a snapshot with several weight decays, finds the same best one more cheaply than a
run for each (figures 9 to 11). In a the snapshot is taken at iteration 1,000 (LR 0.00325) of the run with 1e-3, and the
curve of 1e-3 is that run; in b at epoch 20 (LR 0.44) of the run with 1e-4.

Run:     smith run fig12 --scale quick
Cost:    quick 25 s on 2 CPU cores
Expect:  published: in a 3e-3 reaches 0.580, 1e-3 stays above 0.647, 1e-2 gets worse from the snapshot on; in b 1e-4
         reaches 0.475, 3e-4 stays above 0.558, 1e-3 diverges
Assumed: batch size 2048 in a, which the paper does not give.
"""

from smith.cli import run_experiment
from smith.figure import Assumption, Figure, Panel, Published
from smith.run import Run, Snapshot, epochs, iterations
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

DEEP = Run(
    data="cifar10",
    network="resnet-56",
    batch_size=512,
    ghost_batch_size=128,
    mirror=True,
    length=epochs(40),
    lr=RangeTest(0.08, 0.8),
    momentum=0.95,
    weight_decay=1e-4,
)
DEEP_CHILD = DEEP.replace(start=Snapshot(DEEP, at=epochs(20)))
DEEP_RUNS = {
    "WD=1e-4": DEEP,
    "WD=3e-4": DEEP_CHILD.replace(weight_decay=3e-4),
    "WD=1e-3": DEEP_CHILD.replace(weight_decay=1e-3),
}

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
        Panel(
            "b",
            "CIFAR-10, resnet-56; TBS=512; restart from snapshot",
            DEEP_RUNS,
            x="learning_rate",
            log=True,
            xlim=(0.08, 0.8),
            ylim=(0.47, 3.5),
            published=Published("fig12b"),
        ),
    ),
    notes=("The batch size in a is an assumption.",),
    assumptions=(Assumption("batch_size", (512, 1024, 2048), "a"),),
)

if __name__ == "__main__":
    run_experiment(FIGURE)
