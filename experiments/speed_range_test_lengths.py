"""How fast the learning rate may grow: the same LR range test at several lengths (shallow3, CIFAR-10). Our own.

The paper says that there is a largest speed at which the learning rate can grow without training becoming unstable, but
shows no figure of it. If there is, a longer test over the same rates diverges at a larger rate.

Run:     smith run speed --scale quick
Cost:    quick 25 s on 2 CPU cores
Expect:  no published curve; in figure 7a, whose settings these are, the run of 10,000 iterations diverges at LR 0.0135
Assumed: everything; the settings are figure 7a's with momentum 0.9, the rates twice as far.
"""

from smith.cli import run_experiment
from smith.figure import Figure, Panel
from smith.run import Run, iterations
from smith.schedules import RangeTest

BASE = Run(
    data="cifar10",
    network="shallow3",
    batch_size=548,
    length=iterations(10_000),
    lr=RangeTest(0.002, 0.04),
    momentum=0.9,
    weight_decay=4e-3,
)
LENGTHS = (2_500, 10_000, 20_000)

FIGURE = Figure(
    "speed",
    "LR range tests of several lengths",
    panels=(
        Panel(
            "a",
            "CIFAR-10, shallow3; Mom=0.9, TBS=548, WD=4e-3",
            {f"{n:,} iterations": BASE.replace(length=iterations(n), test_every=iterations(n // 100)) for n in LENGTHS},
            x="learning_rate",
            log=True,
            xlim=(0.002, 0.04),
            ylim=(0.7, 2.4),
        ),
    ),
    notes=(
        "Not in the paper, whose text alone says that the rate must not grow too fast; all settings are assumptions.",
    ),
)

if __name__ == "__main__":
    run_experiment(FIGURE)
