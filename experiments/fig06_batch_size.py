"""Figure 6: total batch sizes at about the same computation, each with its 1cycle policy (resnet-56, CIFAR-10).

The paper: larger batches allow larger rates and end at a higher accuracy (a), with a lower test loss early and a higher
one at the end (b) (Remark 4).

Run:     smith run fig06 --scale quick
Cost:    quick 15 s on 2 CPU cores
Expect:  published accuracies at the end 0.919 (TBS=1024), 0.918 (512), 0.917 (256), 0.913 (128)
"""

from smith.cli import run_experiment
from smith.figure import Figure, Panel, Published
from smith.run import Run, epochs
from smith.schedules import OneCycle

BASE = Run(
    data="cifar10",
    network="resnet-56",
    batch_size=512,
    ghost_batch_size=128,
    mirror=True,
    length=epochs(95),
    lr=OneCycle(0.08, 0.8, step_size=epochs(41)),
    momentum=0.95,
    weight_decay=1e-4,
)
RUNS = {
    "TBS=1024; CLR=0.1-1": BASE.replace(
        batch_size=1024, ghost_batch_size=256, length=epochs(120), lr=OneCycle(0.1, 1.0, step_size=epochs(51))
    ),
    "TBS=512; CLR=0.08-0.8": BASE,
    "TBS=256; CLR=0.06-0.6": BASE.replace(
        batch_size=256, ghost_batch_size=64, length=epochs(70), lr=OneCycle(0.06, 0.6, step_size=epochs(31))
    ),
    "TBS=128; CLR=0.04-0.4": BASE.replace(
        batch_size=128, ghost_batch_size=32, length=epochs(48), lr=OneCycle(0.04, 0.4, step_size=epochs(21))
    ),
}
TITLE = "CIFAR-10, resnet-56; 1cycle, Mom=0.95, WD=1e-4"

FIGURE = Figure(
    "fig06",
    "Total batch size with 1cycle policies",
    panels=(
        Panel(
            "a",
            TITLE,
            RUNS,
            y="test_accuracy",
            xlim=(0, 18_750),
            ylim=(0.5, 0.93),
            published=Published("fig06a", shift=200),
        ),
        Panel("b", TITLE, RUNS, log=True, xlim=(0, 18_750), ylim=(0.3, 1.03), published=Published("fig06b", shift=200)),
    ),
)

if __name__ == "__main__":
    run_experiment(FIGURE)
