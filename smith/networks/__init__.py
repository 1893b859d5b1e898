"""The networks by name, and the two pure functions with which the rest of the package uses them.

    graphdef, params, rest = create("resnet-56", jax.random.key(0), classes=10)
    logits, rest = apply(graphdef, params, rest, images, train=True)

A network is a Flax module whose call takes (images, *, train, key) and returns logits. It may be in any file: see
docs/extending.md. The eight of the paper are below. Their modules have a file for each family; `layers` and
`batch_norm` are what they are made of, and `cpu` what makes them fast on a CPU. Importing this package imports neither
JAX nor Flax; `create` and `apply` do, when they are called.
"""

from __future__ import annotations

import pkgutil
from typing import TYPE_CHECKING, Any

from smith.networks.registry import NETWORKS, NetworkInfo, Options, find, info, network, shallow

if TYPE_CHECKING:
    import jax
    from flax import nnx

__all__ = ["NETWORKS", "NetworkInfo", "Options", "apply", "create", "info", "network", "shallow"]

Tree = dict[str, Any]  # nested dictionaries of arrays

# The multipliers are those of Caffe's example files and of the author's (paper section 3 and his published solvers): a
# bias learns twice as fast, except conv3's, and shallow3's classifier is decayed 250 times as much as the rest. Of the
# deep networks only the classifier has a bias, not decayed in resnet-56 and wide-32; BatchNorm's scale and bias are.
# inception-resnet-v2 has biases in the convolutions before its sums too. ImageNet's biases are not decayed.
CIFAR, MNIST, IMAGENET = (32, 32, 3), (28, 28, 1), (230, 230, 3)
DEEP: Any = {"image_shape": CIFAR, "shrinks": 4, "batch_norm": True, "lr_multipliers": {"dense/bias": 2.0}}
LARGE: Any = DEEP | {"image_shape": IMAGENET, "shrinks": 1}
UNDECAYED = {"dense/bias": 0.0}


def _paper(name: str, path: str, **facts: Any) -> None:
    """Registers a network of the paper, which is imported when one is built. path: as in "lenet:LeNet"."""

    def build(*args: Any, **options: Any) -> nnx.Module:
        return pkgutil.resolve_name(f"smith.networks.{path}")(*args, **options)

    network(name, **facts)(build)


_paper(
    "shallow3",
    "shallow3:Shallow3",
    parameters=89_578,
    image_shape=CIFAR,
    shrinks=8,
    lr_multipliers={f"{layer}/bias": 2.0 for layer in ("conv1", "conv2", "dense")},
    decay_multipliers={"dense/kernel": 250.0, "dense/bias": 0.0},
)
_paper(
    "lenet",
    "lenet:LeNet",
    parameters=431_080,
    image_shape=MNIST,
    lr_multipliers={f"{layer}/bias": 2.0 for layer in ("conv1", "conv2", "dense1", "dense2")},
    cached_batch=128,
)
_paper("resnet-56", "resnet:resnet", parameters=858_778, depths=(8, 6), decay_multipliers=UNDECAYED, **DEEP)
_paper("resnet-56-relu", "resnet:resnet_relu", parameters=806_746, depths=(8, 6), **DEEP)
_paper("wide-32", "resnet:wide", parameters=5_899_930, depths=(8, 6), decay_multipliers=UNDECAYED, **DEEP)
_paper("densenet-40", "densenet:DenseNet", parameters=1_019_722, depths=(7, 3), **DEEP)
_paper(
    "imagenet-resnet-50",  # "resnet-50" is a depth of CIFAR's resnet-56
    "resnet:resnet_bottleneck",
    parameters=25_557_032,
    depths=(14, 12),
    decay_multipliers=UNDECAYED,
    **LARGE,
)
_paper(
    "inception-resnet-v2",
    "inception:InceptionResNetV2",
    parameters=55_843_464,
    depths=(32, 16),
    depth=176,
    decay_multipliers=UNDECAYED | {"*/up/bias": 0.0},
    **LARGE | {"lr_multipliers": {"dense/bias": 2.0, "*/up/bias": 2.0}},
)


def create(
    name: str, key: jax.Array, classes: int = 10, options: Options | None = None
) -> tuple[nnx.GraphDef, Tree, Tree]:
    """Builds a network with parameters drawn from a key.

    Returns (graphdef, params, rest): the structure, the trained parameters, and all other state (batch statistics);
    both are nested dictionaries of arrays, params["conv1"]["bias"] for the path "conv1/bias".

    Raises:
      UserError: as `info` does.
    """
    from flax import nnx

    entry, depth = find(name)
    depth_of_name = {"depth": depth} if depth else {}
    return _split(entry.build(classes, options or Options(), rngs=nnx.Rngs(params=key), **depth_of_name))


def apply(
    graphdef: nnx.GraphDef,
    params: Tree,
    rest: Tree,
    images: jax.Array,
    *,
    train: bool,
    key: jax.Array | None = None,
    fast_cpu: bool = False,
    precision: str = "float32",
) -> tuple[jax.Array, Tree]:
    """Runs a network. Pure, so it can be jitted and differentiated.

    Args:
      params, rest: as `create` returns them.
      images: (batch, height, width, channels) float32, preprocessed.
      train: whether layers that differ between training and evaluation do what they do in training.
      key: for layers that draw random numbers in training.
      fast_cpu: whether a CPU takes its faster layers (see `smith.networks.cpu`). They have no forward-mode derivative
        (`jax.jvp`, a Hessian-vector product); without it every layer has.
      precision: see `Options`.

    Returns (logits, rest): (batch, classes) float32 and the state after the call.
    """
    from flax import nnx

    from smith.networks import cpu

    lowers = precision != "float32"
    if lowers:
        params, images = _lowered(params, rest, precision), images.astype(precision)
    module = nnx.merge(graphdef, params, rest)
    with cpu.tricks(fast_cpu):
        logits = module(images, train=train, key=key)
    return logits.astype("float32") if lowers else logits, _split(module)[2]


def _lowered(params: Tree, rest: Tree, precision: str) -> Tree:
    """Returns the parameters in another precision, but for those of layers with batch statistics."""
    if any(not isinstance(value, dict) for value in rest.values()):
        return params
    return {
        name: _lowered(value, rest.get(name, {}), precision) if isinstance(value, dict) else value.astype(precision)
        for name, value in params.items()
    }


def _split(module: nnx.Module) -> tuple[nnx.GraphDef, Tree, Tree]:
    from flax import nnx

    graphdef, *states = nnx.split(module, nnx.Param, ...)
    params, rest = map(nnx.to_pure_dict, states)
    return graphdef, params, rest
