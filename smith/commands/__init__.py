"""The commands of `smith`, by name: a dataclass for each, whose fields are its options and whose call does it.

options.py       the options that several have, and how their values are read
experiments.py   list run draw report fidelity calibrate
submit.py        submit: workers under Slurm, on Ray or on this machine
upkeep.py        status verify pack data prepare
tasks.py         range-test tune: a network of one's own
"""

from typing import Any

from smith.commands import experiments, submit, tasks, upkeep

COMMANDS: dict[str, Any] = {
    "list": experiments.List,
    "run": experiments.Run,
    "draw": experiments.Draw,
    "report": experiments.Report,
    "fidelity": experiments.Fidelity,
    "calibrate": experiments.Calibrate,
    "submit": submit.Submit,
    "status": upkeep.Status,
    "verify": upkeep.Verify,
    "pack": upkeep.Pack,
    "data": upkeep.Data,
    "prepare": upkeep.Prepare,
    "range-test": tasks.RangeTest,
    "tune": tasks.Tune,
}
