"""Figure 1: what the test loss shows that accuracy and training loss do not (resnet-56, CIFAR-10).

The paper: in one long LR range test the test loss shows underfitting (it falls), then overfitting (from a rate of 0.01
to 0.05 it rises, while the training loss falls and the accuracy does not), then the regularisation of large rates (a);
the test loss minus the training loss shows the same (b) (Remark 1).

Run:     smith run fig01 --scale quick
Cost:    quick 15 s on 2 CPU cores
Expect:  published minimum of the test loss 0.620; accuracy up to 0.864
Assumed: batch size 128, momentum 0.9 and weight decay 1e-4, which the paper does not give.
"""

from smith.cli import run_experiment
from smith.figure import Assumption, Figure, Panel, Published
from smith.run import Run, iterations
from smith.schedules import RangeTest

RUN = Run(
    data="cifar10",
    network="resnet-56",
    batch_size=128,
    ghost_batch_size=32,
    mirror=True,
    length=iterations(80_000),
    lr=RangeTest(0, 0.4),
    momentum=0.9,
    weight_decay=1e-4,
)

FIGURE = Figure(
    "fig01",
    "The test loss shows over- and underfitting",
    panels=(
        Panel(
            "a",
            "CIFAR-10, resnet-56; LR range test",
            {"": RUN},
            x="learning_rate",
            y=("test_loss", "train_loss", "test_accuracy"),
            log=True,
            xlim=(0, 0.4),
            ylim=(0.02, 1.9),
            published=Published("fig01a"),
        ),
        Panel(
            "b",
            "CIFAR-10, resnet-56; LR=0-0.4",
            {"Test loss - training loss": RUN},
            y="loss_gap",
            log=True,
            xlim=(0, 80_000),
            ylim=(0.1, 1.6),
            published=Published("fig01b", shift=200),
        ),
    ),
    notes=("Batch size, momentum and weight decay are assumptions.",),
    assumptions=(
        Assumption("batch_size", (64, 128, 256, 512), "ab"),
        Assumption("momentum", (0.85, 0.9, 0.95), "ab"),
        Assumption("weight_decay", (0, 1e-5, 1e-4), "ab"),
    ),
)

if __name__ == "__main__":
    run_experiment(FIGURE)
