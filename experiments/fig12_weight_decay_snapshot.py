"""Figure 12: a weight-decay search that continues from one snapshot (shallow3 and resnet-56, CIFAR-10).

The paper: one run, continued from a snapshot with several weight decays, finds the same best one more cheaply than a
run for each (figures 9 to 11). In a the snapshot is taken at iteration 1,000 (LR 0.00325) of the run with 1e-3, and the
curve of 1e-3 is that run; in b at epoch 20 (LR 0.44) of the run with 1e-4.

Run:     smith run fig12
Cost:    mini 30 s a seed on 2 CPU cores
Expect:  published: in a 3e-3 reaches 0.580, 1e-3 stays above 0.647, 1e-2 gets worse from the snapshot on; in b 1e-4
         reaches 0.475, 3e-4 stays above 0.558, 1e-3 diverges
Assumed: the batch size in a, which the paper does not give
"""

from experiments.bases import SHALLOW3, resnet56
from smith import Figure, Length, Panel, RangeTest, Run, Snapshot, epochs, iterations, sweep
from smith.cli import run_experiment


def continued(name: str, parent: Run, at: Length, weight_decays: tuple[float, ...]) -> dict[str, Run]:
    """Returns a run, and runs that continue it from a snapshot with other weight decays."""
    child = parent.replace(start=Snapshot(parent, at=at))
    return {name: parent} | sweep(child, "WD={}", weight_decay=weight_decays)


SHALLOW = SHALLOW3.replace(
    batch_size=2048, length=iterations(4_000), lr=RangeTest(0.001, 0.01), momentum=0.95, weight_decay=1e-3
)
DEEP = resnet56(512).replace(length=epochs(40), lr=RangeTest(0.08, 0.8), momentum=0.95)
A = continued("WD=1e-3", SHALLOW, iterations(1_000), (3e-3, 1e-2))
B = continued("WD=1e-4", DEEP, epochs(20), (3e-4, 1e-3))

FIGURE = Figure(
    "fig12",
    "Weight decay, continued from a snapshot",
    panels=(
        Panel("a", A, x="learning_rate", ylim=(0.55, 1.7)),
        Panel("b", B, x="learning_rate", ylim=(0.47, 3.5)),
    ),
    assumed={"batch_size": (512, 1024, 2048)},
)

if __name__ == "__main__":
    run_experiment(FIGURE)
