"""Figure 3: what underfitting looks like in the test loss (shallow3, CIFAR-10; two large networks, ImageNet).

The paper: too small a learning rate shows as a test loss that keeps falling; a better one falls faster, then is flat,
and ends lower (Remark 2). On ImageNet the test losses of both networks go on falling (b).

Run:     smith run fig03
Cost:    mini 3 min a seed on 2 CPU cores
Expect:  published: 0.0055 ends at a test loss of 0.509, 0.001 still falls before the drops
         (0.575 at the last test) and ends at 0.538
Assumed: the batch size and the size of the two drops, which the paper does not give
"""

from experiments.bases import INCEPTION, RESNET50, SHALLOW3
from smith import Figure, Multistep, Panel, iterations, sweep
from smith.cli import run_experiment

BASE = SHALLOW3.replace(length=iterations(60_000), weight_decay=4e-3)
RATES = {f"{lr:g}": Multistep(lr, factor=0.1, at=(5 / 6, 11 / 12)) for lr in (0.001, 0.0055)}
LARGE = {"Resnet-50": RESNET50, "Inception-Resnet-v2": INCEPTION}

FIGURE = Figure(
    "fig03",
    "Underfitting: a test loss that keeps falling",
    panels=(
        Panel("a", sweep(BASE, "LR={}", lr=RATES), ylim=(0.5, 1.6)),
        Panel("b", LARGE, ylim=(1.9, 6.5), published="fig03b"),  # drawn at its own iteration
    ),
    assumed={"batch_size": (256, 512, 1024), "lr.factor": (0.1, 0.316)},
    first_test_drawn_at_0=True,
)

if __name__ == "__main__":
    run_experiment(FIGURE)
