"""The order of the images: shuffled for every epoch, or the same in each, as Caffe reads them. Our own.

The paper's images came in the order of the files, epoch after epoch; ours are shuffled. Figure 14's losses at large
rates lie above ours, and two seeds of LeNet, on other images and not kept, failed earlier with the same order than
shuffled. So it is asked here of two networks.

Run:     smith run orders
Cost:    mini 40 s a seed on 2 CPU cores, half of it figure 14's and the range tests' of several lengths
Expect:  no published curve
"""

from experiments.fig14_mnist_range_test import A
from experiments.speed_range_test_lengths import BASE
from smith import Figure, Panel, Run, iterations, sweep
from smith.analysis.claims.shared import OCTAVES, RATIO
from smith.analysis.measures import difference, mean_loss, rate_of_divergence
from smith.analysis.tuning import within
from smith.analysis.verdicts import Claim, Part
from smith.cli import run_experiment

LENET, SHALLOW3 = A["Momentum=0.9"], BASE.replace(length=iterations(10_000), test_every=iterations(100))
ORDERS = ("shuffled", "stored")


def panel(label: str, run: Run, ylim: tuple[float, float]) -> Panel:
    """Returns a run with both orders."""
    runs = sweep(run, "{}", order=ORDERS)
    return Panel(label, runs, x="learning_rate", ylim=ylim)


FIGURE = Figure(
    "orders",
    "Images shuffled for every epoch, or in the same order in each",
    panels=(panel("a", LENET, (0.02, 3)), panel("b", SHALLOW3, (0.7, 2.4))),
    notes=("Not in the paper.",),
)
PANELS = {"LeNet": ("a", 0.3, 0.6), "shallow3": ("b", 0.1, 0.25)}  # and where the losses are compared, before they fail

CLAIMS = (
    Claim(
        "E9a",
        "An order of the images that is the same in every epoch makes training fail at a smaller learning rate.",
        "Our own question",
        ("ordersa", "ordersb"),
        tuple(
            Part(
                f"{name}: the range test with shuffled images diverges at a larger rate",
                within(FIGURE, label, *ORDERS),
                rate_of_divergence(*ORDERS),
                unit=OCTAVES,
            )
            for name, (label, *_) in PANELS.items()
        ),
        "Seeds are paired: both runs begin with the same weights. Both have to stay below the same loss, as in C05.",
    ),
    Claim(
        "E9b",
        "It raises the test loss before that, too.",
        "Our own question",
        ("ordersa", "ordersb"),
        tuple(
            Part(
                f"{name}: the mean test loss from {start:g} to {end:g} of the range is higher",
                within(FIGURE, label, *ORDERS),
                difference(mean_loss(start, end), *reversed(ORDERS)),
                unit=RATIO,
            )
            for name, (label, start, end) in PANELS.items()
        ),
        "Over the rates at which the loss is low and neither run has failed, by the shape of other range tests.",
    ),
)

if __name__ == "__main__":
    run_experiment(FIGURE)
