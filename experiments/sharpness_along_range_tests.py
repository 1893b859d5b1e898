"""Why range tests end: learning rate times sharpness, along tests at three momenta (resnet-56, LeNet). Our own.

The paper says that training fails where the rate is too large. Gradient descent with momentum is unstable where the
rate times the largest eigenvalue of the Hessian, the sharpness, is above 2 (1 + momentum). Training keeps away from
that by finding flatter places, as long as it can.

Run:     smith run sharpness
Cost:    mini 90 s a seed on 2 CPU cores
Expect:  no published curve; Kalra and Barkeshli (arXiv:2406.09405) find that warm-up works by the same means
Assumed: ranges and lengths; plain momentum, for which the bound is known
"""

from experiments.beyond import DEEP, MNIST, NOTE
from smith import Figure, Panel, RangeTest, epochs, sweep
from smith.analysis.measures import mean_over_runs, stability_at_turn
from smith.analysis.tuning import within
from smith.analysis.verdicts import Claim, Part
from smith.cli import run_experiment

MOMENTA, TESTS = (0.0, 0.5, 0.9), 20
TASKS = {"resnet-56 on CIFAR-10": (DEEP, 18, "ab"), "LeNet on MNIST": (MNIST, 4, "cd")}
RUNS = {
    what: sweep(
        task.replace(
            length=epochs(length),
            test_every=epochs(length / TESTS),
            lr=RangeTest(0.01, 20, exponential=True),
            weight_decay=0.0,
            solver="sgd",
            metrics=("sharpness",),
        ),
        "Mom={}",
        momentum=MOMENTA,
    )
    for what, (task, length, _) in TASKS.items()
}
FIGURE = Figure(
    "sharpness",
    "Why LR range tests end",
    panels=tuple(
        Panel(letter, RUNS[what], x="learning_rate", y=y, title=f"{what}: {said}")
        for what, (_, _, letters) in TASKS.items()
        for letter, y, said in zip(
            letters, ("train_loss", "stability"), ("training loss", "unstable above 1"), strict=True
        )
    ),
    notes=(NOTE,),
)


def distance(what: str, side: int) -> Part:
    """Returns the part: on one side the product is near the bound where the loss turns."""
    return Part(
        f"{what}: LR x sharpness is {'more than half of' if side > 0 else 'less than twice'} 2 (1 + momentum) there",
        within(FIGURE, TASKS[what][2][1]),
        mean_over_runs(stability_at_turn, side),
        -1.0,
        "log2 of the ratio, mean over three momenta",
    )


CLAIMS = (
    Claim(
        "E2",
        "The training loss of a range test turns where the learning rate times the sharpness crosses 2 (1 + momentum).",
        "Our own question",
        ("sharpnessa", "sharpnessb", "sharpnessc", "sharpnessd"),
        tuple(distance(what, side) for what in TASKS for side in (1, -1)),
        "Within a factor of two on either side, at the least training loss, both read over a tenth of the tests. The "
        "sharpness is of some 256 training images, the gradient of batches, whose noise lets training fail earlier.",
    ),
)

if __name__ == "__main__":
    run_experiment(FIGURE)
