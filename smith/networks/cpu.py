"""What makes the networks fast on a CPU: settings of the process, and layers that compute the same in another way.

A layer of `smith.networks.layers` names its faster double (`faster`), which takes its place inside `tricks`.
Each double is tested against the plain layer, in value and in gradient. Most bring a gradient of their own, so they can
be differentiated backwards only.

Whoever traces a network says that it is for a CPU (`smith.networks.apply`), as the training step does, which knows its
device. `jax.lax.platform_dependent` would ask nobody and costs no run time, but JAX then traces and differentiates both
layers everywhere: a step of resnet-56 takes 2.4 s to trace instead of 0.6, one of shallow3 0.27 instead of 0.10, and
forward-mode differentiation is lost on every backend.

Convolutions are in `smith.networks.convolutions`. Images are (batch, height, width, channels).
"""

import ctypes
import mmap
import os
import warnings
from collections.abc import Callable
from functools import cache, partial, reduce, wraps
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import jaxlib
import numpy as np
from jax import Array, lax
from jax.custom_derivatives import linear_call

from smith.networks import windows
from smith.networks.windows import HEIGHT, WIDTH, gather, lrn_scale, pad

LIBRARIES = {  # XLA's flags -> the values that are used here
    "xla_cpu_experimental_ynn_fusion_type": "",  # on by default: it makes wrong sums in jaxlib 0.10.2, and is slow
    "xla_cpu_experimental_onednn_custom_call": "true",  # convolutions and large products by oneDNN; 0.10.2 has none
}


# The process


def prepare_process() -> None:
    """Prepares a process that is to compute on a CPU. Call it before JAX's first computation; again does no harm."""
    choose_libraries()
    keep_freed_memory()


def choose_libraries() -> None:
    """Adds to XLA_FLAGS which libraries XLA is to use on a CPU, where they do not speak of them already.

    docs/performance.md has what each does to the speed.
    """
    flags = os.environ.get("XLA_FLAGS", "")
    for flag, value in LIBRARIES.items():
        if flag not in flags and xla_knows(flag):
            flags = os.environ["XLA_FLAGS"] = f"{flags} --{flag}={value}".strip()
    # XLA can not save a program that calls oneDNN, so JAX's cache of compiled programs has to do without it
    warnings.filterwarnings("ignore", message="Error writing persistent compilation cache entry.*: MemoryError")


def xla_knows(flag: str) -> bool:
    """Says whether the installed jaxlib has a flag. XLA ends the process at an unknown one, so its files are searched.

    The names of flags are C strings there, between two zero bytes.
    """
    for path in Path(jaxlib.__file__).parent.glob("*.so"):
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            if content.find(f"\0{flag}\0".encode()) >= 0:
                return True
    return False


def keep_freed_memory() -> bool:
    """Tells the C library to keep freed memory for the next step, and the kernel to back it with huge pages.

    A step frees and takes the same tens of megabytes every time. A fresh page costs more than the work on it: a fifth
    of a step of 512 images; and with small pages the processor looks up addresses all the time. Address space of two
    gigabytes is taken at once, because the kernel's advice is for space that is there; memory is used when written to.
    It is for the whole process. Returns whether it worked: only glibc has the settings.
    """
    trim_threshold, mmap_threshold, arena_max = -1, -3, -8  # names of M_* in glibc's malloc.h
    huge, advice = 2 * 2**20, 14  # bytes of a huge page; MADV_HUGEPAGE
    space = 2**31 - 2 * huge
    try:
        libc = ctypes.CDLL(None)
        mallopt, malloc = libc.mallopt, libc.malloc
    except (AttributeError, OSError, TypeError):
        return False
    kept = all([mallopt(trim_threshold, 2**31 - 1), mallopt(mmap_threshold, 2**31 - 1), mallopt(arena_max, 1)])
    malloc.argtypes, malloc.restype = [ctypes.c_size_t], ctypes.c_void_p
    if kept and (taken := malloc(space)):
        begin = -(-taken // huge) * huge
        libc.madvise(ctypes.c_void_p(begin), ctypes.c_size_t(space - huge), advice)
        libc.free(ctypes.c_void_p(taken))
    return kept


@cache
def multiplies_bfloat16() -> bool:
    """Says whether the processor has instructions for products of bfloat16, as Linux tells it.

    Where it has none, oneDNN's convolutions in bfloat16 take ten times as long as in float32, in which such products
    are exact.
    """
    told = Path("/proc/cpuinfo")
    flags = set(told.read_text(encoding="utf-8").split()) if told.exists() else set()
    return bool(flags & {"avx512_bf16", "amx_bf16", "bf16"})


# The choice


# Layers that are traced inside `with tricks(True)` take their faster doubles. Part of the key of jit's caches.
tricks: Any = jax.make_user_context(default_value=False)


def faster(double: Callable[..., Any], where: Callable[..., bool] | None = None) -> Callable[..., Any]:
    """Decorates a plain layer: inside `tricks` it does what its double does, which takes the same arguments.

    where: says of these arguments whether the double is faster; None if it always is
    """

    def decorate(plain: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(plain)
        def layer(*arrays: Array, **settings: Any) -> Any:
            chosen = tricks.value and (where is None or where(*arrays, **settings))
            return (double if chosen else plain)(*arrays, **settings)

        return layer

    return decorate


# Batch normalisation


@partial(jax.custom_vjp, nondiff_argnums=(3,))
def normalise(x: Array, scale: Array, bias: Array, epsilon: float) -> tuple[Array, Array, Array]:
    """The double of `smith.networks.batch_norm.normalise`: a gradient that reads x and dy twice each."""
    return _normalise_forward(x, scale, bias, epsilon)[0]


def _normalise_forward(x: Array, scale: Array, bias: Array, epsilon: float) -> tuple[Any, tuple[Array, ...]]:
    mean = x.mean(1, keepdims=True)
    variance = jnp.square(x - mean).mean(1, keepdims=True)
    deviation = lax.rsqrt(variance + epsilon)
    return ((x - mean) * (deviation * scale) + bias, mean, variance), (x, mean, deviation, scale)


def _normalise_backward(_: float, saved: tuple[Array, ...], cotangents: tuple[Array, ...]) -> tuple[Array, ...]:
    x, mean, deviation, scale = saved
    dy = cotangents[0]
    normal = (x - mean) * deviation
    dbias, dscale = dy.mean(1, keepdims=True), (dy * normal).mean(1, keepdims=True)
    dx = deviation * scale * (dy - dbias - normal * dscale)
    return dx, dscale.sum((0, 1)) * x.shape[1], dbias.sum((0, 1)) * x.shape[1]


normalise.defvjp(_normalise_forward, _normalise_backward)


def _keep(x: Array) -> Array:
    return x / lax.optimization_barrier(jnp.ones((), x.dtype))  # a 1 that XLA does not see through


@faster(_keep)
def computed_once(x: Array) -> Array:
    """Returns x. A CPU computes it once and keeps it, however many places need it.

    XLA computes what is cheap again in each of these places there, and what that is computed from as well: in a chain
    of residual blocks with a ReLU, all the blocks before. Divisions are too dear for it to repeat; by 1 they are exact.
    """
    return x


# Pools and local response normalisation. The gradient of a pool asks of every input pixel which windows it is in, where
# XLA's own scatters from every window.


def max_pool(x: Array, *, window: int, stride: int) -> Array:
    """The double of `smith.networks.layers.max_pool`."""
    for axis in (WIDTH, HEIGHT):
        x = _max_windows(x, axis, x.shape[axis], window, stride)
    return x


def avg_pool(x: Array, *, window: int, stride: int) -> Array:
    """The double of `smith.networks.layers.avg_pool`."""
    inside = windows.pixels_inside(x.shape[1:3], window, stride)
    for axis in (WIDTH, HEIGHT):
        x = _sum_windows(x, axis, window, stride)
    return x * (1 / inside).astype(x.dtype)


def _spread(parts: list[Array], axis: int, stride: int, size: int) -> Array:
    """Adds up what all windows have for each pixel: the transpose of `gather`, on an axis of this size."""
    slots, windows = -(-size // stride), parts[0].shape[axis]
    moved = [pad(part, axis, k // stride, slots - windows - k // stride, 0) for k, part in enumerate(parts)]
    phases = jnp.stack([reduce(jnp.add, moved[first::stride]) for first in range(stride)], axis + 1)
    shape = parts[0].shape
    whole = phases.reshape(*shape[:axis], slots * stride, *shape[axis + 1 :])
    return lax.slice_in_dim(whole, 0, size, 1, axis)


@partial(jax.custom_vjp, nondiff_argnums=(1, 2, 3, 4))
def _max_windows(x: Array, axis: int, size: int, window: int, stride: int) -> Array:
    return reduce(jnp.maximum, gather(x, axis, window, stride, -np.inf))


def _max_forward(x: Array, axis: int, size: int, window: int, stride: int) -> tuple[Array, Array]:
    parts = gather(x, axis, window, stride, -np.inf)
    largest = reduce(jnp.maximum, parts)
    place = jnp.full(largest.shape, window - 1, np.int8)
    for k in reversed(range(window - 1)):
        place = jnp.where(parts[k] == largest, np.int8(k), place)
    return largest, place


def _max_backward(axis: int, size: int, window: int, stride: int, place: Array, dy: Array) -> tuple[Array]:
    return (_spread([jnp.where(place == k, dy, 0) for k in range(window)], axis, stride, size),)


_max_windows.defvjp(_max_forward, _max_backward)


def _sum_windows(x: Array, axis: int, window: int, stride: int) -> Array:
    size = x.shape[axis]
    return linear_call(
        lambda _, x: reduce(jnp.add, gather(x, axis, window, stride, 0)),
        lambda _, dy: _spread([dy] * window, axis, stride, size),
        (),
        x,
    )


@jax.custom_vjp
def lrn_within_channel(x: Array) -> Array:
    """The double of `smith.networks.layers.lrn_within_channel`. Its gradient saves x only."""
    return (x * _power(lrn_scale(x))).astype(x.dtype)


def _lrn_backward(x: Array, dy: Array) -> tuple[Array]:
    # With s the scale: dx = dy s^-beta - 2 (alpha / size^2) beta x * (sum over the window of dy x s^(-beta - 1)).
    scale = lrn_scale(x)
    direct = dy * _power(scale)
    return ((direct - windows.LRN_FACTOR * x * windows.sum_around(direct * x / scale)).astype(x.dtype),)


lrn_within_channel.defvjp(lambda x: (lrn_within_channel(x), x), _lrn_backward)


def _power(scale: Array) -> Array:
    """Returns scale^-0.75, LRN_BETA, by square roots, which a CPU does many times faster than a power."""
    return lax.rsqrt(scale) * jnp.sqrt(lax.rsqrt(scale))
