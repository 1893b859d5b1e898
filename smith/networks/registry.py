"""The table of networks: what there is to know about each of them without building it, and how it is built."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, Literal, TypeVar

from smith.errors import UserError, unknown
from smith.registry import Registry

Build = TypeVar("Build", bound=Callable[..., Any])


@dataclass(frozen=True)
class Options:
    """What a run may change in a network.

    width: multiplies the number of channels of every layer but the last
    init: Caffe's filler for all weights; None for each layer's own; "scaled" for each layer's own, but with deviations
      that fit its number of inputs where the filler has a fixed one (see `smith.networks.layers.gaussian`)
    ghost_batch_size: images that BatchNorm normalises over; None for the whole batch
    memory: how many iterations BatchNorm's averages remember, as a multiple of the author's: 0.1 for a run a tenth as
      long
    image_shape: (height, width, channels) of the images; None for the network's own
    precision: in what layers compute, but for BatchNorm; parameters, statistics and the loss are always float32
    """

    width: float = 1.0
    init: Literal["xavier", "msra", "scaled"] | None = None
    ghost_batch_size: int | None = None
    memory: float = 1.0
    image_shape: tuple[int, ...] | None = None
    precision: Literal["float32", "bfloat16"] = "float32"

    def widen(self, channels: int) -> int:
        """Returns the number of channels at this width, at least 1."""
        return max(1, round(channels * self.width))


NETWORKS: Registry[NetworkInfo] = Registry("network")
_DEPTH = re.compile(r"-([1-9]\d{0,3})(?=-|$)", re.ASCII)  # nobody waits for deeper ones


@dataclass(eq=False)
class NetworkInfo:
    """What there is to know about a network without building it; `network` decorates what builds it.

    name: with `depths`, one member of the family: "resnet-56" stands for "resnet-8", "resnet-14", ... too
    parameters: how many it has for 10 classes (ImageNet's 1000), as the paper counts them; None where nobody counted
    image_shape: (height, width, channels); None if the network takes any images
    shrinks: it also takes images whose height and width are multiples of this; 0 if it does not
    depths: (first, step) of the depths there are, first, first + step, ...; None where the network has one depth only
    depth: its own, where there are depths and the name does not say it: "inception-resnet-v2" has 176, and stands for
      "inception-resnet-v2-32", "inception-resnet-v2-48", ... too
    batch_norm: whether it has BatchNorm layers
    lr_multipliers, decay_multipliers: parameter path, such as "conv1/bias", or a pattern of paths, such as "*/up/bias",
      to factor; a path not named has 1.0
    cached_batch: of how many images a CPU computes the gradient at once, so that all stays in its cache (measured)
    build: (classes, options, *, rngs) -> a Flax module; with `depth` as a further keyword where there are depths

    Raises:
      UserError: the name is taken, or there are depths but not one number such as the 56 of "resnet-56".
    """

    name: str
    _: KW_ONLY
    parameters: int | None = None
    image_shape: tuple[int, int, int] | None = None
    depths: tuple[int, int] | None = None
    depth: int | None = None
    batch_norm: bool = False
    lr_multipliers: Mapping[str, float] = field(default_factory=dict)
    decay_multipliers: Mapping[str, float] = field(default_factory=dict)
    cached_batch: int = 64
    shrinks: int = 0
    build: Callable[..., Any] = field(init=False)

    def __post_init__(self) -> None:
        if self.depths and len(_DEPTH.findall(self.with_depth)) != 1:
            raise UserError(f"network {self.name!r} has depths: put one of them into the name, as in 'resnet-56'")
        if (family := _family_of(self.name)) and family.name != self.name:
            raise UserError(f"network {self.name!r} is a depth of {family.name!r} already: give yours another name")

    def __call__(self, build: Build) -> Build:
        self.build = build
        return NETWORKS.add(self.name, self, build)

    @property
    def with_depth(self) -> str:
        """The name with its depth, if there are depths: "inception-resnet-v2-176"."""
        return f"{self.name}-{self.depth}" if self.depth else self.name

    def check_images(self, name: str, shape: tuple[int, ...]) -> None:
        """Raises UserError if the network, called `name` there, does not take images of this shape."""
        fits = self.shrinks and not any(side % self.shrinks for side in shape[:2])
        if self.image_shape and shape != self.image_shape and not (fits and shape[2:] == self.image_shape[2:]):
            raise UserError(f"{name} does not take images of {' x '.join(map(str, shape))}")


network = NetworkInfo  # as a decorator


def info(name: str) -> NetworkInfo:
    """Returns the network's description; "resnet-20" has that of "resnet-56".

    Raises:
      UserError: an unknown name (the line has the nearest known one), or a depth that is not of the network's family.
    """
    return find(name)[0]


def find(name: str) -> tuple[NetworkInfo, int | None]:
    """Returns a network's description and its depth, None where it has none. Raises like `info`."""
    entry = _family_of(name)
    if entry is None:
        raise unknown("network", name, NETWORKS)
    if entry.depths is None:
        return entry, None
    full = entry.with_depth if name == entry.name else name
    depth, (first, step) = int(_DEPTH.findall(full)[0]), entry.depths
    if depth < first or (depth - first) % step:
        depths = ", ".join(str(first + k * step) for k in range(3))
        raise UserError(f"{name}: the depths of this family are {depths}, ..., as in {entry.name}")
    return entry, depth


def shallow(name: str, least: int) -> str:
    """Returns the name of the family's shallowest network of at least this depth; the name itself without depths.

    Raises like `info`.
    """
    entry, _ = find(name)
    if entry.depths is None:
        return name
    first, step = entry.depths
    return _DEPTH.sub(f"-{first + max(0, -(-(least - first) // step)) * step}", entry.with_depth)


def _family_of(name: str) -> NetworkInfo | None:
    """Returns the network of this name, or the family whose name it equals but for the depth; None if there is none."""
    families = (entry for entry in NETWORKS.values() if entry.depths)
    alike = (entry for entry in families if _DEPTH.sub("-?", entry.with_depth) == _DEPTH.sub("-?", name))
    return NETWORKS.get(name) or next(alike, None)
