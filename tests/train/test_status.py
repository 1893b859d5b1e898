"""`smith status` and `smith verify`: what there is, what is under way, what is damaged."""

from pathlib import Path

import jax.numpy as jnp
import pytest
from small import SMALL_RUN, flip, write_result

from smith.cli import main
from smith.figure import Figure, Panel
from smith.scales import SCALES
from smith.store import Store, results
from smith.train import checkpoints, status
from smith.train.checkpoints import Checkpoint
from smith.train.places import Job, Places

OTHER = SMALL_RUN.replace(lr=0.02)
FIGURES = [
    Figure("one", "One run", panels=(Panel("a", {"1": SMALL_RUN}),)),
    Figure("two", "Two runs", panels=(Panel("a", {"1": SMALL_RUN, "2": OTHER}),)),
]


@pytest.fixture
def root(tmp_path) -> Path:
    """A result, and a run under way."""
    store = Store(tmp_path, SCALES["paper"])
    write_result(store, SMALL_RUN)
    for iteration in (4, 6):
        one = Checkpoint(iteration, {"x": jnp.zeros(3)})
        checkpoints.write(Places(store.folder).checkpoints(Job(OTHER, 1)), one)
    return tmp_path


def said(root: Path, capsys) -> list[str]:
    status.report([Store(root, scale) for scale in SCALES.values()], FIGURES)
    return capsys.readouterr().out.splitlines()


def test_results_and_runs_under_way_are_told(root, capsys):
    header, row, begun = said(root, capsys)
    assert header.split()[:4] == ["scale", "results", "diverged", "seeds"]
    assert row.split() == ["paper", "1", "0", "1", "one"]
    assert begun == f"begun: {OTHER.key}-seed1, 6 iterations done"
    assert status.verify(root) == (3, [])
    main(["status", "fig14", "--scale", "paper", "--seeds", "2", "--results-dir", str(root)])
    header, row, _ = capsys.readouterr().out.splitlines()
    assert header.strip().endswith("complete with 2 seeds") and row.strip().endswith("none")


def test_a_snapshot_is_no_run_under_way_and_what_a_scale_has_no_place_for_is_not_complete(root, capsys):
    store = Store(root, SCALES["paper"])
    checkpoints.write(Places(store.folder).snapshot(Job(SMALL_RUN, 0), 5), Checkpoint(5, {"x": jnp.zeros(3)}))
    store.folder.rename(root / "mini")
    nowhere = SMALL_RUN.replace(data="cifar10", network="resnet-20", width=1, train_images=None, crop=None)
    status.report([Store(root, SCALES["mini"])], [Figure("no", "None", panels=(Panel("a", {"1": nowhere}),))])
    _, row, begun = capsys.readouterr().out.splitlines()
    assert row.split()[-1] == "none" and begun == f"begun: {OTHER.key}-seed1, 6 iterations done"


def test_what_is_damaged_is_told_with_its_path(root, capsys):
    (result,) = (root / "paper").glob("*.parquet")
    checkpoint = next((root / "paper" / "checkpoints").glob("*/*6"))
    flip(result)
    flip(checkpoint / "about" / "metadata")
    good, wrong = status.verify(root)
    assert (good, len(wrong)) == (1, 2) and all(line.startswith("damaged: ") for line in wrong)
    assert str(result) in wrong[0] and str(checkpoint) in wrong[1]
    assert any(line.startswith(f"damaged: {result}: ") for line in said(root, capsys))


def test_what_is_foreign_or_was_set_aside_is_told_and_is_no_damage(root, capsys):
    store = Store(root, SCALES["paper"])
    aside = store.set_aside(next(store.folder.glob("*.parquet")))
    path = write_result(store, SMALL_RUN, 3)
    kept = results.read(path)
    foreign = results.Result(kept.description.replace("lenet", "nobodys"), 3, "done", kept.columns, {})
    path.unlink()
    (store.folder / f"nobodys{results.suffix(foreign.description, 3)}").write_bytes(results._encode(foreign))
    lines = said(root, capsys)
    assert f"set aside: {aside}" in lines
    assert any(line.startswith("foreign: ") and "unknown network 'nobodys'" in line for line in lines)
    assert status.verify(root) == (3, [])


def test_nothing_there_is_told(tmp_path, capsys):
    assert said(tmp_path, capsys) == [f"no results in {tmp_path}; smith run all trains them"]
