"""The `smith` command: lists, trains, draws and reports the experiments; `smith COMMAND --help` says more."""

import os
import sys
from collections.abc import Sequence

import tyro

from smith import __version__, commands, experiments, tuning, upkeep
from smith.commands import Halted
from smith.errors import UserError
from smith.figure import Figure, Table
from smith.train import stopping

COMMANDS = {
    "list": commands.List,
    "run": commands.Run,
    "draw": commands.Draw,
    "report": commands.Report,
    "fidelity": commands.Fidelity,
    "calibrate": commands.Calibrate,
    "status": upkeep.Status,
    "verify": upkeep.Verify,
    "pack": upkeep.Pack,
    "data": upkeep.Data,
    "prepare": upkeep.Prepare,
    "range-test": tuning.RangeTest,
    "tune": tuning.Tune,
}


def run_experiment(shows: Figure | Table) -> None:
    """Runs and draws an experiment with the options of `smith run`: the last line of its file, wherever that is."""
    main(["run", str(experiments.running(shows, sys.modules["__main__"])), *sys.argv[1:]])


def main(args: Sequence[str] | None = None) -> None:
    """The `smith` command.

    Exits with 2 on bad input, 1 where the disk is full or so, 130 on Ctrl-C and 143 on SIGTERM, with one line each.
    """
    args = sys.argv[1:] if args is None else list(args)
    if args == ["--version"]:
        return print(f"smith {__version__}")
    try:
        with stopping.signals():
            command = tyro.extras.subcommand_cli_from_dict(COMMANDS, prog="smith", description=__doc__, args=args)
            command()
    except UserError as error:
        sys.exit(_say(f"{error}", 2))
    except Halted as error:
        sys.exit(_say(f"{error}", 1))
    except BrokenPipeError:  # the reader of our output has gone; whatever is still to be flushed goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        sys.exit(_say(f"{where}{error.strerror or error}; finished results are kept", 1))


def _say(message: str, code: int) -> int:
    print(f"smith: {message}", file=sys.stderr)
    return code
