"""The networks by name, and the two pure functions with which the rest of the package uses them.

Importing this module imports neither JAX nor Flax; `create` and `apply` do, when they are called.
"""

from __future__ import annotations

import functools
import importlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from smith import errors

if TYPE_CHECKING:
    import jax
    from flax import nnx

Tree = dict[str, Any]  # nested dictionaries of arrays


@dataclass(frozen=True)
class NetworkInfo:
    """What there is to know about a network without building it.

    module, cls: where its Flax module is
    image_shape: (height, width, channels)
    preprocessing: "mean_image" subtracts the mean training image from pixels in 0..255; "divide_256" divides by 256
    lr_multipliers, decay_multipliers: parameter path, such as "conv1/bias", to factor; a path not named has 1.0
    parameters: how many, for 10 classes
    """

    module: str
    cls: str
    image_shape: tuple[int, int, int]
    preprocessing: Literal["mean_image", "divide_256"]
    parameters: int
    lr_multipliers: dict[str, float] = field(default_factory=dict)
    decay_multipliers: dict[str, float] = field(default_factory=dict)


# The multipliers are those of Caffe's example files and of the author's (paper section 3 and his published solvers):
# a bias learns twice as fast, except conv3's, and shallow3's classifier is decayed 250 times as much as the rest.
NETWORKS: dict[str, NetworkInfo] = {
    "shallow3": NetworkInfo(
        module="smith.networks.shallow",
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
        lr_multipliers={f"{layer}/bias": 2.0 for layer in ("conv1", "conv2", "dense1", "dense2")},
    ),
}


def info(name: str) -> NetworkInfo:
    """Returns the network's description, or raises UserError with the nearest known name."""
    if name not in NETWORKS:
        raise errors.unknown("network", name, NETWORKS)
    return NETWORKS[name]


def create(name: str, seed: int, classes: int = 10) -> tuple[nnx.GraphDef, Tree, Tree]:
    """Builds a network with freshly drawn parameters.

    Returns (graphdef, params, rest): the structure, the trained parameters, and all other state (batch statistics);
    both are nested dictionaries of arrays, params["conv1"]["bias"] for the path "conv1/bias".
    """
    from flax import nnx

    entry = info(name)
    network_class = getattr(importlib.import_module(entry.module), entry.cls)
    parts: Any = nnx.split(network_class(classes=classes, rngs=nnx.Rngs(seed)), nnx.Param, ...)
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
