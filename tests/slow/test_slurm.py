"""Workers under a real Slurm of one machine, which the test starts: it needs root, slurm-wlm and munge (Debian's)."""

import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest
from processes import EXPERIMENT, search_path, until
from small import SMALL_RUN

from smith.run import iterations

RUNS = [SMALL_RUN.replace(lr=0.001 * k, length=iterations(600), test_every=iterations(200)) for k in range(1, 13)]
CONFIGURATION = """
ClusterName=one
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
MpiDefault=none
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmctldPort=16817
SlurmdPort=16818
StateSaveLocation={folder}
SlurmdSpoolDir={folder}
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ReturnToService=2
JobRequeue=1
NodeName={host} NodeAddr=127.0.0.1 CPUs={cores} RealMemory=1000 State=UNKNOWN
PartitionName=all Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """A Slurm with this machine as its only node."""
    if os.geteuid() or not all(map(shutil.which, ("slurmctld", "slurmd", "munged"))):
        pytest.skip("needs root, and slurm-wlm and munge installed")
    if subprocess.run("munge -n | unmunge", shell=True, capture_output=True).returncode:
        Path("/run/munge").mkdir(exist_ok=True)
        shutil.chown("/run/munge", "munge", "munge")
        subprocess.run(["su", "-s", "/bin/sh", "munge", "-c", "munged"], check=True)
    values = {"host": socket.gethostname().partition(".")[0], "folder": tmp_path, "cores": os.cpu_count()}
    configuration = tmp_path / "slurm.conf"
    configuration.write_text(CONFIGURATION.format(**values))
    monkeypatch.setenv("SLURM_CONF", str(configuration))
    for daemon in ("slurmctld", "slurmd"):
        subprocess.run([daemon], check=True)
    yield
    subprocess.run(["scancel", "--user", "root"])
    until(lambda: not call("squeue", "-h"), 60)
    for daemon in ("slurmd", "slurmctld"):
        os.kill(int((tmp_path / f"{daemon}.pid").read_text()), 15)


def call(*words: str) -> str:
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


def test_workers_of_which_one_is_preempted_and_one_killed_train_every_run(slurm, tmp_path, data_dir, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", search_path())
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(EXPERIMENT.format([run.to_json() for run in RUNS]))
    options = ["mine.py", "--scale", "paper", "--seeds", "1", "--data-dir", str(data_dir)]
    smith = ["python", "-m", "smith"]
    said = call(*smith, "submit", *options, "--workers", "3", "--time", "5m", "--cpus", "1", "--checkpoint-every", "1s")
    assert "12 runs for 3 workers" in said
    results, saved = Path("results/paper"), Path("results/paper/checkpoints")
    until(lambda: len(list(results.glob("*.parquet"))) >= 2 and list(saved.glob("*/*/manifest.json")), 300)
    first, second = (line for line in call("squeue", "-h", "-t", "R", "-o", "%i").split()[:2])
    call("scancel", "--signal=USR2", first)
    call("scancel", "--signal=KILL", second)
    until(lambda: len(list(results.glob("*.parquet"))) == len(RUNS), 300)
    log = "".join(path.read_text() for path in results.glob("workers/*_log.err"))
    assert "DUE TO JOB REQUEUE" in log and "goes on from its checkpoint at iteration" in log
    assert f"{len(RUNS)} of {len(RUNS)} runs done" in call(*smith, "status", *options[:-2], "--watch")
