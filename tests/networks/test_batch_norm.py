"""Batch normalisation over ghost batches, against NumPy in float64, plain jax.numpy and Flax."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from smith.networks import Options, layers
from smith.networks.batch_norm import EPSILON, BatchNorm, normalise

CHANNELS = 5
SHAPE = (6, 4, 3, CHANNELS)  # a batch of images


# Helpers


def draw(seed, shape=SHAPE):
    """Returns numbers with another mean and deviation in each channel."""
    random = np.random.default_rng(seed)
    mean, deviation = random.normal(size=shape[-1]), random.uniform(0.5, 3, shape[-1])
    return (mean + deviation * random.normal(size=shape)).astype(np.float32)


def numpy_norm(x, groups, scale=1.0, bias=0.0):
    """Returns (normalised x, means, biased variances), the latter (groups, channels), in float64."""
    y, means, variances = [], [], []
    for part in np.split(np.asarray(x, np.float64), groups):
        pixels = part.reshape(-1, part.shape[-1])
        means.append(pixels.sum(0) / len(pixels))
        variances.append(((pixels - means[-1]) ** 2).sum(0) / len(pixels))
        y.append((part - means[-1]) / np.sqrt(variances[-1] + EPSILON) * scale + bias)
    return np.concatenate(y), np.stack(means), np.stack(variances)


def plain_norm(x, scale, bias, groups):
    grouped = x.reshape(groups, -1, x.shape[-1])
    mean, variance = grouped.mean(1, keepdims=True), grouped.var(1, keepdims=True)
    return ((grouped - mean) / jnp.sqrt(variance + EPSILON) * scale + bias).reshape(x.shape)


def layer_of(keep=0.9, groups=1, **options):
    """Returns a BatchNorm for images of `SHAPE`, with some scale and bias."""
    layer = BatchNorm(CHANNELS, keep, Options(ghost_batch_size=SHAPE[0] // groups, **options))
    layer.scale[...], layer.bias[...] = draw(11, (CHANNELS,)), draw(12, (CHANNELS,))
    return layer


def averages(layer):
    return [np.asarray(sums[...]) for sums in (layer.mean, layer.variance, layer.weight)]


def close(result, expected, tolerance=1e-5):
    np.testing.assert_allclose(result, expected, rtol=tolerance, atol=tolerance)


# Training


@pytest.mark.parametrize("groups", [1, 2, 3, 6])
def test_training_normalises_over_every_ghost_batch(groups):
    x, layer = draw(1), layer_of(groups=groups)
    expected = numpy_norm(x, groups, np.asarray(layer.scale[...]), np.asarray(layer.bias[...]))[0]
    close(layer(x, train=True), expected)


@pytest.mark.parametrize("groups", [1, 3])
def test_normalise_returns_the_means_and_the_biased_variances_too(groups):
    x = draw(2)
    y, mean, variance = normalise(x.reshape(groups, -1, CHANNELS), jnp.ones(CHANNELS), jnp.zeros(CHANNELS))
    expected = numpy_norm(x, groups)
    close(y.reshape(SHAPE), expected[0])
    assert mean.shape == variance.shape == (groups, 1, CHANNELS)
    close(mean[:, 0], expected[1])
    close(variance[:, 0], expected[2])


@pytest.mark.parametrize("groups", [1, 3])
def test_gradients_equal_those_of_the_plain_normalisation(groups):
    arguments = draw(3), draw(4, (CHANNELS,)), draw(5, (CHANNELS,))
    weights = draw(6)

    def ours(x, scale, bias):
        return jnp.sum(jnp.tanh(normalise(x.reshape(groups, -1, CHANNELS), scale, bias)[0].reshape(SHAPE)) * weights)

    def plain(x, scale, bias):
        return jnp.sum(jnp.tanh(plain_norm(x, scale, bias, groups)) * weights)

    results = [jax.jit(jax.value_and_grad(loss, (0, 1, 2)))(*arguments) for loss in (ours, plain)]
    jax.tree.map(lambda a, b: close(a, b, 2e-5), *results)


def test_no_gradient_flows_through_the_mean_and_the_variance():
    gradient = jax.grad(lambda x: sum(part.sum() for part in normalise(x, jnp.ones(2), jnp.zeros(2))[1:]))
    assert not gradient(jnp.arange(12.0).reshape(1, 6, 2)).any()


def test_a_large_mean_costs_no_precision():
    x = draw(7) + np.float32(1000)
    close(layer_of()(x, train=True), layer_of()(x - np.float32(1000), train=True), 2e-3)


def test_a_channel_without_variance_becomes_the_bias():
    layer = layer_of()
    close(layer(jnp.full(SHAPE, 3.0), train=True), np.broadcast_to(layer.bias[...], SHAPE))


def test_without_a_ghost_batch_size_the_whole_batch_is_one_group():
    x, whole = draw(1), BatchNorm(CHANNELS, 0.9, Options())
    close(whole(x, train=True), numpy_norm(x, 1)[0])


def test_two_ghost_batches_equal_each_half_alone():
    x, both, halves = draw(8), layer_of(groups=2), [layer_of(groups=2) for _ in range(2)]
    alone = [half(part, train=True) for half, part in zip(halves, np.split(x, 2), strict=True)]
    close(both(x, train=True), np.concatenate(alone), 1e-6)
    for sums, *parts in zip(*map(averages, [both, *halves]), strict=True):
        close(sums, np.mean(parts, 0), 1e-6)


@pytest.mark.parametrize("backend", ["cpu", "gpu"])
def test_pixels_are_summed_alike_on_every_backend(backend, monkeypatch):
    x = draw(9, (3, 40, CHANNELS))
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    close(layers.sum_pixels(jnp.asarray(x)), x.astype(np.float64).sum(1, keepdims=True))


# Running averages


@pytest.mark.parametrize("keep", [0.9, 0.999])
@pytest.mark.parametrize("groups", [1, 3])
def test_caffe_keeps_sums_and_a_weight(keep, groups):
    """Means and unbiased variances, averaged over the ghost batches, are added in full to the sums kept."""
    layer = layer_of(keep, groups)
    pixels = np.prod(SHAPE[:3]) // groups
    mean = variance = weight = 0.0
    for step in range(4):
        layer(draw(20 + step), train=True)
        _, means, variances = numpy_norm(draw(20 + step), groups)
        mean = keep * mean + means.mean(0)
        variance = keep * variance + variances.mean(0) * pixels / (pixels - 1)
        weight = keep * weight + 1
        for result, expected in zip(averages(layer), (mean, variance, weight), strict=True):
            close(result, expected)
    x = draw(30)
    normal = (x - mean / weight) / np.sqrt(variance / weight + EPSILON)
    close(layer(x, train=False), normal * np.asarray(layer.scale[...]) + np.asarray(layer.bias[...]))


@pytest.mark.parametrize("keep", [0.1, 0.9, 0.999])
def test_after_one_step_evaluation_uses_exactly_that_batch(keep):
    layer, seen, x = BatchNorm(CHANNELS, keep, Options()), draw(1), draw(2)
    layer(seen, train=True)
    pixels = seen.reshape(-1, CHANNELS).astype(np.float64)
    close(layer(x, train=False), (x - pixels.mean(0)) / np.sqrt(pixels.var(0, ddof=1) + EPSILON))


def test_evaluation_changes_no_averages():
    layer = layer_of()
    layer(draw(1), train=True)
    before = averages(layer)
    layer(draw(2), train=False)
    assert all(np.array_equal(a, b) for a, b in zip(before, averages(layer), strict=True))


@pytest.mark.parametrize("keep", [0.9, 0.999])
def test_the_flax_option_equals_flax(keep):
    ours = layer_of(keep, running_average="flax")
    flax = nnx.BatchNorm(CHANNELS, momentum=keep, epsilon=1e-5, rngs=nnx.Rngs(0))
    flax.scale[...], flax.bias[...] = ours.scale[...], ours.bias[...]
    for step in range(4):
        x = draw(40 + step)
        close(ours(x, train=True), flax(x, use_running_average=False))
        close(ours.mean[...], flax.mean[...])
        close(ours.variance[...], flax.var[...])
        assert ours.weight[...] == pytest.approx(1)
        x = draw(50 + step)
        close(ours(x, train=False), flax(x, use_running_average=True))


def test_the_flax_option_takes_the_mean_over_the_ghost_batches():
    layer, x = layer_of(0.75, groups=3, running_average="flax"), draw(1)
    layer(x, train=True)
    _, means, variances = numpy_norm(x, 3)
    for result, expected in zip(averages(layer), (means.mean(0) / 4, 0.75 + variances.mean(0) / 4, 1), strict=True):
        close(result, expected)


@pytest.mark.parametrize("running_average", ["caffe", "flax"])
def test_evaluation_before_any_step_is_finite(running_average):
    layer = layer_of(running_average=running_average)
    y = layer(draw(1), train=False)
    assert y.shape == SHAPE and np.isfinite(y).all()
