"""bfloat16 beside float32: figure 9's weight decays and figure 6's batch sizes (CIFAR-10). Our own.

The paper says nothing of it: the author computed in float32. GPUs compute faster in bfloat16, which keeps eight bits
of a number. Weights, batch statistics and the loss stay float32.

Run:     smith run precision
Cost:    mini about 2 min a seed on 2 CPU cores
Expect:  no published curve
"""

from experiments.fig06_batch_size import batch_sizes
from experiments.fig09_weight_decay_constant_lr import RUNS
from smith import Figure, Finals, Run
from smith.analysis.claims.shared import IMAGES, RATIO
from smith.analysis.measures import accuracy, difference, final_loss
from smith.analysis.tuning import within
from smith.analysis.verdicts import Claim, Part
from smith.cli import run_experiment

DECAYS: dict[float, Run] = {float(name.removeprefix("WD=")): run for name, run in RUNS.items()}
BATCHES: dict[float, Run] = {run.batch_size: run for run in batch_sizes().values()}


def both(runs: dict[float, Run]) -> dict[str, dict[float, Run]]:
    """Returns the runs as they are, and in bfloat16."""
    lowered = {place: run.replace(precision="bfloat16") for place, run in runs.items()}
    return {"float32": runs, "bfloat16": lowered}


ROWS = (
    ("a", DECAYS, "Weight decay", "test_loss", "shallow3, as figure 9"),
    ("b", DECAYS, "Weight decay", "test_accuracy", "shallow3, as figure 9"),
    ("c", BATCHES, "Total batch size", "test_loss", "resnet-56, as figure 6"),
    ("d", BATCHES, "Total batch size", "test_accuracy", "resnet-56, as figure 6"),
)
FIGURE = Figure(
    "precision",
    "Training in bfloat16",
    panels=tuple(Finals(letter, both(runs), what, (y,), title=title) for letter, runs, what, y, title in ROWS),
    notes=("Not in the paper. Weight decays and batch sizes are named as at the paper's scale.",),
)


def parts(network: str, place: str, loss: str, ends: str) -> tuple[Part, Part]:
    """Returns what bfloat16 may lose at one place of the axis. loss, ends: the panels of the loss and the accuracy."""
    names = [f"{precision}, {place}" for precision in ("bfloat16", "float32")]
    return (
        Part(
            f"{network}: its loss is less than 5 % larger",
            within(FIGURE, loss, *names),
            difference(final_loss, *reversed(names)),  # of logarithms
            -0.05,
            RATIO,
        ),
        Part(
            f"{network}: loses less than two points of accuracy",
            within(FIGURE, ends, *names),
            difference(accuracy, *names),
            -0.02,
            IMAGES,
        ),
    )


CLAIMS = (
    Claim(
        "E8",
        "Training in bfloat16 is harmless.",
        "Asked before any GPU run uses it",
        ("precisiona", "precisionb", "precisionc", "precisiond"),
        (
            *parts("shallow3 with a weight decay of 3.2e-3", "0.0032", "a", "b"),
            *parts("resnet-56 with batches of 512", "512", "c", "d"),
        ),
        "The best weight decay of figure 9, the batch size of most figures. Seeds are paired: their initial weights "
        "and their order of images are the same. The margins are about what one seed differs from the next by; they "
        "were written before any run in bfloat16.",
    ),
)

if __name__ == "__main__":
    run_experiment(FIGURE)
