"""Figure 6: total batch sizes at about the same computation, each with its 1cycle policy (resnet-56, CIFAR-10).

The paper: larger batches allow larger rates and end at a higher accuracy (a), with a lower test loss early and a higher
one at the end (b) (Remark 4).

Run:     smith run fig06
Cost:    mini 20 s a seed on 2 CPU cores
Expect:  published accuracies at the end 0.919 (TBS=1024), 0.918 (512), 0.917 (256), 0.913 (128)
"""

from experiments.bases import one_cycle, resnet56
from smith import Figure, Panel, epochs
from smith.cli import run_experiment

POLICIES = (  # batch size, learning rates, step size and length in epochs
    (1024, 0.1, 1.0, 51, 120),
    (512, 0.08, 0.8, 41, 95),
    (256, 0.06, 0.6, 31, 70),
    (128, 0.04, 0.4, 21, 48),
)


def batch_sizes(momentum: tuple[float, float] | None = None) -> dict:
    """Returns the four runs, with a momentum of 0.95 or one that falls; figure 8 has the latter."""
    return {
        f"TBS={batch}; CLR={low:g}-{peak:g}": one_cycle(
            resnet56(batch).replace(length=epochs(length), momentum=0.95), low, peak, epochs(step), momentum
        )
        for batch, low, peak, step, length in POLICIES
    }


FIGURE = Figure(
    "fig06",
    "Total batch size with 1cycle policies",
    panels=(
        Panel("a", batch_sizes(), y="test_accuracy", ylim=(0.48, 0.93)),
        Panel("b", batch_sizes(), ylim=(0.3, 1.03)),
    ),
    first_test_drawn_at_0=True,
)

if __name__ == "__main__":
    run_experiment(FIGURE)
