"""The `smith` command: lists, trains, draws and reports the experiments; `smith COMMAND --help` says more."""

import dataclasses
import itertools
import os
import sys
from collections.abc import Callable, Sequence

import tyro

from smith import __version__, experiments
from smith.commands import COMMANDS
from smith.commands.options import Halted, spelled
from smith.errors import UserError, unknown
from smith.figure import Figure, Table
from smith.train import stopping


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
            parsed(args)()
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
    except Exception as error:
        if line := experiments.told(error):
            sys.exit(_say(line, 2))
        raise


def parsed(args: Sequence[str]) -> Callable[[], None]:
    """Returns the command with its options. Raises UserError for one that there is not, or that lacks its value."""
    if not args:
        raise UserError(f"name a command: {', '.join(COMMANDS)}; smith --help says what they do")
    if args[0] in ("-h", "--help"):
        return tyro.extras.subcommand_cli_from_dict(COMMANDS, prog="smith", description=__doc__, args=args)
    if args[0] not in COMMANDS:
        raise unknown("command", args[0], COMMANDS)
    name, kind = args[0], COMMANDS[args[0]]
    named = dataclasses.fields(kind)
    fields = [field for field in named if tyro.conf.Positional not in getattr(field.type, "__metadata__", ())]
    flags = {field.name for field in fields if isinstance(field.default, bool)}
    options = [spelled(field.name) for field in fields if field.name not in flags]
    known = [*options, *(spelled(prefix + flag) for flag in flags for prefix in ("", "no_"))]
    for word, following in itertools.pairwise([*args, "--"]):
        if word in options and following.startswith("--"):
            raise UserError(f"{word} needs a value; smith {name} --help says which")
        if word.startswith("--") and word.partition("=")[0].replace("_", "-") not in ("--", "--help", *known):
            raise unknown(f"option of smith {name}", word, known)  # before its value is taken for a file
    command, left = tyro.cli(kind, prog=f"smith {name}", args=args[1:], return_unknown_args=True)
    if left:
        raise unknown(f"option of smith {name}", left[0], known)
    return command


def _say(message: str, code: int) -> int:
    print(f"smith: {message}", file=sys.stderr)
    return code
