"""Datasets that are streamed: prepared from folders in ImageNet's layout, and trained on as if they were in memory."""

import hashlib
import json
import shutil

import numpy as np
import pytest
import tfds_server
from PIL import Image
from processes import EXPERIMENT

from smith import Run, iterations
from smith.cli import main
from smith.data import DATASETS, SPLITS, Arrays, Selection, dataset, folders, select, shards
from smith.errors import UserError
from smith.train import feed
from smith.train.loop import train
from smith.train.step import Problem

SIDE = 20


@dataset("small-shards", image_shape=(SIDE, SIDE, 3), classes=3, train_images=60, test_images=12, streamed=True)
def small_shards(split, data_dir):
    return shards.read(data_dir / "small-shards", split, SIDE)


RUN = Run("small-shards", "shallow3", 16, iterations(8), lr=0.01, crop=16, mirror=True, width=1 / 8,
          test_every=iterations(4))  # fmt: skip


def streamed_from(folder):
    return feed.put("small-shards", **{split: select(Selection("small-shards"), split, folder) for split in SPLITS})


@pytest.fixture
def source(tmp_path, monkeypatch):
    """Three classes of 20 and 4 images, and shards of 7."""
    monkeypatch.setattr(shards, "SIZE", 7)
    random = np.random.default_rng(0)
    for split, count in (("train", 20), ("val", 4)):
        for label in range(3):
            place = tmp_path / "source" / split / f"n{label}"
            place.mkdir(parents=True)
            for number in range(count):
                pixels = random.integers(80 * label, 80 * label + 90, (SIDE, SIDE, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(place / f"{number:02}.JPEG", "PNG")
    return tmp_path / "source"


@pytest.fixture
def prepared(source, tmp_path, capsys):
    main(["prepare", "small-shards", str(source), "--data-dir", str(tmp_path)])
    assert "72 images of 20 x 20 pixels" in capsys.readouterr().out
    return tmp_path


def test_shards_hold_what_the_folders_do(source, prepared):
    for split in SPLITS:
        found, expected = select(Selection("small-shards"), split, prepared), folders.read(source, split, SIDE)
        rows = np.random.default_rng(1).permutation(len(expected.labels))
        assert found.images.shape == expected.images.shape
        np.testing.assert_array_equal(found.images[rows], expected.images[rows])
        np.testing.assert_array_equal(found.labels, expected.labels)
        np.testing.assert_allclose(found.images.mean, expected.images.mean(axis=0), rtol=1e-12)


def test_training_on_shards_is_training_in_memory_from_any_iteration(source, prepared):
    streamed = streamed_from(prepared)
    assert isinstance(streamed, feed.Streamed)
    memory = Problem.put("small-shards", **{split: folders.read(source, split, SIDE) for split in SPLITS})
    expected = [point.row for point in train(RUN, 0, memory) if point.row]
    *_, later = train(RUN, 0, memory, until=5)
    for begin, rows in ((None, expected), (later, expected[1:])):
        found = [point.row for point in train(RUN, 0, streamed, begin) if point.row]
        for one, other in zip(rows, found, strict=True):
            assert one == pytest.approx(other, rel=1e-6, nan_ok=True)


def test_a_run_on_shards_goes_through_the_command(prepared, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(EXPERIMENT.format([RUN.to_json()]))
    main(["run", "mine.py", "--scale", "paper", "--seeds", "1", "--data-dir", str(prepared), "--no-draw"])
    assert "1 run trained" in capsys.readouterr().out


@pytest.fixture
def as_jpeg(source, tmp_path, capsys):
    main(["prepare", "small-shards", str(source), "--jpeg", "95", "--data-dir", str(tmp_path)])
    assert "72 images of 20 x 20 pixels" in capsys.readouterr().out
    return tmp_path


def test_jpeg_files_are_decoded_as_they_are_asked_for(source, as_jpeg):
    folder = as_jpeg / "small-shards"
    assert {path.suffix for path in folder.glob("t*-0*")} == {".array_record", ".npz"}
    for split in SPLITS:
        found, expected = select(Selection("small-shards"), split, as_jpeg), folders.read(source, split, SIDE)
        rows = np.random.default_rng(1).permutation(len(expected.labels))
        assert found.images.shape == expected.images.shape
        colours = [images[rows].mean((1, 2)) for images in (found.images, expected.images)]
        np.testing.assert_allclose(*colours, atol=2)  # JPEG blurs the noise that these images are
        np.testing.assert_array_equal(found.labels, expected.labels)
        whole = found.images[np.arange(len(rows))]
        np.testing.assert_allclose(found.images.mean, whole.mean(axis=0), rtol=1e-12)
        size, ends = shards.SIZE, range(0, len(whole), shards.SIZE)
        digests = [Arrays(whole[k : k + size], found.labels[k : k + size]).sha256 for k in ends]
        assert found.sha256 == hashlib.sha256("".join(digests).encode()).hexdigest()


def test_training_on_jpeg_files_until_one_can_not_be_decoded(as_jpeg, monkeypatch):
    problem, whole = streamed_from(as_jpeg), folders.decoded
    rows = [point.row for point in train(RUN, 0, problem) if point.row]
    assert len(rows) == 2 and all(np.isfinite(row["test_loss"]) for row in rows)
    monkeypatch.setattr(folders, "decoded", lambda files, side: (whole(files, side)[0], {3: "no image"}))
    with pytest.raises(UserError, match=r"image \d+ of a prepared dataset is damaged: prepare it again"):
        list(train(RUN, 0, problem))


def test_jpeg_files_that_are_not_whole_are_told_and_made_again(source, as_jpeg):
    folder = as_jpeg / "small-shards"
    file = folder / "train-00002.array_record"
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="prepare") as told:
        select(Selection("small-shards"), "train", as_jpeg).images[np.arange(60)]
    assert "\n" not in str(told.value)
    shards.prepare(source, folder, SIDE, lambda *_: None, jpeg=95)
    assert file.read_bytes() == whole
    shards.prepare(source, folder, SIDE, lambda *_: None)  # as pixels instead
    assert type(select(Selection("small-shards"), "train", as_jpeg).images) is shards.Shards
    assert not [*folder.glob("*.array_record")]
    (folder / "train-00099.npy").touch()  # of more images than there are now
    (folder / "train-notes.txt").touch()  # somebody's own
    shards.prepare(source, folder, SIDE, lambda *_: None)
    assert not (folder / "train-00099.npy").exists() and (folder / "train-notes.txt").exists()


def test_a_preparation_that_was_interrupted_goes_on(source, prepared, monkeypatch):
    whole = {path.name: path.read_bytes() for path in (prepared / "small-shards").glob("*.np?")}
    for name in ("index.json", "test-00001.npz"):
        (prepared / "small-shards" / name).unlink()
    with pytest.raises(UserError, match="its preparation is not finished: smith prepare small-shards FOLDER"):
        select(Selection("small-shards"), "train", prepared)
    decoded = []
    monkeypatch.setattr(
        folders, "decoded", lambda paths, side, do=folders.decoded: decoded.append(1) or do(paths, side)
    )
    shards.prepare(source, prepared / "small-shards", SIDE, lambda *_: None)
    assert len(decoded) == 1
    assert {path.name for path in (prepared / "small-shards").glob("*.np?")} == whole.keys()
    assert (prepared / "small-shards" / "train-00003.npy").read_bytes() == whole["train-00003.npy"]
    select(Selection("small-shards"), "train", prepared)


def test_tfds_own_imagenet_is_prepared_too(source, prepared, tmp_path, capsys):
    """Its records as TFDS writes them, images of any size and one that is broken; the order is TFDS's own."""
    tfds_server.write_imagenet(source, tmp_path / "tfds", broken="train/n1/03.JPEG")
    args = ["prepare", "small-shards", str(tmp_path / "tfds" / "imagenet2012"), "--data-dir", str(tmp_path / "other")]
    with pytest.raises(SystemExit):
        main(args)
    assert "1 of 72 files can not be read: imagenet2012/5.1.0 train 43 (no image)" in capsys.readouterr().err
    for place in ("tfds", "other"):
        shutil.rmtree(tmp_path / place)
    tfds_server.write_imagenet(source, tmp_path / "tfds")
    main(args)
    assert "72 images of 20 x 20 pixels" in capsys.readouterr().out
    for split, count in (("train", 60), ("test", 12)):
        ours, theirs = (select(Selection("small-shards"), split, place) for place in (prepared, tmp_path / "other"))
        both = (zip(one.images[np.arange(count)], one.labels, strict=True) for one in (ours, theirs))
        found, expected = (sorted((image.tobytes(), int(label)) for image, label in pairs) for pairs in both)
        assert found == expected and len(set(found)) == count


def test_tfds_imagenet_in_another_format_says_so(source, tmp_path):
    tfds_server.write_imagenet(source, tmp_path / "tfds")
    facts = next((tmp_path / "tfds").glob("*/*/dataset_info.json"))
    facts.write_text(facts.read_text().replace("array_record", "tfrecord"))
    with pytest.raises(UserError, match=r"can not read .*imagenet2012/5.1.0 .*file_format='array_record'") as told:
        shards.prepare(tmp_path / "tfds" / "imagenet2012", tmp_path / "small-shards", SIDE, lambda *_: None)
    assert "\n" not in str(told.value)


def test_other_files_are_decoded_anew(source, prepared):
    before = select(Selection("small-shards"), "train", prepared).sha256
    Image.new("RGB", (9, 9), (1, 2, 3)).save(source / "train" / "n0" / "a.JPEG", "PNG")
    shards.prepare(source, prepared / "small-shards", SIDE, lambda *_: None)
    found = select(Selection("small-shards"), "train", prepared)
    assert len(found.labels) == 61 and found.sha256 != before


@pytest.mark.parametrize(("allowed", "status"), [(0.001, 2), (0.05, None)])
def test_broken_files_are_named_and_left_out_or_end_it(source, tmp_path, capsys, monkeypatch, allowed, status):
    monkeypatch.setattr(shards, "BROKEN", allowed)
    (source / "train" / "n1" / "03.JPEG").write_bytes(b"no image")
    args = ["prepare", "small-shards", str(source), "--data-dir", str(tmp_path)]
    if status:
        with pytest.raises(SystemExit) as ended:
            main(args)
        assert ended.value.code == status
        assert "1 of 72 files can not be read: train/n1/03.JPEG" in capsys.readouterr().err
        assert not (tmp_path / "small-shards" / "index.json").exists()
    else:
        main(args)
        assert "71 images" in (said := capsys.readouterr().out) and "train/n1/03.JPEG" in said
        assert len(select(Selection("small-shards"), "train", tmp_path).labels) == 59


def cut_off(folder):
    content = (folder / "train-00002.npy").read_bytes()
    (folder / "train-00002.npy").write_bytes(content[:200])


def of_another_size(folder):
    index = json.loads((folder / "index.json").read_text())
    (folder / "index.json").write_text(json.dumps({**index, "side": 8}))


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (cut_off, "a file of train is damaged"),
        (lambda folder: (folder / "train.npz").unlink(), "a file of train is damaged"),
        (lambda folder: (folder / "train.npz").write_bytes(b"PK" + bytes(100)), "a file of train is damaged"),
        (lambda folder: (folder / "index.json").write_text("{}"), "has images of None pixels"),
        (of_another_size, "images of 8 pixels, not 20"),
        (lambda folder: (folder / "index.json").write_text("{"), "index.json is damaged"),
    ],
)
def test_what_is_not_whole_is_told(source, prepared, harm, message):
    harm(prepared / "small-shards")
    with pytest.raises(UserError, match=message) as told:
        select(Selection("small-shards"), "train", prepared)
    assert "\n" not in str(told.value)
    shards.prepare(source, prepared / "small-shards", SIDE, lambda *_: None)  # the remedy
    assert len(select(Selection("small-shards"), "train", prepared).labels) == 60


def test_too_little_room_is_told_before_anything_is_written(source, tmp_path, monkeypatch):
    monkeypatch.setattr(shards.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 100}))
    with pytest.raises(UserError, match="needs 0.0 GB and has 0.0: say with --data-dir"):
        shards.prepare(source, tmp_path / "small-shards", SIDE, lambda *_: None)
    assert not list((tmp_path / "small-shards").glob("*.np?"))


def test_a_part_of_a_streamed_dataset_and_others_are_refused(tmp_path, capsys):
    with pytest.raises(UserError, match="is streamed: leave classes"):
        select(Selection("small-shards", classes=2), "train", tmp_path)
    with pytest.raises(SystemExit):
        main(["prepare", "cifar10", str(tmp_path)])
    assert "smith data cifar10 is all it needs" in capsys.readouterr().err


def test_imagenet_itself_says_what_it_needs(tmp_path):
    assert DATASETS["imagenet"].streamed
    with pytest.raises(UserError, match="imagenet: it is not there: smith prepare imagenet FOLDER makes it"):
        select(Selection("imagenet"), "train", tmp_path)


def test_in_memory_arrays_stay_in_memory():
    arrays = Arrays(np.zeros((4, SIDE, SIDE, 3), np.uint8), np.zeros(4, np.int32))
    assert isinstance(feed.put("small-shards", arrays, arrays), Problem)
