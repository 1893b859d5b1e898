"""Datasets from any file, and their cache: checked, in order, made once, and made again where it is damaged."""

import errno
import hashlib
import os
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from smith import data
from smith.data import DATASETS, SPLITS, Arrays, cache_file, dataset, load, prepare
from smith.data.cache import in_order
from smith.errors import UserError

SHAPE = (4, 5, 3)
RANDOM = np.random.default_rng(0)
PIXELS = RANDOM.integers(0, 256, (40, *SHAPE), np.uint8)
LABELS = RANDOM.permutation(np.linspace(0, 299, 40).astype(np.int64))  # more classes than a byte holds
CALLS: list[str] = []


@pytest.fixture
def own():
    """Registers a dataset of 40 training and 10 test images in 300 classes; returns the function that does so."""
    before = [(table, dict(table)) for table in (DATASETS, DATASETS.origins)]
    CALLS.clear()

    def register(images=PIXELS, labels=LABELS, classes=300, pause=0.0):
        @dataset("own", image_shape=SHAPE, classes=classes, train_images=40, test_images=10, preprocessing="none")
        def own(split: data.Split, data_dir: Path) -> Arrays:
            CALLS.append(split)
            time.sleep(pause)
            return Arrays(images, labels) if split == "train" else Arrays(images[:10], labels[:10])

    register()
    yield register
    for table, entries in before:
        table.clear()
        table.update(entries)


def same(one: Arrays, other: tuple[np.ndarray, np.ndarray]) -> bool:
    return one.labels.dtype == np.int32 and all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_an_own_dataset_is_read_once_and_keeps_its_large_labels(own, tmp_path, capsys):
    expected = in_order(PIXELS, LABELS)
    for _ in range(2):
        assert same(load("own", "train", tmp_path), expected)
    assert CALLS == ["train"] and expected[1].max() == 299
    assert [file.name for file in (tmp_path / "smith-cache").iterdir()] == ["own-train.npz"]
    assert capsys.readouterr() == ("", "")


def test_prepare_fills_the_cache_and_prints_a_line_each(own, tmp_path, capsys):
    prepare(["own"], tmp_path)
    assert capsys.readouterr().out == f"own: 40 training and 10 test images in {tmp_path}\n"
    assert all(cache_file("own", split, tmp_path).exists() for split in SPLITS)
    with pytest.raises(UserError, match="cifar1O'.*did you mean 'cifar10'"):
        prepare(["own", "cifar1O"], tmp_path)
    assert capsys.readouterr().out == ""


def test_one_makes_the_cache_while_the_others_wait(own, tmp_path):
    own(pause=0.3)
    loaded = []
    threads = [threading.Thread(target=lambda: loaded.append(load("own", "test", tmp_path))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert CALLS == ["test"] and all(same(each, loaded[0]) for each in loaded) and len(loaded) == 3


WRONG = {
    "images float64 and labels int64, not uint8 and integers": {"images": PIXELS / 255},
    "images uint8 and labels float64": {"labels": LABELS / 1},
    "images .39, 4, 5, 3. and labels .40,., not .40, 4, 5, 3. and .40,.": {"images": PIXELS[1:]},
    "labels .39,., not .* and .40,.": {"labels": LABELS[1:]},
    "labels 0 to 299, not 0 to 9": {"classes": 10},
    "labels -1 to 298, not 0 to 299": {"labels": LABELS - 1},
}


@pytest.mark.parametrize("message", WRONG)
def test_arrays_that_are_not_as_declared(message, own, tmp_path):
    own(**WRONG[message])
    with pytest.raises(UserError, match=f"own train in {tmp_path} is not right \\(.*{message}"):
        load("own", "train", tmp_path)
    assert not cache_file("own", "train", tmp_path).exists()


def test_a_function_that_can_not_read_its_file(own, tmp_path):
    dataset("gone", image_shape=SHAPE, classes=2, train_images=1, test_images=1)(lambda *_: np.load("gone.npz"))
    with pytest.raises(UserError, match="gone train in .* is not right .*No such file or directory: 'gone.npz'"):
        load("gone", "train", tmp_path)


def test_names_that_are_unknown_or_taken(own, tmp_path):
    with pytest.raises(UserError, match="unknown dataset 'cifar-10': did you mean 'cifar10'"):
        load("cifar-10", "train", tmp_path)
    with pytest.raises(UserError, match="unknown split 'tests': did you mean 'test'"):
        load("mnist", "tests", tmp_path)  # pyright: ignore
    facts = {"image_shape": SHAPE, "classes": 2, "train_images": 1, "test_images": 1}
    with pytest.raises(UserError, match="unknown preprocessing 'mean-image': did you mean 'mean_image'"):
        dataset("other", **facts, preprocessing="mean-image")  # pyright: ignore
    with pytest.raises(UserError, match="dataset 'mnist' is smith.data.mnist already"):
        dataset("mnist", **facts)(lambda *_: Arrays(PIXELS, LABELS))


def test_the_order_is_by_digest_with_one_byte_for_a_label_below_256():
    images, labels = in_order(PIXELS, LABELS)
    suffixes = [bytes([label]) if label < 256 else bytes([label - 256, 1, 0, 0]) for label in labels.tolist()]
    digests = [hashlib.sha256(image.tobytes() + end).digest() for image, end in zip(images, suffixes, strict=True)]
    assert digests == sorted(digests)
    assert same(Arrays(*in_order(PIXELS[::-1], LABELS[::-1])), (images, labels))


def test_the_order_of_the_files_is_that_of_the_whole_set_alone_and_checked(own, tmp_path):
    file, order = tmp_path / "order.npy", RANDOM.permutation(40)
    whole, part = data.Selection("own"), data.Selection("own", train_images=30)
    assert data.stored_order(whole, 40).tolist() == [*range(40)]  # not known: as they are loaded
    DATASETS["own"].order = file
    with pytest.raises(UserError, match="the order of own.*No such file.*mend the file, or leave order out"):
        data.stored_order(whole, 40)
    np.save(file, order)
    assert data.stored_order(whole, 40).tolist() == order.tolist()
    assert data.stored_order(part, 30).tolist() == [*range(30)]
    for wrong in (order[1:], np.zeros(40), order - 1):
        np.save(file, wrong)
        with pytest.raises(UserError, match="not each of the places 0 to 39 once"):
            data.stored_order(whole, 40)


def test_default_data_dir(monkeypatch, tmp_path):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    assert data.default_data_dir() == tmp_path
    monkeypatch.delenv("TFDS_DATA_DIR")
    assert data.default_data_dir() == Path.home() / "tensorflow_datasets"


# --- caches: old, damaged, out of reach ---


@pytest.fixture
def cached(own, tmp_path) -> Path:
    own(labels=LABELS % 256)
    load("own", "train", tmp_path)
    CALLS.clear()
    return cache_file("own", "train", tmp_path)


def members(file: Path) -> dict[str, np.ndarray]:
    with np.load(file) as content:
        return dict(content)


@pytest.mark.parametrize("said", [{}, {"sha256": np.array("of labels of a byte")}], ids=["elsewhere", "before"])
def test_a_cache_that_was_written_elsewhere_or_by_an_earlier_version_is_put_in_order(said, cached, tmp_path):
    np.savez(cached, images=PIXELS, labels=(LABELS % 256).astype(np.uint8), **said)
    assert same(load("own", "train", tmp_path), in_order(PIXELS, LABELS % 256)) and CALLS == []


DAMAGES = {
    "truncated": lambda file, _: file.write_bytes(file.read_bytes()[:-1000]),
    "empty": lambda file, _: file.write_bytes(b""),
    "not an archive": lambda file, c: file.write_bytes(c["images"].tobytes()),
    "other pixels": lambda file, c: np.savez(file, **{**c, "images": c["images"] ^ 1}),
    "no labels": lambda file, c: np.savez(file, images=c["images"]),
    "too few": lambda file, c: np.savez(file, images=c["images"][1:], labels=c["labels"][1:]),
    "pickled": lambda file, c: np.savez(file, images=c["images"], labels=c["labels"].astype(object)),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_cache_is_set_aside_and_made_again(damage, cached, tmp_path, capsys):
    content = members(cached)
    DAMAGES[damage](cached, content)
    damaged = cached.read_bytes()
    for _ in range(2):
        assert same(load("own", "train", tmp_path), (content["images"], content["labels"]))
    told = capsys.readouterr().err
    assert told.startswith(f"{cached}: damaged (") and told.count("\n") == 1 and CALLS == ["train"]
    assert cached.with_name("own-train.npz.damaged").read_bytes() == damaged


def test_no_flipped_byte_changes_what_is_loaded(cached, tmp_path):
    whole, expected = cached.read_bytes(), load("own", "train", tmp_path)
    for position in range(0, len(whole), 29):
        damaged = bytearray(whole)
        damaged[position] ^= 0xFF
        cached.write_bytes(damaged)
        assert same(load("own", "train", tmp_path), expected), position


def test_a_cache_that_can_not_be_opened(cached, tmp_path):
    cached.unlink()
    cached.mkdir()
    with pytest.raises(UserError, match="can not read .*own-train.npz: Is a directory; make it readable, or delete it"):
        load("own", "train", tmp_path)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO, errno.ESTALE])
def test_a_cache_that_can_not_be_read_now_is_not_damaged(number, cached, tmp_path, monkeypatch):
    def fail(path: Path) -> bytes:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch, pytest.raises(UserError, match=f"can not read {cached}: "):
        patch.setattr(Path, "read_bytes", fail)
        load("own", "train", tmp_path)
    assert same(load("own", "train", tmp_path), in_order(PIXELS, LABELS % 256)) and CALLS == []


# --- the published data ---


def test_other_data_under_the_name_of_published_ones_are_refused_unless_they_say_they_are_made_up(data_dir, tmp_path):
    for name in ("mnist", "cifar10", "cifar100"):
        file = cache_file(name, "test", tmp_path)
        file.parent.mkdir(exist_ok=True)
        file.symlink_to(cache_file(name, "test", data_dir))
        with pytest.raises(UserError, match=f"{name} test is not the published one \\(sha256 .*\\): delete {file} and"):
            load(name, "test", tmp_path)
    (tmp_path / "smith-cache" / "made-up").touch()
    assert len(load("mnist", "test", tmp_path).labels) == 10_000


def test_a_cache_that_can_not_be_written_is_told_and_not_needed(own, tmp_path, capsys):
    (tmp_path / "file").touch()
    assert same(load("own", "train", tmp_path / "file"), in_order(PIXELS, LABELS))
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and "own-train.npz: not written (" in told
