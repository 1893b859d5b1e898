"""The networks against NumPy code and counts written from the protocol, in float64 and at small depths.

tests/slow/test_keras.py compares ImageNet's with those of Keras, at their full size.
"""

import functools
import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from caffe import numpy_lrn, numpy_pool, relative
from flax import nnx
from small import slow

from smith import networks
from smith.networks import Options, densenet, inception
from smith.networks.layers import max_pool

PLAIN = ["shallow3", "lenet"]
DEEP = ["resnet-56", "resnet-56-relu", "wide-32", "densenet-40"]
SMALL = ["resnet-8", "resnet-8-relu", "wide-8", "densenet-7"]
LARGE = ["imagenet-resnet-14", "inception-resnet-v2-32"]
FEW = {name: Options(width=1 / 4, ghost_batch_size=None if name in PLAIN else 2) for name in PLAIN + SMALL}
FEW |= {name: Options(width=1 / 16, ghost_batch_size=2) for name in LARGE}
KEEP = {"resnet": 0.9, "relu": 0.999, "wide": 0.9, "densenet": 0.999}
KEEP |= {"imagenet-resnet": 0.999, "inception-resnet-v2": 0.9}
HASTILY = {"xla_backend_optimization_level": 0}  # compiles in half the time


# The protocol's layers


def family_and_depth(name):
    family, depth, relu = re.fullmatch(r"(.+?)-(\d+)(-relu)?", name).groups()
    return "relu" if relu else family, int(depth)


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


# The networks in NumPy


def numpy_conv(x, kernel, stride, padding):
    """padding: of all sides, or of (rows, columns) before and after."""
    *sides, inputs, outputs = kernel.shape
    x = np.pad(x, ((0, 0), *([(padding, padding)] * 2 if isinstance(padding, int) else padding), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(x, sides, (1, 2))[:, ::stride, ::stride]
    columns = windows.transpose(0, 1, 2, 4, 5, 3).reshape(-1, np.prod(sides) * inputs)
    return (columns @ kernel.reshape(-1, outputs)).reshape(*windows.shape[:3], outputs)


def same(size, window, stride):
    """Returns how many pixels "SAME" adds before and after: to a size divided by the stride, the odd one after."""
    whole = max(0, (-(-size // stride) - 1) * stride + window - size)
    return whole // 2, whole - whole // 2


def means_around(x):
    """Returns the mean over the 3x3 pixels around each pixel that are inside the image."""
    sums, inside = (
        np.lib.stride_tricks.sliding_window_view(np.pad(y, ((0, 0), (1, 1), (1, 1), (0, 0))), (3, 3), (1, 2))
        for y in (x, np.ones_like(x))
    )
    return sums.sum((4, 5)) / inside.sum((4, 5))


def relu(x):
    return np.maximum(x, 0)


class NumPyNetwork:
    """A network's logits and, in training, what its running averages become.

    ghost_batch_size: images that BatchNorm normalises over; None for evaluation
    """

    def __init__(self, name, params, rest, ghost_batch_size):
        self.name, self.params, self.rest = name, params, rest
        self.ghost_batch_size, self.new_rest, self.used = ghost_batch_size, {}, set()
        self.epsilon = 1e-3 if name.startswith("inception") else 1e-5

    def of(self, path, kind):
        self.used.add(f"{path}/{kind}")
        return self.params[f"{path}/{kind}"]

    def conv(self, path, x, stride=1, padding=1):
        return numpy_conv(x, self.of(path, "kernel"), stride, padding)

    def norm(self, path, x):
        scale, bias = self.of(path, "scale"), self.of(path, "bias")
        sums = {key: self.rest[f"{path}/{key}"] for key in ("mean", "variance", "weight")}
        if self.ghost_batch_size is None:
            mean, variance = sums["mean"] / sums["weight"], sums["variance"] / sums["weight"]
            return (x - mean) / np.sqrt(variance + self.epsilon) * scale + bias
        groups = x.reshape(-1, self.ghost_batch_size, *x.shape[1:])
        mean, variance = groups.mean((1, 2, 3), keepdims=True), groups.var((1, 2, 3), keepdims=True)
        new = {"mean": mean.mean((0, 1, 2, 3)), "variance": groups.var((1, 2, 3), ddof=1).mean(0), "weight": 1.0}
        keep = KEEP[family_and_depth(self.name)[0]]
        self.new_rest |= {f"{path}/{key}": keep * sums[key] + new[key] for key in new}
        return ((groups - mean) / np.sqrt(variance + self.epsilon)).reshape(x.shape) * scale + bias

    def dense(self, path, x):
        return x @ self.of(path, "kernel") + self.of(path, "bias")

    def biased(self, path, x, padding):
        return self.conv(path, x, padding=padding) + self.of(path, "bias")

    def conv_norm(self, path, x, stride=1, padding=1):
        return self.norm(f"{path}/norm", self.conv(f"{path}/conv", x, stride, padding))

    def shallow3(self, x):
        x = numpy_lrn(relu(numpy_pool(self.biased("conv1", x, 2), 3, 2, np.max)))
        x = numpy_lrn(numpy_pool(relu(self.biased("conv2", x, 2)), 3, 2))
        x = numpy_pool(relu(self.biased("conv3", x, 2)), 3, 2)
        return self.dense("dense", x.reshape(len(x), -1))

    def lenet(self, x):
        for path in ("conv1", "conv2"):
            x = numpy_pool(self.biased(path, x, 0), 2, 2, np.max)
        return self.dense("dense2", relu(self.dense("dense1", x.reshape(len(x), -1))))

    def residual(self, x):
        family = family_and_depth(self.name)[0]
        x = relu(self.conv_norm("first", x))
        for number, (inputs, outputs, stride) in enumerate(blocks_of(self.name), 1):
            y = relu(self.conv_norm(f"block{number}/conv1", x, stride))
            y = self.conv_norm(f"block{number}/conv2", y)
            if family == "relu":
                y = relu(y + (numpy_pool(x, 3, 2) if stride == 2 else x))
                zeros = y.shape[-1] * (outputs - inputs) // inputs
                x = np.concatenate([y, np.zeros((*y.shape[:3], zeros))], axis=-1)
            else:
                x = y + (self.conv_norm(f"block{number}/project", x, 2, 0) if stride == 2 else x)
        return self.dense("dense", x.mean((1, 2)))

    def densenet(self, x):
        """Without dropout. Each layer's channels come before those it read."""
        x = self.conv("first", x)
        for block in (1, 2, 3):
            for layer in range(1, (family_and_depth(self.name)[1] - 4) // 3 + 1):
                path = f"block{block}_layer{layer}"
                x = np.concatenate([self.conv(f"{path}/conv", relu(self.norm(f"{path}/norm", x))), x], axis=-1)
            if block < 3:
                path = f"transition{block}"
                x = numpy_pool(self.conv(f"{path}/conv", relu(self.norm(f"{path}/norm", x)), padding=0), 2, 2)
        return self.dense("dense", relu(self.norm("norm", x)).mean((1, 2)))

    def imagenet(self, x):
        """resnet-14: a bottleneck block in each group, which projects."""
        x = numpy_pool(relu(self.conv_norm("first", x, 2, 3)), 3, 2, np.max)
        for number, stride in enumerate((1, 2, 2, 2), 1):
            y = relu(self.conv_norm(f"block{number}/conv1", x, stride, 0))
            y = self.conv_norm(f"block{number}/conv3", relu(self.conv_norm(f"block{number}/conv2", y)), 1, 0)
            x = relu(y + self.conv_norm(f"block{number}/project", x, stride, 0))
        return self.dense("dense", x.mean((1, 2)))

    def same_norm(self, path, x, stride=1):
        kernel = self.of(f"{path}/conv", "kernel")
        padding = [same(size, window, stride) for size, window in zip(x.shape[1:3], kernel.shape[:2], strict=True)]
        return relu(self.norm(f"{path}/norm", numpy_conv(x, kernel, stride, padding)))

    def branches(self, path, x, lengths, stride=1):
        """lengths: how many convolutions each branch has; the last of each has the stride."""
        results = []
        for branch, length in enumerate(lengths, 1):
            y = x
            for k in range(1, length + 1):
                y = self.same_norm(f"{path}/branches/conv{branch}_{k}", y, stride if k == length else 1)
            results.append(y)
        return results

    def inception(self, x):
        """Of depth 32: one block A, two B and one C. Without dropout, for small images."""
        x = self.same_norm("stem/conv2", self.same_norm("stem/conv1", x, 2))
        x = numpy_pool(self.same_norm("stem/conv3", x), 3, 2, np.max)
        x = numpy_pool(self.same_norm("stem/conv5", self.same_norm("stem/conv4", x)), 3, 2, np.max)
        pooled = self.same_norm("stem/pooled", means_around(x))
        x = np.concatenate([*self.branches("stem", x, (1, 2, 3)), pooled], -1)
        for stage, lengths, scale in [
            ("a1", (1, 2, 3), 0.17), ("reduction_a", (1, 3), None), ("b1", (1, 3), 0.1), ("b2", (1, 3), 0.1),
            ("reduction_b", (2, 2, 3), None), ("c1", (1, 3), 1.0),
        ]:  # fmt: skip
            if scale is None:
                x = np.concatenate([*self.branches(stage, x, lengths, 2), numpy_pool(x, 3, 2, np.max)], -1)
            else:
                x = x + scale * self.biased(f"{stage}/up", np.concatenate(self.branches(stage, x, lengths), -1), 0)
                x = x if stage == "c1" else relu(x)
        return self.dense("dense", self.same_norm("last", x).mean((1, 2)))

    def __call__(self, images):
        family = self.name.split("-")[0]
        return getattr(self, family if family not in ("resnet", "wide") else "residual")(images)


# Helpers


def draw(seed, shape, scale=1.0):
    return scale * np.random.default_rng(seed).normal(size=shape)


def images_of(name, count):
    """Returns images, float64, of about the size that preprocessing leaves."""
    sides = dict.fromkeys(SMALL, 16) | dict.fromkeys(LARGE, 32)
    shape = (sides[name], sides[name], 3) if name in sides else networks.info(name).image_shape
    return draw(5, (count, *shape), 0.5 if name == "lenet" else 60.0)


def paths(tree):
    return {"/".join(str(key.key) for key in path): x for path, x in jax.tree.leaves_with_path(tree)}


def random_key(seed):
    """Returns a key of the kind whose draws compile fast."""
    return jax.random.key(seed, impl="rbg")


@functools.cache
def described(name, classes=10, options=None):
    """Returns a network as `networks.create` does, with shapes and types in place of the arrays."""
    found = []

    def build():
        graphdef, *trees = networks.create(name, random_key(0), classes, options)
        found.append(graphdef)
        return trees

    trees = jax.eval_shape(build)
    return found + trees


def drawn(name, seed=0, options=None):
    """Returns the parameters and all other state of a new network, by one program, which compiles fast."""
    return jax.jit(lambda key: networks.create(name, key, 10, options)[1:])(random_key(seed))


def paths_of(name, classes=10, options=None):
    """Returns the shape and type of every parameter and of all other state, by path."""
    return [*map(paths, described(name, classes, options)[1:])]


def shapes_of(name, classes=10, options=None):
    """Returns those of every parameter."""
    return paths_of(name, classes, options)[0]


@functools.cache
def lively(name):
    """Returns a network with random float64 parameters and running averages, all of which matter to the logits."""
    graphdef, params, rest = described(name, options=FEW[name])
    random = np.random.default_rng(3)

    def value(path, x):
        if path[-1].key == "kernel":
            return draw(random, x.shape, np.prod(x.shape[:-1]) ** -0.5)
        return (
            random.uniform(0.5, 1.5, x.shape)
            if path[-1].key in ("scale", "variance", "weight")
            else draw(random, x.shape, 0.3)
        )

    params, rest = (jax.tree_util.tree_map_with_path(value, tree) for tree in (params, rest))
    return graphdef, params, rest


def cross_entropy(logits, labels):
    return -jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], 1).mean()


# Layers and parameters


@pytest.mark.parametrize("name", PLAIN + DEEP)
def test_the_registry_s_number_of_parameters(name):
    params = shapes_of(name).values()
    assert networks.info(name).parameters == sum(x.size for x in params)
    assert all(x.dtype == jnp.float32 for x in params)


def test_the_published_parameter_counts():
    assert [networks.info(name).parameters for name in PLAIN] == [89_578, 431_080]
    assert {shapes_of("shallow3", 100)[f"dense/{kind}"].shape for kind in ("kernel", "bias")} == {(1024, 100), (100,)}


def test_the_published_parameter_counts_for_imagenet():
    """torchvision's resnet-50; Keras' InceptionResNetV2, with its averages, which has no scales in BatchNorm."""
    for name, published, scales in [
        ("imagenet-resnet-50", 25_557_032, True),
        ("inception-resnet-v2", 55_873_736, False),
    ]:
        params, rest = paths_of(name, 1000)
        assert networks.info(name).parameters == sum(x.size for x in params.values())
        if not scales:
            params = {path: x for path, x in params.items() if not path.endswith("scale")}
            params |= {path: x for path, x in rest.items() if not path.endswith("weight")}
        assert sum(x.size for x in params.values()) == published


@pytest.mark.parametrize("name, blocks", [
    ("imagenet-resnet-14", [1, 1, 1, 1]), ("imagenet-resnet-26", [2, 2, 2, 2]), ("imagenet-resnet-50", [3, 4, 6, 3]),
    ("imagenet-resnet-62", [3, 4, 10, 3]), ("inception-resnet-v2-32", [1, 2, 1]), ("inception-resnet-v2", [10, 20, 10]),
])  # fmt: skip
def test_the_blocks_of_the_large_networks(name, blocks):
    """By the number of channels that they give; the depth is the longest way through convolutions and dense layer."""
    ends = {
        path.split("/")[0]: x.shape[-1]
        for path, x in shapes_of(name).items()
        if path.endswith(("conv3/conv/kernel", "up/kernel")) and not path.startswith("stem")
    }
    widths = [256, 512, 1024, 2048] if "imagenet" in name else [320, 1088, 2080]
    assert [[*ends.values()].count(width) for width in widths] == blocks and len(ends) == sum(blocks)
    depth = networks.registry.find(name)[1]
    assert depth == (2 + 3 * sum(blocks) if "imagenet" in name else 8 + 3 + 3 + 2 + 4 * sum(blocks))


@pytest.mark.parametrize("name, side, sides", [
    ("imagenet-resnet-14", 224, [56, 56, 28, 14, 7]), ("imagenet-resnet-14", 230, [57, 57, 29, 15, 8]),
    ("imagenet-resnet-14", 32, [8, 8, 4, 2, 1]), ("imagenet-resnet-14", 1, [1, 1, 1, 1, 1]),
    ("inception-resnet-v2-32", 299, [35, 35, 17, 17, 17, 8, 8]), ("inception-resnet-v2-32", 75, [7, 7, 3, 3, 3, 1, 1]),
    ("inception-resnet-v2-32", 230, [27, 27, 13, 13, 13, 6, 6]), ("inception-resnet-v2-32", 32, [4, 4, 2, 2, 2, 1, 1]),
    ("inception-resnet-v2-32", 224, [26, 26, 12, 12, 12, 5, 5]), ("inception-resnet-v2-32", 1, [1] * 7),
])  # fmt: skip
def test_the_sides_of_the_images_in_the_large_networks(name, side, sides):
    """After the stem and each block or reduction. The logits have the shape that they should for every size."""
    found = []

    def logits():
        module = nnx.merge(*networks.create(name, random_key(0), 40, FEW[name]))
        x = images = jnp.zeros((2, side, side, 3))
        if "imagenet" in name:
            x = max_pool(module.first(images, train=False), window=3, stride=2)
        settings = {} if "imagenet" in name else {"padding": "VALID" if side >= 75 else "SAME"}
        for stage in ([] if "imagenet" in name else ["stem"]) + module.names:
            found.append(x.shape[1:3])
            x = getattr(module, stage)(x, train=False, **settings)
        found.append(x.shape[1:3])
        return module(images)

    assert jax.eval_shape(logits).shape == (2, 40)
    assert found[-len(sides) :] == [(side, side) for side in sides]


@pytest.mark.parametrize("name", DEEP + SMALL)
def test_kernels_have_the_shapes_of_the_protocol_and_are_as_many_as_the_depth(name):
    """wide-32's depth leaves the two projections out."""
    kernels = {path: x.shape for path, x in shapes_of(name).items() if path.endswith("kernel")}
    projections = [path for path in kernels if "project" in path]
    family, depth = family_and_depth(name)
    assert len(projections) == (2 if family in ("resnet", "wide") else 0)
    assert len(kernels) - (len(projections) if family == "wide" else 0) == depth
    del kernels["dense/kernel"]
    assert sorted(kernels.values()) == sorted((side, side, i, o) for side, i, o in convolutions_of(name))


def test_the_blocks_that_the_protocol_lists():
    blocks = [(16, 16, 1)] * 8 + [(16, 32, 2)] + [(32, 32, 1)] * 8 + [(32, 64, 2)] + [(64, 64, 1)] * 8
    assert blocks_of("resnet-56") == blocks and len(blocks) == 26
    assert [i for side, i, _ in convolutions_of("densenet-40") if side == 1] == [160, 304]


@pytest.mark.parametrize("width", [0.5, 2.0])
@pytest.mark.parametrize("name", SMALL + LARGE)
def test_width_multiplies_the_channels(name, width):
    normal, widened = shapes_of(name), shapes_of(name, options=Options(width=width))
    for path in (path for path in normal if path.endswith("kernel")):
        *sides, inputs, outputs = normal[path].shape
        inputs *= 1 if path.startswith(("first", "stem/conv1/")) else width
        outputs *= 1 if path == "dense/kernel" else width
        assert widened[path].shape == (*sides, inputs, outputs), path


# Values and derivatives


@pytest.mark.parametrize("name", FEW)
def test_logits_and_running_averages_equal_numpy(name, monkeypatch):
    """In evaluation and in training with ghost batches; without dropout."""
    for module in (densenet, inception):
        monkeypatch.setattr(module, "dropout", lambda x, key: x)
    graphdef, params, rest = lively(name)
    images = images_of(name, 4) * np.array([1, 1, 0.2, 0.2])[:, None, None, None]
    with jax.enable_x64(True):

        @partial(jax.jit, compiler_options=HASTILY)
        def both(params, rest, images):
            return [networks.apply(graphdef, params, rest, images, train=train) for train in (False, True)]

        results = jax.device_get(both(params, rest, images))
    for (logits, new_rest), ghost_batch_size in zip(results, (None, 2), strict=True):
        plain = NumPyNetwork(name, paths(params), paths(rest), ghost_batch_size)
        assert relative(logits, plain(images)) < 1e-10
        assert plain.used == {*paths(params)}
        assert relative(paths(new_rest), paths(rest) | plain.new_rest) < 1e-10


@pytest.mark.parametrize("name", [*PLAIN, "resnet-8", "densenet-7", *slow("resnet-8-relu", "wide-8")])
def test_derivatives_of_both_modes(name):
    """The gradient and a Hessian-vector product, forward over reverse, against differences; a CPU's faster layers too.

    In float64, and in steps so small that hardly a ReLU changes sides.
    """
    graphdef, params, rest = lively(name)
    images, labels = images_of(name, 4), np.array([3, 1, 4, 1])
    leaves, tree = jax.tree.flatten(params)
    direction = jax.tree.unflatten(tree, [draw(k, x.shape) for k, x in enumerate(leaves)])
    with jax.enable_x64(True):
        params, rest = jax.tree.map(jnp.asarray, (params, rest))

        def loss(params, fast=False):
            run = partial(networks.apply, graphdef, params, rest, images, train=True, key=random_key(0))
            return cross_entropy(run(fast_cpu=fast)[0], labels)

        @partial(jax.jit, compiler_options=HASTILY)
        def derivatives(step):
            moved = jax.tree.map(lambda p, d: p + step * d, params, direction)
            return jax.jvp(jax.value_and_grad(loss), (moved,), (direction,))

        fast = jax.jit(jax.value_and_grad(partial(loss, fast=True)), compiler_options=HASTILY)(params)
        (before, _), (after, _), (plain, (slope, curved)) = (
            jax.device_get(derivatives(step)) for step in (-1e-8, 1e-8, 0.0)
        )
    difference = jax.tree.map(lambda a, b: (a - b) / 2e-8, after, before)
    products = jax.tree.map(np.vdot, plain[1], direction)
    assert relative(fast, plain) < 1e-10
    assert slope == pytest.approx(sum(jax.tree.leaves(products)))
    assert slope == pytest.approx(difference[0], rel=1e-5)
    assert relative(curved, difference[1]) < 1e-4


@pytest.mark.parametrize("name", ["imagenet-resnet-14", *slow("inception-resnet-v2-32")])
def test_the_first_gradient_of_the_large_networks_is_finite_and_what_differences_say(name):
    """Of a CPU's faster layers, on images of 32 pixels, of which one is left at the end."""
    graphdef, trees = described(name, options=FEW[name])[0], drawn(name, options=FEW[name])
    images, labels = images_of(name, 8), np.arange(8)
    with jax.enable_x64(True):
        params, rest = jax.tree.map(lambda x: x.astype(np.float64), trees)
        direction = jax.tree.map(lambda x: jnp.asarray(draw(x.size, x.shape)), params)

        def loss(params):
            run = partial(networks.apply, graphdef, params, rest, images, train=True, key=random_key(0), fast_cpu=True)
            return cross_entropy(run()[0], labels)

        @partial(jax.jit, compiler_options=HASTILY)
        def gradient(step):
            return jax.value_and_grad(loss)(jax.tree.map(lambda p, d: p + step * d, params, direction))

        (before, _), (after, _), (_, found) = jax.device_get([gradient(step) for step in (-1e-8, 1e-8, 0.0)])
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(found))
    slope = sum(jax.tree.leaves(jax.tree.map(np.vdot, found, direction)))
    assert abs(slope) > 0.1 and slope == pytest.approx((after - before) / 2e-8, rel=1e-5)


# Initialisation


def looks_like(filler, kernel):
    """Says whether the weights could be drawn by Caffe's filler."""
    fan_in = np.prod(kernel.shape[:-1])
    spread = np.abs(kernel).max() / np.sqrt(3 / fan_in)
    error = 5 / np.sqrt(kernel.size)  # about five standard errors
    if filler == "xavier":
        return 1 - 10 / kernel.size < spread < 1 + 1e-6 and abs(kernel.std() * np.sqrt(fan_in) - 1) < error
    return spread > 1 and abs(kernel.std() * np.sqrt(fan_in / 2) - 1) < error


STARTS = ["lenet", "resnet-8", "resnet-8-relu", "densenet-7"]


@pytest.mark.parametrize("name", [*STARTS, *slow("wide-8", *LARGE)])
def test_kernels_start_with_caffe_s_fillers_and_the_rest_with_ones_and_zeros(name):
    options = Options(width=1 / 4 if name in LARGE else 1)
    for path, x in paths(jax.device_get(drawn(name, options=options)[0])).items():
        xavier = name in ("lenet", *LARGE) or path == "dense/kernel" and name in ("resnet-8-relu", "densenet-7")
        if path.endswith("kernel"):
            assert looks_like("xavier" if xavier else "msra", x), path
        else:
            assert (x == (1 if path.endswith("scale") else np.float32(0.2 * path.endswith("up/bias")))).all(), path


@pytest.mark.parametrize(
    "options, deviations",
    [
        (Options(), (1e-4, 1e-2, 1e-2, 1e-2)),
        (Options(init="scaled"), (1e-4, 1e-2, 1e-2, 1e-2)),
        (Options(width=2, image_shape=(16, 16, 3)), (1e-4, 1e-2, 1e-2, 1e-2)),
        (
            Options(width=2, image_shape=(16, 16, 3), init="scaled"),
            (1e-4, 0.5**0.5 / 100, 0.5**0.5 / 100, 2**0.5 / 100),
        ),
    ],
)
def test_shallow3_starts_gaussian(options, deviations):
    params = paths(jax.device_get(drawn("shallow3", 1, options=options)[0]))
    for path, deviation in zip(("conv1", "conv2", "conv3", "dense"), deviations, strict=True):
        kernel = params[f"{path}/kernel"] / deviation
        assert kernel.std() == pytest.approx(1, abs=0.05) and kernel.mean() == pytest.approx(0, abs=0.06)
        assert np.abs(kernel).max() > 2.5  # not cut off at two deviations
        assert not params[f"{path}/bias"].any()


@pytest.mark.parametrize("name", ["shallow3", "densenet-7"])
def test_the_option_init_is_for_every_kernel(name):
    params = drawn(name, options=Options(init="xavier", width=0.5))[0]
    assert all(looks_like("xavier", np.asarray(x)) for path, x in paths(params).items() if path.endswith("kernel"))


def test_keys_and_layers_give_different_weights():
    first, again, other = (paths(drawn("resnet-8", seed)[0]) for seed in (0, 0, 1))
    assert relative(first, again) == 0
    kernels = [
        np.asarray(x).ravel()[:3] / np.std(np.asarray(x))
        for tree in (first, other)
        for path, x in tree.items()
        if "kernel" in path
    ]
    assert len({tuple(np.round(start, 3)) for start in kernels}) == len(kernels)


# Dropout


def test_dropout_depends_on_the_key_in_training_only():
    graphdef, params, rest = jax.tree.map(jnp.asarray, lively("densenet-7"))
    images, keys = images_of("densenet-7", 2), [random_key(seed) for seed in (0, 0, 1)]

    @partial(jax.jit, static_argnames="train", compiler_options=HASTILY)
    def logits(key, train):
        return networks.apply(graphdef, params, rest, images, train=train, key=key)[0]

    first, again, other = (np.asarray(logits(key, train=True)) for key in keys)
    assert np.array_equal(first, again) and relative(first, other) > 1e-3
    first, again, other = (np.asarray(logits(key, train=False)) for key in keys)
    assert np.array_equal(first, again) and np.array_equal(first, other)


def test_every_layer_has_a_dropout_of_its_own(monkeypatch):
    found = []
    monkeypatch.setattr(densenet, "dropout", lambda x, key: found.append(jax.random.key_data(key)) or x)
    graphdef, params, rest = jax.tree.map(jnp.asarray, lively("densenet-7"))

    @jax.jit
    def keys():
        networks.apply(graphdef, params, rest, images_of("densenet-7", 2), train=True, key=random_key(0))
        return jnp.stack(found)

    assert len(np.unique(keys(), axis=0)) == len(found) == 5


def test_dropout_takes_a_fifth_and_scales_the_rest_up():
    x = draw(1, (4, 16, 16, 6))
    dropped = np.asarray(densenet.dropout(jnp.asarray(x), random_key(0)))
    assert np.mean(dropped != 0) == pytest.approx(0.8, abs=0.02)
    np.testing.assert_allclose(dropped[dropped != 0], x[dropped != 0] / 0.8, rtol=1e-5)
    with pytest.raises(AssertionError, match="training needs a key"):
        densenet.dropout(jnp.asarray(x), None)
