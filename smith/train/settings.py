"""JAX's settings: those that a result rests on are checked before anything is trained, and what was set is recorded."""

import json
import os
import re

from smith.errors import UserError

NEEDED = {  # setting: (its value, why)
    "jax_enable_x64": (False, "the protocol is float32"),
    "jax_default_prng_impl": ("threefry2x32", "a seed means the same everywhere"),
    "jax_threefry_partitionable": (True, "a seed means the same everywhere"),
    "jax_random_seed_offset": (0, "a seed means the same everywhere"),
    "jax_disable_jit": (False, "the same seed gives the same bytes"),
    "jax_debug_nans": (False, "divergence is a result"),
    "jax_debug_infs": (False, "divergence is a result"),
}
SAID = r"(JAX|XLA|NVIDIA)_(?!.*(DIR|CACHE|PATH))\w+"  # environment variables that are recorded, but for paths


def prepare() -> None:
    """Prepares JAX. Raises UserError if it can not start as it is set, or if a setting makes other results."""
    try:
        import jax

        from smith.networks.cpu import prepare_process

        prepare_process()
    except ValueError as error:  # of a value that there is not
        reason = str(error).splitlines()[0]
        raise UserError(f"JAX does not start ({reason}): mend or unset that environment variable") from error
    for name, (value, why) in NEEDED.items():
        if (found := getattr(jax.config, name)) != value:
            raise UserError(f"{name} is {found}, and {why}: unset {name.upper()}, or set it to {value}")


def facts() -> dict[str, str]:
    """Returns the settings for a result's metadata: the precision of products, and the variables that were set."""
    import jax

    said = {name: value for name, value in sorted(os.environ.items()) if re.fullmatch(SAID, name)}
    precision = jax.config.jax_default_matmul_precision or "default"
    return {"matmul_precision": precision, "environment": json.dumps(said)}
