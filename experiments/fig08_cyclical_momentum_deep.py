"""Figure 8: cyclical momentum with 1cycle policies (resnet-56, CIFAR-10).

The paper: momentum that falls while the learning rate rises does better than constant momentum, and that better than
momentum that rises (a); with it the batch sizes of figure 6 end at about the same accuracy (b) (Remark 5).

Run:     smith run fig08
Cost:    mini 60 s a seed on 2 CPU cores
Expect:  published losses at the end of a 0.336 (CM=0.95-0.85), 0.364 (0.9), 0.387 (0.85-0.95)
Assumed: in a, the ghost batches of the batch of 1030, which no number of GPUs gives
"""

from experiments.bases import cyclical, one_cycle, resnet56
from experiments.fig06_batch_size import batch_sizes
from smith import Figure, Panel, iterations, sweep
from smith.cli import run_experiment

HALF = iterations(9_000)
BASE = one_cycle(resnet56(1030).replace(length=iterations(20_000), weight_decay=5e-5), 0.1, 1.0, HALF)
CYCLICAL = (cyclical(0.85, 0.95, HALF), cyclical(0.95, 0.85, HALF))

FIGURE = Figure(
    "fig08",
    "Cyclical momentum with 1cycle policies",
    panels=(
        Panel("a", {"Momentum=0.9": BASE} | sweep(BASE, "CM range={}", momentum=CYCLICAL), ylim=(0.33, 1.2)),
        Panel("b", batch_sizes(momentum=(0.95, 0.85)), y="test_accuracy", ylim=(0.48, 0.93)),
    ),
    assumed={"ghost_batch_size": (103, 206, 515)},
    first_test_drawn_at_0=True,
)

if __name__ == "__main__":
    run_experiment(FIGURE)
