"""Workers that an engine starts: submitit's own and Ray's, on this machine."""

import contextlib
import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import MagicMock

import pytest
import submitit  # noqa: F401  # here, so that its log goes where it stays open
from processes import EXPERIMENT, search_path, until
from small import SMALL_RUN

from smith.cli import main
from smith.errors import UserError
from smith.run import iterations
from smith.train import engines, stopping

pytestmark = pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")  # submitit leaves them
LONG = SMALL_RUN.replace(length=iterations(2_000), test_every=iterations(1_000))


@pytest.fixture
def submit(tmp_path, data_dir, monkeypatch):
    """Gives what submits runs to workers of this machine: it returns their numbers as processes."""
    monkeypatch.setenv("PYTHONPATH", search_path())
    monkeypatch.chdir(tmp_path)

    def submit(runs, workers, *more, capsys) -> list[int]:
        Path("mine.py").write_text(EXPERIMENT.format([run.to_json() for run in runs]))
        options = ["--scale", "paper", "--seeds", "1", "--data-dir", str(data_dir), "--checkpoint-every", "0s", *more]
        main(["submit", "mine.py", "--engine", "local", "--workers", str(workers), *options])
        found = re.search(r"(\d+) runs for (\d+) workers: (.*)", capsys.readouterr().out)
        assert found and int(found[1]) == len(runs) and int(found[2]) == workers
        return [int(number) for number in found[3].split(", ")]

    return submit


def children(process: int) -> list[int]:
    out = subprocess.run(["ps", "-o", "pid=", "--ppid", str(process)], capture_output=True, text=True).stdout
    return [int(word) for word in out.split()]


def wait(process: int) -> None:
    with contextlib.suppress(ChildProcessError):  # somebody else has waited for it
        os.waitpid(process, 0)


def said() -> str:
    return "".join(path.read_text() for path in sorted(Path("results/paper/workers").glob("*_log.err")))


def results() -> list[Path]:
    return list(Path("results/paper").glob("*.parquet"))


@pytest.mark.slow
def test_a_worker_whose_time_is_up_is_started_again_and_goes_on_from_its_checkpoint(submit, capsys):
    (controller,) = submit([LONG], 1, capsys=capsys)
    until(lambda: list(Path("results/paper/checkpoints").glob("*/*/manifest.json")))
    (task,) = children(controller)
    os.kill(task, signal.SIGUSR2)  # what comes some time before the end
    until(results)
    assert "goes on from its checkpoint at iteration" in said()
    wait(controller)
    main(["status", "mine.py", "--scale", "paper", "--seeds", "1", "--watch"])
    assert "1 of 1 runs done, 0 diverged, 0 under way" in capsys.readouterr().out


@pytest.mark.slow
def test_runs_are_trained_once_though_workers_are_killed(submit, capsys):
    runs = [SMALL_RUN.replace(lr=0.001 * k, length=iterations(100)) for k in range(1, 41)]
    controllers = submit(runs, 4, capsys=capsys)
    until(lambda: len(results()) >= 2)
    for controller in controllers[:2]:
        for task in children(controller):
            for worker in children(task):
                os.kill(worker, signal.SIGKILL)
    until(lambda: len(results()) == len(runs), 600)
    done = re.findall(r"^(?:done|diverged) +(\S+)", said(), re.MULTILINE)
    assert len(done) == len({*done}) >= len(runs) - 2  # a worker that is killed may not have said its last run
    for controller in controllers:
        wait(controller)


@pytest.fixture
def on_ray(tmp_path, data_dir, monkeypatch):
    """Starts `smith submit --engine ray` for runs, and returns the process."""
    if not importlib.util.find_spec("ray"):
        pytest.skip("needs Ray: pip install ray")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([search_path(), *sys.path]))
    monkeypatch.chdir(tmp_path)

    def start(runs, workers: int, *more: str) -> subprocess.Popen[str]:
        Path("mine.py").write_text(EXPERIMENT.format([run.to_json() for run in runs]))
        options = ["--scale", "paper", "--seeds", "1", "--data-dir", str(data_dir), "--checkpoint-every", "0s", *more]
        words = [sys.executable, "-m", "smith", "submit", "mine.py", "--engine", "ray", "--workers", str(workers)]
        return subprocess.Popen([*words, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    return start


@pytest.mark.slow
def test_runs_are_trained_once_on_ray_though_workers_are_killed(on_ray):
    runs = [SMALL_RUN.replace(lr=0.001 * k, length=iterations(100)) for k in range(1, 21)]
    command = on_ray(runs, 2)
    until(lambda: len(results()) >= 2, 200)
    found = subprocess.run(["pgrep", "-f", "smith run mine.py"], capture_output=True, text=True).stdout.split()
    assert len(found) == 2
    os.kill(int(found[0]), signal.SIGKILL)
    out, err = command.communicate(timeout=600)
    assert command.returncode == 0, err
    assert "20 runs for 2 workers; what they say is in" in out and len(results()) == len(runs)
    said = "".join(path.read_text() for path in Path("results/paper/workers").glob("ray-*.log"))
    done = re.findall(r"^(?:done|diverged) +(\S+)", said, re.MULTILINE)
    assert len(done) == len({*done}) >= len(runs) - 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("more", "line"),
    [
        (["--gpus", "0.5"], "this machine has no 0.5 GPU for a worker: ask for less"),
        (["--devices", "7"], "ended with status 2; what the workers said is in"),
        (["--address", "127.0.0.1:1"], "--address 127.0.0.1:1: no Ray cluster is to be had there"),
    ],
)
def test_what_ray_can_not_do_is_one_line(on_ray, more, line):
    out, err = on_ray([SMALL_RUN], 1, *more).communicate(timeout=300)
    assert line in err and "Traceback" not in err, err


def test_a_cluster_may_have_been_started_in_another_folder(monkeypatch, tmp_path):
    """A stand-in for Ray: its processes begin in a folder of their own."""
    ray, (here, elsewhere) = MagicMock(), (tmp_path / "here", tmp_path / "elsewhere")
    for folder in (here, elsewhere):
        folder.mkdir()
    ray.exceptions.RayTaskError = KeyError
    ray.cluster_resources.return_value = {"CPU": 8}
    ray.remote = lambda **_: lambda work: SimpleNamespace(remote=lambda *arguments: lambda: work(*arguments))
    ray.wait = lambda tasks, **_: (tasks[:1], tasks[1:])
    ray.get = lambda tasks: (os.chdir(elsewhere), [task() for task in tasks])
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.chdir(here)
    engines.submit_to_ray(["--version"], 2, Path("workers"), "", 0, 0)
    assert sorted(path.name for path in (here / "workers").iterdir()) == ["ray-0.log", "ray-1.log"]


def test_a_stopped_command_gives_its_workers_time_for_a_checkpoint(monkeypatch, tmp_path):
    """A stand-in for Ray, during whose wait a signal comes."""
    ray, tasks = MagicMock(), ["one", "other"]
    ray.exceptions.RayTaskError = KeyError
    ray.cluster_resources.return_value = {"CPU": 8}
    ray.remote = lambda **_: lambda work: SimpleNamespace(remote=lambda *_: tasks[ray.wait.call_count])
    ray.wait.side_effect = lambda tasks, **_: (os.kill(os.getpid(), signal.SIGTERM), ([], tasks))[1]
    monkeypatch.setitem(sys.modules, "ray", ray)
    with pytest.raises(SystemExit) as ended, stopping.signals():
        engines.submit_to_ray(["run", "fig14"], 2, tmp_path, "", 0, 0)
    assert ended.value.code == 128 + signal.SIGTERM
    assert [call.args for call in ray.cancel.call_args_list] == [("one",), ("one",)] and ray.wait.call_count == 2


def test_a_worker_that_is_cancelled_ends_its_process_in_good_order(monkeypatch, tmp_path):
    """And waits for it: it writes a checkpoint."""
    script = tmp_path / "python"
    waits = "while :; do sleep 0.05; done"
    script.write_text(f"#!/usr/bin/env bash\ntrap 'sleep 0.2; echo kept; exit 3' TERM\necho begun\n{waits}\n")
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(script))

    def sleep(_: float) -> None:
        if (tmp_path / "log").exists() and "begun" in (tmp_path / "log").read_text():
            raise KeyboardInterrupt

    monkeypatch.setattr(engines, "time", SimpleNamespace(sleep=sleep))
    with pytest.raises(KeyboardInterrupt):
        engines._work(["run"], tmp_path, tmp_path / "log", {})
    assert "kept" in (tmp_path / "log").read_text()


def test_there_has_to_be_a_ray(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match="--engine ray needs Ray: pip install"):
        engines.submit_to_ray(["run", "fig14"], 1, tmp_path, "", 0, 0)


def test_there_has_to_be_a_slurm(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="slurm does not take the workers .*srun.*--engine local starts them"):
        engines.submit(["run", "fig14"], 1, "slurm", tmp_path)


def test_a_worker_that_ends_badly_says_so(monkeypatch):
    monkeypatch.setattr(sys, "executable", "false")
    with pytest.raises(RuntimeError, match="smith run fig14 ended with status 1"):
        engines.Worker(["run", "fig14"])()
    assert json.dumps(engines.Worker(["run"]).checkpoint().function._words) == '["run"]'
