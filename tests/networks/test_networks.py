"""The networks and their fast layers, against plain versions of `jax.lax`, NumPy and PyTorch."""

import functools
import subprocess
import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax

from smith import networks
from smith.errors import UserError
from smith.networks import layers

WINDOWS = [(3, 2), (2, 2)]  # (window, stride) of the pools
SIZES = [(32, 3, 2, 16), (16, 3, 2, 8), (8, 3, 2, 4), (24, 2, 2, 12), (7, 3, 2, 3)]  # size, window, stride, pooled size
SHAPES = [(2, 32, 32, 8), (3, 7, 10, 4)]  # the last: sides that no window divides


# The plain versions: the same mathematics, in as few operations of lax as there are.


def plain_conv(x, kernel, padding):
    return lax.conv_general_dilated(
        x, kernel, (1, 1), [(padding, padding)] * 2, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def plain_window(x, window, stride, start, combine):
    ends = [(layers.pooled_size(size, window, stride) - 1) * stride + window - size for size in x.shape[1:3]]
    pads = [(0, 0), *[(0, max(end, 0)) for end in ends], (0, 0)]
    return lax.reduce_window(x, start, combine, (1, window, window, 1), (1, stride, stride, 1), pads)


def plain_max_pool(x, window, stride):
    return plain_window(x, window, stride, -jnp.inf, lax.max)


def plain_avg_pool(x, window, stride):
    total = partial(plain_window, window=window, stride=stride, start=0.0, combine=lax.add)
    return total(x) / total(jnp.ones_like(x))


def plain_lrn(x, size=3, alpha=5e-5, beta=0.75):
    total = lax.reduce_window(jnp.square(x), 0.0, lax.add, (1, size, size, 1), (1, 1, 1, 1), "SAME")
    return x * (1 + alpha * total / size**2) ** -beta


def plain_shallow3(p, x):
    x = plain_conv(x, p["conv1"]["kernel"], 2) + p["conv1"]["bias"]
    x = plain_lrn(jax.nn.relu(plain_max_pool(x, 3, 2)))
    x = plain_conv(x, p["conv2"]["kernel"], 2) + p["conv2"]["bias"]
    x = plain_lrn(plain_avg_pool(jax.nn.relu(x), 3, 2))
    x = plain_conv(x, p["conv3"]["kernel"], 2) + p["conv3"]["bias"]
    x = plain_avg_pool(jax.nn.relu(x), 3, 2)
    return x.reshape(len(x), -1) @ p["dense"]["kernel"] + p["dense"]["bias"]


def plain_lenet(p, x):
    for layer in ("conv1", "conv2"):
        x = plain_max_pool(plain_conv(x, p[layer]["kernel"], 0) + p[layer]["bias"], 2, 2)
    x = jax.nn.relu(x.reshape(len(x), -1) @ p["dense1"]["kernel"] + p["dense1"]["bias"])
    return x @ p["dense2"]["kernel"] + p["dense2"]["bias"]


PLAIN = {"shallow3": plain_shallow3, "lenet": plain_lenet}


# Helpers


def draw(seed, shape, scale=1.0):
    return (scale * np.random.default_rng(seed).normal(size=shape)).astype(np.float32)


def relative(a, b):
    """Returns the largest relative error (in the Euclidean norm) of the arrays of a tree."""
    pairs = zip(jax.tree.leaves(jax.device_get(a)), jax.tree.leaves(jax.device_get(b)), strict=True)
    return max(np.linalg.norm(x - y) / max(np.linalg.norm(y), 1e-30) for x, y in pairs)


def value_and_pullback(function, x):
    """Returns the value and, for a random gradient with respect to it, the gradient with respect to x."""

    @jax.jit
    def both(x):
        y, pullback = jax.vjp(function, x)
        return y, pullback(draw(9, y.shape))[0]

    return both(x)


def batch_of(name, count, seed=5):
    """Returns (images, labels), of about the size that preprocessing leaves."""
    info = networks.info(name)
    scale = 60.0 if info.preprocessing == "mean_image" else 0.5
    labels = np.random.default_rng(seed + 1).integers(0, 10, count)
    return draw(seed, (count, *info.image_shape), scale), labels.astype(np.int32)


def cross_entropy(logits, labels):
    return -jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], 1).mean()


create = functools.cache(networks.create)


@functools.cache
def create_lively(name):
    """Returns a network whose every parameter, biases too, matters to the loss: at the first init conv1 hardly does."""
    graphdef, params, rest = create(name, 0)
    leaves, tree = jax.tree.flatten(params)
    leaves = [draw(k, x.shape, 0.1 if x.ndim == 1 else np.prod(x.shape[:-1]) ** -0.5) for k, x in enumerate(leaves)]
    return graphdef, jax.tree.unflatten(tree, leaves), rest


def paths(params):
    return {"/".join(str(key.key) for key in path): x for path, x in jax.tree_util.tree_leaves_with_path(params)}


# Layers


@pytest.mark.parametrize(
    "size, window, stride, pooled", [(32, 3, 2, 16), (16, 3, 2, 8), (8, 3, 2, 4), (24, 2, 2, 12), (7, 3, 2, 3)]
)
def test_caffe_rounds_the_size_of_a_pooled_image_up(size, window, stride, pooled):
    assert layers.pooled_size(size, window, stride) == pooled
    for pool in (layers.max_pool, layers.avg_pool):
        result = jax.eval_shape(lambda x: pool(x, window, stride), jnp.zeros((1, size, size, 1)))  # noqa: B023
        assert result.shape == (1, pooled, pooled, 1)


@pytest.mark.parametrize("window, stride", WINDOWS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("fast, plain", [(layers.max_pool, plain_max_pool), (layers.avg_pool, plain_avg_pool)])
def test_pools_equal_the_plain_ones_in_value_and_gradient(fast, plain, shape, window, stride):
    x = draw(1, shape)
    results = [value_and_pullback(lambda x: pool(x, window, stride), x) for pool in (fast, plain)]  # noqa: B023
    assert relative(*results) < 1e-6


@pytest.mark.parametrize("window, stride", WINDOWS)
def test_of_equal_values_the_first_in_reading_order_gets_the_gradient(window, stride):
    """So does XLA's own gradient; and whatever the ties, no gradient is lost or counted twice."""
    x = np.round(draw(2, (4, 9, 9, 5)))
    assert len(np.unique(x)) < 12
    y, dx = value_and_pullback(lambda x: layers.max_pool(x, window, stride), x)
    assert relative((y, dx), value_and_pullback(lambda x: plain_max_pool(x, window, stride), x)) < 1e-6
    np.testing.assert_allclose(np.sum(dx, (1, 2)), draw(9, y.shape).sum((1, 2)), rtol=1e-4, atol=1e-4)
    one = jax.jit(jax.grad(lambda x: layers.max_pool(x, window, stride).sum()))(jnp.ones((1, window, window, 1)))
    assert one.ravel().tolist() == [1.0] + [0.0] * (window**2 - 1)


def test_a_nan_goes_through_the_max_pool():
    x = jnp.zeros((1, 4, 4, 1)).at[0, 1, 1, 0].set(jnp.nan)
    assert np.isnan(layers.max_pool(x, 3, 2)).ravel().tolist() == [True, False, False, False]


def test_an_average_at_the_border_divides_by_the_pixels_inside():
    y = layers.avg_pool(jnp.ones((1, 4, 4, 1)), 3, 2)  # windows begin at 0 and 2: the second has two of three pixels
    np.testing.assert_allclose(y, jnp.ones((1, 2, 2, 1)), rtol=1e-6)
    corner = layers.avg_pool(jnp.zeros((1, 4, 4, 1)).at[0, 3, 3, 0].set(1.0), 3, 2)
    np.testing.assert_allclose(corner.ravel(), [0, 0, 0, 1 / 4], rtol=1e-6)


def numpy_lrn(x, size, alpha, beta):
    """Caffe's WITHIN_CHANNEL, pixel by pixel in float64."""
    x, half = np.asarray(x, np.float64), size // 2
    padded = np.pad(x**2, ((0, 0), (half, half), (half, half), (0, 0)))
    mean = np.empty_like(x)
    for i in range(x.shape[1]):
        for j in range(x.shape[2]):
            mean[:, i, j] = padded[:, i : i + size, j : j + size].sum((1, 2)) / size**2
    return x * (1 + alpha * mean) ** -beta


@pytest.mark.parametrize("size, alpha, beta", [(3, 5e-5, 0.75), (3, 0.3, 0.75), (5, 0.1, 0.5)])
def test_lrn_equals_caffe_s_definition(size, alpha, beta):
    x = draw(3, (2, 6, 7, 3), 50.0)
    y = jax.jit(layers.lrn_within_channel, static_argnums=(1, 2, 3))(x, size, alpha, beta)
    np.testing.assert_allclose(y, numpy_lrn(x, size, alpha, beta), rtol=2e-6, atol=1e-7)


@pytest.mark.parametrize("size, beta", [(3, 0.75), (5, 0.5)])
def test_lrn_equals_the_plain_one_in_value_and_gradient(size, beta):
    x = draw(4, (3, 16, 16, 4)) * np.array([0, 1, 300], np.float32)[:, None, None, None]
    results = [value_and_pullback(lambda x: f(x, size, 5e-5, beta), x) for f in (layers.lrn_within_channel, plain_lrn)]  # noqa: B023
    for image in range(3):
        assert relative(*jax.tree.map(lambda y: y[image], results)) < 2e-6  # noqa: B023


# Networks


@pytest.mark.parametrize("name", PLAIN)
def test_parameter_count_and_output_shape(name):
    graphdef, params, rest = create(name, 0)
    assert sum(x.size for x in jax.tree.leaves(params)) == networks.NETWORKS[name].parameters
    assert all(x.dtype == jnp.float32 for x in jax.tree.leaves(params))
    apply = partial(networks.apply, graphdef, train=True)
    logits, new_rest = jax.eval_shape(apply, params, rest, batch_of(name, 3)[0])
    assert logits.shape == (3, 10) and logits.dtype == jnp.float32
    assert jax.tree.leaves(new_rest) == []


def test_the_published_parameter_counts():
    assert {name: networks.info(name).parameters for name in PLAIN} == {"shallow3": 89_578, "lenet": 431_080}


def test_another_number_of_classes():
    _, params, _ = networks.create("shallow3", 0, classes=100)
    assert params["dense"]["kernel"].shape == (1024, 100)


@pytest.mark.parametrize("name", PLAIN)
def test_loss_and_gradients_equal_the_plain_network_s(name):
    graphdef, params, rest = create_lively(name)
    images, labels = batch_of(name, 16)

    def ours(params):
        return cross_entropy(networks.apply(graphdef, params, rest, images, train=True)[0], labels)

    result = jax.jit(jax.value_and_grad(ours))(params)
    expected = jax.jit(jax.value_and_grad(lambda params: cross_entropy(PLAIN[name](params, images), labels)))(params)
    assert relative(result, expected) < 1e-5


@pytest.mark.parametrize("name", [*PLAIN, "resnet-8"])
def test_the_path_for_accelerators_computes_the_same(name, monkeypatch):
    graphdef, params, rest = create_lively(name)
    images, labels = batch_of(name, 4)

    def loss(params):
        return cross_entropy(networks.apply(graphdef, params, rest, images, train=True)[0], labels)

    on_cpu = jax.jit(jax.value_and_grad(loss))(params)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    jax.clear_caches()  # else the trace for the CPU would be used again
    elsewhere = jax.jit(jax.value_and_grad(loss))(params)
    jax.clear_caches()
    assert relative(elsewhere, on_cpu) < (1e-3 if name == "resnet-8" else 1e-5)  # four images to normalise over


@pytest.mark.parametrize("name", PLAIN)
def test_forward_equals_pytorch(name):
    torch = pytest.importorskip("torch")
    graphdef, params, rest = create_lively(name)
    images, _ = batch_of(name, 4)
    logits, _ = jax.jit(partial(networks.apply, graphdef, train=False))(params, rest, images)
    p = {path: torch.from_numpy(np.array(x)) for path, x in paths(params).items()}
    x = torch.from_numpy(np.array(images)).permute(0, 3, 1, 2)
    expected = (torch_shallow3 if name == "shallow3" else torch_lenet)(torch.nn.functional, p, x)
    assert relative(logits, jnp.asarray(expected.numpy())) < 1e-5


def torch_conv(F, p, layer, x, padding):
    return F.conv2d(x, p[f"{layer}/kernel"].permute(3, 2, 0, 1), p[f"{layer}/bias"], padding=padding)


def torch_shallow3(F, p, x):
    def lrn(x):
        return x / (1 + 5e-5 * F.avg_pool2d(x**2, 3, 1, 1)) ** 0.75

    x = lrn(F.relu(F.max_pool2d(torch_conv(F, p, "conv1", x, 2), 3, 2, ceil_mode=True)))
    x = lrn(F.avg_pool2d(F.relu(torch_conv(F, p, "conv2", x, 2)), 3, 2, ceil_mode=True))
    x = F.avg_pool2d(F.relu(torch_conv(F, p, "conv3", x, 2)), 3, 2, ceil_mode=True)
    return x.permute(0, 2, 3, 1).flatten(1) @ p["dense/kernel"] + p["dense/bias"]


def torch_lenet(F, p, x):
    x = F.max_pool2d(torch_conv(F, p, "conv1", x, 0), 2)
    x = F.max_pool2d(torch_conv(F, p, "conv2", x, 0), 2)
    x = F.relu(x.permute(0, 2, 3, 1).flatten(1) @ p["dense1/kernel"] + p["dense1/bias"])
    return x @ p["dense2/kernel"] + p["dense2/bias"]


@pytest.mark.parametrize("rows, columns, channels", [(5, 5, 3), (3, 3, 3), (3, 5, 2), (1, 7, 1), (1, 1, 3)])
def test_a_convolution_of_few_channels_equals_the_plain_one(rows, columns, channels):
    draw = np.random.default_rng(rows)
    x, kernel = (
        jnp.asarray(draw.standard_normal(s, np.float32)) for s in [(2, 9, 6, channels), (rows, columns, channels, 4)]
    )

    def plain(x, kernel):
        return lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))

    value, pull = jax.vjp(jax.jit(layers.convolve_few_channels), x, kernel)
    expected, plain_pull = jax.vjp(plain, x, kernel)
    assert relative(value, expected) < 1e-6
    assert relative(pull(jnp.cos(value)), plain_pull(jnp.cos(value))) < 1e-6


def test_strided_even_and_many_channelled_convolutions_are_left_to_xla(monkeypatch):
    used = []
    monkeypatch.setattr(layers, "convolve_few_channels", lambda x, kernel: used.append(kernel.shape) or x)

    def convolve(side, channels, **options):
        conv = layers.Conv(channels, 4, (side, side), rngs=nnx.Rngs(0), **options)
        conv.convolve(jnp.ones((1, 8, 8, channels)))

    for side, channels, options in [(5, 3, {}), (3, 1, {}), (3, 4, {}), (4, 3, {}), (3, 3, {"strides": 2})]:
        convolve(side, channels, padding="SAME", **options)
    convolve(5, 3, padding="VALID")
    assert used == [(5, 5, 3, 4), (3, 3, 1, 4)]


def test_what_is_computed_once_is_the_same_to_the_bit():
    x = jnp.array([0.1, -3e38, 2e-38, -0.0, jnp.inf, -jnp.inf, jnp.nan], jnp.float32)
    value, pull = jax.vjp(jax.jit(layers.computed_once), x)
    assert np.asarray(value).tobytes() == np.asarray(x).tobytes()
    assert np.asarray(pull(x)[0]).tobytes() == np.asarray(x).tobytes()


def test_a_chain_of_blocks_is_not_computed_again_for_every_block():
    """With ReLUs after the sums XLA for a CPU repeats all earlier blocks in every later one, if it is let."""

    def loss(x, kernels, keep):
        for kernel in kernels:
            x = keep(jax.nn.relu(x + plain_conv(x, kernel, 1)))
        return x.sum()

    x, kernels = jnp.ones((2, 8, 8, 4)), [jnp.ones((3, 3, 4, 4))] * 8
    count = {
        keep: jax.jit(jax.grad(partial(loss, keep=keep), 1)).lower(x, kernels).compile().as_text().count(" maximum(")
        for keep in (layers.computed_once, lambda x: x)
    }
    assert count[layers.computed_once] <= 3 * len(kernels) < max(count.values())


def test_shallow3_starts_gaussian():
    params = paths(create("shallow3", 1)[1])
    for path, deviation in {"conv1": 1e-4, "conv2": 1e-2, "conv3": 1e-2, "dense": 1e-2}.items():
        kernel = np.asarray(params[f"{path}/kernel"]) / deviation
        assert kernel.std() == pytest.approx(1, abs=0.05) and kernel.mean() == pytest.approx(0, abs=0.06)
        assert np.abs(kernel).max() > 2.5  # not cut off at two deviations
        assert not params[f"{path}/bias"].any()


def test_lenet_starts_with_caffe_s_xavier():
    params = paths(create("lenet", 1)[1])
    for path, fan_in in {"conv1": 25, "conv2": 500, "dense1": 800, "dense2": 500}.items():
        kernel, bound = np.asarray(params[f"{path}/kernel"]), np.sqrt(3 / fan_in)
        assert 0.98 * bound < np.abs(kernel).max() <= bound
        assert kernel.std() == pytest.approx(bound / np.sqrt(3), rel=0.05)
        assert not params[f"{path}/bias"].any()


def test_seeds_give_parameters():
    first, again, other = (networks.create("shallow3", seed)[1] for seed in (0, 0, 1))
    assert relative(first, again) == 0
    assert relative(first["conv2"]["kernel"], other["conv2"]["kernel"]) > 1


@pytest.mark.parametrize("name", networks.NETWORKS)
def test_multipliers_name_parameters_that_exist(name):
    info, known = networks.NETWORKS[name], paths(create(name, 0)[1])
    assert {*info.lr_multipliers, *info.decay_multipliers} <= {*known}


def test_the_multipliers_are_the_author_s():
    """As in the author's network files."""
    shallow3, lenet = networks.NETWORKS["shallow3"], networks.NETWORKS["lenet"]
    assert {path: m for path, m in shallow3.lr_multipliers.items() if m != 1} == {
        "conv1/bias": 2, "conv2/bias": 2, "dense/bias": 2,
    }  # fmt: skip
    assert shallow3.decay_multipliers == {"dense/kernel": 250, "dense/bias": 0}
    assert {*lenet.lr_multipliers.values()} == {2} and len(lenet.lr_multipliers) == 4
    assert lenet.decay_multipliers == {}


@pytest.mark.parametrize("name, rate", [("shallow3", 0.0007), ("lenet", 0.01)])
def test_one_batch_can_be_memorised(name, rate):
    graphdef, params, rest = create_lively(name)
    images, labels = batch_of(name, 8)
    height, width, _ = images.shape[1:]
    images = images[:, :4, :4].repeat(height // 4, 1).repeat(width // 4, 2)  # large patches outlive the pools

    @partial(jax.jit, compiler_options=networks.compiler_options())
    def step(params, velocity):
        def loss(params):
            return cross_entropy(networks.apply(graphdef, params, rest, images, train=True)[0], labels)

        value, gradient = jax.value_and_grad(loss)(params)
        velocity = jax.tree.map(lambda v, g: 0.9 * v + rate * g, velocity, gradient)
        return jax.tree.map(jnp.subtract, params, velocity), velocity, value

    velocity, loss = jax.tree.map(jnp.zeros_like, params), jnp.inf
    for _ in range(150):
        params, velocity, loss = step(params, velocity)
        if loss < 0.05:
            return
    raise AssertionError(f"the loss is still {loss}")


# The registry


def test_an_unknown_network_suggests_the_nearest():
    for function in (networks.info, lambda name: networks.create(name, 0)):
        with pytest.raises(UserError, match="unknown network 'shalow3': did you mean 'shallow3'"):
            function("shalow3")


def test_the_registry_imports_neither_jax_nor_flax():
    code = "import sys, smith.networks; sys.exit(bool({'jax', 'flax', 'torch'} & {*sys.modules}))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_compiler_options_are_accepted():
    double = jax.jit(lambda x: 2 * x, compiler_options=networks.compiler_options())
    assert double(3) == 6
