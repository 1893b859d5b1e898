"""Figure 11: weight decay at a constant learning rate and in an LR range test (resnet-56, CIFAR-10).

The paper: at a constant rate of 0.1 the largest weight decays do best (a); with rates that rise to more than 1 the best
is 1e-4, and 3.2e-4 diverges (b): large rates need less of the other regularisation (Remark 3).

Run:     smith run fig11
Cost:    mini 2.5 min a seed on 2 CPU cores
Expect:  published losses at the end of a 0.418 (5.6e-4), 0.421 (1e-3), 0.469 (3.2e-4), 0.562 (1e-4)
Assumed: the ghost batches of the batch of 1030, which no number of GPUs gives
Note:    the author's job list (lnsmith54/hyperParam1, Cifar/jsub.sh) has 3.2e-4 with momentum 0.97-0.8 only up to 1
         in 10,000 iterations, where the others rise to 2 in 20,000.
"""

from experiments.bases import cyclical, resnet56
from smith import Figure, Panel, RangeTest, iterations, sweep
from smith.cli import run_experiment

CONSTANT = resnet56(1030).replace(length=iterations(20_000), lr=0.1, momentum=0.95)
RANGE = CONSTANT.replace(lr=RangeTest(0.1, 2.0), momentum=cyclical(0.97, 0.8))
A = sweep(CONSTANT, "WD={}", weight_decay=(1e-4, 3.2e-4, 5.6e-4, 1e-3))
B = sweep(RANGE, "WD={}", weight_decay=(1e-6, 1e-5, 1e-4, 3.2e-4))

FIGURE = Figure(
    "fig11",
    "Weight decay of a deep network",
    panels=(
        Panel("a", A, ylim=(0.4, 1.75)),
        Panel("b", B, x="learning_rate", ylim=(0.45, 1.5), xlim=(0.1, 1.15)),  # the paper shows no larger rates
    ),
    assumed={"ghost_batch_size": (103, 206, 515)},
    first_test_drawn_at_0=True,
)

if __name__ == "__main__":
    run_experiment(FIGURE)
