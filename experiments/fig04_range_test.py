"""Figure 4: LR range tests with three weight decays (shallow3, CIFAR-10), and a large rate (resnet-50, ImageNet).

The paper: with a rising learning rate the test loss goes from underfitting to a minimum and up again; with too large a
weight decay it turns earlier and higher. On ImageNet a rising rate with little weight decay goes from underfitting
to a flat test loss (b).

Run:     smith run fig04
Cost:    mini 2 min a seed on 2 CPU cores
Expect:  published minima 0.733 at LR 0.0024 (WD=1e-4), 0.701 at 0.0056 (4e-3), 0.826 at 0.0049 (1e-2)
Assumed: the batch size, which the paper does not give
"""

from experiments.bases import RESNET50, SHALLOW3, cyclical
from smith import Figure, Panel, RangeTest, iterations, sweep
from smith.cli import run_experiment

BASE = SHALLOW3.replace(length=iterations(20_000), lr=RangeTest(0, 0.01))
RUNS = sweep(BASE, "WD={}", weight_decay=(1e-4, 4e-3, 1e-2))
LONG = RESNET50.replace(length=iterations(210_000), test_every=iterations(1_000))
RISING = {"lr": RangeTest(0.05, 0.05 + 0.95 * 210 / 440), "momentum": cyclical(0.95, 0.95 - 0.1 * 210 / 440)}
LARGE = {
    "LR=0.1, WD=1e-4, Mom=0.9": LONG,
    "CLR=0.05-1, WD=1e-7, CM=0.95-0.85": LONG.replace(**RISING, weight_decay=1e-7),  # the first 210,000 of 440,000
}

FIGURE = Figure(
    "fig04",
    "LR range tests: from underfitting to overfitting",
    panels=(Panel("a", RUNS, x="learning_rate", ylim=(0.7, 2.3)), Panel("b", LARGE, ylim=(1.9, 4.1))),
    assumed={"batch_size": (256, 512, 1024)},
)

if __name__ == "__main__":
    run_experiment(FIGURE)
