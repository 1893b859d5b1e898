"""Figure 15: weight decay and batch size on CIFAR-100 (resnet-56).

The paper: the weight decays of CIFAR-10 do here too (a), and so do 1cycle policies, whatever the batch size (b).

Run:     smith run fig15 --scale quick
Cost:    quick about 30 s on 2 CPU cores
Expect:  published: losses of at least 1.80 (1e-4), 1.81 (1e-5), 1.83 (3e-4) in a; accuracies at the end of b 0.689
         (TBS=256), 0.690 (512), 0.681 (1024)
Note:    the x-axis of the paper's panel b is twice the true iteration: the author's logs test every 100 iterations,
         the plot counts 200. Here it is the true one.
"""

from smith.cli import run_experiment
from smith.figure import Figure, Panel, Published
from smith.run import Run, epochs, iterations
from smith.schedules import CyclicalMomentum, OneCycle, RangeTest

RANGE = Run(
    data="cifar100",
    network="resnet-56",
    batch_size=512,
    ghost_batch_size=128,
    mirror=True,
    length=epochs(50),
    lr=RangeTest(0.1, 1.0),
    momentum=CyclicalMomentum(0.95, 0.85),
)
CYCLE = RANGE.replace(
    length=epochs(100),
    lr=OneCycle(0.09, 0.9, step_size=epochs(45)),
    momentum=CyclicalMomentum(0.95, 0.85, step_size=epochs(45)),
    weight_decay=1e-4,
    test_every=iterations(100),
)
BATCHES = {
    "TBS=256, CLR=0.05-.5": CYCLE.replace(
        batch_size=256,
        ghost_batch_size=64,
        length=epochs(85),
        lr=OneCycle(0.05, 0.5, step_size=epochs(41)),
        momentum=CyclicalMomentum(0.95, 0.85, step_size=epochs(41)),
    ),
    "TBS=512, CLR=0.09-.9": CYCLE,
    "TBS=1024, CLR=0.1-1.2": CYCLE.replace(
        batch_size=1024,
        ghost_batch_size=256,
        length=epochs(145),
        lr=OneCycle(0.1, 1.2, step_size=epochs(70)),
        momentum=CyclicalMomentum(0.95, 0.85, step_size=epochs(70)),
    ),
}

FIGURE = Figure(
    "fig15",
    "CIFAR-100: weight decay and batch size",
    panels=(
        Panel(
            "a",
            "CIFAR-100, resnet-56; CM=0.95-0.85, TBS=512",
            {
                name: RANGE.replace(weight_decay=wd)
                for name, wd in {"WD=1e-4": 1e-4, "WD=1e-5": 1e-5, "WD=3e-4": 3e-4}.items()
            },
            x="learning_rate",
            log=True,
            xlim=(0.1, 1.0),
            ylim=(1.75, 2.75),
            published=Published("fig15a"),
        ),
        Panel(
            "b",
            "CIFAR-100, resnet-56; 1cycle, CM=0.95-0.85, WD=1e-4",
            BATCHES,
            y="test_accuracy",
            xlim=(0, 16_601),
            ylim=(0.15, 0.7),
            published=Published("fig15b", shift=100, factor=0.5),
        ),
    ),
    notes=("The paper's axis in b counts every iteration twice; here it is the true one.",),
)

if __name__ == "__main__":
    run_experiment(FIGURE)
