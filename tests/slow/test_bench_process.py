"""scripts/bench.py as a process of its own: what it prints and writes."""

import importlib.util
import json
import os
import subprocess
import sys

import pytest

from scripts import bench
from smith import networks

TINY = ["--network", "lenet", "--batch", "8", "--turns", "2", "--seconds", "0.05"]
SPEEDS = {"ours": "images/s", "pytorch": "images/s, eager", "compiled": "images/s, torch.compile"}


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """The table of a tiny run, and what it wrote."""
    path = tmp_path_factory.mktemp("bench") / "bench.json"
    command = [sys.executable, bench.__file__, *TINY, "--json", str(path)]
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "OMP_WAIT_POLICY": "PASSIVE"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    return done.stdout, json.loads(path.read_text())


def test_the_table_has_a_line_for_each_job(measured):
    table, report = measured
    _, roofline, header, *lines = table.splitlines()
    assert roofline.startswith("roofline: matrix product ") and header.startswith("network")
    assert [line.split()[:3] for line in lines[:-1]] == [["lenet", "train", "8"]]
    assert "upper estimate" in lines[-1]
    assert f"{report['rows'][0]['ours']:,.0f}" in lines[0]


def test_every_number_has_a_unit_and_every_field_is_there(measured):
    _, report = measured
    (row,) = report["rows"]
    assert report["units"].keys() == row.keys() | report["peaks"].keys()
    assert all(report["units"].values()) and SPEEDS.items() <= report["units"].items()
    assert (row["network"], row["work"], row["batch"], row["notes"]) == ("lenet", "train", 8, [])
    assert report["precision"] == {"ours": "float32", "pytorch": "float32"}
    assert "jax" in report["machine"]


def test_ratios_and_the_roofline_are_quotients_of_what_was_measured(measured):
    report = measured[1]
    (row,), peaks = report["rows"], report["peaks"]
    if importlib.util.find_spec("torch"):
        assert row["ratio"] == pytest.approx(row["ours"] / row["pytorch"])
    else:
        assert row["ratio"] is row["pytorch"] is None and "not installed" in measured[0]
    need = max(row["flops"] / peaks["float32_product"], row["bytes_accessed"] / peaks["bandwidth"])
    assert row["roofline"] == pytest.approx(need * row["ours"] / row["batch"])
    assert row["compiled"] is row["compiled_ratio"] is peaks["bfloat16_product"] is None  # not asked for; on a CPU


def test_a_start_contains_the_compilation_and_memory_is_of_that_process(measured):
    (row,) = measured[1]["rows"]
    for kind in ("cold", "warm"):
        assert 0 < row[f"compile_{kind}"] < row[f"start_{kind}"]
    assert row["memory"] > 4 * networks.info("lenet").parameters


def test_a_process_that_fails_is_a_note(monkeypatch, tmp_path):
    script = tmp_path / "bench.py"
    script.write_text("raise SystemExit('out of memory')")
    monkeypatch.setattr(bench, "__file__", str(script))
    cold, warm, notes = bench.starts("lenet", "train", 8)
    assert cold == warm == {}
    assert notes == ["a process of its own ended with status 1: out of memory"] * 2
