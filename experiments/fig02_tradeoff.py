"""Figure 2: underfitting and overfitting as a trade-off, drawn and measured (shallow3 of six widths, CIFAR-10).

The paper draws it: with the complexity of the model the error on the training data falls, that on the test data falls
and rises again (a). Panel b, which the paper has not, measures it: shallow3 with 1/8 to 4 times its channels.

Run:     smith run fig02
Cost:    mini 70 s a seed on 2 CPU cores
Expect:  nothing published; the training loss falls with the width
Assumed: all settings of panel b; those of width 1 are a row of table 1
"""

from experiments.bases import SHALLOW3
from smith import Figure, Finals, Sketch
from smith.cli import run_experiment

BASE = SHALLOW3.replace(batch_size=128, momentum=0.95, weight_decay=3e-3)
WIDTHS = {width: BASE.replace(width=width) for width in (1 / 8, 1 / 4, 1 / 2, 1, 2, 4)}
DRAWING = {
    "Test data": lambda c: 0.15 + 0.8 * (1 - c) ** 3 + 0.45 * c**3,
    "Training data": lambda c: 0.05 + 0.8 * (1 - c) ** 3,
}
WORDS = {0.2: "Underfitting", 0.85: "Overfitting"}

FIGURE = Figure(
    "fig02",
    "Underfitting and overfitting",
    panels=(
        Sketch("a", DRAWING, "Model complexity", "Prediction error", title="A drawing", texts=WORDS),
        Finals("b", {"": WIDTHS}, "Width (times the channels of shallow3)", y=("test_loss", "train_loss")),
    ),
    notes=("The settings of panel b are an assumption.",),
)

if __name__ == "__main__":
    run_experiment(FIGURE)
