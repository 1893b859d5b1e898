"""The `smith` command: what it prints, how it ends, and the whole of it at the smoke scale."""

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tfds_server

from smith import cli, scales
from smith.data import arrays, cache_file
from smith.errors import UserError
from smith.store import results
from smith.store.results import COLUMNS
from smith.train import jobs as engine

ROOT = Path(cli.__file__).resolve().parent.parent
FIGURES = list(cli.modules())
ALL = engine.plan([run for figure in cli.experiments(["all"]) for run in figure.runs()], scales.named("smoke"), seeds=1)


def environment(cache: Path) -> dict[str, str]:
    """Returns the environment of a `smith` whose compiled programs are kept in `cache`."""
    kept = {name: value for name, value in os.environ.items() if name != "JAX_COMPILATION_CACHE_DIR"}
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return kept | {"XDG_CACHE_HOME": str(cache), "PYTHONPATH": path, "JAX_PLATFORMS": "cpu"}


def python(*args, cwd: Path, cache: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *map(str, args)]
    return subprocess.run(command, cwd=cwd, env=environment(cache or cwd), capture_output=True, text=True, timeout=600)


@pytest.fixture(autouse=True)
def jax_left_alone(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path / "xla"))


@pytest.fixture
def refused(capsys):
    """Calls the command with arguments that are a mistake; returns its one line."""

    def call(*args, status: int = 2) -> str:
        with pytest.raises(SystemExit) as stop:
            cli.main([str(arg) for arg in args])
        assert stop.value.code == status
        out, err = capsys.readouterr()
        assert out == "" and err.startswith("smith: ") and err.count("\n") == 1 and err.endswith("\n"), err
        return err

    return call


@pytest.fixture
def refused_late(capsys):
    """Calls the command with a mistake that shows after it said how much there is to train; returns its last line."""

    def call(*args) -> str:
        with pytest.raises(SystemExit) as stop:
            cli.main([str(arg) for arg in args])
        assert stop.value.code == 2
        lines = capsys.readouterr().err.splitlines()
        assert [line for line in lines if line.startswith("smith: ")] == lines[-1:]
        assert "Traceback" not in " ".join(lines) and len(lines) <= 3, lines
        return lines[-1]

    return call


def write_results(folder: Path, figure: str, scale: str = "smoke") -> list[Path]:
    """Writes a made-up result for every run of a figure."""
    (folder / scale).mkdir(parents=True, exist_ok=True)
    (chosen,) = cli.experiments([figure])
    rows = [dict.fromkeys(COLUMNS, 0.5) | {"iteration": i} for i in (3, 6)]
    runs = [scales.named(scale).apply(run) for run in chosen.runs()]
    return [results.write(folder / scale, run, 0, "done", rows, {}) for run in runs]


# --- mistakes: one line and status 2 ---

MISTAKES = {
    "an unknown figure": ("run fig77", "unknown experiment 'fig77': did you mean 'fig07'?"),
    "a figure without its zero": ("draw fig9", "did you mean 'fig09'?"),
    "a table like no other": ("run table3", "did you mean 'table"),
    "a figure like no other": ("run momentum", "known: all, fig01"),
    "one of several figures": ("run fig14 fig99", "unknown experiment 'fig99'"),
    "no figure": ("run", "name a figure"),
    "an unknown scale": ("run fig14 --scale papper", "unknown scale 'papper': did you mean 'paper'?"),
    "an unknown scale to draw": ("draw fig14 --scale x", "known: paper, quick, short, smoke"),
    "an unknown scale to list": ("list --scale long", "unknown scale 'long'"),
    "an unknown option": ("run fig14 --colour red", "--colour"),
    "a misspelt option": ("run fig14 --seed 3", "--seed"),
    "no seeds": ("run fig14 --seeds 0", "--seeds 0: give a number of at least 1"),
    "no seeds to list": ("list --seeds 0", "--seeds 0"),
    "fewer than no seeds": ("run fig14 --seeds -2", "--seeds -2"),
    "seeds of letters": ("run fig14 --seeds abc", "abc"),
    "half a seed": ("run fig14 --seeds 1.5", "1.5"),
    "a budget in another unit": ("run fig14 --budget 8x", "--budget 8x: give a time such as 90s, 8m or 1.5h"),
    "a budget without a unit": ("run fig14 --budget 8", "--budget 8: give a time"),
    "a negative budget": ("run fig14 --budget -8m", "--budget"),
    "checkpoints without a unit": ("run fig14 --checkpoint-every 2", "--checkpoint-every 2: give a time"),
    "an unknown answer to divergence": ("run fig14 --on-divergence halt", "'halt': known: record, stop"),
    "an option without its value": ("run fig14 --data-dir", "--data-dir"),
    "an unknown command": ("runn fig14", "unknown command 'runn': did you mean 'run'?"),
    "no command": ("", "list, run, draw, report, fidelity, calibrate, status, verify, data"),
    "a figure for status": ("status fig14", "fig14"),
    "an unknown dataset": ("data mnist cifar1O", "unknown dataset 'cifar1O': did you mean 'cifar10'?"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_in_one_line(mistake, refused):
    args, reason = MISTAKES[mistake]
    assert reason in refused(*args.split())


def test_a_mistake_ends_the_real_command_with_status_2(tmp_path):
    done = python("-m", "smith", "run", "fig77", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "smith: unknown experiment 'fig77': did you mean 'fig07'?\n"


def test_a_results_folder_that_cannot_be_written(refused, tmp_path):
    (tmp_path / "file").touch()
    line = refused("run", "fig14", "--scale", "smoke", "--results-dir", tmp_path / "file", status=1)
    assert str(tmp_path / "file") in line and "choose --results-dir" in line


def test_a_figures_folder_that_cannot_be_written(refused, tmp_path):
    (tmp_path / "file").touch()
    write_results(tmp_path, "fig14")
    folders = ("--results-dir", tmp_path, "--figures-dir", tmp_path / "file")
    assert str(tmp_path / "file") in refused("draw", "fig14", "--scale", "smoke", *folders, status=1)


def test_no_data_and_no_tensorflow(refused_late, tmp_path, monkeypatch):
    def missing():
        raise ModuleNotFoundError("No module named 'tensorflow'")

    monkeypatch.setattr(arrays, "_import_tensorflow", missing)
    folders = ("--data-dir", tmp_path / "data", "--results-dir", tmp_path)
    line = refused_late("run", "fig14", "--scale", "smoke", *folders)
    assert "mnist is not prepared" in line and "requirements-prepare.txt" in line
    assert list((tmp_path / "smoke").iterdir()) == []


def test_no_data_and_no_network(refused_late, tmp_path, monkeypatch):
    monkeypatch.setattr(arrays, "_import_tensorflow", lambda: None)
    with tfds_server.serve(tmp_path) as address:
        pass  # a port that was free a moment ago, and closed now
    tfds_server.redirect(monkeypatch, "mnist", address, tmp_path)
    folders = ("--data-dir", tmp_path / "data", "--results-dir", tmp_path / "results")
    line = refused_late("run", "fig14", "--scale", "smoke", *folders)
    assert "cannot download mnist" in line and "--data-dir" in line


def test_a_cache_with_too_few_images(refused_late, tmp_path):
    file = cache_file("mnist", "train", tmp_path)
    file.parent.mkdir()
    np.savez(file, images=np.zeros((10, 28, 28, 1), np.uint8), labels=np.zeros(10, np.uint8))
    folders = ("--data-dir", tmp_path, "--results-dir", tmp_path / "results")
    line = refused_late("run", "fig14", "--scale", "smoke", *folders)
    assert f"mnist train: expected 60000 images, found 10 in {file}" in line


def test_a_divergence_that_is_to_stop_everything_ends_with_status_1(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(engine, "execute", lambda *_, **__: engine.Summary(trained=1, diverged=1, left=2, halted="it"))
    with pytest.raises(SystemExit) as stop:
        cli.main(["run", "fig14", "--results-dir", str(tmp_path), "--figures-dir", str(tmp_path)])
    assert stop.value.code == 1
    assert capsys.readouterr().err == "smith: it diverged, and --on-divergence is stop; its result is kept\n"


def test_verify_tells_what_is_damaged_and_what_has_a_wrong_name(capsys, tmp_path):
    write_results(tmp_path, "fig14")
    cli.main(["verify", "--results-dir", str(tmp_path)])
    count = len(list((tmp_path / "smoke").iterdir()))
    assert capsys.readouterr().out == f"{count} as they were written, 0 not\n"
    damaged, renamed, *_ = sorted((tmp_path / "smoke").iterdir())
    content = damaged.read_bytes()
    damaged.write_bytes(content[:1000] + bytes([content[1000] ^ 1]) + content[1001:])
    renamed.rename(renamed.with_name(renamed.name.replace("seed0", "seed1")))
    with pytest.raises(SystemExit) as stop:
        cli.main(["verify", "--results-dir", str(tmp_path)])
    out, err = capsys.readouterr()
    assert stop.value.code == 1
    assert out.startswith(f"{count - 2} as they were written, 2 not\n")
    assert f"damaged: {damaged}: sha256 differs" in out and "seed1.parquet: the file holds another run" in out
    assert err.count("\n") == 1


def test_what_is_damaged_is_told_when_figures_are_drawn(capsys, tmp_path):
    write_results(tmp_path, "fig14")
    damaged, *_ = (tmp_path / "smoke").iterdir()
    damaged.write_bytes(damaged.read_bytes()[:-1])
    cli.main(["draw", "fig14", "--scale", "smoke", "--results-dir", str(tmp_path), "--figures-dir", str(tmp_path)])
    out, err = capsys.readouterr()
    assert f"damaged, not drawn: {damaged}" in err and "1 without a result" in out


def test_signals_end_with_their_status_and_a_full_disk_with_1(refused, monkeypatch, tmp_path):
    def full():
        raise OSError(28, "No space left on device", "a/file")

    for act, status, words in (
        (lambda: signal.raise_signal(signal.SIGINT), 130, "the same command goes on from here"),
        (lambda: signal.raise_signal(signal.SIGTERM), 143, "the same command goes on from here"),
        (full, 1, "a/file: No space left on device"),
    ):
        monkeypatch.setattr(engine, "execute", lambda *_, act=act, **__: act())
        assert words in refused("run", "fig14", "--results-dir", tmp_path, status=status)


# --- list, status, draw ---


def test_list_names_every_figure_in_little_time_without_jax(tmp_path):
    code = """if True:
        import sys
        from smith import cli
        cli.main(["list", "--results-dir", sys.argv[1]])
        print("imported:", *{"jax", "flax", "optax", "matplotlib", "tensorflow_datasets"} & sys.modules.keys())
    """
    start = time.perf_counter()
    done = python("-c", code, tmp_path, cwd=tmp_path)
    seconds = time.perf_counter() - start
    assert (done.returncode, done.stderr) == (0, "")
    *table, imported = done.stdout.splitlines()
    assert imported.strip() == "imported:"
    listed = [line.split()[0] for line in table if re.match(r" *(fig\d\d|speed|table\d|all) ", line)]
    assert listed == [*FIGURES, "all"]
    assert seconds < 3


def test_list_counts_what_is_done_and_estimates_the_rest(capsys, tmp_path):
    write_results(tmp_path, "fig09")
    cli.main(["list", "--scale", "smoke", "--seeds", "2", "--results-dir", str(tmp_path)])
    lines = {line.split()[0]: line.split() for line in capsys.readouterr().out.splitlines() if line.strip()}
    assert lines["fig09"][-3] == "4/8" and lines["all"][-3] == f"4/{2 * len(ALL)}"
    assert int(lines["fig09"][-2]) > 0 and lines["fig09"][-1] in ("s", "min")


@pytest.mark.parametrize("args", ["list", "draw --results-dir .", "run --help"])
def test_a_reader_that_has_seen_enough_is_no_error(args, tmp_path):
    with subprocess.Popen(
        [sys.executable, "-m", "smith", *args.split()],
        cwd=tmp_path,
        env=environment(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        process.stdout.close()
        assert process.stderr.read() == ""


def test_status_without_results(capsys, tmp_path):
    cli.main(["status", "--results-dir", str(tmp_path / "nowhere")])
    out, err = capsys.readouterr()
    assert out.startswith("no results in ") and out.count("\n") == 1 and err == ""


def test_status_with_some_results(capsys, tmp_path):
    write_results(tmp_path, "fig14")
    write_results(tmp_path, "fig12")[0].unlink()
    cli.main(["status", "--results-dir", str(tmp_path)])
    out, _ = capsys.readouterr()
    (line,) = [line for line in out.splitlines() if line.split()[0] == "smoke"]
    assert line.split() == ["smoke", "11", "0", "1", "fig14"]
    assert "damaged" not in out


def test_status_names_damaged_results(capsys, tmp_path):
    first, second, *_ = write_results(tmp_path, "fig14")
    first.write_bytes(b"nothing")
    aside = results.set_aside(second)
    cli.main(["status", "--results-dir", str(tmp_path)])
    damaged = [line for line in capsys.readouterr().out.splitlines() if line.startswith("damaged: ")]
    assert len(damaged) == 2
    assert first.name in damaged[0] and aside.name in damaged[1] and "set aside" in damaged[1]


def test_status_when_every_result_is_damaged(capsys, tmp_path):
    for path in write_results(tmp_path, "fig09"):
        path.write_bytes(b"")
    cli.main(["status", "--results-dir", str(tmp_path)])
    out = capsys.readouterr().out
    assert out.count("damaged: ") == 4 and "none" in out


def test_draw_without_results_says_how_to_get_them(capsys, tmp_path):
    folders = ["--results-dir", str(tmp_path), "--figures-dir", str(tmp_path / "figures")]
    cli.main(["draw", "fig09", "--scale", "smoke", *folders])
    assert capsys.readouterr().out == "fig09: no results at scale smoke; smith run fig09 --scale smoke\n"
    assert list(tmp_path.iterdir()) == []


def test_a_dataset_that_is_not_to_be_had_is_named_and_the_rest_goes_on(capsys, data_dir, monkeypatch, tmp_path):
    """CIFAR-100 is missing: figure 15 is left out with the reason, what there is of figure 14 is drawn."""
    write_results(tmp_path, "fig14")
    monkeypatch.setattr("smith.data.load", lambda name, *_: (_ for _ in ()).throw(UserError(f"no {name} anywhere")))
    folders = ["--results-dir", str(tmp_path), "--figures-dir", str(tmp_path / "figures"), "--data-dir", str(data_dir)]
    cli.main(["run", "fig14", "fig15", "--scale", "smoke", *folders])
    out = capsys.readouterr().out.splitlines()
    assert out[:2] == [
        "0 runs trained, 0 diverged; 6 were there; 0 left",
        "cifar100: 6 runs not trained: no cifar100 anywhere",
    ]
    assert out[2].startswith("fig14: ") and out[3].startswith("fig15: no results at scale smoke")


def test_a_budget_of_nothing_trains_nothing_and_says_so(capsys, tmp_path):
    folders = ["--results-dir", str(tmp_path), "--figures-dir", str(tmp_path), "--data-dir", str(tmp_path)]
    cli.main(["run", "fig14", "--scale", "smoke", "--budget", "0s", *folders])
    out, err = capsys.readouterr()
    assert "0 runs trained" in out and "6 left" in out and "the same command goes on from here" in out
    assert err == "6 runs to train, 0 found\n"


@pytest.mark.parametrize("command", ["", *cli.COMMANDS])
def test_help_ends_with_status_0(command, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main([*command.split(), "--help"])
    assert stop.value.code == 0
    assert "usage: smith" in capsys.readouterr().out


# --- times ---


@pytest.mark.parametrize(
    ("text", "expected"), [("90s", 90), ("8m", 480), ("1.5h", 5400), (" 2m ", 120), ("0s", 0), ("0.5s", 0.5)]
)
def test_seconds(text, expected):
    assert cli.seconds(text, "--budget") == expected


@pytest.mark.parametrize("text", ["", "8", "8x", "m", "-1m", "1h30m", "1,5h", "1.h", "8 m", "nanm", "8M", "1e3s"])
def test_seconds_refuses(text):
    with pytest.raises(UserError, match="give a time such as"):
        cli.seconds(text, "--budget")


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0, "0 s"), (45.4, "45 s"), (89, "89 s"), (480, "8 min"), (5399, "90 min"), (5400, "1.5 h"), (90_000, "25.0 h")],
)
def test_duration(seconds, expected):
    assert cli.duration(seconds) == expected


# --- the real thing ---


@pytest.fixture(scope="module")
def smoke(data_dir, tmp_path_factory):
    """`smith run all --scale smoke`, done once: its folders and what it printed."""
    folder = tmp_path_factory.mktemp("smoke")
    folders = ("--data-dir", data_dir, "--results-dir", folder / "results", "--figures-dir", folder / "figures")
    args = ("-m", "smith", "run", "all", "--scale", "smoke", *folders)
    return SimpleNamespace(folder=folder, args=args, done=python(*args, cwd=folder))


def drawn(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / "figures" / "smoke").iterdir())}


def test_run_all_trains_every_run_once_and_draws_every_figure(smoke):
    assert smoke.done.returncode == 0, smoke.done.stderr
    folder = smoke.folder / "results" / "smoke"
    assert sorted(folder.iterdir()) == sorted(results.path_of(folder, job.run, job.seed) for job in ALL)
    for job in ALL:
        result = results.find(folder, job.run, job.seed)
        assert result and result.status in ("done", "diverged")
        assert np.isfinite(result["test_loss"][0]) and result.facts["jax"]
    tables = {f"{name}.{kind}" for name in FIGURES if name.startswith("table") for kind in ("md", "tex")}
    assert drawn(smoke.folder).keys() == tables | {f"{name}.{kind}" for name in FIGURES for kind in ("png", "svg")}
    assert all(drawn(smoke.folder).values())


def test_run_all_prints_a_line_for_every_run_and_figure(smoke):
    first, *lines = smoke.done.stderr.splitlines()
    assert first == f"{len(ALL)} runs to train, 0 found" and len(lines) == len(ALL)
    assert all(re.match(r"(done|diverged) +\S+ seed 0: test loss \S+, accuracy [\d.]+, \d+ s$", line) for line in lines)
    summary, *figures = smoke.done.stdout.splitlines()
    assert re.match(rf"{len(ALL)} runs trained, \d+ diverged; 0 were there; 0 left$", summary)
    assert [line.split(":")[0] for line in figures] == FIGURES
    assert all("scale smoke" in line and "without" not in line for line in figures)


def test_run_all_again_trains_nothing_and_draws_the_same(smoke):
    before, start = drawn(smoke.folder), time.perf_counter()
    done = python(*smoke.args, cwd=smoke.folder)
    assert time.perf_counter() - start < 30
    assert (done.returncode, done.stderr) == (0, f"0 runs to train, {len(ALL)} found\n")
    assert done.stdout.startswith("0 runs trained")
    assert drawn(smoke.folder) == before


def test_an_experiment_is_a_command_too(smoke, data_dir, tmp_path):
    target = tmp_path / "results" / "smoke"
    target.mkdir(parents=True)
    for path in sorted((smoke.folder / "results" / "smoke").glob("mnist*-lrrange*"))[1:]:  # the first is left to train
        (target / path.name).write_bytes(path.read_bytes())
    folders = ("--data-dir", data_dir, "--results-dir", tmp_path / "results", "--figures-dir", tmp_path / "figures")
    args = ("-m", "experiments.fig14_mnist_range_test", "--scale", "smoke", *folders)
    done = python(*args, cwd=tmp_path, cache=smoke.folder)
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("1 run to train, 5 found\n")
    assert sorted(path.name for path in (tmp_path / "figures" / "smoke").iterdir()) == ["fig14.png", "fig14.svg"]


def read_until(terminal: int, words: str, seconds: float) -> str:
    """Returns what a terminal showed until it showed `words`, or until it was closed."""
    shown, end = "", time.monotonic() + seconds
    while words not in shown:
        assert time.monotonic() < end, shown
        if select.select([terminal], [], [], 0.1)[0]:
            try:
                shown += os.read(terminal, 65536).decode(errors="replace")
            except OSError:  # closed
                break
    return shown


def test_ctrl_c_while_a_run_is_trained(smoke, data_dir, tmp_path):
    terminal, its_end = pty.openpty()
    folders = ("--data-dir", data_dir, "--results-dir", tmp_path / "results", "--figures-dir", tmp_path / "figures")
    args = [sys.executable, "-m", "smith", "run", "fig14", "--scale", "short", *map(str, folders)]
    cache = environment(smoke.folder) | {"TERM": "xterm", "COLUMNS": "200"}
    process = subprocess.Popen(args, cwd=tmp_path, env=cache, stdout=subprocess.DEVNULL, stderr=its_end)
    try:
        os.close(its_end)
        read_until(terminal, "images/s", seconds=120)  # the bar: training is under way
        time.sleep(1)
        start = time.monotonic()
        process.send_signal(signal.SIGINT)
        shown = read_until(terminal, "goes on from here", seconds=30)
        status = process.wait(timeout=30)
        assert time.monotonic() - start < 5
    finally:
        process.kill()
        process.wait()
        os.close(terminal)
    assert status == 130
    assert "Traceback" not in shown
    assert shown.rstrip().endswith("smith: stopped; finished results are kept, and the same command goes on from here")
    assert [path.name for path in (tmp_path / "results" / "short").iterdir()] == ["checkpoints"]
