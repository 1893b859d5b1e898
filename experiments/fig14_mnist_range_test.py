"""Figure 14: LR range tests on MNIST, with constant and cyclical momentum and four weight decays (LeNet).

The paper: falling cyclical momentum gives a lower test loss, and over a wider range of learning rates, than the best
constant momentum (a); weight decays separate in one short run (b).

Run:     smith run fig14
Cost:    mini 30 s a seed on 2 CPU cores; paper about 25 min a curve and seed on one core
Expect:  published minima in b: 0.032 (WD=1e-3), 0.036 (5e-4), 0.041 (3e-3), 0.043 (1e-4)
Assumed: that the falling momentum gets to 0.8, as the legends say. In other logs of the author it falls ten times too
         slowly, which here would leave it at 0.935. With 0.8 no run diverges, where all published curves of b do;
         with 0.935 WD=1e-4 diverges where the published one ends. In a the published advantage over 0.9, 8 %, lies
         between ours with 0.8 and with 0.935. Not decided (docs/results.md)
Note:    with the rates that the paper's panel a prints (0.001-0.02) LeNet never diverges, and its early loss is three
         times the published one. The true ones are ten times as large. Shuffled, losses at large rates are a tenth
         lower than published; with --recipe author, whose images have one order, that of 0.9 lies on the paper's
"""

from experiments.bases import LENET, cyclical
from smith import Figure, Panel, RangeTest, epochs, iterations, sweep
from smith.cli import run_experiment

FALLING = cyclical(0.95, 0.8)
BASE = LENET.replace(length=epochs(50), lr=RangeTest(0.01, 0.2), test_every=iterations(100))
A = {"Momentum=0.9": BASE, "Momentum=0.95 - 0.8": BASE.replace(momentum=FALLING)}
B = sweep(BASE.replace(lr=RangeTest(0.01, 0.4), momentum=FALLING), "WD={}", weight_decay=(1e-4, 5e-4, 1e-3, 3e-3))

FIGURE = Figure(
    "fig14",
    "MNIST: momentum and weight decay in LR range tests",
    panels=(
        Panel("a", A, x="learning_rate", ylim=(0.028, 0.18), x_factor=10),
        Panel("b", B, x="learning_rate", ylim=(0.03, 0.125), xlim=(0.01, 0.31)),  # the paper shows no larger rates
    ),
    assumed={"momentum.low": (0.8, 0.935, 0.95)},
    notes=("The paper's axis in a prints a tenth of the learning rate; here it is the true one.",),
)

if __name__ == "__main__":
    run_experiment(FIGURE)
