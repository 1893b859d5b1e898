"""The data sets in memory: from prepared files, from the cache, from damaged ones, and from the network."""

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tfds_server

from smith.data import DATASETS, Arrays, arrays, cache_file, default_data_dir, load, mean_image, prepare
from smith.data.arrays import SPLITS
from smith.errors import UserError

ROOT = Path(__file__).resolve().parent.parent

# The sha256 over the sorted sha256 of every image with its label: the order of a prepared set depends on how it was
# prepared, its content does not.
PUBLISHED = {
    ("mnist", "train"): "54e1ab866c9484947dd4821c52bb7a43938f555d6b046be6af55247f8e6ffc64",
    ("mnist", "test"): "97b756d55950f1841ebd48df7379b9b2fc87a10d63e08d6213dad41d564e8508",
    ("cifar10", "train"): "6a3b2c04d0a79ce272dcdacaf0bc440275db5a8cbe3717521a28fada2ea0d2ed",
    ("cifar10", "test"): "65a6ffe079453e514083f99356b35e02cbfd581b4951e3937fae188974b79f39",
}


def same(one: Arrays, other: Arrays) -> bool:
    return np.array_equal(one.images, other.images) and np.array_equal(one.labels, other.labels)


@pytest.fixture(scope="session")
def prepared(tmp_path_factory) -> Path:
    """A data folder with the three small sets prepared; some test may have cached them."""
    data_dir = tmp_path_factory.mktemp("prepared")
    for name in DATASETS:
        tfds_server.write_prepared(name, data_dir)
    return data_dir


@pytest.fixture
def data_dir(prepared, tmp_path) -> Path:
    """A copy of the small mnist, its test split cached, for a test to do harm to."""
    shutil.copytree(prepared / "mnist", tmp_path / "mnist")
    load("mnist", "test", tmp_path, allow_partial=True)
    return tmp_path


@pytest.fixture
def nothing_prepared(monkeypatch, tmp_path) -> Path:
    """A data folder still to be made, for tests of what comes before TensorFlow is needed, installed or not."""
    monkeypatch.setattr(arrays, "_import_tensorflow", lambda: None)
    return tmp_path / "data"


# --- prepared files and the cache ---


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("name", DATASETS)
def test_prepared_files_give_every_pixel_and_label(name, split, prepared, capsys):
    cache_file(name, split, prepared).unlink(missing_ok=True)
    first = load(name, split, prepared, allow_partial=True)
    assert first.images.dtype == first.labels.dtype == np.uint8
    assert first.images.shape == (tfds_server.COUNTS[split], *DATASETS[name].image_shape)
    assert tfds_server.is_small(first, name, split)
    assert cache_file(name, split, prepared).exists()
    assert same(load(name, split, prepared, allow_partial=True), first)
    assert capsys.readouterr() == ("", "")


def test_too_few_images_are_refused_unless_asked_for(data_dir):
    with pytest.raises(UserError, match="mnist test: expected 10000 images, found 6 in .*mnist-test.npz"):
        load("mnist", "test", data_dir)
    with pytest.raises(UserError, match="mnist train: expected 60000 images, found 15 in .*mnist"):
        load("mnist", "train", data_dir)
    assert not cache_file("mnist", "train", data_dir).exists()


def test_too_many_or_no_images_are_refused(tmp_path):
    file = cache_file("mnist", "test", tmp_path)
    file.parent.mkdir()
    for count in (0, 10_001):
        np.savez(file, images=np.zeros((count, 28, 28, 1), np.uint8), labels=np.zeros(count, np.uint8))
        with pytest.raises(UserError, match=f"found {count} in"):
            load("mnist", "test", tmp_path, allow_partial=True)


def test_cache_is_read_without_tfds(data_dir):
    code = """if True:
        import sys
        from pathlib import Path
        sys.modules.update(dict.fromkeys(("tensorflow_datasets", "tensorflow", "jax", "PIL")))
        from smith.data import load
        print(load("mnist", "test", Path(sys.argv[1]), allow_partial=True).images.shape)
    """
    done = subprocess.run([sys.executable, "-c", code, data_dir], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "(6, 28, 28, 1)\n", done.stderr


def test_cache_written_elsewhere_needs_no_digest(tmp_path):
    images, labels = tfds_server.small("cifar100", "train")
    file = cache_file("cifar100", "train", tmp_path)
    file.parent.mkdir()
    np.savez(file, images=images, labels=labels)
    loaded = load("cifar100", "train", tmp_path, allow_partial=True)
    assert same(loaded, arrays.in_order(Arrays(images, labels)))


def test_the_order_of_the_images_does_not_depend_on_how_they_were_stored():
    images, labels = tfds_server.small("mnist", "train")
    turned = arrays.in_order(Arrays(images[::-1], labels[::-1]))
    assert same(arrays.in_order(Arrays(images, labels)), turned)
    pairs = {(image.tobytes(), label) for image, label in zip(images, labels, strict=True)}
    assert {(image.tobytes(), label) for image, label in zip(turned.images, turned.labels, strict=True)} == pairs


def test_a_cache_that_cannot_be_written_is_told_and_not_needed(data_dir, monkeypatch, capsys):
    def refuse(*_):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(os, "replace", refuse)
    assert len(load("mnist", "train", data_dir, allow_partial=True).labels) == tfds_server.COUNTS["train"]
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and "not written (Read-only file system)" in told
    assert [file.name for file in (data_dir / "smith-cache").iterdir()] == ["mnist-test.npz"]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root writes to read-only folders")
def test_read_only_data_folder(data_dir, capsys):
    shutil.rmtree(data_dir / "smith-cache")
    data_dir.chmod(0o555)
    try:
        assert len(load("mnist", "test", data_dir, allow_partial=True).labels) == tfds_server.COUNTS["test"]
    finally:
        data_dir.chmod(0o755)
    assert "not written" in capsys.readouterr().err


def test_prepare_fills_the_cache_and_prints_a_line_each(prepared, capsys):
    prepare(["mnist", "cifar100"], prepared, allow_partial=True)
    assert capsys.readouterr().out.splitlines() == [
        f"{name}: 15 training and 6 test images in {prepared}" for name in ("mnist", "cifar100")
    ]
    with pytest.raises(UserError, match="cifar1O'.*did you mean 'cifar10'"):
        prepare(["mnist", "cifar1O"], prepared)


def test_mean_image():
    images = np.random.default_rng(0).integers(0, 256, (999, 4, 3, 2), np.uint8)
    mean = mean_image(images)
    assert mean.shape == (4, 3, 2) and mean.dtype == np.float32
    np.testing.assert_array_equal(mean, (images.astype(np.int64).sum(0) / 999).astype(np.float32))


# --- damage ---


def members(data_dir: Path) -> dict[str, np.ndarray]:
    with np.load(cache_file("mnist", "test", data_dir)) as content:
        return {key: content[key] for key in content.files}


def truncate(file, content):
    file.write_bytes(file.read_bytes()[:-1000])


def flip_pixel(file, content):
    damaged = bytearray(file.read_bytes())
    damaged[damaged.index(content["images"].tobytes()) + 99] ^= 1
    file.write_bytes(damaged)


DAMAGES = {
    "truncated": truncate,
    "empty": lambda file, _: file.write_bytes(b""),
    "a flipped bit": flip_pixel,
    "not an archive": lambda file, c: file.write_bytes(c["images"].tobytes()),
    "other pixels": lambda file, c: np.savez(file, **{**c, "images": c["images"] ^ 1}),
    "no labels": lambda file, c: np.savez(file, images=c["images"]),
    "float images": lambda file, c: np.savez(file, images=c["images"] / 255, labels=c["labels"]),
    "wide labels": lambda file, c: np.savez(file, images=c["images"], labels=c["labels"].astype(np.int64)),
    "flat images": lambda file, c: np.savez(file, images=c["images"].reshape(6, -1), labels=c["labels"]),
    "a label short": lambda file, c: np.savez(file, images=c["images"], labels=c["labels"][1:]),
    "scalar labels": lambda file, c: np.savez(file, images=c["images"], labels=c["labels"][0]),
    "label out of range": lambda file, c: np.savez(file, images=c["images"], labels=c["labels"] + 1),
    "pickled": lambda file, c: np.savez(file, images=c["images"], labels=c["labels"].astype(object)),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_cache_is_set_aside_and_made_again(damage, data_dir, capsys):
    file = cache_file("mnist", "test", data_dir)
    content = members(data_dir)
    DAMAGES[damage](file, content)
    damaged = file.read_bytes()
    loaded = load("mnist", "test", data_dir, allow_partial=True)
    assert same(loaded, Arrays(content["images"], content["labels"]))
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and "damaged (" in told
    assert file.with_name(file.name + ".damaged").read_bytes() == damaged
    assert members(data_dir).keys() == {"images", "labels", "sha256"}
    load("mnist", "test", data_dir, allow_partial=True)
    assert capsys.readouterr().err == ""


def test_no_flipped_byte_changes_what_is_loaded(data_dir):
    file = cache_file("mnist", "test", data_dir)
    whole, expected = file.read_bytes(), load("mnist", "test", data_dir, allow_partial=True)
    headers = [position for position in range(len(whole)) if not 200 < position < 4000]
    for position in np.random.default_rng(0).choice(headers, 60, replace=False):
        damaged = bytearray(whole)
        damaged[position] ^= 0xFF
        file.write_bytes(damaged)
        assert same(load("mnist", "test", data_dir, allow_partial=True), expected), position


def test_damaged_cache_and_nothing_to_make_it_from(data_dir, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    truncate(cache_file("mnist", "test", data_dir), None)
    shutil.rmtree(data_dir / "mnist")
    with pytest.raises(UserError, match="mnist is not prepared in"):
        load("mnist", "test", data_dir)


def test_damaged_prepared_files(data_dir):
    shutil.rmtree(data_dir / "smith-cache")
    next(data_dir.glob("mnist/*/mnist-test.array_record*")).write_bytes(b"")
    with pytest.raises(UserError, match=r"cannot read .*mnist.*delete it to have it made again") as caught:
        load("mnist", "test", data_dir, allow_partial=True)
    assert "\n" not in str(caught.value)


def test_other_file_format(data_dir):
    shutil.rmtree(data_dir / "smith-cache")
    facts = next(data_dir.glob("mnist/*/dataset_info.json"))
    facts.write_text(facts.read_text().replace("array_record", "tfrecord"))
    with pytest.raises(UserError, match="holds tfrecord files, and only array_record is read here"):
        load("mnist", "test", data_dir, allow_partial=True)


# --- mistakes, and no network ---


def test_unknown_names(tmp_path):
    with pytest.raises(UserError, match="unknown dataset 'cifar-10': did you mean 'cifar10'"):
        load("cifar-10", "train", tmp_path)
    with pytest.raises(UserError, match="unknown split 'tests': did you mean 'test'"):
        load("mnist", "tests", tmp_path)  # pyright: ignore


def test_default_data_dir(monkeypatch, tmp_path):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    assert default_data_dir() == tmp_path
    monkeypatch.delenv("TFDS_DATA_DIR")
    assert default_data_dir() == Path.home() / "tensorflow_datasets"


def test_without_tensorflow_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(UserError) as caught:
        load("cifar10", "train", tmp_path)
    message = str(caught.value)
    assert "\n" not in message
    for part in ("cifar10", str(tmp_path), "requirements-prepare.txt", "TFDS_DATA_DIR", "--data-dir"):
        assert part in message


@pytest.mark.parametrize("name", DATASETS)
def test_without_network_the_error_says_what_to_do(name, nothing_prepared, monkeypatch, tmp_path, capsys):
    with tfds_server.serve(tmp_path) as address:
        pass  # a port that was free a moment ago, and closed now
    tfds_server.redirect(monkeypatch, name, address, tmp_path)
    with pytest.raises(UserError) as caught:
        load(name, "train", nothing_prepared)
    message = str(caught.value)
    assert "\n" not in message
    for part in (f"cannot download {name}", "refused", str(nothing_prepared), "TFDS_DATA_DIR", "--data-dir"):
        assert part in message
    assert capsys.readouterr().err.count("\n") == 1  # that it downloads; no retries, no progress bars


def test_a_file_the_server_does_not_have(nothing_prepared, monkeypatch, tmp_path):
    import requests
    from tensorflow_datasets.core.download import downloader

    patience = requests.Session.get, downloader.MAX_RETRIES
    with tfds_server.serve(tmp_path) as address:
        tfds_server.redirect(monkeypatch, "mnist", address, tmp_path)
        with pytest.raises(UserError, match=r"cannot download mnist \(.*404"):
            load("mnist", "train", nothing_prepared)
    assert (requests.Session.get, downloader.MAX_RETRIES) == patience  # shortened only while TFDS downloads


@pytest.mark.parametrize("name", DATASETS)
def test_corrupted_download(name, nothing_prepared, monkeypatch, tmp_path):
    folder = tmp_path / "originals"
    tfds_server.write_archives(name, folder)
    with tfds_server.serve(folder) as address:
        tfds_server.redirect(monkeypatch, name, address, folder)
        for file in folder.iterdir():
            file.write_bytes(file.read_bytes()[:-1])
        with pytest.raises(UserError) as caught:
            load(name, "train", nothing_prepared, allow_partial=True)
    message = str(caught.value)
    assert "\n" not in message
    assert f"cannot use the download of {name}: Artifact {address}" in message and "wrong checksum" in message
    assert not list(nothing_prepared.glob(f"{name}/*/dataset_info.json"))


def test_data_folder_that_cannot_be_written(nothing_prepared):
    nothing_prepared.touch()
    with pytest.raises(UserError, match="cannot write mnist to .*Not a directory.*--data-dir"):
        load("mnist", "train", nothing_prepared)


@pytest.mark.parametrize("when", ["before", "after"])
def test_another_process_prepares_it_meanwhile(when, prepared, nothing_prepared, monkeypatch):
    import tensorflow_datasets as tfds

    def other_process(*_, **__):
        shutil.copytree(prepared / "mnist", nothing_prepared / "mnist")
        if when == "after":
            raise OSError(39, "Directory not empty")

    place = (arrays, "_import_tensorflow") if when == "before" else (tfds.core.DatasetBuilder, "download_and_prepare")
    monkeypatch.setattr(*place, other_process)
    assert tfds_server.is_small(load("mnist", "train", nothing_prepared, allow_partial=True), "mnist", "train")


# --- the real thing ---


@pytest.mark.skipif(importlib.util.find_spec("tensorflow") is None, reason="preparing needs TensorFlow")
@pytest.mark.parametrize("name", DATASETS)
def test_download_and_prepare(name, tmp_path):
    """TFDS downloads, verifies, extracts and prepares the originals' archives, here with a few images."""
    command = [sys.executable, ROOT / "tests" / "tfds_server.py", name, tmp_path]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr == f"{name}: downloading and preparing in {tmp_path} (once; minutes)\n"
    for split in SPLITS:
        assert tfds_server.is_small(load(name, split, tmp_path, allow_partial=True), name, split)


@pytest.mark.parametrize(("name", "split"), PUBLISHED)
def test_the_published_data_set(name, split):
    """Needs TFDS_DATA_DIR. Decodes it on the first run (10 s), and leaves the cache there."""
    data_dir = default_data_dir()
    if "TFDS_DATA_DIR" not in os.environ or not any(data_dir.glob(f"{name}/*/dataset_info.json")):
        pytest.skip("TFDS_DATA_DIR does not hold it")
    loaded = load(name, split, data_dir)
    assert np.isfinite(mean_image(loaded.images)).all()
    pairs = zip(loaded.images, loaded.labels, strict=True)
    digests = sorted(hashlib.sha256(image.tobytes() + label.tobytes()).digest() for image, label in pairs)
    assert hashlib.sha256(b"".join(digests)).hexdigest() == PUBLISHED[name, split]
