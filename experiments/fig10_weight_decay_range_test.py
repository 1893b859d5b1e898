"""Figure 10: a weight-decay search in an LR range test with cyclical momentum (shallow3, CIFAR-10).

The paper: one short run per weight decay is enough to choose it; the best value with a large learning rate is smaller
than the best at a constant one (figure 9, Remark 3).

Run:     smith run fig10
Cost:    mini 30 s a seed on 2 CPU cores
Expect:  published minima 0.641 (WD=1.8e-3), 0.648 (3.2e-3), 0.670 (1e-3), 0.850 (1e-2)
Assumed: the batch size, which the paper does not give
"""

from experiments.bases import SHALLOW3, cyclical
from smith import Figure, Panel, RangeTest, iterations, sweep
from smith.cli import run_experiment

BASE = SHALLOW3.replace(length=iterations(8_000), lr=RangeTest(0.001, 0.01), momentum=cyclical(0.98, 0.8))
RUNS = sweep(BASE, "WD={}", weight_decay=(1e-3, 1.8e-3, 3.2e-3, 1e-2))

FIGURE = Figure(
    "fig10",
    "Weight decay in an LR range test",
    panels=(
        Panel("a", RUNS, x="learning_rate", ylim=(0.6, 2.0)),
        Panel("b", RUNS, x="learning_rate", y="test_accuracy", ylim=(0.2, 0.82)),
    ),
    assumed={"batch_size": (256, 512, 1024)},
)

if __name__ == "__main__":
    run_experiment(FIGURE)
