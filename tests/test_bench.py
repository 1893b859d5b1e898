"""scripts/bench*.py: that both sides do the same work, what is measured without PyTorch, and how it takes mistakes."""

import dataclasses
import sys

import numpy as np
import pytest
from PIL import Image

from scripts import bench, bench_convolutions, bench_input
from smith import networks

TINY = ["--network", "lenet", "--batch", "8", "--turns", "2", "--seconds", "0.05"]
SHRUNK = sorted({name for name in bench.BATCHES if "/" in name} - {"mini/densenet-40"})  # whose dropout differs
PEAKS = bench.Peaks(1e11, None, 1e10)


@pytest.fixture
def alone(monkeypatch):
    """No processes of their own, and no PyTorch."""
    monkeypatch.setattr(bench, "starts", lambda *_: ({}, {}, []))
    monkeypatch.setattr(bench, "has_pytorch", lambda: False)


def test_without_pytorch_ours_is_measured(alone):
    row = bench.measure("lenet", "train", 8, PEAKS, bench.parse(TINY))
    assert row.ours > 0 and row.pytorch is row.ratio is row.pytorch_loss is None and row.notes == []
    assert "not installed" in bench.line(row)


def test_xlas_flop_are_those_of_lenets_products(alone):
    """Two convolutions, two dense layers; a gradient is twice the forward, but the first layer's input has none."""
    conv1, others = 24 * 24 * 25 * 20, 8 * 8 * 500 * 50 + 800 * 500 + 500 * 10
    ours = bench.Ours("lenet", "train", 8)
    assert ours.flops == pytest.approx(2 * 8 * (2 * conv1 + 3 * others), rel=0.15)
    assert ours.bytes_accessed > 3 * 4 * networks.info("lenet").parameters  # parameters, their gradients, velocity


@pytest.mark.parametrize("name", ["lenet", "shallow3", *SHRUNK])
def test_pytorch_does_the_same_work(name):
    """The same losses in every iteration: the same weights, batch, gradients and solver, down to the biases' rates."""
    pytest.importorskip("torch")
    ours = bench.Ours(name, "train", 8, hyper=(1e-3 if "shallow3" in name else 1e-2, 0.9, 5e-3))
    theirs = bench.peer(ours, bfloat16=False)
    losses = np.array([(ours.run(1), theirs(1)) for _ in range(6)])
    assert losses[-1, 0] < losses[0, 0]
    np.testing.assert_allclose(losses[:, 0], losses[:, 1], rtol=1e-5)


def test_a_test_measures_the_loss_of_the_images():
    ours = bench.Ours("lenet", "test", 8)
    assert ours.run(2) == pytest.approx(bench.Ours("lenet", "train", 8).run(1), rel=1e-5)


def test_a_peer_that_fails_is_a_note_and_the_rest_is_measured(alone, monkeypatch):
    def broken(*_, compiled: bool = False, **__):
        if compiled:
            raise RuntimeError("\nno working compiler\nsecond line")
        return lambda count: 2.0

    monkeypatch.setattr(bench, "has_pytorch", lambda: True)
    monkeypatch.setattr(bench, "peer", broken)
    row = bench.measure("lenet", "train", 8, PEAKS, bench.parse([*TINY, "--compile"]))
    assert row.notes == ["torch.compile failed: RuntimeError: no working compiler"]
    assert row.compiled is row.compiled_ratio is None
    assert row.pytorch and row.ratio == pytest.approx(row.ours / row.pytorch)
    assert row.pytorch_loss == 2.0


@pytest.mark.parametrize("name", ["shallow3 conv1", "LeNet conv2", "resnet-56 8 x 8"])
def test_pytorch_s_convolutions_and_gradients_are_ours(name):
    pytest.importorskip("torch")
    layer = dataclasses.replace(bench_convolutions.LAYERS[name], images=4)
    values = [np.asarray(work()) for work in bench_convolutions.ours(layer)]
    expected = [work().permute(0, 2, 3, 1).numpy() for work in bench_convolutions.pytorch(layer)]
    expected[2] = expected[2].transpose(1, 2, 3, 0)  # from (filters, rows, columns, inputs)
    if not layer.padded:  # (channels, height, width, batch)
        values[:2] = [array.transpose(3, 1, 2, 0) for array in values[:2]]
    for ours, theirs in zip(values, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5 * np.abs(theirs).max())


def test_a_convolution_is_a_line_with_both_rates_for_each_kind_of_work(monkeypatch, capsys):
    pytest.importorskip("torch")
    name = "LeNet conv1"
    assert bench_convolutions.LAYERS[name].flops == 2 * 128 * 24 * 24 * 25 * 20
    monkeypatch.setattr(bench_convolutions, "take_turns", lambda sides, *_: [1e-3] * 3 + [2e-3] * 3)
    bench_convolutions.main(["--layer", name])
    *_, header, line = capsys.readouterr().out.splitlines()
    assert all(work in header for work in bench_convolutions.WORK)
    assert line.split() == [*name.split(), *["74,", "37"] * 3]


@pytest.mark.parametrize(
    "arguments, torch, backend, told",
    [
        (["--layer", "shallow3 conv4"], True, "cpu", "did you mean 'shallow3 conv"),
        (["--layers"], True, "cpu", "see --help"),
        ([], False, "cpu", "PyTorch, which is not installed"),
        ([], True, "gpu", "set JAX_PLATFORMS=cpu"),
    ],
)
def test_convolutions_that_can_not_be_measured_are_one_line(monkeypatch, refused, arguments, torch, backend, told):
    monkeypatch.setattr(bench_convolutions, "has_pytorch", lambda: torch)
    monkeypatch.setattr(bench_convolutions.jax, "default_backend", lambda: backend)
    line = refused(2, *arguments, main=bench_convolutions.main)
    assert line.startswith("bench_convolutions: ") and told in line


def test_what_reads_imagenet_is_measured_on_files_of_its_size(tmp_path, monkeypatch, capsys):
    for split, count in (("train", 4), ("val", 1)):
        for label in range(3):
            place = tmp_path / "source" / split / f"n{label}"
            place.mkdir(parents=True)
            for k in range(count):
                Image.new("RGB", (30, 40), (80 * label, 10 * k, 0)).save(place / f"{k}.JPEG")
    monkeypatch.setattr(bench_input, "TURN_SECONDS", 0.01)
    monkeypatch.setitem(sys.modules, "torchvision", None)
    bench_input.main([str(tmp_path / "source"), "--images", "12", "--batch", "5"])
    out, err = capsys.readouterr()
    _, pixels, jpeg = out.splitlines()
    assert pixels.startswith("pixels") and jpeg.startswith("JPEG 95") and jpeg.endswith(" images/s")
    assert err == "torchvision is not installed\n"
    files = [*tmp_path.glob("source/train/*/*.JPEG")]
    bench_input.write_images(tmp_path / "source", tmp_path / "files", 6)
    assert len(files) == 12 and len([*tmp_path.glob("files/train/*/*.JPEG")]) == 6
    with Image.open(next(tmp_path.glob("files/val/*/*.JPEG"))) as image:
        assert image.size == (256, 256)


@pytest.mark.parametrize(
    "script, words, told",
    [
        (bench, "--network lenett", "did you mean 'lenet'?"),
        (bench, "--network lenet --batch 0", "1 at least"),
        (bench, "--json /nowhere/bench.json", "there is no folder /nowhere"),
        (bench, "--jsn x", "--jsn"),
        (bench, "--compile", "--compile and --bfloat16 need PyTorch, which is not installed"),
        (bench, "--bfloat16", "--compile and --bfloat16 need PyTorch, which is not installed"),
        (bench_input, "nowhere", "nowhere/train is not there"),
        (bench_input, "x --batch 0", "1 at"),
    ],
)
def test_a_mistake_is_told_in_one_line(script, words, told, alone, refused):
    line = refused(2, *words.split(), main=script.main)
    assert line.startswith(f"{script.__name__.rpartition('.')[2]}: ") and told in line
