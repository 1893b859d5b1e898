"""What several claims use: the places of curves, units, and comparisons of two curves."""

from collections.abc import Sequence

from smith.analysis.measures import Measure, Statistic, accuracy, difference, mean_over_runs, rate_of_divergence
from smith.analysis.places import Place, curve, row
from smith.analysis.verdicts import Part

RATIO = "logarithm of the losses' ratio"
OCTAVES = "log2 of the rates' ratio"
IMAGES = "fraction of the test images"


def of_panel(panel: str, *names: str) -> dict[str, Place]:
    """Returns curves of a panel by their names."""
    return {name: curve(panel, name) for name in names}


def of_panels(**names: Sequence[str]) -> dict[str, Place]:
    """Returns curves of several panels, each under "<panel> <name>"."""
    return {f"{panel} {name}": curve(panel, name) for panel, members in names.items() for name in members}


def alone(measure: Measure, panel: str, name: str = "", sign: int = 1) -> tuple[dict[str, Place], Statistic]:
    """Returns the curve and the statistic: the measure of one curve of a panel, times a sign."""
    return of_panel(panel, name), mean_over_runs(measure, sign)


def compared(measure: Measure, panel: str, more: str, less: str) -> tuple[dict[str, Place], Statistic]:
    """Returns the curves and the statistic: the measure of one curve of a panel minus that of another."""
    return of_panel(panel, more, less), difference(measure, more, less)


def divergence(panel: str, more: str, less: str) -> tuple[dict[str, Place], Statistic]:
    """Returns the curves and the statistic: the rate at which one range test of a panel diverges over another's."""
    return of_panel(panel, more, less), rate_of_divergence(more, less)


def policies(data: str, network: str, cycle: tuple[str, str, str], usual: tuple[str, str]) -> Part:
    """Returns the part: in as many epochs, 1cycle comes to a higher accuracy than the usual policy.

    cycle: rates and step size, momentum, epochs; usual: policy, epochs
    """
    return Part(
        f"{network} on {data}: higher final accuracy with 1cycle, in {cycle[2]} epochs, than with {usual[0]}, "
        f"in {usual[1]}",
        {
            "more": row("table2", data, network, *cycle),
            "less": row("table2", data, network, usual[0], "0.9", usual[1]),
        },
        difference(accuracy, "more", "less"),
        unit=IMAGES,
    )
