"""The networks for ImageNet against those of Keras, with the same random weights and averages, in evaluation.

Two things are changed in Keras' resnet-50. Its convolutions have biases, which are set to zero. Its max pool pads on
all sides, and is made to pad on the right and below, as Caffe's.
"""

import jax
import numpy as np
import pytest

from smith import networks

SIDE, CLASSES = 75, 10
CREATED = {"weights": None, "input_shape": (SIDE, SIDE, 3), "classes": CLASSES, "classifier_activation": None}
GROUPS = {2: 3, 3: 4, 4: 6, 5: 3}  # of resnet-50, as Keras counts them, and their blocks
BLOCKS = {"a": ("block35", 10), "b": ("block17", 20), "c": ("block8", 10)}


def random_network(name, scales):
    """Returns a network with a random value for everything, but for the scales if there shall be none."""
    graphdef, *trees = jax.device_get(networks.create(name, jax.random.key(0), CLASSES))
    random = np.random.default_rng(7)

    def value(path, x):
        kind = path[-1].key
        if kind == "kernel":
            return random.normal(0, np.prod(x.shape[:-1]) ** -0.5, x.shape).astype(np.float32)
        if kind == "weight" or kind == "scale" and not scales:
            return np.ones_like(x)
        return random.uniform(*((0.5, 1.5) if kind in ("scale", "variance") else (-0.3, 0.3)), x.shape).astype("f4")

    return graphdef, *(jax.tree_util.tree_map_with_path(value, tree) for tree in trees)


def layers(tree, path=""):
    """Returns, by path, the dictionaries of arrays in a tree."""
    if any(isinstance(x, np.ndarray) for x in tree.values()):
        return {path: tree}
    return {p: x for key, inner in tree.items() for p, x in layers(inner, f"{path}/{key}".strip("/")).items()}


def resnet_pairs(model):
    """Yields the name of each of our convolutions with BatchNorm, and Keras' two layers."""
    names = {"first": "conv1"}
    blocks = [f"conv{group}_block{n}" for group, count in GROUPS.items() for n in range(1, count + 1)]
    for number, block in enumerate(blocks, start=1):
        names |= {f"block{number}/conv{k}": f"{block}_{k}" for k in (1, 2, 3)}
        names |= {f"block{number}/project": f"{block}_0"} if block.endswith("block1") else {}
    for ours, theirs in names.items():
        yield ours, model.get_layer(f"{theirs}_conv"), model.get_layer(f"{theirs}_bn")


def inception_pairs(model, params):
    """Yields the same. Keras numbers most of its layers as they are made."""
    stages = ["stem", *(f"a{n + 1}" for n in range(10)), "reduction_a", *(f"b{n + 1}" for n in range(20))]
    stages += ["reduction_b", *(f"c{n + 1}" for n in range(10))]
    ours = [path.removesuffix("/norm") for path in layers(params) if path.endswith("/norm") and "last" not in path]
    ours.sort(key=lambda path: (stages.index(path.split("/")[0]), "cbp".index(path.split("/")[1][0]), path))
    made = [
        sorted((x for x in model.layers if x.name.startswith(kind)), key=lambda x: int(f"0{x.name[len(kind) + 1 :]}"))
        for kind in ("conv2d", "batch_normalization")
    ]
    yield from zip(ours, *made, strict=True)
    yield "last", model.get_layer("conv_7b"), model.get_layer("conv_7b_bn")


def copy_to_keras(model, pairs, params, rest):
    """Gives Keras' network our parameters and averages, all of them."""
    ours, averages, copied = layers(params), layers(rest), {"dense"}
    model.get_layer("predictions").set_weights([ours["dense"]["kernel"], ours["dense"]["bias"]])
    for path, convolution, norm in pairs:
        kernel, known = ours[f"{path}/conv"]["kernel"], ours[f"{path}/norm"] | averages[f"{path}/norm"]
        convolution.set_weights([kernel, np.zeros(kernel.shape[-1])][: len(convolution.weights)])
        words = {"gamma": "scale", "beta": "bias", "moving_mean": "mean", "moving_variance": "variance"}
        norm.set_weights([known[words[weight.name]] for weight in norm.weights])
        copied |= {f"{path}/conv", f"{path}/norm"}
    for letter, (block, count) in BLOCKS.items() if "a1/up" in ours else ():
        for n in range(1, count + 1):
            up = ours[f"{letter}{n}/up"]
            model.get_layer(f"{block}_{n}_conv").set_weights([up["kernel"], up["bias"]])
            copied.add(f"{letter}{n}/up")
    assert copied == {*ours}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["imagenet-resnet-50", "inception-resnet-v2"])
def test_logits_equal_keras(name):
    keras = pytest.importorskip("keras")
    graphdef, params, rest = random_network(name, scales="inception" not in name)
    if "inception" in name:
        model = keras.applications.InceptionResNetV2(**CREATED)
        pairs = inception_pairs(model, params)
    else:
        model = keras.applications.ResNet50(**CREATED)
        model.get_layer("pool1_pad").padding = ((0, 1), (0, 1))
        pairs = resnet_pairs(model)
    copy_to_keras(model, pairs, params, rest)
    images = np.random.default_rng(1).normal(0, 60, (2, SIDE, SIDE, 3)).astype(np.float32)
    theirs = np.asarray(model(images, training=False))
    ours = np.asarray(networks.apply(graphdef, params, rest, images, train=False)[0])
    assert np.linalg.norm(ours - theirs) < 1e-5 * np.linalg.norm(theirs)
