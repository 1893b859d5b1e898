"""How often a part of a claim is supported by chance, and by the effect that the paper's curves show.

2,000 made-up sets of seeds for each part. `python tests/analysis/worlds.py > docs/error_rates.md` writes the numbers.
"""

from pathlib import Path

import pytest
from worlds import PARTS, SEEDS, rates

PROMISED, ERROR = 0.025, 0.0035  # the simulation's standard error at 2,000 sets
LEAST_POWER = 0.5  # with 12 seeds; a part with less is not asked
TABLE = Path(__file__).resolve().parents[2] / "docs" / "error_rates.md"


@pytest.mark.parametrize("name", PARTS)
def test_chance_hardly_ever_supports_a_part_and_the_published_effect_mostly_does(name: str):
    found = rates(name)
    shares = dict(zip(SEEDS, found.null, strict=True))
    print(f"{name}: no effect {shares}, published effect {dict(zip(SEEDS, found.power, strict=True))}")
    assert max(found.null) <= PROMISED + 3 * ERROR, shares
    assert found.power[-1] >= LEAST_POWER, found.power


def test_the_page_has_every_part_as_it_is_worded():
    lines = [line.split(" | ")[:2] for line in TABLE.read_text().splitlines() if line.startswith("| C")]
    assert lines == [[f"| {name}", part.what] for name, part in PARTS.items()]
