"""Figure 1: what the test loss shows that accuracy and training loss do not (resnet-56, CIFAR-10).

The paper: in one long LR range test the test loss shows underfitting (it falls), then overfitting (from a rate of 0.01
to 0.05 it rises, while the training loss falls and the accuracy does not), then the regularisation of large rates (a);
the test loss minus the training loss shows the same (b) (Remark 1).

Run:     smith run fig01
Cost:    mini 30 s a seed on 2 CPU cores
Expect:  published minimum of the test loss 0.620; accuracy up to 0.864
Assumed: batch size, momentum and weight decay, which the paper does not give
"""

from experiments.bases import resnet56
from smith import Figure, Panel, RangeTest, iterations
from smith.cli import run_experiment

RUN = resnet56(128).replace(length=iterations(80_000), lr=RangeTest(0, 0.4))
QUANTITIES = ("test_loss", "train_loss", "test_accuracy")

FIGURE = Figure(
    "fig01",
    "The test loss shows over- and underfitting",
    panels=(
        Panel("a", {"": RUN}, x="learning_rate", y=QUANTITIES, ylim=(0.02, 1.9)),
        Panel("b", {"Test loss - training loss": RUN}, y="loss_gap", log=True, ylim=(0.1, 1.6)),
    ),
    assumed={
        "batch_size": (64, 128, 256, 512),
        "momentum": (0.85, 0.9, 0.95),
        "weight_decay": (0, 1e-5, 1e-4),
    },
    first_test_drawn_at_0=True,
)

if __name__ == "__main__":
    run_experiment(FIGURE)
