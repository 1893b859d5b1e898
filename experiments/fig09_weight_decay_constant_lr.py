"""Figure 9: a weight-decay search at a constant learning rate (shallow3, CIFAR-10).

The paper: the test loss separates the weight decays sooner, and more clearly, than the accuracy does (Remark 6).

Run:     smith run fig09
Cost:    mini 45 s a seed on 2 CPU cores
Expect:  published: 3.2e-3 ends lowest (loss 0.521); 1e-2 never trains well (0.836)
Assumed: the batch size, which the paper does not give. An independent computation with the same came close to the
         published curve.
"""

from experiments.bases import SHALLOW3, steps
from smith import Figure, Panel, iterations, sweep
from smith.cli import run_experiment

BASE = SHALLOW3.replace(length=iterations(16_000), lr=steps(0.005), momentum=0.95)
RUNS = sweep(BASE, "WD={}", weight_decay=(1e-3, 1.8e-3, 3.2e-3, 1e-2))

FIGURE = Figure(
    "fig09",
    "Weight decay at a constant learning rate",
    panels=(Panel("a", RUNS, ylim=(0.5, 1.45)), Panel("b", RUNS, y="test_accuracy", ylim=(0.48, 0.84))),
    assumed={"batch_size": (256, 512, 1024)},
    first_test_drawn_at_0=True,
)

if __name__ == "__main__":
    run_experiment(FIGURE)
