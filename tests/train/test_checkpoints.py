"""Checkpoints: to the bit, refused when anything is wrong with them, kept in time, and a run that goes on from them."""

import ast
import functools
import json
import math
import os
import pickle
import random
import resource
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import hypothesis.extra.numpy as hnp
import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest
import tensorstore
from conftest import problem_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from smith.errors import UserError
from smith.run import Run, Snapshot, iterations
from smith.schedules import Constant, Multistep, OneCycle
from smith.store import results
from smith.train import checkpoints, loop
from smith.train.checkpoints import Checkpoint, DamagedCheckpoint, Keeper, load, read_about, save
from smith.train.loop import Outcome, train
from smith.train.step import Problem

# Where a store can not be read or written, its threads report to a loop that has ended; that is printed, and no more.
pytestmark = pytest.mark.filterwarnings("ignore:Exception ignored:pytest.PytestUnraisableExceptionWarning")

RUN = Run("mnist", "lenet", 16, iterations(12), Constant(0.01), test_every=iterations(4), test_images=100, mirror=True)
ROWS = [{"iteration": 4.0, "test_loss": 0.1 + 0.2, "train_loss": math.nan}, {"iteration": 8.0, "test_loss": math.inf}]
TIMING = {"seconds": 1.5, "timed_iterations": 8.0}


def state_of(seed: int = 0) -> Any:
    """Returns a small state of every kind of array."""
    rng = np.random.default_rng(seed)
    return {
        "params": {"conv": {"kernel": rng.standard_normal((2, 3)).astype(np.float32), "bias": np.float32([-0.0])}},
        "rest": {"mean": np.array([math.nan, math.inf, -math.inf, 1e-45], np.float32)},
        "velocity": {},
        "loss_sum": np.float32(2.5),
    }


def checkpoint_of(iteration: int = 8, **changes: Any) -> Checkpoint:
    return replace(Checkpoint(RUN, 7, iteration, state_of(), ROWS, 4, TIMING), **changes)


@pytest.fixture(scope="module")
def original(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("original") / "000000008"
    save(folder, checkpoint_of())
    return folder


@pytest.fixture
def folder(original, tmp_path) -> Path:
    """A checkpoint to be damaged."""
    return shutil.copytree(original, tmp_path / "run" / "000000008")


def sign(folder: Path) -> None:
    """Makes the manifest fit the files."""
    (folder / "manifest.json").unlink()
    (folder / "manifest.json").write_text(json.dumps({"files": checkpoints._digests(folder)}))


def read(folder: Path, like: Any = None) -> Checkpoint:
    return load(folder, RUN, 7, state_of(1) if like is None else like)


def bits(tree: Any) -> list[tuple[str, Any, Any, bytes]]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    arrays = [(jax.tree_util.keystr(path), np.asarray(leaf)) for path, leaf in leaves]
    return [(path, array.shape, array.dtype, array.tobytes()) for path, array in arrays]


def files_of(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def damaged(folder: Path, like: Any = None) -> str:
    """Checks that a checkpoint is refused, in one line that names it. Returns the reason."""
    with pytest.raises(DamagedCheckpoint) as caught:
        read(folder, like)
    message = str(caught.value)
    assert (
        len(message.splitlines()) == 1 and message.startswith(f"{folder}: ") and len(message) < 1000 + len(str(folder))
    )
    return message.removeprefix(f"{folder}: ")


# There and back.


def test_a_checkpoint_is_read_back_to_the_bit(original):
    found = read(original)
    assert bits(found.state) == bits(state_of())
    assert jax.tree.structure(found.state) == jax.tree.structure(state_of())
    assert (found.run, found.seed, found.iteration, found.last_test) == (RUN, 7, 8, 4)
    assert repr(found.rows) == repr(ROWS)
    assert found.timing == TIMING


def test_a_checkpoint_is_read_back_without_its_arrays(original, monkeypatch):
    monkeypatch.setattr(ocp.StandardCheckpointer, "restore", None)
    found = read_about(original)
    assert found.state is None
    assert (found.run, found.seed, found.iteration, found.last_test) == (RUN, 7, 8, 4)
    assert repr(found.rows) == repr(ROWS) and found.timing == TIMING


ARRAYS = st.sampled_from([np.float32, np.float16, np.int32, np.uint32, np.uint8, np.bool_]).flatmap(
    lambda kind: hnp.arrays(kind, hnp.array_shapes(min_dims=0, max_dims=3, max_side=4))
)
NAMES = st.sampled_from(["a", "b", "kernel", "block1"])
FLOATS = st.floats(width=64)


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(NAMES, st.dictionaries(NAMES, ARRAYS, max_size=3) | ARRAYS, min_size=1).filter(jax.tree.leaves),
    st.lists(st.dictionaries(NAMES, FLOATS), max_size=3),
    st.dictionaries(NAMES, FLOATS),
    st.integers(0, 2**31),
)
def test_any_checkpoint_is_read_back_to_the_bit(tmp_path, state, rows, timing, seed):
    shutil.rmtree(tmp_path / "c", ignore_errors=True)
    save(tmp_path / "c", Checkpoint(RUN, seed, 3, state, rows, 1, timing))
    found = load(tmp_path / "c", RUN, seed, jax.tree.map(np.zeros_like, state))
    assert bits(found.state) == bits(state)
    assert jax.tree.structure(found.state) == jax.tree.structure(state)
    assert repr((found.rows, found.timing)) == repr((rows, timing))


@pytest.mark.parametrize("number", [0x80000000, 0x7FC00001, 0xFFA00001, 1, 0x80000001], ids=hex)
def test_every_bit_of_unusual_numbers_is_kept(tmp_path, number):
    state = {"all": np.full((3,), number, np.uint32).view(np.float32)}
    save(tmp_path / "c", checkpoint_of(state=state))
    assert bits(read(tmp_path / "c", {"all": np.zeros(3, np.float32)}).state) == bits(state)


def test_arrays_of_the_device_are_read_back_too(tmp_path):
    state = jax.device_put(state_of())
    save(tmp_path / "c", checkpoint_of(state=state, rows=[]))
    found = read(tmp_path / "c", state)
    assert bits(found.state) == bits(state) and found.rows == []
    assert all(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(found.state))


def test_a_copy_is_not_touched_by_what_happens_to_the_arrays():
    state = {"host": np.zeros(3), "device": jnp.zeros(3)}
    copy = checkpoints.to_host(state)
    state["host"] += 1
    jax.jit(lambda x: x + 1, donate_argnums=0)(state["device"]).block_until_ready()
    assert not copy["host"].any() and not copy["device"].any()


def test_arrays_have_readable_names():
    assert checkpoints.names(state_of()) == ["loss_sum", "params/conv/bias", "params/conv/kernel", "rest/mean"]


def test_a_checkpoint_takes_the_place_of_another(folder):
    save(folder, checkpoint_of(9, state=state_of(5)))
    assert read(folder).iteration == 9
    assert bits(read(folder).state) == bits(state_of(5))
    assert os.listdir(folder.parent) == [folder.name]


def test_a_checkpoint_leaves_nothing_but_itself(tmp_path):
    save(tmp_path / "er" / "c", checkpoint_of())
    assert os.listdir(tmp_path / "er") == ["c"]
    assert sorted(os.listdir(tmp_path / "er" / "c")) == ["about.json", "manifest.json", "state"]


def test_a_checkpoint_is_written_though_others_remove_its_folders_while_they_are_empty(tmp_path, remover):
    folder = tmp_path / "checkpoints" / "run"
    remover(folder, folder.parent)
    for number in range(10):
        save(folder / f"{number}", checkpoint_of(), above=2)
        checkpoints.remove(folder / f"{number}")


def test_a_folder_that_vanished_is_not_made_again(tmp_path):
    with pytest.raises(OSError, match="No such file"):
        save(tmp_path / "gone" / "deeper" / "c", checkpoint_of())
    assert not (tmp_path / "gone").exists()


def test_a_manifest_names_every_other_file(original):
    stated = json.loads((original / "manifest.json").read_text())["files"]
    assert {original / name for name in stated} | {original / "manifest.json"} == set(files_of(original))
    assert "about.json" in stated and sum(name.startswith("state/") for name in stated) > 3


# A full disk.


@pytest.mark.parametrize("before", [False, True])
def test_a_full_disk_is_an_os_error_and_leaves_what_was_there(tmp_path, original, before):
    """A file that may not grow stands for a disk that is full; Orbax writes the arrays with code of its own."""
    target = tmp_path / "run" / "000000008"
    if before:
        shutil.copytree(original, target)
    large = {"large": np.random.default_rng(0).standard_normal(500_000).astype(np.float32)}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, limits[1]))
    try:
        with pytest.raises(OSError):
            save(target, checkpoint_of(9, state=large))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert os.listdir(target.parent) == [target.name] * before
    assert not before or read(target).iteration == 8


def test_a_place_that_can_not_be_written_is_an_os_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError):
        save(tmp_path / "file" / "c", checkpoint_of())


# Of another run.


@pytest.mark.parametrize(
    ("run", "seed", "words"),
    [
        (RUN.replace(lr=Constant(0.02)), 7, ["lr 0.01, not 0.02"]),
        (RUN.replace(length=iterations(13)), 7, ["length 12 iterations, not 13 iterations"]),
        (RUN.replace(mirror=False, batch_size=8), 7, ["mirror True, not False", "batch_size 16, not 8"]),
        (RUN.replace(start=Snapshot(RUN, iterations(4))), 7, ["start None, not ", " at 4 iterations"]),
        (RUN, 8, ["seed 7, not 8"]),
        (RUN.replace(momentum=0.5), 0, ["momentum 0.9, not 0.5", "seed 7, not 0"]),
    ],
)
def test_a_checkpoint_of_another_run_is_refused_with_what_differs(original, run, seed, words):
    with pytest.raises(UserError) as caught:
        load(original, run, seed, state_of())
    message = str(caught.value)
    assert len(message.splitlines()) == 1 and message.startswith(str(original))
    for word in words:
        assert word in message


# Damage.


def test_every_altered_bit_is_noticed(folder):
    rng = random.Random(0)
    places = [(path, at) for path in files_of(folder) for at in range(path.stat().st_size)]
    chosen = rng.sample(places, 150)
    assert {path for path, _ in chosen} >= {path for path in files_of(folder) if path.stat().st_size > 200}
    for path, at in chosen:
        content = path.read_bytes()
        path.write_bytes(content[:at] + bytes([content[at] ^ 1 << rng.randrange(8)]) + content[at + 1 :])
        damaged(folder)
        path.write_bytes(content)
    assert read(folder)


def test_every_truncated_lengthened_or_missing_file_is_noticed(folder):
    for path in files_of(folder):
        content = path.read_bytes()
        for other in (b"", content[: len(content) // 2], content[:-1], content + b"\0"):
            path.write_bytes(other)
            damaged(folder)
        path.unlink()
        damaged(folder)
        path.write_bytes(content)
    assert read(folder)


def test_every_file_that_is_no_plain_file_is_noticed(folder, tmp_path):
    for path in files_of(folder):
        moved = tmp_path / "moved"
        path.rename(moved)
        for make in (lambda p: p.symlink_to(tmp_path / "moved"), os.mkfifo, lambda p: p.symlink_to("/dev/zero")):
            make(path)
            damaged(folder)
            path.unlink()
        path.mkdir()
        damaged(folder)
        path.rmdir()
        moved.rename(path)
    assert read(folder)


def more_file(folder: Path) -> None:
    (folder / "state" / "more").touch()


def more_link(folder: Path) -> None:
    (folder / "more").symlink_to("about.json")


def more_folder_link(folder: Path) -> None:
    (folder / "state" / "more").symlink_to(folder / "state" / "d")


def more_broken_link(folder: Path) -> None:
    (folder / "more").symlink_to("gone")


def more_pipe(folder: Path) -> None:
    os.mkfifo(folder / "more")


def fewer_folders(folder: Path) -> None:
    shutil.rmtree(folder / "state")


def other_name(folder: Path) -> None:
    (folder / "about.json").rename(folder / "About.json")


def swapped(folder: Path) -> None:
    one, other = sorted((folder / "state" / "ocdbt.process_0" / "d").iterdir())[:2]
    content = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(content)


@pytest.mark.parametrize(
    "change", [more_file, more_link, more_folder_link, more_broken_link, more_pipe, fewer_folders, other_name, swapped]
)
def test_a_folder_with_other_files_is_noticed(folder, change):
    change(folder)
    damaged(folder)


def test_links_and_pipes_are_refused_even_if_the_manifest_has_them(folder):
    content = (folder / "about.json").read_bytes()
    (folder.parent / "about").write_bytes(content)
    (folder / "about.json").unlink()
    (folder / "about.json").symlink_to(folder.parent / "about")
    assert "not a plain file" in damaged(folder)
    (folder / "about.json").unlink()
    (folder / "about.json").write_bytes(content)
    (folder / "more").symlink_to("about.json")
    stated = json.loads((folder / "manifest.json").read_text())
    stated["files"]["more"] = stated["files"]["about.json"]
    (folder / "manifest.json").write_text(json.dumps(stated))
    assert "not a plain file" in damaged(folder)


@pytest.mark.parametrize("kind", ["missing", "empty", "file", "only arrays"])
def test_what_is_no_checkpoint_is_refused(tmp_path, original, kind):
    folder = tmp_path / "c"
    if kind == "file":
        folder.touch()
    elif kind == "only arrays":  # as versions before this one wrote them
        shutil.copytree(original / "state", folder)
    elif kind == "empty":
        folder.mkdir()
    damaged(folder)


def test_the_unaltered_copy_can_be_read(folder):
    sign(folder)
    assert bits(read(folder).state) == bits(state_of())


# Hostile checkpoints, whose manifest fits.


def alter(folder: Path, **changes: Any) -> None:
    """Changes entries of about.json; text is taken as it is."""
    about = json.loads((folder / "about.json").read_text())
    parts = {name: json.dumps(value) for name, value in about.items()} | changes
    (folder / "about.json").write_text("{" + ",".join(f'"{name}": {text}' for name, text in parts.items()) + "}")
    sign(folder)


@pytest.mark.parametrize("version", ['"0"', '"2"', "1", "null", "[]"])
def test_another_format_is_refused_with_its_version(folder, version):
    alter(folder, format=version)
    message = damaged(folder)
    assert str(json.loads(version)) in message and f"this program reads {checkpoints.FORMAT}" in message


NESTED = "[" * 100_000 + "]" * 100_000
HUGE = "1" + "0" * 400


@pytest.mark.parametrize(
    "text",
    ["", "null", "[]", "1", '"text"', "{", "{}", NESTED, '{"a":' * 50_000 + "1" + "}" * 50_000, "\xff", "NaN", HUGE],
    ids=lambda text: text[:8],
)
@pytest.mark.parametrize("name", ["about.json", "manifest.json"])
def test_hostile_json_is_damage(folder, name, text):
    (folder / name).write_text(text, encoding="latin-1")
    if name == "about.json":
        sign(folder)
    damaged(folder)


@pytest.mark.parametrize(
    "change",
    [
        {"seed": "Infinity"},
        {"seed": "NaN"},
        {"seed": "1e999"},
        {"seed": "null"},
        {"seed": '"x"'},
        {"iteration": "-Infinity"},
        {"iteration": "[8]"},
        {"iteration": "-1"},
        {"iteration": "13"},
        {"iteration": HUGE},
        {"last_test": "Infinity"},
        {"last_test": "{}"},
        {"rows": "{}", "timing": "[]"},
        {"rows": "1"},
        {"rows": "[1]"},
        {"rows": "[[1]]"},
        {"rows": '[{"a": "x"}]'},
        {"rows": '[{"a": null}]'},
        {"rows": f'[{{"a": {HUGE}}}]'},
        {"rows": NESTED},
        {"timing": "[]"},
        {"timing": f'{{"seconds": {HUGE}}}'},
        {"timing": '{"seconds": "x"}'},
        {"run": "null"},
        {"run": '"{}"'},
        {"run": '""'},
        {"run": "{}"},
        {"run": json.dumps(NESTED)},
        {"run": json.dumps('{"type":"Length"}')},
        {"format": '"2\\nsmith: all is well"'},
        {"format": '"' + "x" * 100_000 + '"'},
    ],
    ids=lambda change: next(f"{name} {text[:12]}" for name, text in change.items()),
)
def test_hostile_entries_are_damage(folder, change):
    alter(folder, **change)
    damaged(folder)


@pytest.mark.parametrize("name", ["seed", "iteration", "last_test", "rows", "timing", "run", "format"])
def test_a_missing_entry_is_damage(folder, name):
    about = json.loads((folder / "about.json").read_text())
    del about[name]
    (folder / "about.json").write_text(json.dumps(about))
    sign(folder)
    damaged(folder)


def test_a_message_of_a_hostile_run_is_one_line(folder):
    run = json.dumps(RUN.to_json().replace('"mirror":true', '"mirror":"no\\nsmith: all is well"'))
    alter(folder, run=run)
    with pytest.raises((DamagedCheckpoint, UserError)) as caught:
        read(folder)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("name", ["about.json", "manifest.json"])
def test_json_that_is_too_large_is_not_read(folder, name, monkeypatch):
    with (folder / name).open("r+b") as file:
        file.truncate(checkpoints.SPARE_BYTES + 1)
    monkeypatch.setattr(Path, "read_text", None)
    assert f"{name} is too large" in damaged(folder)


def test_a_folder_that_is_too_large_for_its_arrays_is_not_read(folder, monkeypatch):
    with (folder / "more").open("wb") as file:
        file.truncate(checkpoints.SPARE_BYTES)
    sign(folder)
    monkeypatch.setattr(ocp, "StandardCheckpointer", None)
    assert "too large" in damaged(folder)


@pytest.fixture
def restored(monkeypatch) -> list[str]:
    """Whether arrays were read."""
    seen = []
    restore = ocp.StandardCheckpointer.restore

    def seeing(*words: Any, **options: Any) -> Any:
        seen.append("restored")
        return restore(*words, **options)

    monkeypatch.setattr(ocp.StandardCheckpointer, "restore", seeing)
    return seen


def without(name: str) -> Any:
    state = state_of()
    del state[name]
    return state


@pytest.mark.parametrize(
    "state",
    [
        state_of() | {"loss_sum": np.float32([2.5])},
        state_of() | {"loss_sum": np.int32(2)},
        state_of() | {"loss_sum": np.float16(2)},
        state_of() | {"rest": {"mean": np.zeros((2, 2), np.float32)}},
        state_of() | {"rest": {"mean": np.zeros(5, np.float32)}},
        state_of() | {"rest": {"mean": np.zeros(3, np.float32)}},
        state_of() | {"rest": {"variance": np.zeros(4, np.float32)}},
        state_of() | {"more": np.zeros(1, np.float32)},
        without("loss_sum"),
        without("params"),
    ],
    ids=str,
)
def test_other_arrays_than_the_runs_are_refused_unread(tmp_path, state, restored):
    save(tmp_path / "c", checkpoint_of(state=state))
    assert "not those of this run's network" in damaged(tmp_path / "c")
    assert restored == []


def declare(folder: Path, name: str, **changes: Any) -> None:
    """Changes what the checkpoint's array store says of an array, but not its data."""
    spec = {"driver": "ocdbt", "base": f"file://{folder / 'state'}/"}
    store = tensorstore.KvStore.open(spec).result()
    about = json.loads(store.read(f"{name}/.zarray").result().value)
    store.write(f"{name}/.zarray", json.dumps(about | changes).encode()).result()
    sign(folder)


@pytest.mark.parametrize(
    "changes",
    [
        {"shape": [2**20, 2**20], "chunks": [2**20, 2**20]},
        {"shape": [2**40, 3]},
        {"chunks": [2**20, 2**16]},
        {"chunks": [1, 3]},
        {"chunks": [4, 3]},
        {"dtype": "<f8"},
        {"dtype": "<i4"},
        {"dtype": "|S1000000"},
        {"shape": [3, 2], "chunks": [3, 2]},
    ],
    ids=str,
)
def test_arrays_that_are_declared_otherwise_are_refused_unread(folder, restored, changes):
    declare(folder, "params/conv/kernel", **changes)
    damaged(folder)
    assert restored == []


def test_arrays_that_are_declared_as_they_are_can_be_read(folder):
    declare(folder, "params/conv/kernel")
    assert bits(read(folder).state) == bits(state_of())


def test_an_array_without_its_data_is_refused_or_read_as_the_store_says(folder):
    store = tensorstore.KvStore.open({"driver": "ocdbt", "base": f"file://{folder / 'state'}/"}).result()
    for key in store.list().result():
        if b"kernel" in key and b".zarray" not in key:
            store.write(key, None).result()
    sign(folder)
    try:
        found = read(folder)
    except DamagedCheckpoint:
        return
    assert found.state["params"]["conv"]["kernel"].shape == (2, 3)


@pytest.mark.parametrize("kind", ["None", "Dict", "scalar", "string", "jax.Array", "os.system", "skipped"])
def test_orbax_does_not_make_anything_but_the_runs_arrays(folder, kind):
    path = folder / "state" / "_METADATA"
    about = json.loads(path.read_text())
    for entry in about["tree_metadata"].values():
        entry["value_metadata"] |= {"skip_deserialize": True} if kind == "skipped" else {"value_type": kind}
    path.write_text(json.dumps(about))
    sign(folder)
    try:
        found = read(folder)
    except DamagedCheckpoint:
        return
    assert bits(found.state) == bits(state_of())
    assert all(isinstance(leaf, np.ndarray | np.generic | jax.Array) for leaf in jax.tree.leaves(found.state))


@pytest.mark.parametrize("name", ["_METADATA", "_CHECKPOINT_METADATA", "manifest.ocdbt"])
@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"null", NESTED.encode(), b"\xff\0"], ids=repr)
def test_hostile_files_of_orbax_are_damage_or_do_not_matter(folder, name, content):
    (folder / "state" / name).write_bytes(content)
    sign(folder)
    try:
        found = read(folder)
    except DamagedCheckpoint as error:
        assert len(str(error).splitlines()) == 1
    else:
        assert bits(found.state) == bits(state_of())


# Nothing is executed.

PACKAGE = Path(checkpoints.__file__).parent
# Parsed before any test: `ast.parse` of Python 3.11 fails if a traceback is printed while it collects garbage, and
# Orbax leaves tasks behind whose errors are printed then.
MODULES = {path.relative_to(PACKAGE).as_posix(): ast.parse(path.read_text()) for path in sorted(PACKAGE.rglob("*.py"))}
FORBIDDEN = {"pickle", "_pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve", "joblib", "copyreg"}


@pytest.mark.parametrize("name", MODULES)
def test_no_module_unpickles_or_evaluates_what_it_reads(name):
    for node in ast.walk(MODULES[name]):
        if isinstance(node, ast.Import):
            assert not FORBIDDEN & {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert (node.module or "").split(".")[0] not in FORBIDDEN
            assert not FORBIDDEN & {alias.name for alias in node.names}
        elif isinstance(node, ast.Call):
            called = getattr(node.func, "id", getattr(node.func, "attr", ""))
            assert called not in ("eval", "exec", "__import__", "read_pickle", "unsafe_load")
            for keyword in node.keywords:
                assert keyword.arg != "allow_pickle" or getattr(keyword.value, "value", None) is False


def test_reading_unpickles_nothing(original, tmp_path, monkeypatch):
    row = dict.fromkeys(results.COLUMNS, 1)
    result = results.write(tmp_path, RUN, 0, "done", [row], {})

    def unpickled(*_: Any, **__: Any) -> None:
        raise SystemExit("unpickled")

    for name in ("load", "loads", "Unpickler", "_Unpickler", "_load", "_loads"):
        monkeypatch.setattr(pickle, name, unpickled)
    assert read(original).iteration == 8
    assert results.read(result).run == RUN


# The keeper.


@pytest.fixture
def clock(monkeypatch) -> Callable[..., float]:
    """Returns the time, moved on by so many seconds."""
    now = [1000.0]

    def move(seconds: float = 0.0) -> float:
        now[0] += seconds
        return now[0]

    monkeypatch.setattr(checkpoints, "time", SimpleNamespace(perf_counter=move))
    return move


class Saving:
    """Stands for `save`: makes a folder and remembers what was to be in it."""

    def __init__(self) -> None:
        self.saved: list[Checkpoint] = []
        self.go = threading.Event()
        self.go.set()
        self.begun = threading.Event()
        self.error: Exception | None = None
        self.cost: Callable[[], object] = lambda: None

    def __call__(self, folder: Path, checkpoint: Checkpoint, above: int) -> None:
        self.begun.set()
        assert self.go.wait(10)
        self.cost()
        if self.error:
            raise self.error
        folder.mkdir(parents=True)
        self.saved.append(checkpoint)


@pytest.fixture
def saving(monkeypatch) -> Saving:
    saving = Saving()
    monkeypatch.setattr(checkpoints, "save", saving)
    return saving


@pytest.fixture
def keeper_of(tmp_path):
    """Returns a function that makes a keeper, which is closed in the end."""
    keepers = []

    def make(every: float = 0.0) -> Keeper:
        keepers.append(Keeper(tmp_path / "run", every))
        return keepers[-1]

    yield make
    for keeper in keepers:
        keeper._saving = None
        keeper.close()


def kept(folder: Path) -> list[int]:
    return [int(path.name) for path in checkpoints.saved(folder)]


def test_a_checkpoint_is_due_every_so_often(keeper_of, saving, clock):
    keeper = keeper_of(100)
    assert not keeper.due()
    clock(99.5)
    assert not keeper.due()
    clock(0.5)
    assert keeper.due() and keeper.due()
    keeper.keep(checkpoint_of(1), wait=True)
    assert not keeper.due()
    clock(99.5)
    assert not keeper.due()
    clock(0.5)
    assert keeper.due()


def test_a_checkpoint_that_takes_long_comes_less_often(keeper_of, saving, clock):
    keeper = keeper_of(100)
    saving.cost = lambda: clock(5)
    keeper.keep(checkpoint_of(1), wait=True)
    clock(5 / checkpoints.SHARE - 1)
    assert not keeper.due()
    clock(1)
    assert keeper.due()
    saving.cost = lambda: None
    keeper.keep(checkpoint_of(2), wait=True)
    clock(100)
    assert keeper.due()


def test_the_time_of_copying_counts_too(keeper_of, saving, clock, monkeypatch):
    keeper = keeper_of(1)
    monkeypatch.setattr(checkpoints, "to_host", lambda state: clock(2) and state)
    keeper.keep(checkpoint_of(1), wait=True)
    clock(2 / checkpoints.SHARE - 1)
    assert not keeper.due()
    clock(1)
    assert keeper.due()


def test_checkpoints_cost_a_small_share_of_the_time():
    assert 0 < checkpoints.SHARE <= 0.05


def test_keeping_does_not_wait_for_the_disk(keeper_of, saving, clock, tmp_path):
    keeper = keeper_of(10)
    saving.go.clear()
    keeper.keep(checkpoint_of(1))
    assert saving.begun.wait(5) and kept(tmp_path / "run") == []
    clock(1e6)
    assert not keeper.due()
    saving.go.set()
    keeper.close()
    assert kept(tmp_path / "run") == [1]


def test_keeping_waits_when_it_is_told_to(keeper_of, saving, tmp_path):
    keeper_of().keep(checkpoint_of(1), wait=True)
    assert kept(tmp_path / "run") == [1]


def test_a_second_checkpoint_waits_for_the_first(keeper_of, saving, tmp_path):
    keeper = keeper_of()
    saving.go.clear()
    keeper.keep(checkpoint_of(1))
    threading.Timer(0.1, saving.go.set).start()
    keeper.keep(checkpoint_of(2))
    assert kept(tmp_path / "run")[0] == 1
    keeper.close()
    assert kept(tmp_path / "run") == [1, 2]


def test_the_last_two_are_kept(keeper_of, saving, tmp_path):
    keeper = keeper_of()
    for iteration, expected in ((3, [3]), (50, [3, 50]), (700, [50, 700]), (100_000, [700, 100_000])):
        keeper.keep(checkpoint_of(iteration), wait=True)
        assert kept(tmp_path / "run") == expected


@pytest.mark.parametrize("left", [[8], [8, 9], [8, 9, 10]])
def test_what_is_kept_is_not_removed_in_favour_of_what_can_not_be_used(keeper_of, saving, tmp_path, left):
    """Later checkpoints may be there: damaged ones, or those of a run that begins again for an earlier snapshot."""
    for iteration in left:
        (tmp_path / "run" / f"{iteration:09d}").mkdir(parents=True)
    keeper = keeper_of()
    keeper.keep(checkpoint_of(2), wait=True)
    assert 2 in kept(tmp_path / "run")
    keeper.keep(checkpoint_of(4), wait=True)
    assert 4 in kept(tmp_path / "run")


def test_what_is_kept_is_the_state_of_that_moment(keeper_of, saving):
    keeper = keeper_of()
    saving.go.clear()
    host, device, rows = np.zeros(3, np.float32), jnp.zeros(3), [{"iteration": 1.0}]
    keeper.keep(checkpoint_of(1, state={"host": host, "device": device}, rows=rows))
    host += 1
    rows.append({"iteration": 2.0})
    jax.jit(lambda x: x + 1, donate_argnums=0)(device).block_until_ready()
    saving.go.set()
    keeper.close()
    (found,) = saving.saved
    assert not found.state["host"].any() and not np.asarray(found.state["device"]).any()
    assert found.rows == [{"iteration": 1.0}]
    assert (found.run, found.seed, found.iteration, found.last_test) == (RUN, 7, 1, 4)
    assert found.timing == TIMING


@pytest.mark.parametrize("how", ["due", "keep", "close"])
def test_a_failure_in_the_background_is_told_at_the_next_occasion(keeper_of, saving, how):
    keeper = keeper_of()
    saving.error = OSError(28, "No space left on device")
    keeper.keep(checkpoint_of(1))
    keeper._saving.exception(timeout=10)
    with pytest.raises(OSError, match="No space left"):
        {"due": keeper.due, "keep": lambda: keeper.keep(checkpoint_of(2)), "close": keeper.close}[how]()


def test_a_failure_is_told_at_once_when_waited_for(keeper_of, saving):
    keeper = keeper_of()
    saving.error = OSError(28, "No space left on device")
    with pytest.raises(OSError, match="No space left"):
        keeper.keep(checkpoint_of(1), wait=True)
    keeper.close()


def test_a_closed_keeper_has_no_thread(keeper_of, saving):
    before = threading.active_count()
    keeper = keeper_of()
    keeper.keep(checkpoint_of(1))
    keeper.close()
    assert threading.active_count() == before
    keeper_of().close()


@pytest.fixture
def three(original, tmp_path) -> Path:
    """A run's folder with three checkpoints."""
    for iteration in (4, 8, 10):
        shutil.copytree(original, tmp_path / "run" / f"{iteration:09d}")
        alter(tmp_path / "run" / f"{iteration:09d}", iteration=str(iteration))
    return tmp_path / "run"


def newest(keeper: Keeper, latest: int = 12, seed: int = 7) -> tuple[int | None, list[str]]:
    warnings = []
    found = keeper.newest(RUN, seed, state_of(1), latest, warnings.append)
    return found and found.iteration, warnings


@pytest.mark.parametrize(
    ("latest", "expected"), [(12, 10), (10, 10), (9, 8), (8, 8), (7, 4), (4, 4), (3, None), (0, None)]
)
def test_the_newest_checkpoint_not_later_than_asked_is_found(keeper_of, three, latest, expected):
    assert newest(keeper_of(), latest) == (expected, [])


def test_damaged_checkpoints_are_told_skipped_and_left(keeper_of, three):
    for iteration, expected in ((10, 8), (8, 4), (4, None)):
        with (three / f"{iteration:09d}" / "about.json").open("ab") as file:
            file.write(b" ")
        found, warnings = newest(keeper_of())
        assert found == expected
        assert f"{iteration:09d}" in warnings[-1] and all(len(line.splitlines()) == 1 for line in warnings)
    assert len(warnings) == 3
    assert kept(three) == [4, 8, 10]


def test_checkpoints_of_another_run_are_not_skipped(keeper_of, three):
    with pytest.raises(UserError, match="seed 7, not 1"):
        newest(keeper_of(), seed=1)


def test_without_a_folder_there_is_no_checkpoint(keeper_of):
    assert newest(keeper_of()) == (None, [])


def test_only_folders_with_a_number_are_checkpoints(tmp_path):
    for name in ("000000005", "000000040", "00000004", "0000000004", "00000004x", ".000000004", "a"):
        (tmp_path / name).mkdir()
    (tmp_path / "000000001").touch()
    assert kept(tmp_path) == [5, 40]
    assert checkpoints.saved(tmp_path / "missing") == []


def test_removing_a_runs_checkpoints_removes_the_folder_they_are_in_with_the_last(tmp_path):
    for name in ("one", "two"):
        (tmp_path / "checkpoints" / name / "000000001").mkdir(parents=True)
    checkpoints.remove(tmp_path / "checkpoints" / "one")
    assert os.listdir(tmp_path / "checkpoints") == ["two"]
    checkpoints.remove(tmp_path / "checkpoints" / "two")
    assert os.listdir(tmp_path) == []
    checkpoints.remove(tmp_path / "checkpoints" / "two")


def test_every_run_and_seed_has_a_place_of_its_own(tmp_path):
    child, later = (RUN.replace(start=Snapshot(RUN, iterations(at))) for at in (4, 5))
    places = [checkpoints.path_of(tmp_path, run, seed) for run in (RUN, child, later) for seed in (0, 1)]
    places += [checkpoints.snapshot_of(tmp_path, run, seed) for run in (child, later) for seed in (0, 1)]
    assert len(set(places)) == 10
    same = child.replace(lr=Constant(0.5))
    assert checkpoints.snapshot_of(tmp_path, same, 0) == checkpoints.snapshot_of(tmp_path, child, 0)


def test_a_link_to_nowhere_is_in_the_place_of_a_checkpoint(tmp_path):
    assert not checkpoints.exists(tmp_path / "c")
    (tmp_path / "c").symlink_to("gone")
    assert checkpoints.exists(tmp_path / "c")


# Runs that go on.


@pytest.fixture(scope="module")
def mnist() -> Problem:
    return problem_of("mnist", 100, 110)


@pytest.fixture(scope="module")
def cifar() -> Problem:
    return problem_of("cifar10", 60, 50)


class Watcher:
    def __init__(self) -> None:
        self.begun: list[int] = []
        self.warnings: list[str] = []
        self.rows: list[dict[str, float]] = []

    def resumed(self, iteration: int) -> None:
        self.begun.append(iteration)

    def iterated(self, iteration: int, loss: float) -> None: ...

    def testing(self) -> None: ...

    def tested(self, row: dict[str, float]) -> None:
        self.rows.append(row)

    def warn(self, message: str) -> None:
        self.warnings.append(message)


class Stop:
    """Says stop at its k-th call, counted from 0."""

    def __init__(self, at: int | None = None) -> None:
        self.at, self.calls = at, 0

    def __call__(self, seconds: float) -> bool:
        assert seconds >= 0
        self.calls += 1
        return self.calls - 1 == self.at


HYPERPARAMETERS = functools.cache(loop.hyperparameters)  # which compiles


@pytest.fixture
def run_once(tmp_path, monkeypatch):
    """Returns a function that trains with checkpoints, and its state at the end, if it gets there."""
    monkeypatch.setattr(loop, "EVALUATION_BATCH", 40)  # 100 images are three batches
    monkeypatch.setattr(loop, "hyperparameters", HYPERPARAMETERS)
    ends: list[Any] = []
    write = checkpoints.save

    def save_or_remember(folder: Path, checkpoint: Checkpoint, above: int = 1) -> None:
        if folder == Path("memory"):
            ends.append(checkpoints.to_host(checkpoint.state))
        else:
            write(folder, checkpoint, above)

    monkeypatch.setattr(checkpoints, "save", save_or_remember)

    def once(run: Run, problem: Problem, stop: Any = None, every: float = 1e9, **options: Any) -> tuple[Outcome, Any]:
        keeper = Keeper(tmp_path / "run", every)
        ends.clear()
        options.setdefault("snapshots", {run.iterations: Path("memory")})
        try:
            outcome = train(run, 3, problem, keeper=keeper, stop=stop or Stop(), **options)
        finally:
            keeper.close()
        return outcome, ends[-1] if ends else None

    return once


def result(outcome: Outcome, state: Any) -> Any:
    """Returns all that has to be equal, as what can be compared."""
    rows = [{name: np.float64(value).tobytes() for name, value in row.items()} for row in outcome.rows]
    return outcome.status, outcome.non_finite, rows, state and bits(state)


def forget(tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "run", ignore_errors=True)


@pytest.fixture(scope="module")
def uninterrupted() -> dict[Any, Any]:
    """The results of runs without a stop."""
    return {}


CALLS = 12 + 3 * 3  # one for each iteration, one for each batch of the tests
ONE_CYCLE = RUN.replace(lr=OneCycle(0.001, 0.01, 0.45), momentum=0.9, weight_decay=5e-4)


@pytest.mark.parametrize("at", range(CALLS))
def test_a_run_stopped_anywhere_goes_on_as_if_it_had_not_been(run_once, mnist, tmp_path, uninterrupted, at):
    run = ONE_CYCLE.replace(moving_test=True)
    if run not in uninterrupted:
        stop = Stop()
        uninterrupted[run] = result(*run_once(run, mnist, stop))
        assert stop.calls == CALLS and kept(tmp_path / "run") == []
    part, _ = run_once(run, mnist, Stop(at))
    assert part.status == "stopped"
    assert len(kept(tmp_path / "run")) == (at > 0)
    watcher = Watcher()
    whole = run_once(run, mnist, watcher=watcher)
    assert watcher.begun == kept(tmp_path / "run") and watcher.warnings == []
    assert part.rows + watcher.rows == whole[0].rows
    assert result(*whole) == uninterrupted[run]


def test_a_run_stopped_again_and_again_ends_the_same(run_once, mnist, tmp_path):
    expected = result(*run_once(ONE_CYCLE, mnist))
    watcher, times = Watcher(), 0
    while (outcome := run_once(ONE_CYCLE, mnist, Stop(4), watcher=watcher))[0].status == "stopped":
        times += 1
        assert times < 20
    assert times >= 4
    assert watcher.begun == sorted(watcher.begun)
    assert [row["iteration"] for row in watcher.rows] == [4, 8, 12]
    assert len(kept(tmp_path / "run")) <= checkpoints.KEPT
    assert result(*outcome) == expected


class Killed(Exception):
    pass


@pytest.mark.parametrize("at", [3, 10, 18])
def test_a_run_that_was_killed_goes_on_from_its_last_checkpoint(run_once, mnist, tmp_path, monkeypatch, at):
    monkeypatch.setattr(checkpoints, "SHARE", math.inf)
    expected = result(*run_once(ONE_CYCLE, mnist))

    def kill(_: float) -> bool:
        calls.append(1)
        time.sleep(0.02)
        if len(calls) > at:
            raise Killed
        return False

    calls: list[int] = []
    with pytest.raises(Killed):
        run_once(ONE_CYCLE, mnist, kill, every=0.0)
    assert kept(tmp_path / "run")
    watcher = Watcher()
    assert result(*run_once(ONE_CYCLE, mnist, watcher=watcher)) == expected
    assert watcher.begun == [kept(tmp_path / "run")[-1]]


def test_a_damaged_checkpoint_costs_only_time(run_once, mnist, tmp_path):
    expected = result(*run_once(ONE_CYCLE, mnist))
    run_once(ONE_CYCLE, mnist, Stop(3))
    run_once(ONE_CYCLE, mnist, Stop(8))
    early, late = checkpoints.saved(tmp_path / "run")
    (late / "about.json").write_text("{}")
    watcher = Watcher()
    assert result(*run_once(ONE_CYCLE, mnist, watcher=watcher)) == expected
    assert watcher.begun == [int(early.name)] and len(watcher.warnings) == 1


def test_a_damaged_checkpoint_is_replaced_when_the_run_gets_there_again(run_once, mnist, tmp_path):
    expected = result(*run_once(ONE_CYCLE, mnist))
    run_once(ONE_CYCLE, mnist, Stop(3))
    (checkpoints.saved(tmp_path / "run")[0] / "about.json").write_text("{}")
    watcher = Watcher()
    assert run_once(ONE_CYCLE, mnist, Stop(3), watcher=watcher)[0].status == "stopped"
    assert kept(tmp_path / "run") == [3] and watcher.begun == []
    assert result(*run_once(ONE_CYCLE, mnist, watcher=watcher)) == expected
    assert watcher.begun == [3]


def test_a_run_with_batch_statistics_and_dropout_goes_on_the_same(run_once, cifar, tmp_path):
    run = Run("cifar10", "densenet-7", 8, iterations(6), 0.01, ghost_batch_size=4, mirror=True, width=0.25,
              test_every=iterations(2), moving_test=True, test_images=30)  # fmt: skip
    stop = Stop()
    expected = result(*run_once(run, cifar, stop))
    for at in range(1, stop.calls, 3):
        forget(tmp_path)
        assert run_once(run, cifar, Stop(at))[0].status == "stopped"
        assert result(*run_once(run, cifar)) == expected


@pytest.mark.parametrize("at", [4, 6, 8, 11])
def test_a_run_from_a_snapshot_goes_on_the_same(run_once, mnist, tmp_path, at):
    run_once(RUN, mnist, snapshots={5: tmp_path / "at5"}, until=5)
    forget(tmp_path)
    child = ONE_CYCLE.replace(start=Snapshot(RUN, iterations(5)))
    expected = result(*run_once(child, mnist, start=tmp_path / "at5"))
    part, _ = run_once(child, mnist, Stop(at), start=tmp_path / "at5")
    assert part.status == "stopped" and kept(tmp_path / "run")
    watcher = Watcher()
    assert result(*run_once(child, mnist, watcher=watcher, start=tmp_path / "missing")) == expected
    assert watcher.begun == kept(tmp_path / "run")


@pytest.mark.parametrize("at", [2, 7, 11])
def test_a_run_that_diverges_after_it_went_on_does_so_as_it_would_have(run_once, mnist, tmp_path, at):
    run = RUN.replace(lr=Multistep(0.01, 1e15, (0.5,)))
    expected = result(*run_once(run, mnist))
    assert expected[0] == "diverged" and expected[1] and len(expected[2]) == 2
    part, _ = run_once(run, mnist, Stop(at))
    assert part.status == "stopped" and kept(tmp_path / "run")
    assert result(*run_once(run, mnist)) == expected


def test_a_snapshot_before_the_last_checkpoint_is_made_from_an_earlier_one(run_once, mnist, tmp_path):
    run_once(RUN, mnist, snapshots={5: tmp_path / "expected"}, until=5)
    forget(tmp_path)
    run_once(RUN, mnist, Stop(3))
    run_once(RUN, mnist, Stop(10))
    early, late = kept(tmp_path / "run")
    assert early < 5 < late
    watcher = Watcher()
    run_once(RUN, mnist, snapshots={5: tmp_path / "found"}, until=5, watcher=watcher)
    assert watcher.begun == [early]
    expected, found = (load(tmp_path / name, RUN, 3, loop.program_of(RUN).init(3)) for name in ("expected", "found"))
    assert bits(found.state) == bits(expected.state)
    assert (found.iteration, found.rows, found.last_test) == (5, expected.rows, 4)


def test_progress_towards_a_snapshot_is_kept_beside_later_checkpoints(run_once, mnist, tmp_path):
    """A run that has checkpoints is begun again for a snapshot before them, and stopped on the way there."""
    run_once(RUN, mnist, Stop(11))
    run_once(RUN, mnist, Stop(6))
    assert len(kept(tmp_path / "run")) == 2
    path = tmp_path / "at5"
    assert run_once(RUN, mnist, Stop(4), snapshots={5: path}, until=5)[0].status == "stopped"
    watcher = Watcher()
    assert run_once(RUN, mnist, snapshots={5: path}, until=5, watcher=watcher)[0].status == "done"
    assert watcher.begun == [4]


def test_a_stopped_run_tells_the_time_of_all_its_parts(run_once, mnist, tmp_path):
    run_once(RUN, mnist, Stop(9))
    (folder,) = checkpoints.saved(tmp_path / "run")
    part = read_about(folder).timing
    whole = vars(run_once(RUN, mnist)[0])
    assert whole["timed_iterations"] == 12 - 2  # the first of each part is compilation
    assert part["timed_iterations"] == int(folder.name) - 1
    assert all(whole[name] > seconds > 0 for name, seconds in part.items())
    assert whole["seconds"] > whole["training_seconds"]


def test_a_checkpoint_of_another_seed_is_not_gone_on_from(run_once, mnist, tmp_path):
    run_once(RUN, mnist, Stop(3))
    keeper = Keeper(tmp_path / "run", 1e9)
    with pytest.raises(UserError, match="seed 3, not 4"):
        train(RUN, 4, mnist, keeper=keeper)
    keeper.close()


def test_a_full_disk_ends_a_run_with_an_os_error(run_once, mnist, monkeypatch):
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints, "save", full)
    monkeypatch.setattr(checkpoints, "SHARE", math.inf)
    with pytest.raises(OSError, match="No space left"):
        run_once(RUN, mnist, every=0.0, snapshots={})
    with pytest.raises(OSError, match="No space left"):
        run_once(RUN, mnist, Stop(3), snapshots={})
