"""The residual networks and DenseNets, against NumPy code and counts written from the protocol; and mirroring."""

import functools
import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from smith import networks
from smith.errors import UserError
from smith.networks import Options, densenet, layers
from smith.train import step as programs

FULL = ["resnet-56", "resnet-56-relu", "wide-32", "densenet-40"]
SHALLOW = ["resnet-8", "resnet-14", "resnet-8-relu", "wide-8", "densenet-10"]
FILLERS = ["xavier", "msra"]
KEEP = {"resnet": 0.9, "relu": 0.999, "wide": 0.9, "densenet": 0.999}
EPSILON = 1e-5
HASTILY = {"xla_backend_optimization_level": 0}  # compiles in half the time


# The protocol's layers: (side, inputs, outputs) of every convolution.


def family_and_depth(name):
    family, depth, *relu = name.split("-")
    return (relu or [family])[0], int(depth)


def blocks_of(name):
    """Returns (inputs, outputs, stride) of every residual block."""
    family, depth = family_and_depth(name)
    if family == "resnet":  # the blocks that halve the image come before the groups of equal ones
        n = (depth - 8) // 6
        widths = [16] * n + [32] * (n + 1) + [64] * (n + 1)
    else:  # they are the first of their groups
        n = (depth - 2) // 6
        widths = [16] * n + ([32] * n + [64] * n if family == "relu" else [64] * n + [256] * n)
    inputs = [16, *widths[:-1]]
    return [(i, o, 1 if i == o else 2) for i, o in zip(inputs, widths, strict=True)]


def convolutions_of(name):
    """Returns (side, inputs, outputs) of every convolution."""
    family, depth = family_and_depth(name)
    found, channels = [(3, 3, 16)], 16
    if family == "densenet":
        for block in range(3):
            for _ in range((depth - 4) // 3):
                found.append((3, channels, 12))
                channels += 12
            if block < 2:
                found.append((1, channels, channels))
        return found
    for inputs, outputs, stride in blocks_of(name):
        middle = inputs if family == "relu" else outputs
        found += [(3, inputs, middle), (3, middle, middle)]
        if stride == 2 and family != "relu":
            found.append((2, inputs, outputs))
    return found


def last_channels(name):
    family, depth = family_and_depth(name)
    return {"resnet": 64, "relu": 64, "wide": 256, "densenet": 16 + 12 * (depth - 4)}[family]


def count_by_hand(name, classes):
    convolutions, last = convolutions_of(name), last_channels(name)
    if name.startswith("densenet"):  # a BatchNorm before each convolution but the first, and one at the end
        normalised = [inputs for _, inputs, _ in convolutions[1:]] + [last]
    else:  # one after each
        normalised = [outputs for _, _, outputs in convolutions]
    kernels = sum(side**2 * inputs * outputs for side, inputs, outputs in convolutions)
    return kernels + 2 * sum(normalised) + last * classes + classes


# The networks in NumPy, in float64.


def numpy_conv(x, kernel, stride, padding):
    side, _, inputs, outputs = kernel.shape
    x = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(x, (side, side), (1, 2))[:, ::stride, ::stride]
    columns = windows.transpose(0, 1, 2, 4, 5, 3).reshape(-1, side * side * inputs)
    return (columns @ kernel.reshape(-1, outputs)).reshape(*windows.shape[:3], outputs)


def numpy_avg_pool(x, window, stride):
    """Caffe's: the number of windows is rounded up, and only pixels inside the image count."""
    height, width = (-(-(size - window) // stride) + 1 for size in x.shape[1:3])
    y = np.empty((len(x), height, width, x.shape[-1]))
    for i in range(height):
        for j in range(width):
            y[:, i, j] = x[:, i * stride : i * stride + window, j * stride : j * stride + window].mean((1, 2))
    return y


def relu(x):
    return np.maximum(x, 0)


class NumPyNetwork:
    """A network's logits and, in training, what its running averages become.

    ghost_batch_size: images that BatchNorm normalises over; None for evaluation
    """

    def __init__(self, name, params, rest, ghost_batch_size):
        self.family = family_and_depth(name)[0]
        self.params, self.rest = jax.tree.map(lambda x: np.asarray(x, np.float64), (params, rest))
        self.ghost_batch_size, self.new_rest, self.used = ghost_batch_size, {}, set()

    def of(self, path, tree):
        for key in path.split("/"):
            tree = tree[key]
        return tree

    def conv(self, path, x, stride=1, padding=1):
        self.used.add(f"{path}/kernel")
        return numpy_conv(x, self.of(path, self.params)["kernel"], stride, padding)

    def norm(self, path, x):
        self.used |= {f"{path}/scale", f"{path}/bias"}
        params, sums = self.of(path, self.params), self.of(path, self.rest)
        if self.ghost_batch_size is None:
            mean, variance = sums["mean"] / sums["weight"], sums["variance"] / sums["weight"]
            return (x - mean) / np.sqrt(variance + EPSILON) * params["scale"] + params["bias"]
        groups = x.reshape(-1, self.ghost_batch_size, *x.shape[1:])
        mean, variance = groups.mean((1, 2, 3), keepdims=True), groups.var((1, 2, 3), keepdims=True)
        unbiased = groups.var((1, 2, 3), ddof=1)
        new = {"mean": mean.mean((0, 1, 2, 3)), "variance": unbiased.mean(0), "weight": 1.0}
        self.new_rest[path] = {key: KEEP[self.family] * sums[key] + new[key] for key in new}
        return ((groups - mean) / np.sqrt(variance + EPSILON)).reshape(x.shape) * params["scale"] + params["bias"]

    def dense(self, x):
        self.used |= {"dense/kernel", "dense/bias"}
        return x.mean((1, 2)) @ self.params["dense"]["kernel"] + self.params["dense"]["bias"]

    def conv_norm(self, path, x, stride=1, padding=1):
        return self.norm(f"{path}/norm", self.conv(f"{path}/conv", x, stride, padding))

    def residual(self, name, x):
        x = relu(self.conv_norm("first", x))
        for number, (inputs, outputs, stride) in enumerate(blocks_of(name), 1):
            y = relu(self.conv_norm(f"block{number}/conv1", x, stride))
            y = self.conv_norm(f"block{number}/conv2", y)
            if self.family == "relu":
                y = relu(y + (numpy_avg_pool(x, 3, 2) if stride == 2 else x))
                x = np.concatenate([y, np.zeros((*y.shape[:3], outputs - inputs))], axis=-1)
            else:
                x = y + (self.conv_norm(f"block{number}/project", x, 2, 0) if stride == 2 else x)
        return self.dense(x)

    def densenet(self, name, x):
        """Without dropout. Each layer's channels come before those it read."""
        x = self.conv("first", x)
        for block in (1, 2, 3):
            for layer in range(1, (family_and_depth(name)[1] - 4) // 3 + 1):
                path = f"block{block}_layer{layer}"
                x = np.concatenate([self.conv(f"{path}/conv", relu(self.norm(f"{path}/norm", x))), x], axis=-1)
            if block < 3:
                path = f"transition{block}"
                y = self.conv(f"{path}/conv", relu(self.norm(f"{path}/norm", x)), padding=0)
                x = numpy_avg_pool(y, 2, 2)
        return self.dense(relu(self.norm("norm", x)))

    def __call__(self, name, images):
        network = self.densenet if self.family == "densenet" else self.residual
        return network(name, np.asarray(images, np.float64))


# Helpers


def draw(seed, shape, scale=1.0):
    return (scale * np.random.default_rng(seed).normal(size=shape)).astype(np.float32)


def images_of(count, seed=5):
    return draw(seed, (count, 32, 32, 3), 60.0)


def relative(a, b):
    """Returns the relative error in the Euclidean norm."""
    return np.linalg.norm(np.asarray(a) - b) / np.linalg.norm(b)


def paths(tree):
    return {"/".join(str(key.key) for key in path): np.asarray(x) for path, x in jax.tree.leaves_with_path(tree)}


def random_key(seed):
    """Returns a key of the kind whose draws compile fast."""
    return jax.random.key(seed, impl="rbg")


create = functools.cache(networks.create)


@functools.cache
def shapes_of(name, classes=10, options=None):
    """Returns the shape and type of every parameter, by path, without computing it."""
    params = jax.eval_shape(lambda: networks.create(name, 0, classes, options)[1])
    return {"/".join(str(key.key) for key in path): x for path, x in jax.tree.leaves_with_path(params)}


def kernel_shapes(name, options=None):
    return {path: x.shape for path, x in shapes_of(name, options=options).items() if path.endswith("kernel")}


def logits_shape(name, classes, options, train):
    """Returns the shape and type of the logits of two images."""

    def logits():
        images = jnp.zeros((2, *networks.info(name).image_shape))
        return networks.apply(*networks.create(name, 0, classes, options), images, train=train, key=random_key(0))[0]

    return jax.eval_shape(logits)


def kernels(params):
    return {path: x for path, x in paths(params).items() if path.endswith("kernel")}


def lively(name, options=None):
    """Returns a network with random parameters and running averages, all of which matter to the logits."""
    graphdef, params, rest = networks.create(name, 0, 10, options)
    random = np.random.default_rng(3)

    def value(path, x):
        if path[-1].key == "kernel":
            return draw(random, x.shape, np.prod(x.shape[:-1]) ** -0.5)
        if path[-1].key in ("scale", "variance", "weight"):
            return random.uniform(0.5, 1.5, x.shape).astype(np.float32)
        return draw(random, x.shape, 0.3)

    params, rest = (jax.tree_util.tree_map_with_path(value, tree) for tree in (params, rest))
    return graphdef, params, rest


def forward(graphdef, **options):
    return jax.jit(partial(networks.apply, graphdef, **options), compiler_options=HASTILY)


def cross_entropy(logits, labels):
    return -jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], 1).mean()


# Layers and parameters


@pytest.mark.parametrize("classes", [10, 100])
@pytest.mark.parametrize("name", FULL + SHALLOW)
def test_the_number_of_parameters_is_the_protocol_s(name, classes):
    params = shapes_of(name, classes)
    assert sum(x.size for x in params.values()) == count_by_hand(name, classes)
    assert all(x.dtype == jnp.float32 for x in params.values())


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("name, classes", [*((name, 10) for name in SHALLOW), *((name, 100) for name in FULL)])
def test_there_is_a_logit_for_every_class(name, classes, train):
    logits = logits_shape(name, classes, None, train)
    assert logits.shape == (2, classes) and logits.dtype == jnp.float32


@pytest.mark.parametrize("name", FULL)
def test_the_registry_s_number_of_parameters(name):
    assert networks.info(name).parameters == count_by_hand(name, 10)


@pytest.mark.parametrize("name", FULL + SHALLOW)
def test_the_number_of_weighted_layers_is_the_depth(name):
    """wide-32's leaves the two projections out."""
    family, depth = family_and_depth(name)
    projections = [path for path in kernel_shapes(name) if "project" in path]
    assert len(projections) == (2 if family in ("resnet", "wide") else 0)
    assert len(kernel_shapes(name)) - (len(projections) if family == "wide" else 0) == depth


@pytest.mark.parametrize("name", FULL + SHALLOW)
def test_kernels_have_the_shapes_of_the_protocol(name):
    shapes = [shape for path, shape in kernel_shapes(name).items() if path != "dense/kernel"]
    assert sorted(shapes) == sorted((side, side, i, o) for side, i, o in convolutions_of(name))


def test_resnet_56_has_the_blocks_that_the_protocol_lists():
    blocks = [(16, 16, 1)] * 8 + [(16, 32, 2)] + [(32, 32, 1)] * 8 + [(32, 64, 2)] + [(64, 64, 1)] * 8
    assert blocks_of("resnet-56") == blocks and len(blocks) == 26


def test_densenet_40_has_the_transitions_that_the_protocol_lists():
    assert [i for side, i, _ in convolutions_of("densenet-40") if side == 1] == [160, 304]


@pytest.mark.parametrize("name", SHALLOW)
def test_only_the_classifier_has_a_bias_besides_batch_norm(name):
    biases = [path for path in shapes_of(name) if path.endswith("bias")]
    assert [path for path in biases if "norm" not in path] == ["dense/bias"]


@pytest.mark.parametrize("name", FULL)
def test_the_multipliers_are_those_of_the_protocol(name):
    info = networks.info(name)
    assert info.lr_multipliers == {"dense/bias": 2.0}
    assert info.decay_multipliers == ({} if name == "densenet-40" else {"dense/bias": 0.0})
    assert info.batch_norm and info.preprocessing == "mean_image"


# The forward pass


@pytest.mark.parametrize("name", FULL)
def test_evaluation_equals_numpy(name):
    graphdef, params, rest = lively(name)
    images = images_of(2)
    logits, new_rest = forward(graphdef, train=False)(params, rest, images)
    plain = NumPyNetwork(name, params, rest, ghost_batch_size=None)
    assert relative(logits, plain(name, images)) < 1e-5
    assert plain.used == {*paths(params)}
    assert all(np.array_equal(a, b) for a, b in zip(*map(jax.tree.leaves, (new_rest, rest)), strict=True))


@pytest.mark.parametrize("name", FULL)
def test_training_with_ghost_batches_equals_numpy(name, monkeypatch):
    """The logits and the new running averages, without dropout."""
    monkeypatch.setattr(densenet, "dropout", lambda x, key: x)
    graphdef, params, rest = lively(name, Options(ghost_batch_size=2))
    images = images_of(4) * np.array([1, 1, 0.2, 0.2], np.float32)[:, None, None, None]
    logits, new_rest = forward(graphdef, train=True)(params, rest, images)
    plain = NumPyNetwork(name, params, rest, ghost_batch_size=2)
    assert relative(logits, plain(name, images)) < 1e-5
    new_rest = paths(new_rest)
    assert len(new_rest) == 3 * len(plain.new_rest)
    for path, expected in plain.new_rest.items():
        for key in expected:
            assert relative(new_rest[f"{path}/{key}"], expected[key]) < 1e-5, (path, key)


@pytest.mark.parametrize("name", SHALLOW)
def test_the_gradient_equals_finite_differences(name):
    """In float64, and in steps so small that hardly a ReLU changes sides."""
    with jax.enable_x64(True):
        graphdef, params, rest = networks.create(name, 0, 10, Options(ghost_batch_size=2))
        params, rest = jax.tree.map(lambda x: jnp.asarray(x, jnp.float64), (params, rest))
        images, labels = jnp.asarray(images_of(4)[:, :16, :16], jnp.float64), jnp.array([3, 1, 4, 1])
        leaves, tree = jax.tree.flatten(params)
        direction = jax.tree.unflatten(tree, [draw(k, x.shape) for k, x in enumerate(leaves)])

        @partial(jax.jit, compiler_options=HASTILY)
        @jax.value_and_grad
        def loss(step):
            moved = jax.tree.map(lambda p, d: p + step * d, params, direction)
            logits, _ = networks.apply(graphdef, moved, rest, images, train=True, key=random_key(0))
            return cross_entropy(logits, labels)

        (after, _), (before, _), (_, slope) = (map(float, loss(step)) for step in (1e-8, -1e-8, 0.0))
    assert abs(slope) > 1e-2
    assert slope == pytest.approx((after - before) / 2e-8, rel=1e-5)


@pytest.mark.parametrize("name", ["resnet-8", "resnet-8-relu", "wide-8", "densenet-10"])
def test_one_batch_can_be_memorised(name):
    """By the step that runs take, its dropout and ghost batches included."""
    program = programs.compiled(name, 10, "nesterov", 16, Options(width=0.5, ghost_batch_size=8), False)
    random = np.random.default_rng(1)
    images = jnp.asarray(random.integers(0, 256, (16, 32, 32, 3), np.uint8))
    labels = jnp.asarray(random.integers(0, 10, 16, np.uint8))
    data, orders = (images, labels, images.mean(0)), jnp.stack([jnp.arange(16)] * 2)
    state, loss, hyper = program.init(0), jnp.inf, np.array([0.1, 0.9, 0.0], np.float32)
    for t in range(120):
        state, loss = program.step(state, data, orders, np.array([0, t], np.int32), hyper, random_key(0))
        if loss < 0.1:
            return
    raise AssertionError(f"the loss is still {loss}")


# Initialisation


def looks_like(filler, kernel):
    """Says whether the weights could be drawn by Caffe's filler."""
    fan_in = np.prod(kernel.shape[:-1])
    spread = np.abs(kernel).max() / np.sqrt(3 / fan_in)
    error = 5 / np.sqrt(kernel.size)  # about five standard errors
    if filler == "xavier":
        return spread <= 1 and spread > 1 - 10 / kernel.size and abs(kernel.std() * np.sqrt(fan_in) - 1) < error
    return spread > 1 and abs(kernel.std() * np.sqrt(fan_in / 2) - 1) < error


@pytest.mark.parametrize("name", SHALLOW)
def test_kernels_start_with_msra_and_two_classifiers_with_xavier(name):
    for path, kernel in kernels(create(name, 0)[1]).items():
        xavier = path == "dense/kernel" and name in ("resnet-8-relu", "densenet-10")
        assert looks_like("xavier" if xavier else "msra", kernel), path


@pytest.mark.parametrize("filler", FILLERS)
@pytest.mark.parametrize("shape", [(2000, 30), (5, 5, 8, 100)])
def test_fillers_go_by_the_inputs_of_a_weight(shape, filler):
    assert looks_like(filler, np.asarray(layers.INITIALISERS[filler](random_key(0), shape, jnp.float32)))


@pytest.mark.parametrize("filler", FILLERS)
@pytest.mark.parametrize("name", ["shallow3", "lenet", *SHALLOW])
def test_the_option_init_is_for_every_kernel(name, filler, monkeypatch):
    fillers = {
        known: lambda key, shape, *_, n=n, **__: jnp.asarray(np.full(shape, n)) for n, known in enumerate(FILLERS)
    }
    monkeypatch.setattr(layers, "INITIALISERS", fillers)
    params = networks.create(name, 0, 10, Options(init=filler))[1]
    assert {*np.concatenate([x.ravel() for x in kernels(params).values()])} == {FILLERS.index(filler)}


@pytest.mark.parametrize("name", SHALLOW)
def test_scales_start_at_one_and_biases_at_zero(name):
    params = paths(create(name, 0)[1])
    assert all((x == 1).all() for path, x in params.items() if path.endswith("scale"))
    assert not any(x.any() for path, x in params.items() if path.endswith("bias"))


@pytest.mark.parametrize("name", ["resnet-14", "densenet-10"])
def test_seeds_and_layers_give_different_weights(name):
    first, again, other = (kernels(networks.create(name, seed)[1]) for seed in (0, 0, 1))
    assert all(np.array_equal(first[path], again[path]) for path in first)
    starts = [x.ravel()[:3] / x.std() for x in (*first.values(), *other.values())]
    assert len({tuple(np.round(start, 3)) for start in starts}) == 2 * len(first)


# Width


@pytest.mark.parametrize("width", [0.5, 2.0])
@pytest.mark.parametrize("name", ["resnet-8", "resnet-8-relu", "wide-8", "densenet-10"])
def test_width_multiplies_the_channels(name, width):
    normal, widened = kernel_shapes(name), kernel_shapes(name, Options(width=width))
    for path, (*sides, inputs, outputs) in normal.items():
        inputs *= 1 if path.startswith("first") else width
        outputs *= 1 if path == "dense/kernel" else width
        assert widened[path] == (*sides, inputs, outputs), path


@pytest.mark.parametrize("name", ["shallow3", "lenet", "resnet-8", "resnet-8-relu", "wide-8", "densenet-10"])
def test_there_is_one_channel_at_least(name):
    options = Options(width=0.001)
    assert min(min(x.shape) for x in shapes_of(name, options=options).values()) == 1
    assert logits_shape(name, 10, options, train=True).shape == (2, 10)


def test_a_width_is_rounded():
    assert [Options(width=width).widen(16) for width in (1.0, 0.01, 0.1, 0.36, 1.3)] == [16, 1, 2, 6, 21]


# Dropout


def test_dropout_depends_on_the_key_in_training_only():
    graphdef, params, rest = lively("densenet-10")
    images, keys = images_of(2), [random_key(seed) for seed in (0, 0, 1)]

    @partial(jax.jit, static_argnames="train", compiler_options=HASTILY)
    def logits(params, rest, key, train):
        return networks.apply(graphdef, params, rest, images, train=train, key=key)[0]

    first, again, other = (np.asarray(logits(params, rest, key, train=True)) for key in keys)
    assert np.array_equal(first, again) and relative(first, other) > 1e-3
    first, again, other = (np.asarray(logits(params, rest, key, train=False)) for key in keys)
    assert np.array_equal(first, again) and np.array_equal(first, other)


def test_every_layer_has_a_dropout_of_its_own(monkeypatch):
    found, call = [], densenet.NormConv.__call__
    graphdef, params, rest = create("densenet-10", 0)

    def spy(layer, x, *, train, key):
        found.append(jax.random.key_data(key))
        return call(layer, x, train=train, key=key)

    @jax.jit
    def keys(params, rest):
        networks.apply(graphdef, params, rest, images_of(2), train=True, key=random_key(0))
        return jnp.stack(found)

    monkeypatch.setattr(densenet.NormConv, "__call__", spy)
    assert len(np.unique(keys(params, rest), axis=0)) == len(found) == 8


def test_dropout_takes_a_fifth_and_scales_the_rest_up(monkeypatch):
    layer, x = densenet.NormConv(4, 6, 3, Options(), rngs=nnx.Rngs(0)), jnp.asarray(draw(1, (4, 16, 16, 4)))
    dropped = np.asarray(layer(x, train=True, key=random_key(0)))
    monkeypatch.setattr(densenet, "dropout", lambda x, key: x)
    whole = np.asarray(layer(x, train=True, key=None))
    kept = dropped != 0
    assert np.mean(kept) == pytest.approx(0.8, abs=0.02)
    np.testing.assert_allclose(dropped[kept], whole[kept] / 0.8, rtol=1e-5)


# Names


@pytest.mark.parametrize(
    "name, depths",
    [
        ("resnet-9", "8, 14, 20, ..., as in resnet-56"),
        ("resnet-2", "8, 14, 20, ..., as in resnet-56"),
        ("resnet-57-relu", "8, 14, 20, ..., as in resnet-56-relu"),
        ("wide-33", "8, 14, 20, ..., as in wide-32"),
        ("densenet-41", "7, 10, 13, ..., as in densenet-40"),
        ("densenet-4", "7, 10, 13, ..., as in densenet-40"),
    ],
)
def test_a_depth_that_is_not_of_the_family_is_told_the_family_s(name, depths):
    for function in (networks.info, lambda name: networks.create(name, 0)):
        with pytest.raises(UserError, match=f"^{name}: the depths of this family are {re.escape(depths)}$"):
            function(name)


@pytest.mark.parametrize("name", ["resnet", "resnet-", "resnet-56-", "densenet-40-relu", "wide--32"])
def test_a_family_without_a_depth_is_unknown(name):
    with pytest.raises(UserError, match=f"unknown network '{name}': did you mean"):
        networks.info(name)


@pytest.mark.parametrize(
    "name, known", [("resnet-20", FULL[0]), ("resnet-110-relu", FULL[1]), ("densenet-100", FULL[3])]
)
def test_other_depths_share_the_description(name, known):
    assert networks.info(name) is networks.NETWORKS[known]


# Mirroring


def test_about_half_of_the_images_are_mirrored_and_the_others_left():
    images, key = jnp.asarray(draw(1, (400, 4, 6, 3))), jax.random.key(0)
    result = np.asarray(programs.mirrored(images, key))
    flipped = (result == np.asarray(images)[:, :, ::-1]).all((1, 2, 3))
    left = (result == np.asarray(images)).all((1, 2, 3))
    assert (flipped != left).all()
    assert 0.4 < flipped.mean() < 0.6
    assert np.array_equal(programs.mirrored(images, key), result)
    assert not np.array_equal(programs.mirrored(images, jax.random.key(1)), result)
