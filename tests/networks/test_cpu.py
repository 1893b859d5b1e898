"""The settings of a process that computes on a CPU, and what keeps XLA from computing too often there."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np

from smith.networks import cpu
from smith.networks.layers import convolve

# https://github.com/jax-ml/jax/issues/39103: jaxlib 0.10.2 makes the last sum 0.2 % too small
SUMS_OF_SQUARES = """
from smith.networks.cpu import prepare_process
prepare_process()
import jax, jax.numpy as jnp
rows = jnp.zeros((32769, 3)).at[:, 0].set(jnp.arange(32769.0))
print(float(jax.jit(jax.vmap(lambda row: jnp.sum((jnp.eye(3) @ row) ** 2)))(rows)[-1]))
"""


def test_a_sum_that_ynnpack_gets_wrong_is_right():
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("XLA_", "JAX_"))}
    environment |= {"JAX_PLATFORMS": "cpu", "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", SUMS_OF_SQUARES]
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert (result.stdout, result.returncode) == (f"{32768.0**2}\n", 0), result.stderr


def flags_after(monkeypatch, before, known=True):
    monkeypatch.setattr(cpu, "xla_knows", lambda flag: known)
    monkeypatch.setenv("XLA_FLAGS", before)
    cpu.turn_ynnpack_off()
    cpu.turn_ynnpack_off()
    return os.environ["XLA_FLAGS"]


def test_the_user_s_own_flags_stay(monkeypatch):
    own, off = "--xla_dump_to=/tmp/x --xla_cpu_use_fusion_emitters=true", f"--{cpu.YNNPACK}="
    assert flags_after(monkeypatch, "") == off
    assert flags_after(monkeypatch, own) == f"{own} {off}"
    assert (
        flags_after(monkeypatch, f"--{cpu.YNNPACK}=LIBRARY_FUSION_TYPE_REDUCE")
        == f"--{cpu.YNNPACK}=LIBRARY_FUSION_TYPE_REDUCE"
    )


def test_a_flag_that_xla_does_not_know_is_left_out(monkeypatch):
    """XLA ends the process at one."""
    assert flags_after(monkeypatch, "--xla_dump_to=/tmp/x", known=False) == "--xla_dump_to=/tmp/x"


def test_the_flags_that_xla_knows():
    assert cpu.xla_knows("xla_dump_to")
    assert not cpu.xla_knows("xla_dump_t") and not cpu.xla_knows("xla_there_is_no_such_flag")


def test_freed_memory_can_be_kept_with_glibc():
    assert cpu.keep_freed_memory() == (sys.platform == "linux" and "glibc" in os.confstr("CS_GNU_LIBC_VERSION"))


def test_tricks_are_for_what_is_traced_inside_them():
    x = jnp.ones((1, 4, 4, 1))
    first = jax.jit(cpu.computed_once)
    plain = first.lower(x).as_text()
    with cpu.tricks(True):
        fast = first.lower(x).as_text()
    assert "divide" in fast and "divide" not in plain and "divide" not in first.lower(x).as_text()


def test_what_is_computed_once_is_the_same_to_the_bit():
    x = jnp.array([0.1, -3e38, 2e-38, -0.0, jnp.inf, -jnp.inf, jnp.nan], jnp.float32)
    with cpu.tricks(True):
        value, pull = jax.vjp(jax.jit(cpu.computed_once), x)
    assert np.asarray(value).tobytes() == np.asarray(x).tobytes()
    assert np.asarray(pull(x)[0]).tobytes() == np.asarray(x).tobytes()


def test_a_chain_of_blocks_is_not_computed_again_for_every_block():
    """With ReLUs after the sums XLA for a CPU repeats all earlier blocks in every later one, if it is let."""

    def loss(x, kernels):
        for kernel in kernels:
            x = cpu.computed_once(jax.nn.relu(x + convolve(x, kernel, padding="SAME")))
        return x.sum()

    def maxima(tricks):
        with cpu.tricks(tricks):
            lowered = jax.jit(jax.grad(loss, 1)).lower(x, kernels)
        return lowered.compile().as_text().count(" maximum(")

    x, kernels = jnp.ones((2, 8, 8, 4)), [jnp.ones((3, 3, 4, 4))] * 8
    assert maxima(True) <= 3 * len(kernels) < maxima(False)
