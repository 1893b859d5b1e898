"""The networks by name, and the two pure functions with which the rest of the package uses them.

Importing this module imports neither JAX nor Flax; `create` and `apply` do, when they are called.
"""

from __future__ import annotations

import functools
import importlib
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from smith import errors

if TYPE_CHECKING:
    import jax
    from flax import nnx

Tree = dict[str, Any]  # nested dictionaries of arrays


@dataclass(frozen=True)
class Options:
    """What a run may change in a network.

    width: multiplies the number of channels of every layer but the last
    init: Caffe's filler for all weights; None for each layer's own
    ghost_batch_size: images that BatchNorm normalises over; None for the whole batch
    running_average: how BatchNorm's averages for evaluation are made (see `smith.networks.batch_norm`)
    """

    width: float = 1.0
    init: Literal["xavier", "msra"] | None = None
    ghost_batch_size: int | None = None
    running_average: Literal["caffe", "flax"] = "caffe"

    def widen(self, channels: int) -> int:
        """Returns the number of channels at this width, at least 1."""
        return max(1, round(channels * self.width))


@dataclass(frozen=True)
class NetworkInfo:
    """What there is to know about a network without building it.

    module, cls: where its Flax module is
    depths: (first, step) of the depths there are, first, first + step, ...; None where the name has no depth
    batch_norm: whether it has BatchNorm layers
    image_shape: (height, width, channels)
    preprocessing: "mean_image" subtracts the mean training image from pixels in 0..255; "divide_256" divides by 256
    lr_multipliers, decay_multipliers: parameter path, such as "conv1/bias", to factor; a path not named has 1.0
    cached_batch: of how many images a CPU computes the gradient at once, so that all stays in its cache (measured)
    parameters: how many, for 10 classes, at the depth of the name and width 1
    """

    module: str
    cls: str
    image_shape: tuple[int, int, int]
    preprocessing: Literal["mean_image", "divide_256"]
    parameters: int
    depths: tuple[int, int] | None = None
    batch_norm: bool = False
    cached_batch: int = 64
    lr_multipliers: dict[str, float] = field(default_factory=dict)
    decay_multipliers: dict[str, float] = field(default_factory=dict)


# The multipliers are those of Caffe's example files and of the author's (paper section 3 and his published solvers):
# a bias learns twice as fast, except conv3's, and shallow3's classifier is decayed 250 times as much as the rest. Of
# the deep networks only the classifier has a bias, not decayed but in densenet; BatchNorm's scale and bias are.
DEEP: Any = {
    "image_shape": (32, 32, 3),
    "preprocessing": "mean_image",
    "batch_norm": True,
    "lr_multipliers": {"dense/bias": 2.0},
    "decay_multipliers": {"dense/bias": 0.0},
}
NETWORKS: dict[str, NetworkInfo] = {
    "shallow3": NetworkInfo(
        module="smith.networks.shallow3",
        cls="Shallow3",
        image_shape=(32, 32, 3),
        preprocessing="mean_image",
        parameters=89_578,
        lr_multipliers={"conv1/bias": 2.0, "conv2/bias": 2.0, "conv3/bias": 1.0, "dense/bias": 2.0},
        decay_multipliers={"dense/kernel": 250.0, "dense/bias": 0.0},
    ),
    "lenet": NetworkInfo(
        module="smith.networks.lenet",
        cls="LeNet",
        image_shape=(28, 28, 1),
        preprocessing="divide_256",
        parameters=431_080,
        cached_batch=128,
        lr_multipliers={f"{layer}/bias": 2.0 for layer in ("conv1", "conv2", "dense1", "dense2")},
    ),
    "resnet-56": NetworkInfo("smith.networks.resnet", "ResNet", parameters=858_778, depths=(8, 6), **DEEP),
    "resnet-56-relu": NetworkInfo("smith.networks.resnet", "ResNetReLU", parameters=806_746, depths=(8, 6), **DEEP),
    "wide-32": NetworkInfo("smith.networks.resnet", "WideResNet", parameters=5_899_930, depths=(8, 6), **DEEP),
    "densenet-40": NetworkInfo(
        "smith.networks.densenet", "DenseNet", parameters=1_019_722, depths=(7, 3), **DEEP | {"decay_multipliers": {}}
    ),
}


def info(name: str) -> NetworkInfo:
    """Returns the network's description; "resnet-20" has that of "resnet-56".

    Raises:
      UserError: an unknown name (the line has the nearest known one), or a depth that is not of the network's family.
    """
    return _find(name)[0]


def _find(name: str) -> tuple[NetworkInfo, int | None]:
    """Returns a network's description and its depth. Raises like `info`."""
    for known, entry in NETWORKS.items():
        match = re.fullmatch(re.sub(r"-\d+", r"-([1-9]\\d*)", known), name, re.ASCII)
        if match and entry.depths:
            depth, (first, step) = int(match[1]), entry.depths
            if depth < first or (depth - first) % step:
                depths = ", ".join(str(first + k * step) for k in range(3))
                raise errors.UserError(f"{name}: the depths of this family are {depths}, ..., as in {known}")
            return entry, depth
        if match:
            return entry, None
    raise errors.unknown("network", name, NETWORKS)


def create(name: str, seed: int, classes: int = 10, options: Options | None = None) -> tuple[nnx.GraphDef, Tree, Tree]:
    """Builds a network with freshly drawn parameters.

    Returns (graphdef, params, rest): the structure, the trained parameters, and all other state (batch statistics);
    both are nested dictionaries of arrays, params["conv1"]["bias"] for the path "conv1/bias".
    """
    from flax import nnx

    entry, depth = _find(name)
    network_class = getattr(importlib.import_module(entry.module), entry.cls)
    depth_of_name = {"depth": depth} if depth else {}
    network = network_class(classes=classes, options=options or Options(), rngs=nnx.Rngs(seed), **depth_of_name)
    parts: Any = nnx.split(network, nnx.Param, ...)
    graphdef, params, rest = parts
    return graphdef, nnx.to_pure_dict(params), nnx.to_pure_dict(rest)


def apply(
    graphdef: nnx.GraphDef,
    params: Tree,
    rest: Tree,
    images: jax.Array,
    *,
    train: bool,
    key: jax.Array | None = None,
) -> tuple[jax.Array, Tree]:
    """Runs a network. Pure, so it can be jitted and differentiated.

    params, rest: as `create` returns them
    images: (batch, height, width, channels) float32, preprocessed
    train: whether layers that differ between training and evaluation do what they do in training
    key: for layers that draw random numbers in training
    Returns (logits, rest): (batch, classes) float32 and the state after the call.
    """
    from flax import nnx

    network = nnx.merge(graphdef, params, rest)
    logits = network(images, train=train, key=key)
    parts: Any = nnx.split(network, nnx.Param, ...)
    return logits, nnx.to_pure_dict(parts[2])


@functools.cache
def compiler_options() -> dict[str, str]:
    """Returns what to give `jax.jit` as compiler_options for a step of these networks: the CPU's faster convolutions.

    XLA's newer CPU library (YNNPACK) took 95 ms for the convolutions of a shallow3 step of 128 images where the older
    one (Eigen) takes 75 ms; an empty list of what the newer one may do leaves all of it to the older.
    """
    import jax

    options = {"xla_cpu_experimental_ynn_fusion_type": ""}
    if jax.default_backend() != "cpu":
        return {}
    try:  # the option is experimental: another version of XLA may not know it
        jax.jit(lambda: 0, compiler_options=options).lower().compile()
    except jax.errors.JaxRuntimeError:
        return {}
    return options


def keep_freed_memory() -> bool:
    """Tells the C library to keep freed memory for the next step instead of returning it to the kernel.

    A step frees and takes the same tens of megabytes every time, and a fresh page costs more than the work on it: a
    fifth of a step of 512 images. Call it once, early; it is for the whole process. Returns whether it worked: only
    glibc knows these settings.
    """
    import ctypes

    trim_threshold, mmap_threshold, arena_max = -1, -3, -8  # names of M_* in glibc's malloc.h
    gigabyte = 2**30
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    return all([mallopt(trim_threshold, gigabyte), mallopt(mmap_threshold, gigabyte), mallopt(arena_max, 1)])
