"""Table 1: constant and cyclical momentum, with a constant and with a cyclical learning rate (CIFAR-10).

The paper: falling cyclical momentum (0.95 to 0.85) equals or beats the best constant one where the rate is cyclical
(Remark 5).

Run:     smith run table1 --scale quick
Cost:    quick 80 s on 2 CPU cores
Expect:  published 81.3 % for shallow3 and 92.0 % for resnet-56 with cyclical rate and falling momentum
Assumed: a constant rate of 0.005 for shallow3: the paper prints 0.0005, which is the lower end of its cyclical rate.
"""

from smith.cli import run_experiment
from smith.figure import Row, Table
from smith.run import Run, epochs
from smith.schedules import CyclicalMomentum, OneCycle

SHALLOW = Run(
    data="cifar10",
    network="shallow3",
    batch_size=128,
    length=epochs(25),
    lr=OneCycle(0.0005, 0.005, step_size=epochs(11)),
    weight_decay=3e-3,
)
DEEP = Run(
    data="cifar10",
    network="resnet-56",
    batch_size=512,
    ghost_batch_size=128,
    mirror=True,
    length=epochs(95),
    lr=OneCycle(0.08, 0.8, step_size=epochs(41)),
    weight_decay=1e-4,
)
COLUMNS = {  # (network, learning rate): run, step size of the momentum
    ("shallow3", "0.0005-0.005"): (SHALLOW, epochs(11)),
    ("shallow3", "0.005"): (SHALLOW.replace(lr=0.005), epochs(11)),
    ("resnet-56", "0.08-0.8"): (DEEP, epochs(41)),
    ("resnet-56", "0.1"): (DEEP.replace(lr=0.1), epochs(41)),
}
PUBLISHED = {  # momentum: mean and standard deviation over 4 runs, in %, in the order of COLUMNS
    "CM 0.95-0.85": ((81.3, 0.1), (80.8, 0.3), (92.0, 0.2), (89.1, 0.3)),
    "CM 0.90-1.00": ((80.2, 0.1), (80.9, 0.3), (91.4, 0.1), (88.1, 0.5)),
    "0.85": ((79.5, 0.1), (80.2, 0.3), (90.8, 0.3), (87.8, 0.3)),
    "0.90": ((80.2, 0.4), (81.0, 0.2), (91.4, 0.3), (88.1, 0.1)),
    "0.95": ((81.2, 0.2), (81.0, 0.1), (92.1, 0.1), (88.8, 0.3)),
}
MOMENTA = {
    "CM 0.95-0.85": {"high": 0.95, "low": 0.85},
    "CM 0.90-1.00": {"high": 1.0, "low": 0.9, "rising": True},
}

TABLE = Table(
    "table1",
    "Momentum: final test accuracy on CIFAR-10",
    columns=("Network", "LR", "Momentum"),
    rows=tuple(
        Row(
            (*column, momentum),
            run.replace(
                momentum=CyclicalMomentum(**MOMENTA[momentum], step_size=step_size)
                if momentum in MOMENTA
                else float(momentum)
            ),
            *published[number],
        )
        for number, (column, (run, step_size)) in enumerate(COLUMNS.items())
        for momentum, published in PUBLISHED.items()
    ),
    notes=("The constant LR of 0.005 of shallow3 is an assumption.",),
)

if __name__ == "__main__":
    run_experiment(TABLE)
