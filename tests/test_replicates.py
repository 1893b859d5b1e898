"""Recipes: how the runs of one curve differ."""

import pytest

from smith import cli, replicates, scales
from smith.errors import UserError
from smith.run import Run, Snapshot, epochs, iterations
from smith.schedules import OneCycle
from smith.store import results
from smith.store.results import COLUMNS

DEEP = Run(
    data="cifar10",
    network="resnet-56",
    batch_size=512,
    ghost_batch_size=128,
    mirror=True,
    length=epochs(95),
    lr=OneCycle(0.08, 0.8, step_size=epochs(41)),
)


def sizes(run: Run) -> list[tuple[int, int | None]]:
    four = [replicates.author(run, number) for number in range(4)]
    return [(one.batch_size, one.ghost_batch_size) for one in four]


def test_plain_seeds_leave_the_run_alone():
    assert replicates.seeds(DEEP, 3) is DEEP


def test_the_authors_runs_have_one_image_more_on_each_of_four_gpus():
    assert sizes(DEEP) == [(512, 128), (516, 129), (520, 130), (524, 131)]


def test_a_batch_size_that_is_a_mean_stays_the_mean():
    """1030 is the mean of 1024, 1028, 1032 and 1036."""
    found = sizes(DEEP.replace(batch_size=1030, ghost_batch_size=206))
    assert found == [(1024, 256), (1028, 257), (1032, 258), (1036, 259)]


def test_super_convergence_ran_on_eight_gpus():
    found = sizes(DEEP.replace(network="resnet-56-relu", batch_size=1000, ghost_batch_size=125))
    assert found == [(1000, 125), (1008, 126), (1016, 127), (1024, 128)]


def test_a_network_without_batch_norm_gets_no_ghost_batches():
    shallow = Run("cifar10", "shallow3", 548, iterations(10_000), lr=0.01)
    assert sizes(shallow) == [(548, None), (552, None), (556, None), (560, None)]


def test_both_initialisations_and_nothing_else_change():
    four = [replicates.author(DEEP, number) for number in range(4)]
    assert [one.init for one in four] == ["xavier", "msra", "xavier", "msra"]
    for one in four:
        assert one.replace(init=None, batch_size=512, ghost_batch_size=128) == DEEP


def test_a_snapshot_comes_from_the_run_with_the_same_number():
    child = DEEP.replace(start=Snapshot(DEEP, at=epochs(20)), weight_decay=1e-3)
    for number in range(4):
        start = replicates.author(child, number).start
        assert start == Snapshot(replicates.author(DEEP, number), epochs(20))


def test_a_fifth_run_and_an_unknown_recipe_are_refused(capsys):
    with pytest.raises(UserError, match="has 4 runs"):
        replicates.author(DEEP, 4)
    for words, reason in ((["--seeds", "5", "--recipe", "author"], "has 4 runs"), (["--recipe", "autor"], "'author'")):
        with pytest.raises(SystemExit) as stop:
            cli.main(["list", *words])
        assert stop.value.code == 2
        assert reason in capsys.readouterr().err


def test_results_of_a_recipe_are_found_and_drawn_apart(capsys, tmp_path):
    scale, folder = scales.named("smoke"), tmp_path / "smoke"
    folder.mkdir()
    rows = [dict.fromkeys(COLUMNS, 0.5) | {"iteration": iteration} for iteration in (3, 6)]
    (figure,) = cli.experiments(["fig14"])
    run = figure.runs()[0]
    for seed in (0, 2):
        results.write(folder, scale.apply(replicates.author(run, seed)), seed, "done", rows, {})
    results.write(folder, scale.apply(run), 1, "done", rows, {})
    assert [r.seed for r in replicates.collect("author", folder, scale, run)] == [0, 2]
    assert [r.seed for r in replicates.collect("seeds", folder, scale, run)] == [1]
    folders = ["--results-dir", str(tmp_path), "--figures-dir", str(tmp_path / "figures")]
    cli.main(["draw", "fig14", "--scale", "smoke", "--recipe", "author", *folders])
    assert "2 seeds" in capsys.readouterr().out
    assert (tmp_path / "figures" / "smoke-author" / "fig14.png").stat().st_size > 0
    assert not (tmp_path / "figures" / "smoke").exists()
