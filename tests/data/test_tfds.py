"""What TFDS prepared, what it says when it fails, and the whole way from a download."""

import importlib.util
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import tfds_server
from processes import python

from smith.data import DATASETS, SPLITS, Arrays, Split, load, tfds
from smith.errors import UserError

NAMES = ("mnist", "cifar10", "cifar100")


def is_small(loaded: Arrays, name: str, split: Split) -> bool:
    """Whether every pixel and label is as tfds_server.small gives them; TFDS shuffles when it prepares."""
    both = (loaded, tfds_server.small(name, split))
    found, expected = (sorted((i.tobytes(), int(n)) for i, n in zip(*arrays, strict=True)) for arrays in both)
    return found == expected


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Path:
    """A data folder in which the three small sets are prepared."""
    data_dir = tmp_path_factory.mktemp("prepared")
    for name in NAMES:
        tfds_server.write_prepared(name, data_dir)
    return data_dir


@pytest.fixture(autouse=True)
def expect_small(monkeypatch):
    for name in NAMES:
        tfds_server.expect_small(monkeypatch, name)


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("name", NAMES)
def test_prepared_files_give_every_pixel_and_label(name, split, prepared, capsys):
    loaded = load(name, split, prepared)
    assert loaded.labels.dtype == np.int32 and loaded.images.shape[1:] == DATASETS[name].image_shape
    assert is_small(loaded, name, split)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("damage", ["empty", "tfrecord"])
def test_prepared_files_that_can_not_be_read(damage, prepared, tmp_path):
    shutil.copytree(prepared / "mnist", tmp_path / "mnist")
    facts = next(tmp_path.glob("mnist/*/dataset_info.json"))
    if damage == "empty":
        next(tmp_path.glob("mnist/*/mnist-test.array_record*")).write_bytes(b"")
    else:
        facts.write_text(facts.read_text().replace("array_record", "tfrecord"))
    with pytest.raises(UserError, match=r"can not read mnist in .* \(.+\): delete .*mnist/3.0.1 to") as caught:
        load("mnist", "test", tmp_path)
    assert "\n" not in str(caught.value)


def test_without_tensorflow_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(UserError, match=f"can not prepare cifar10 in {tmp_path} .*tensorflow") as caught:
        load("cifar10", "train", tmp_path)
    for part in ("requirements-prepare.txt", "TFDS_DATA_DIR", "--data-dir"):
        assert part in str(caught.value)


@pytest.mark.parametrize("failure", ["refused", "404", "wrong checksum", "Not a directory"])
def test_a_download_that_fails_gives_its_cause_in_one_line(failure, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(tfds, "_import_tensorflow", lambda: None)  # all of these come before it is needed
    folder, data_dir = tmp_path / "originals", tmp_path / "data"
    tfds_server.write_archives(folder)
    with tfds_server.serve(folder if failure != "404" else tmp_path) as address:
        tfds_server.redirect(monkeypatch, "http://127.0.0.1:9/" if failure == "refused" else address, folder)
        if failure == "wrong checksum":
            for file in folder.iterdir():
                file.write_bytes(file.read_bytes()[:-1])
        if failure == "Not a directory":
            data_dir.touch()
        with pytest.raises(UserError, match=f"can not prepare mnist in .*{failure}.*TFDS_DATA_DIR") as caught:
            load("mnist", "train", data_dir)
    assert "\n" not in str(caught.value)
    assert capsys.readouterr().err == f"mnist: downloading and preparing in {data_dir} (once; minutes)\n"


@pytest.mark.skipif(importlib.util.find_spec("tensorflow") is None, reason="preparing needs TensorFlow")
def test_download_and_prepare(tmp_path):
    """TFDS downloads MNIST's archives, here with a few images, compares their checksums and prepares them."""
    done = python(tfds_server.__file__, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == f"mnist: downloading and preparing in {tmp_path} (once; minutes)\n"
    assert all(is_small(load("mnist", split, tmp_path), "mnist", split) for split in SPLITS)
