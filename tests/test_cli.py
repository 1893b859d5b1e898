"""The `smith` command: what it prints, and how it ends."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from small import flip, write_result

import smith
from smith import cli, experiments
from smith.errors import UserError
from smith.lengths import duration, seconds
from smith.scales import SCALES
from smith.store import Store
from smith.train import jobs, workers
from smith.train.jobs import Summary

pytestmark = pytest.mark.usefixtures("elsewhere")  # in a folder of its own
ALL = [found.name for found in experiments.find(["all"])]


def call(*args: object) -> None:
    cli.main([str(arg) for arg in args])


def write_results(root: Path, name: str, scale: str = "smoke") -> list[Path]:
    """Writes a made-up result for every run of an experiment."""
    store, (found,) = Store(root, SCALES[scale]), experiments.find([name])
    return [write_result(store, run, seconds="2.0", compile_seconds="1.0") for run in found.shows.runs()]


# --- mistakes ---

READ_RESULTS = ("status", "verify", "pack", "report", "draw fig14", "fidelity fig14")


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ("run fig77", "unknown experiment 'fig77': did you mean 'fig07'?"),
        ("draw fig9", "did you mean 'fig09'?"),
        ("run fig14 fig99", "unknown experiment 'fig99'"),
        ("run", "name experiments, paths of files, or all, paper, beyond: fig01 "),
        ("run fig14 --seeds -2", "--seeds -2: give a whole number from 0 to 1,000"),
        ("run all --seeds 1000000", "--seeds 1000000: give a whole number from 0 to 1,000"),
        ("calibrate fig09 --seeds abc", "--seeds abc: give a whole number"),
        ("list --seeds 1.5", "--seeds 1.5: give a whole number"),
        (f"list --seeds {'9' * 5000}", ": give a whole number"),
        ("list --seeds 5 --recipe author", "has 4 runs"),
        ("run fig14 --budget 8x", "--budget 8x: give a time such as 90s, 8m or 1.5h"),
        ("run fig14 --checkpoint-every 2", "--checkpoint-every 2: give a time"),
        ("run fig14 --workers -1", "--workers -1: give a whole number from 0 to "),
        ("run fig14 --workers 100000", "--workers 100000: give a whole number from 0 to "),
        ("run fig14 --workers 2 --force", "--force trains one run at a time"),
        ("run fig14 --workers 2 --devices all", "--devices trains one run at a time"),
        ("submit fig14 --gpus x", "--gpus x: give a number from 0 to 1,000"),
        ("submit fig14 --gpus 0.5", "--gpus 0.5: give a whole number from 0; with --engine ray also a part of one"),
        ("submit fig14 --engine slum", "unknown --engine 'slum': did you mean 'slurm'?"),
        ("submit fig14 --time 1m", "--time 1m: give at least 5m"),
        ("run fig14 --devices some", "--devices some: give all, or a whole number from 1 to 64"),
        ("run fig14 --cluster here", "--cluster here: give auto, or such as 0/2@HOST:1234"),
        ("", "name a command: list, run, draw, report, fidelity, calibrate, submit, status,"),
        ("runn fig14", "unknown command 'runn': did you mean 'run'?"),
        ("run fig14 --scale papper", "unknown --scale 'papper': did you mean 'paper'?"),
        ("run fig14 --seed 3", "unknown option of smith run '--seed': did you mean '--seeds'?"),
        ("run fig14 --no-drawing", "did you mean '--no-draw'?"),
        ("run fig14 --data-dir", "--data-dir needs a value; smith run --help says which"),
        ("list --seeds --scale mini", "--seeds needs a value; smith list --help says which"),
        ("draw fig14 --recipe autor", "unknown --recipe 'autor': did you mean 'author'?"),
        ("run fig14 --on-divergence halt", "known: record, stop"),
        ("data --colour red", "unknown option of smith data '--colour': known: --data-dir"),
        ("run fig14 --names x", "unknown option of smith run '--names': did you mean '--workers'?"),
        ("prepare imagenet", "smith prepare imagenet FOLDER"),
        *(
            (f"prepare imagenet x --jpeg {n}", f"--jpeg {n}: give a whole number from 1 to 95")
            for n in ("0", "101", "x")
        ),
        ("prepare --jpg 3 imagenet x", "unknown option of smith prepare '--jpg': did you mean '--jpeg'?"),
        ("tune", "name a Python file with TASK = Task(...)"),
        ("calibrate fig09 --scale mini", "scale mini trains other runs than the paper's: calibrate at scale paper"),
        ("calibrate fig05", "fig05 has no assumed settings to calibrate; these have: fig01 "),
        ("fidelity table1", "name a figure"),
        ("fidelity variants", "variants: no published curves; name a figure"),
        ("data mnist cifar1O", "unknown dataset 'cifar1O': did you mean 'cifar10'?"),
        *((f"{name} --results-dir nowhere", " is not there") for name in READ_RESULTS),
    ],
)
def test_a_mistake_is_told_in_one_line(args, words, refused):
    assert words in refused(2, *args.split())


def test_folders_that_can_not_be_written(refused, tmp_path):
    (tmp_path / "file").touch()
    line = refused(1, "run", "fig14", "--scale", "smoke", "--figures-dir", tmp_path / "file")
    assert str(tmp_path / "file") in line and "--figures-dir" in line
    write_results(tmp_path, "fig14")
    folders = ("--results-dir", tmp_path, "--figures-dir", tmp_path / "file")
    assert str(tmp_path / "file") in refused(1, "draw", "fig14", "--scale", "smoke", *folders)


@pytest.mark.parametrize(
    ("act", "status", "words"),
    [
        (lambda: signal.raise_signal(signal.SIGINT), 130, "the same command goes on from here"),
        (lambda: signal.raise_signal(signal.SIGTERM), 143, "the same command goes on from here"),
        (lambda: os.mkdir("/dev/null/x"), 1, "/dev/null/x: Not a directory; finished results are kept"),
    ],
)
def test_a_signal_or_a_full_disk_ends_the_command_with_one_line(act, status, words, refused, monkeypatch):
    monkeypatch.setattr(jobs, "execute", lambda *_, **__: act())
    line = refused(status, "run", "fig14", "--workers", "1")
    assert words in line
    anew = line.replace("the same command goes on from here", "with --force the same command begins again")
    assert refused(status, "run", "fig14", "--force") == anew


def test_a_reader_that_has_seen_enough_is_no_error(tmp_path):
    command, pipe = [sys.executable, "-m", "smith", "list"], subprocess.PIPE
    environment = os.environ | {"PYTHONPATH": str(Path(cli.__file__).parents[1])}
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=pipe, stderr=pipe) as process:
        process.stdout.close()
        assert process.stderr.read() == b""


# --- run ---


@pytest.fixture
def execute(monkeypatch):
    """Puts something in the place of training. Returns what it is called with."""
    told = []

    def replace(summary: Summary) -> list:
        monkeypatch.setattr(jobs, "execute", lambda planned, store, *_, **more: told.append((planned, more)) or summary)
        return told

    return replace


def test_run_plans_trains_and_draws(execute, capsys, tmp_path):
    told = execute(Summary(trained=5, diverged=1, found=1))
    write_results(tmp_path / "results", "fig14")
    call("run", "fig14", "--scale", "smoke", "--seeds", "2", "--budget", "8m", "--checkpoint-every", "30s")
    ((planned, more),) = told
    assert len(planned) == 2 * 6 and {job.seed for job in planned} == {0, 1}
    assert more == {
        "budget": 480,
        "checkpoint_every": 30,
        "force": False,
        "stop_on_divergence": False,
        "device_count": 1,
    }
    first, second = capsys.readouterr().out.splitlines()
    assert first == "5 runs trained, 1 diverged; 1 were there; 0 left"
    assert second.startswith("fig14: drawn/smoke/fig14.png (6 runs, 1 seed")
    assert (tmp_path / "drawn" / "smoke" / "fig14.svg").exists()


def test_run_says_what_is_left_and_what_has_no_data(execute, capsys):
    execute(Summary(trained=1, left=2, begun=1, missing={"cifar10": ("no network", 3)}))
    call("run", "fig14", "--no-draw", "--workers", "1")
    assert capsys.readouterr().out.splitlines() == [
        "1 run trained, 0 diverged; 0 were there; 2 left (1 begun)",
        "cifar10: 3 runs not trained: no network",
        "the budget is used up; the same command goes on from here",
    ]
    call("run", "fig14", "--no-draw", "--force")
    assert capsys.readouterr().out.endswith("the budget is used up; with --force the same command begins again\n")


def test_a_divergence_that_is_to_stop_everything_ends_with_status_1(execute, refused):
    told = execute(Summary(trained=1, diverged=1, left=2, halted="it"))
    line = refused(1, "run", "fig14", "--on-divergence", "stop", printed=True)
    assert "it diverged, and --on-divergence is stop" in line
    assert told[0][1]["stop_on_divergence"]


def test_pack_says_where_the_results_are_now(tmp_path, capsys, refused):
    write_results(tmp_path / "results", "fig14")
    call("pack", "--scale", "smoke")
    assert capsys.readouterr().out.startswith("results/smoke: 6 results in packs, 0.0 MB")
    assert [path.name for path in (tmp_path / "results" / "smoke").glob("*.parquet")] == ["fig14.parquet"]
    assert "results/paper is not there" in refused(2, "pack", "--scale", "paper")


@pytest.fixture
def undrawn(monkeypatch):
    """Nothing is painted, which takes seconds."""
    monkeypatch.setattr("smith.figures.plot.save", lambda *_, **__: None)


def test_several_experiments_without_results_are_named_in_one_line(undrawn, tmp_path, capsys):
    write_results(tmp_path / "results", "fig14")
    call("draw", "fig14", "fig09", "table1", "--scale", "smoke")
    drawn, absent = capsys.readouterr().out.splitlines()
    assert drawn.startswith("fig14: ") and absent == (
        "no results at scale smoke: fig09 table1; smith run NAME --scale smoke"
    )


def test_workers_are_the_same_command_without_the_drawing(monkeypatch, capsys):
    told = []
    monkeypatch.setattr(workers, "execute", lambda count, arguments: told.append((count, arguments)) or 0)
    call("run", "fig14", "--workers", "3", "--scale", "mini", "--seeds", "2", "--budget", "1h")
    ((count, arguments),) = told
    assert count == 3 and arguments[:3] == ["run", "fig14", "--no-draw"]
    options = dict(zip(arguments[3::2], arguments[4::2], strict=True))
    given = {"--workers": "1", "--scale": "mini", "--seeds": "2", "--budget": "1h", "--recipe": "seeds"}
    assert given.items() <= options.items()
    assert capsys.readouterr().out.startswith("fig14: no results at scale mini")
    monkeypatch.setattr(workers, "execute", lambda *_: 143)
    with pytest.raises(SystemExit, match="143"):
        call("run", "fig14", "--workers", "2")


# --- list, draw, status, verify, the rest ---


def test_list_counts_what_is_done_and_says_how_long_the_rest_takes(capsys, tmp_path):
    write_results(tmp_path, "fig09")
    call("list", "--scale", "smoke", "--seeds", "2", "--results-dir", tmp_path)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    listed = {words[0]: words for words in lines if words and words[0] in (*ALL, "all")}
    assert list(listed) == [*ALL, "all"]
    assert listed["fig09"][-3] == "4/8" and listed["fig09"][-1] == "s"
    assert listed["fig14"][-3:] == ["0/12", "not", "known"]


def test_list_says_what_the_papers_scale_needs_of_a_gpu_and_that_this_is_a_guess(capsys, tmp_path):
    call("list", "fig14", "--scale", "paper", "--results-dir", tmp_path)
    shown = capsys.readouterr().out
    assert "0/24 " in shown and " ~" in shown and "which is a guess" in " ".join(shown.split())
    write_results(tmp_path, "fig14", "paper")
    call("list", "fig14", "--scale", "paper", "--results-dir", tmp_path)
    assert "~" not in capsys.readouterr().out


def test_draw_without_results_says_how_to_get_them(capsys, tmp_path):
    write_results(tmp_path / "results", "fig14")
    for recipe, name in (("seeds", "table1"), ("author", "fig14")):
        call("draw", name, "--scale", "smoke", "--recipe", recipe)
        words = " --recipe author" * (recipe == "author")
        told = f"{name}: no results at scale smoke; smith run {name} --scale smoke{words}\n"
        assert capsys.readouterr().out == told
    assert [path.name for path in tmp_path.iterdir()] == ["results"]


@pytest.mark.parametrize("command", ["draw", "list", "fidelity"])
def test_what_is_damaged_is_told_whatever_reads_the_results(command, undrawn, capsys, tmp_path):
    damaged, *_ = write_results(tmp_path, "fig14")
    damaged.write_bytes(damaged.read_bytes()[:-1])
    drawn = [] if command == "list" else ["--figures-dir", tmp_path]
    call(command, *"fig14 --scale smoke --results-dir".split(), tmp_path, *drawn)
    assert f"damaged, left out: {damaged}" in capsys.readouterr().err


def test_verify_tells_what_is_damaged_and_what_has_a_wrong_name(capsys, tmp_path):
    damaged, renamed, *others = write_results(tmp_path, "fig14")
    call("verify", "--results-dir", tmp_path)
    assert capsys.readouterr().out == "6 as they were written, 0 not\n"
    flip(damaged, 1000)
    renamed.rename(renamed.with_name(renamed.name.replace("seed0", "seed1")))
    with pytest.raises(SystemExit) as stop:
        call("verify", "--results-dir", tmp_path)
    out, err = capsys.readouterr()
    assert stop.value.code == 1 and out.startswith(f"{len(others)} as they were written, 2 not\n")
    assert f"damaged: {damaged}: sha256 differs" in out and "seed1.parquet: the file holds another run" in out


def test_an_experiment_runs_as_a_program(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["fig14.py", "--scale", "smoke", "--budget", "0s"])
    main = type(sys)("__main__")
    main.__file__ = str(next(found.path for found in experiments.find(["fig14"])))
    monkeypatch.setitem(sys.modules, "__main__", main)
    monkeypatch.setattr(experiments, "_running", {})
    cli.run_experiment(experiments.find(["fig14"])[0].shows)
    assert "6 left" in capsys.readouterr().out


def test_the_version_and_help(capsys):
    call("--version")
    assert capsys.readouterr().out == f"smith {smith.__version__}\n"
    for command in ("", *cli.COMMANDS):
        with pytest.raises(SystemExit, match="0"):
            call(*command.split(), "--help")
        said = capsys.readouterr().out
        assert "usage: smith" in said and "(default: )" not in said


def test_names_for_people_that_import_jax_are_fetched_when_they_are_asked_for():
    assert smith.caffe_sgd.__module__ == smith.solver.__module__ == "smith.train.optim"
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        smith.nothing  # noqa: B018


def test_times():
    given = {"90s": 90, "8m": 480, "1.5h": 5400, " 2m ": 120, "0s": 0}
    assert {text: seconds(text, "--budget") for text in given} == given
    for text in ("", "8", "8x", "m", "-1m", "1h30m", "1,5h", "8 m", "8M", "1e3s"):
        with pytest.raises(UserError, match="--budget .*give a time such as"):
            seconds(text, "--budget")
    told = ", ".join(duration(t) for t in (0, 45.4, 89, 480, 5399, 5400, 90_000))
    assert told == "0 s, 45 s, 89 s, 8 min, 90 min, 1.5 h, 25.0 h"
