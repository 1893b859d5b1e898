"""What the machine is and what it can do, for scripts/bench.py: the roofline, measured with JAX, and memory."""

import datetime
import importlib.util
import os
import platform
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import jax
import jax.numpy as jnp

MATRIX_SIDE = {"cpu": 2048}  # of the matrices that are multiplied; elsewhere 8192
TRIAD_BYTES = {"cpu": 2**28}  # of each of two arrays, more than caches hold; elsewhere 2**30
TURNS, CALLS = 5, 4  # of which the fastest counts; calls in each


@dataclass(frozen=True)
class Peaks:
    """What the machine does at its best, measured with JAX: the roofline."""

    float32_product: float = field(metadata={"unit": "FLOP/s of a float32 matrix product (TF32 on a GPU)"})
    bfloat16_product: float | None = field(metadata={"unit": "FLOP/s of a bfloat16 matrix product; None on a CPU"})
    bandwidth: float = field(metadata={"unit": "bytes/s, read and written, of a <- a / 2 + b"})


def roofline() -> Peaks:
    """Measures what the machine can do."""
    cpu = jax.default_backend() == "cpu"
    return Peaks(matrix_rate("float32"), None if cpu else matrix_rate("bfloat16"), bandwidth())


def matrix_rate(dtype: str) -> float:
    """Returns the FLOP/s of a product of two square matrices."""
    side = MATRIX_SIDE.get(jax.default_backend(), 8192)
    matrix = jax.random.normal(jax.random.key(0), (side, side), dtype) / side**0.5
    return 2 * side**3 / fastest(jax.jit(lambda a: a @ matrix), matrix)


def bandwidth() -> float:
    """Returns the bytes/s that the memory takes and gives in a <- a / 2 + b, in place, as a triad."""
    size = TRIAD_BYTES.get(jax.default_backend(), 2**30)
    a, b = jnp.ones(size // 4, jnp.float32), jnp.ones(size // 4, jnp.float32)
    return 3 * size / fastest(lambda a: triad(a, b), a)


triad = jax.jit(lambda a, b: 0.5 * a + b, donate_argnums=0)


def fastest(function: Callable[[jax.Array], jax.Array], x: jax.Array) -> float:
    """Returns the seconds that the fastest of some turns took, each of a few calls on the last one's value."""
    x = function(x).block_until_ready()
    times = []
    for _ in range(TURNS):
        began = time.perf_counter()
        for _ in range(CALLS):
            x = function(x)
        x.block_until_ready()
        times.append((time.perf_counter() - began) / CALLS)
    return min(times)


def peak_memory() -> int:
    """Returns bytes: the most that the GPU had in use, or on a CPU the most that this process had."""
    if stats := jax.devices()[0].memory_stats():
        return stats["peak_bytes_in_use"]
    status = Path("/proc/self/status")
    if status.exists():  # getrusage would count the process that started this one too
        (line,) = [line for line in status.read_text().splitlines() if line.startswith("VmHWM")]
        return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def machine() -> str:
    """Returns a line about where and when this was measured."""
    versions = [f"jax {jax.__version__}"]
    if importlib.util.find_spec("torch"):
        import torch

        versions.append(f"torch {torch.__version__}")
    device = jax.devices()[0].device_kind
    where = f"{cpu_name()}, {os.cpu_count()} cores" if jax.default_backend() == "cpu" else device
    return f"{where}; Python {platform.python_version()}, {', '.join(versions)}; {datetime.date.today()}"


def cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def summary(peaks: Peaks) -> str:
    """Returns a line about the roofline."""
    also = f" ({peaks.bfloat16_product / 1e9:,.0f} in bfloat16)" if peaks.bfloat16_product else ""
    product = f"matrix product {peaks.float32_product / 1e9:,.0f} GFLOP/s in float32{also}"
    return f"roofline: {product}, memory {peaks.bandwidth / 1e9:,.1f} GB/s"
