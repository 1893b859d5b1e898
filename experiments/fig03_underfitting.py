"""Figure 3: what underfitting looks like in the test loss (shallow3, CIFAR-10).

The paper: too small a learning rate shows as a test loss that keeps falling; a better one falls faster, then is flat,
and ends lower (Remark 2). Panel b, on ImageNet, needs other networks.

Run:     smith run fig03 --scale quick
Cost:    quick 30 s on 2 CPU cores
Expect:  published: 0.0055 ends at a test loss of 0.509, 0.001 still falling before the drops at 0.538
Assumed: batch size 512; each drop, at iterations 50,000 and 55,000, is by a factor of 0.1. Neither is in the paper.
"""

from smith.cli import run_experiment
from smith.figure import Assumption, Figure, Panel, Published
from smith.run import Run, iterations
from smith.schedules import Multistep

BASE = Run(
    data="cifar10",
    network="shallow3",
    batch_size=512,
    length=iterations(60_000),
    lr=Multistep(0.001, factor=0.1, at=(5 / 6, 11 / 12)),
    momentum=0.9,
    weight_decay=4e-3,
)
RUNS = {f"LR={lr:g}": BASE.replace(lr=Multistep(lr, factor=0.1, at=(5 / 6, 11 / 12))) for lr in (0.001, 0.0055)}

FIGURE = Figure(
    "fig03",
    "Underfitting: a test loss that keeps falling",
    panels=(
        Panel(
            "a",
            "CIFAR-10, shallow3; WD=4e-3",
            RUNS,
            log=True,
            xlim=(0, 60_000),
            ylim=(0.5, 1.6),
            published=Published("fig03a", shift=200),
        ),
    ),
    notes=("The batch size and the size of the drops are assumptions.",),
    assumptions=(
        Assumption("batch_size", (256, 512, 1024), "a"),
        Assumption("lr.factor", (0.1, 0.316), "a"),
    ),
)

if __name__ == "__main__":
    run_experiment(FIGURE)
