"""Figure 8: cyclical momentum with 1cycle policies (resnet-56, CIFAR-10).

The paper: momentum that falls while the learning rate rises does better than constant momentum, and that better than
momentum that rises (a); with it the batch sizes of figure 6 end at about the same accuracy (b) (Remark 5).

Run:     smith run fig08 --scale quick
Cost:    quick 25 s on 2 CPU cores
Expect:  published losses at the end of a 0.336 (CM=0.95-0.85), 0.364 (0.9), 0.387 (0.85-0.95)
Assumed: in a, ghost batches of 206, the number next below TBS/4 that divides a batch of 1030 (the paper's is the mean
         of four batch sizes, 1024 to 1036).
"""

from experiments.fig06_batch_size import RUNS
from smith.cli import run_experiment
from smith.figure import Assumption, Figure, Panel, Published
from smith.run import Run, epochs, iterations
from smith.schedules import CyclicalMomentum, OneCycle

A = Run(
    data="cifar10",
    network="resnet-56",
    batch_size=1030,
    ghost_batch_size=206,
    mirror=True,
    length=iterations(20_000),
    lr=OneCycle(0.1, 1.0, step_size=iterations(9_000)),
    momentum=0.9,
    weight_decay=5e-5,
)
HALF = iterations(9_000)
MOMENTA = {
    "Momentum=0.9": A,
    "CM range=0.85-0.95": A.replace(momentum=CyclicalMomentum(0.95, 0.85, step_size=HALF, rising=True)),
    "CM range=0.95-0.85": A.replace(momentum=CyclicalMomentum(0.95, 0.85, step_size=HALF)),
}
STEP_SIZES = dict(zip(RUNS, (51, 41, 31, 21), strict=True))  # in epochs
BATCHES = {
    name: run.replace(momentum=CyclicalMomentum(0.95, 0.85, step_size=epochs(STEP_SIZES[name])))
    for name, run in RUNS.items()
}

FIGURE = Figure(
    "fig08",
    "Cyclical momentum with 1cycle policies",
    panels=(
        Panel(
            "a",
            "CIFAR-10, resnet-56; 1cycle 0.1-1, TBS=1030, WD=5e-5",
            MOMENTA,
            log=True,
            xlim=(0, 20_000),
            ylim=(0.33, 1.2),
            published=Published("fig08a", shift=200),
        ),
        Panel(
            "b",
            "CIFAR-10, resnet-56; 1cycle, CM=0.95-0.85, WD=1e-4",
            BATCHES,
            y="test_accuracy",
            xlim=(0, 18_750),
            ylim=(0.5, 0.93),
            published=Published("fig08b", shift=200),
        ),
    ),
    notes=("The ghost batches of 206 in a are an assumption.",),
    assumptions=(Assumption("ghost_batch_size", (103, 206, 515), "a"),),
)

if __name__ == "__main__":
    run_experiment(FIGURE)
