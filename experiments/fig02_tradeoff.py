"""Figure 2: underfitting and overfitting as a trade-off, drawn and measured (shallow3 of six widths, CIFAR-10).

The paper draws it: with the complexity of the model the error on the training data falls, that on the test data falls
and rises again (a). Panel b, which the paper has not, measures it: shallow3 with 1/8 to 4 times its channels.

Run:     smith run fig02 --scale quick
Cost:    quick 75 s on 2 CPU cores
Expect:  nothing published; the training loss falls with the width
Assumed: all settings of panel b; those of width 1 are a row of table 1.
"""

from smith.cli import run_experiment
from smith.figure import Figure, Finals, Sketch
from smith.run import Run, epochs

BASE = Run(
    data="cifar10", network="shallow3", batch_size=128, length=epochs(25), lr=0.005, momentum=0.95, weight_decay=3e-3
)
WIDTHS = (1 / 8, 1 / 4, 1 / 2, 1, 2, 4)

FIGURE = Figure(
    "fig02",
    "Underfitting and overfitting",
    panels=(
        Sketch(
            "a",
            "A drawing",
            {
                "Test data": lambda c: 0.15 + 0.8 * (1 - c) ** 3 + 0.45 * c**3,
                "Training data": lambda c: 0.05 + 0.8 * (1 - c) ** 3,
            },
            xlabel="Model complexity",
            ylabel="Prediction error",
            texts={0.2: "Underfitting", 0.85: "Overfitting"},
        ),
        Finals(
            "b",
            "CIFAR-10, shallow3; at the end of training",
            {width: BASE.replace(width=width) for width in WIDTHS},
            xlabel="Width (times the channels of shallow3)",
            y=("test_loss", "train_loss"),
            log=True,
        ),
    ),
    notes=("The settings of panel b are an assumption.",),
)

if __name__ == "__main__":
    run_experiment(FIGURE)
