"""How fast the learning rate may grow: the same LR range test at several lengths (shallow3, CIFAR-10). Our own.

The paper says that there is a largest speed at which the learning rate can grow without training becoming unstable, but
shows no figure of it. If there is, a longer test over the same rates diverges at a larger rate.

Run:     smith run speed
Cost:    mini 30 s a seed on 2 CPU cores
Expect:  no published curve; in figure 7a, whose settings these are, the run of 10,000 iterations diverges at LR 0.0135
Assumed: everything; the settings are figure 7a's with momentum 0.9, the rates twice as far
"""

from experiments.bases import SHALLOW3
from smith import Figure, Panel, RangeTest, iterations, sweep
from smith.cli import run_experiment

BASE = SHALLOW3.replace(batch_size=548, lr=RangeTest(0.002, 0.04), weight_decay=4e-3)
LENGTHS = {f"{n:,}": iterations(n) for n in (2_500, 10_000, 20_000)}
TESTS = [length * 0.01 for length in LENGTHS.values()]
RUNS = sweep(BASE, "{} iterations", length=LENGTHS, test_every=TESTS)

FIGURE = Figure(
    "speed",
    "LR range tests of several lengths",
    panels=(Panel("a", RUNS, x="learning_rate", ylim=(0.7, 2.4)),),
    notes=(
        "Not in the paper, whose text alone says that the rate must not grow too fast; all settings are assumptions.",
    ),
)

if __name__ == "__main__":
    run_experiment(FIGURE)
