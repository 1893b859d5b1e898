"""Results as a frame."""

import sys

import pytest
from small import write_result

import smith
from smith import experiments
from smith.errors import UserError
from smith.scales import SCALES
from smith.store import COLUMNS, Store


@pytest.fixture
def root(tmp_path):
    store = Store(tmp_path, SCALES["smoke"])
    for run in {run for one in experiments.find(["fig02", "table1"]) for run in one.shows.runs()}:
        write_result(store, run)
    return tmp_path


def test_a_frame_has_a_row_for_each_test_of_each_curve(root):
    for name in ("fig02", "table1"):  # curves and finals; rows of a table
        frame = smith.results(name, scale="smoke", results_dir=root)
        assert {"figure", "panel", "curve", "seed", "run", "status", *COLUMNS} == {*frame.columns}
        assert frame["iteration"].dtype == "int64" and set(frame["figure"]) == {name}
        assert (frame.groupby(["panel", "curve", "seed", "run"]).size() % 2 == 0).all()
    assert len(frame["curve"].unique()) == len(experiments.find(["table1"])[0].shows.rows)
    assert smith.results("fig14", results_dir=root).empty


def test_mistakes_are_told_in_one_line(root, monkeypatch):
    with pytest.raises(UserError, match="unknown scale 'papper'"):
        smith.results("fig02", scale="papper")
    with pytest.raises(UserError, match="unknown experiment 'fig2'"):
        smith.results("fig2")
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(UserError, match="needs pandas: python -m pip install pandas"):
        smith.results("fig02")
