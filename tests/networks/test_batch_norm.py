"""Batch normalisation over ghost batches, plain and as a CPU does it, against NumPy in float64 and Flax."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from smith.data import SPLITS, cache_file, default_data_dir, load
from smith.networks import batch_norm
from smith.networks.batch_norm import EPSILON, BatchNorm
from smith.networks.cpu import tricks
from smith.networks.layers import convolve
from smith.networks.registry import Options

normalise = partial(batch_norm.normalise, epsilon=EPSILON)

CHANNELS = 5
SHAPE = (6, 4, 3, CHANNELS)  # a batch of images


# Helpers


def draw(seed, shape=SHAPE, scale=1.0):
    """Returns numbers with another mean and deviation in each channel."""
    random = np.random.default_rng(seed)
    mean, deviation = random.normal(size=shape[-1]), random.uniform(0.5, 3, shape[-1])
    return (scale * (mean + deviation * random.normal(size=shape))).astype(np.float32)


def numpy_norm(x, groups, scale=1.0, bias=0.0):
    """Returns (normalised x, means, biased variances), the latter (groups, channels), in float64."""
    y, means, variances = [], [], []
    for part in np.split(np.asarray(x, np.float64), groups):
        pixels = part.reshape(-1, part.shape[-1])
        means.append(pixels.sum(0) / len(pixels))
        variances.append(((pixels - means[-1]) ** 2).sum(0) / len(pixels))
        y.append((part - means[-1]) / np.sqrt(variances[-1] + EPSILON) * scale + bias)
    return np.concatenate(y), np.stack(means), np.stack(variances)


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


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("groups", [1, 3])
def test_normalise_returns_the_means_and_the_biased_variances_too(groups, fast):
    x = draw(2)
    with tricks(fast):
        y, mean, variance = normalise(x.reshape(groups, -1, CHANNELS), jnp.ones(CHANNELS), jnp.zeros(CHANNELS))
    expected = numpy_norm(x, groups)
    close(y.reshape(SHAPE), expected[0])
    assert mean.shape == variance.shape == (groups, 1, CHANNELS)
    close(mean[:, 0], expected[1])
    close(variance[:, 0], expected[2])


@pytest.mark.parametrize("groups", [1, 3])
def test_a_cpu_s_own_gradient_is_that_of_the_formula(groups):
    arguments, weights = (draw(3), draw(4, (CHANNELS,)), draw(5, (CHANNELS,))), draw(6)

    def loss(fast, x, scale, bias):
        with tricks(fast):
            y = normalise(x.reshape(groups, -1, CHANNELS), scale, bias)[0]
        return jnp.sum(jnp.tanh(y.reshape(SHAPE)) * weights)

    results = [jax.jit(jax.value_and_grad(partial(loss, fast), (0, 1, 2)))(*arguments) for fast in (True, False)]
    jax.tree.map(lambda a, b: close(a, b, 2e-5), *results)


@pytest.mark.parametrize("fast", [False, True])
def test_no_gradient_flows_through_the_mean_and_the_variance(fast):
    with tricks(fast):
        gradient = jax.grad(lambda x: sum(part.sum() for part in normalise(x, jnp.ones(2), jnp.zeros(2))[1:]))
        assert not gradient(jnp.arange(12.0).reshape(1, 6, 2)).any()


def cifar_images(count):
    """Returns CIFAR-10's first images less their mean image, or if they are not there, blotches of the same size."""
    if all(cache_file("cifar10", split, default_data_dir()).exists() for split in SPLITS):
        images = load("cifar10", "train", default_data_dir()).images[:count].astype(np.float32)
        return images - images.mean(0)
    blotches = draw(1, (count, 8, 8, 3)).repeat(4, 1).repeat(4, 2)
    return (50 * blotches + 20 * draw(2, (count, 32, 32, 3))).astype(np.float32)


@pytest.mark.parametrize("fast", [False, True])
def test_the_statistics_of_512_images_are_exact(fast):
    """One sum after the other in float32 would be wrong by 4e-4."""
    images, kernel = cifar_images(512), draw(3, (3, 3, 3, 8), 27**-0.5)

    @jax.jit
    def statistics(images):
        with tricks(fast):
            x = convolve(images, kernel, padding="SAME").reshape(1, -1, 8)
            return x, normalise(x, jnp.ones(8), jnp.zeros(8))[1:]

    x, (mean, variance) = statistics(images)
    exact = np.asarray(x, np.float64)
    np.testing.assert_allclose(variance, exact.var(1, keepdims=True), rtol=1e-6)
    np.testing.assert_allclose(mean, exact.mean(1, keepdims=True), atol=1e-6 * exact.std())


def test_a_large_mean_costs_no_precision():
    x = draw(7) + np.float32(1000)
    close(layer_of()(x, train=True), layer_of()(x - np.float32(1000), train=True), 2e-3)


def test_a_channel_without_variance_becomes_the_bias():
    layer = layer_of()
    close(layer(jnp.full(SHAPE, 3.0), train=True), np.broadcast_to(layer.bias[...], SHAPE))


def test_without_a_ghost_batch_size_the_whole_batch_is_one_group():
    x, whole = draw(1), BatchNorm(CHANNELS, 0.9, Options())
    close(whole(x, train=True), numpy_norm(x, 1)[0])


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


def test_a_tenth_of_the_memory_forgets_in_one_step_what_the_whole_forgets_in_ten():
    short, long = (layer_of(0.999, memory=memory) for memory in (0.1, 1.0))
    assert short.keep == pytest.approx(0.999**10) and long.keep == 0.999
    for layer in (short, long):
        layer(draw(1), train=True)
    close(short.mean[...], draw(1).mean((0, 1, 2)))


def test_evaluation_before_any_step_is_finite():
    layer = layer_of()
    y = layer(draw(1), train=False)
    assert y.shape == SHAPE and np.isfinite(y).all()
