"""Figure 15: weight decay and batch size on CIFAR-100 (resnet-56).

The paper: the weight decays of CIFAR-10 do here too (a), and so do 1cycle policies, whatever the batch size (b).

Run:     smith run fig15
Cost:    mini 25 s a seed on 2 CPU cores
Expect:  published: losses of at least 1.80 (1e-4), 1.81 (1e-5), 1.83 (3e-4) in a; accuracies at the end of b 0.689
         (TBS=256), 0.690 (512), 0.681 (1024)
Note:    in b the author's logs test every 100 iterations, and his plot counts 200.
"""

from experiments.bases import cyclical, one_cycle, resnet56
from smith import Figure, Panel, RangeTest, epochs, iterations, sweep
from smith.cli import run_experiment

RANGE = resnet56(512, "cifar100").replace(length=epochs(50), lr=RangeTest(0.1, 1.0), momentum=cyclical(0.95, 0.85))
POLICIES = {  # batch size, learning rates, step size and length in epochs
    "TBS=256, CLR=0.05-.5": (256, 0.05, 0.5, 41, 85),
    "TBS=512, CLR=0.09-.9": (512, 0.09, 0.9, 45, 100),
    "TBS=1024, CLR=0.1-1.2": (1024, 0.1, 1.2, 70, 145),
}
A = sweep(RANGE, "WD={}", weight_decay=(1e-4, 1e-5, 3e-4))
B = {
    name: one_cycle(
        resnet56(batch, "cifar100").replace(length=epochs(length), test_every=iterations(100)),
        low,
        peak,
        epochs(step),
        momentum=(0.95, 0.85),
    )
    for name, (batch, low, peak, step, length) in POLICIES.items()
}

FIGURE = Figure(
    "fig15",
    "CIFAR-100: weight decay and batch size",
    panels=(
        Panel("a", A, x="learning_rate", ylim=(1.75, 2.75)),
        Panel("b", B, y="test_accuracy", ylim=(0.15, 0.7), x_factor=0.5),
    ),
    notes=("The paper's axis in b counts every iteration twice; here it is the true one.",),
    first_test_drawn_at_0=True,
)

if __name__ == "__main__":
    run_experiment(FIGURE)
