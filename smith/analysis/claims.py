"""The paper's claims, as data: what each says, the runs it needs, and the numbers that decide it.

`smith.analysis.verdicts` has the rules of decision; `smith.analysis.measures` what is read off a result. What a claim
measures, and the value that it must exceed, were fixed when of the results at the paper's scale there was one seed of
figure 14, which decides nothing, and with a look at the published curves, which support every part that they show;
`why` gives the reasons. Curves to compare are named beforehand: the best of several owes a part to noise, and the best
of different grids a part to the grids.
"""

from collections.abc import Sequence

import numpy as np

from smith.analysis.measures import (
    Statistic,
    accuracy,
    agreement,
    at_rates,
    batch_size,
    between,
    decay_of_best,
    difference,
    early_by_iterations,
    fall_along,
    fall_between,
    final_loss,
    least_error,
    least_loss,
    log_median_loss,
    log_rate_of_divergence,
    log_rate_of_minimum,
    log_ratio,
    of_one,
    place_of_minimum,
    rise_after_minimum,
    rise_over_noise,
    same_decay,
    separation_of,
)
from smith.analysis.places import Place, curve, row
from smith.analysis.verdicts import Claim, Part

ACCURACY_MARGIN = 0.002  # the paper's four runs of a setting differ by 0.001 to 0.003 (table 1)
LOSS_MARGIN = 0.02  # of the logarithm of a loss: 2 %
SAME = 0.3  # decades: weight decays less than a factor of 2 apart are the same choice


def _curves(panel: str, *names: str) -> dict[str, Place]:
    """Returns curves of a panel by their names."""
    return {name: curve(panel, name) for name in names}


def _panels(**names: Sequence[str]) -> dict[str, Place]:
    """Returns curves of several panels, each under "<panel> <name>"."""
    return {f"{panel} {name}": curve(panel, name) for panel, members in names.items() for name in members}


def _pair(more: Place, less: Place) -> dict[str, Place]:
    return {"more": more, "less": less}


WD_SHALLOW = ("WD=1e-3", "WD=1.8e-3", "WD=3.2e-3", "WD=1e-2")
WD_DEEP_RANGE = ("WD=1e-6", "WD=1e-5", "WD=1e-4", "WD=3.2e-4")
BATCHES = ("TBS=1024; CLR=0.1-1", "TBS=512; CLR=0.08-0.8", "TBS=256; CLR=0.06-0.6", "TBS=128; CLR=0.04-0.4")
FALLING, RISING, CONSTANT = "CM=0.95-0.8", "CM=0.8-1", "Mom=0.9"


def _momentum_rows(network: str, rates: str, *momenta: str) -> dict[str, Place]:
    return {momentum: row("table1", network, rates, momentum) for momentum in momenta}


def _gain_of_more_decay(constant: str, range_test: str, small: str, large: str) -> Statistic:
    """Returns the statistic: how much more the larger weight decay lowers the loss at a constant rate."""
    at_constant = log_ratio(final_loss, f"{constant} {small}", f"{constant} {large}")
    in_range = log_ratio(least_loss, f"{range_test} {small}", f"{range_test} {large}")
    return lambda runs: at_constant(runs) - in_range(runs)


def _policies(data: str, network: str, cycle: tuple[str, str, str], usual: tuple[str, str]) -> Part:
    """Returns the part: in as many epochs, 1cycle comes to a higher accuracy than the usual policy.

    cycle: rates and step size, momentum, epochs; usual: policy, epochs
    """
    return Part(
        f"{network} on {data}: higher final accuracy with 1cycle, in {cycle[2]} epochs, than with {usual[0]}, "
        f"in {usual[1]}",
        _pair(row("table2", data, network, *cycle), row("table2", data, network, usual[0], "0.9", usual[1])),
        difference(accuracy, "more", "less"),
        unit="fraction of the test images",
    )


C01 = Claim(
    "C01",
    "The test loss shows over- and underfitting early, where accuracy and training loss do not.",
    "Remark 1, section 3",
    ("fig01a",),
    tuple(
        Part(what, _curves("fig01a", ""), statistic, above, "times the noise")
        for what, statistic, above in (
            ("the test loss rises", of_one(rise_over_noise("test_loss", (0.01, 0.05))), 1.0),
            ("the test accuracy does not fall", of_one(rise_over_noise("test_accuracy", (0.01, 0.05))), -1.0),
            (
                "the training loss falls",
                lambda runs: -rise_over_noise("train_loss", (0.01, 0.05))(runs[""]),
                1.0,
            ),
        )
    ),
    "Between the rates 0.01 and 0.05, where the paper points to overfitting. A rise is that of a straight-line "
    "fit, its unit the test-to-test noise, which an eye has to see it over; so more than one unit is a rise, and "
    "a fall of less than one is none.",
)
C02 = Claim(
    "C02",
    "Underfitting shows as a test loss that keeps falling; a better setting falls faster, is then flat, and ends "
    "better.",
    "Remark 2, section 3.2",
    ("fig03a",),
    (
        Part(
            "the smaller rate's test loss still falls in the second half before the first drop",
            _curves("fig03a", "LR=0.001"),
            of_one(fall_between(0.4, 0.8)),
            unit="nats",
        ),
        Part(
            "the larger rate's falls less there",
            _curves("fig03a", "LR=0.001", "LR=0.0055"),
            difference(fall_between(0.4, 0.8), "LR=0.001", "LR=0.0055"),
            unit="nats",
        ),
        Part(
            "early, the larger rate has the lower test loss",
            _curves("fig03a", "LR=0.001", "LR=0.0055"),
            difference(between(0.02, 0.1), "LR=0.001", "LR=0.0055"),
            unit="nats",
        ),
        Part(
            "at the end it has the higher accuracy",
            _curves("fig03a", "LR=0.001", "LR=0.0055"),
            difference(accuracy, "LR=0.0055", "LR=0.001"),
            unit="fraction of the test images",
        ),
    ),
    "The rate drops at 5/6 of the run; from 0.4 to 0.8 both curves are past their first fall. The paper gives no "
    "sizes, so each part asks for the sign alone.",
)
C03 = Claim(
    "C03",
    "Hyper-parameters chosen in the first fifth of the training hold to its end.",
    "Sections 3.2 and 4.4",
    ("fig03a", "fig09a"),
    tuple(
        Part(
            f"the order of the curves of {panel} at a fifth of the training agrees with that at the end",
            _curves(panel, *names),
            agreement(between(0.15, 0.2), final_loss),
            unit="Kendall's tau",
        )
        for panel, names in (("fig09a", WD_SHALLOW), ("fig03a", ("LR=0.001", "LR=0.0055")))
    ),
    "Kendall's tau counts pairs of curves in the same order minus those in the other; above zero early order is "
    "worth something. The tests between 15 and 20 % are averaged against noise.",
)
C04 = Claim(
    "C04",
    "Raising the learning rate moves training from underfitting towards overfitting: with too little weight decay"
    " it overfits sooner, with too much it diverges sooner.",
    "Section 3.3",
    ("fig04a",),
    (
        Part(
            "with a weight decay of 1e-4 the least test loss comes at a smaller rate than with 4e-3",
            _curves("fig04a", "WD=4e-3", "WD=1e-4"),
            difference(log_rate_of_minimum, "WD=4e-3", "WD=1e-4"),
            unit="log2 of the rates' ratio",
        ),
        Part(
            "after its least the test loss of 1e-4 rises",
            _curves("fig04a", "WD=1e-4"),
            of_one(rise_after_minimum),
            2.0,
            "times the noise",
        ),
        Part(
            "with 1e-2 it diverges at a smaller rate than with 4e-3",
            _curves("fig04a", "WD=4e-3", "WD=1e-2"),
            difference(log_rate_of_divergence, "WD=4e-3", "WD=1e-2"),
            unit="log2 of the rates' ratio",
        ),
    ),
    "The paper names the three weight decays too small, good and too large. Divergence is a test loss that stays "
    "above the middle between its least and guessing. The rise is of the last tenth's mean over the least, and "
    "two units of noise because the least of many tests lies below their mean.",
)
C05 = Claim(
    "C05",
    "There is a largest speed at which the learning rate may grow: a faster range test diverges at a smaller rate.",
    "Section 4.1",
    ("speeda",),
    (
        Part(
            "the range test of 20,000 iterations diverges at a larger rate than that of 2,500",
            _pair(curve("speeda", "20,000 iterations"), curve("speeda", "2,500 iterations")),
            difference(log_rate_of_divergence, "more", "less"),
            unit="log2 of the rates' ratio",
        ),
    ),
    "The longest and the shortest of three lengths over the same rates. The paper shows no such figure: these runs"
    " are ours.",
)
C06 = Claim(
    "C06",
    "Super-convergence: 1cycle with very large learning rates reaches more than a usual schedule in about an "
    "eighth of the iterations.",
    "Sections 4.1 and 5",
    ("fig05a", "table2"),
    (
        Part(
            "resnet-56-relu: higher final accuracy after 10,000 iterations than a usual schedule after 80,000",
            _curves("fig05a", "CLR=0.1-3", "LR=0.35"),
            difference(accuracy, "CLR=0.1-3", "LR=0.35"),
            unit="fraction of the test images",
        ),
        _policies("cifar10", "wide-32", ("1cycle 0.1-1/45", "CM 0.95-0.85", "100"), ("steps from 0.1", "800")),
    ),
    "The two places where the paper compares an eighth of the length on data that are at hand; figure 16 is ImageNet. "
    '"More" is any difference above zero.',
)
C07 = Claim(
    "C07",
    "Large learning rates need less of other regularisation: with them a smaller weight decay does as well or better.",
    "Remark 3, section 4.1, and section 4.4",
    ("fig05b", "fig09a", "fig10a", "fig11a", "fig11b"),
    (
        Part(
            "resnet-56: 3.2e-4 gains more over 1e-4 at a constant rate of 0.1 than in a range test up to 2",
            _panels(fig11a=("WD=1e-4", "WD=3.2e-4"), fig11b=("WD=1e-4", "WD=3.2e-4")),
            _gain_of_more_decay("fig11a", "fig11b", "WD=1e-4", "WD=3.2e-4"),
            unit="logarithm of the losses' ratios",
        ),
        Part(
            "shallow3: 3.2e-3 gains more over 1e-3 at a constant rate of 0.005 than in a range test up to 0.01",
            _panels(fig09a=("WD=1e-3", "WD=3.2e-3"), fig10a=("WD=1e-3", "WD=3.2e-3")),
            _gain_of_more_decay("fig09a", "fig10a", "WD=1e-3", "WD=3.2e-3"),
            unit="logarithm of the losses' ratios",
        ),
        Part(
            "resnet-56-relu with rates up to 3: 1e-4 comes to a higher accuracy than 1e-3",
            _curves("fig05b", "Weight decay=0.0001", "Weight decay=0.001"),
            difference(accuracy, "Weight decay=0.0001", "Weight decay=0.001"),
            unit="fraction of the test images",
        ),
    ),
    "The gain is in test loss: at the end where the rate is constant, at its least in a range test. Compared are "
    "two weight decays, a factor of three apart, that both panels have: the best of each panel would be a "
    "statement about their different grids.",
)
C08 = Claim(
    "C08",
    "For the same computation larger batches give a higher accuracy, and a lower loss early, but a higher final loss.",
    "Remark 4, section 4.2",
    ("fig06a", "fig06b"),
    tuple(
        Part(what, _curves("fig06a", *BATCHES), agreement(batch_size, measure), unit="Kendall's tau")
        for what, measure in (
            ("the final accuracy rises with the batch size", accuracy),
            ("early, the test loss falls with it", lambda result: -early_by_iterations(result)),
            ("the final test loss rises with it", final_loss),
        )
    ),
    "The order of four batch sizes; above zero more pairs are in the paper's order than not. Early is from "
    "iteration 500 to 1,500, a quarter of the shortest run: the paper's horizontal axis counts iterations.",
)
C09 = Claim(
    "C09",
    "A momentum range test finds no best momentum: the test loss falls all the way.",
    "Section 4.3",
    ("fig07b",),
    (
        Part(
            "the least test loss is at the end of the range",
            _curves("fig07b", ""),
            of_one(place_of_minimum("momentum", 0.7, 1.0)),
            0.9,
            "fraction of the range",
        ),
        Part(
            "the test loss falls with the momentum",
            _curves("fig07b", ""),
            of_one(fall_along("momentum")),
            0.8,
            "minus Kendall's tau",
        ),
    ),
    "A minimum inside the range would be the best momentum; the last tenth of the range is its end. Tau is 1 for "
    "a curve that falls at every test; 0.8 leaves one pair of tests in ten to noise.",
)
C10 = Claim(
    "C10",
    "Momentum that rises with the learning rate is stable to larger rates but has a higher least loss; momentum "
    "that falls has a lower one, and starts faster.",
    "Section 4.3",
    ("fig07c",),
    (
        Part(
            "rising momentum diverges at a larger rate than a constant one",
            _curves("fig07c", RISING, CONSTANT),
            difference(log_rate_of_divergence, RISING, CONSTANT),
            unit="log2 of the rates' ratio",
        ),
        Part(
            "its least test loss is higher",
            _curves("fig07c", RISING, CONSTANT),
            difference(least_loss, RISING, CONSTANT),
            unit="nats",
        ),
        Part(
            "that of falling momentum is lower than the constant one's",
            _curves("fig07c", CONSTANT, FALLING),
            difference(least_loss, CONSTANT, FALLING),
            unit="nats",
        ),
        Part(
            "at rates up to 0.005 so is its test loss",
            _curves("fig07c", CONSTANT, FALLING),
            difference(at_rates(0.002, 0.005), CONSTANT, FALLING),
            unit="nats",
        ),
    ),
    "The constant momentum is 0.9, the falling one 0.95 to 0.8, of the two the nearer to it. The first sixth of "
    "the range is the start. The paper gives no sizes, so each part asks for the sign alone.",
)
C11 = Claim(
    "C11",
    "With a cyclical learning rate, falling cyclical momentum equals or beats the best constant momentum.",
    "Remark 5, section 4.3",
    ("fig08a", "fig14a", "table1"),
    (
        *(
            Part(
                f"{network}: final accuracy against the best constant momentum, 0.95",
                _momentum_rows(network, rates, "CM 0.95-0.85", "0.95"),
                difference(accuracy, "CM 0.95-0.85", "0.95"),
                -ACCURACY_MARGIN,
                "fraction of the test images",
            )
            for network, rates in (("shallow3", "0.0005-0.005"), ("resnet-56", "0.08-0.8"))
        ),
        Part(
            "resnet-56 with 1cycle: final test loss against a momentum of 0.9",
            _curves("fig08a", "Momentum=0.9", "CM range=0.95-0.85"),
            log_ratio(final_loss, "Momentum=0.9", "CM range=0.95-0.85"),
            -LOSS_MARGIN,
            "logarithm of the losses' ratio",
        ),
        Part(
            "LeNet in a range test: median test loss against a momentum of 0.9",
            _curves("fig14a", "Momentum=0.9", "Momentum=0.95 - 0.8"),
            difference(log_median_loss, "Momentum=0.9", "Momentum=0.95 - 0.8"),
            -LOSS_MARGIN,
            "logarithm of the losses' ratio",
        ),
    ),
    "Equal is no worse than 0.002 in accuracy, the spread of the paper's runs of one setting in table 1, or than "
    "2 % in loss. The best constant is chosen seed by seed, which favours the constants.",
)
C12 = Claim(
    "C12",
    "The best constant momentum lies between 0.9 and 0.99, and shows early.",
    "Section 4.3",
    ("fig07a", "table1"),
    (
        Part(
            "the least test loss of 0.7 is higher than that of 0.9",
            _curves("fig07a", "Mom=0.7", "Mom=0.9"),
            difference(least_loss, "Mom=0.7", "Mom=0.9"),
            unit="nats",
        ),
        Part(
            "so is its test loss at rates up to 0.005",
            _curves("fig07a", "Mom=0.7", "Mom=0.9"),
            difference(at_rates(0.002, 0.005), "Mom=0.7", "Mom=0.9"),
            unit="nats",
        ),
        *(
            Part(
                f"{network}: the final accuracy of 0.90 is higher than that of 0.85",
                _momentum_rows(network, rates, "0.90", "0.85"),
                difference(accuracy, "0.90", "0.85"),
                unit="fraction of the test images",
            )
            for network, rates in (("shallow3", "0.0005-0.005"), ("resnet-56", "0.08-0.8"))
        ),
    ),
    "The paper tries nothing above 0.99, so only the lower end can be tested: a smaller momentum is worse than "
    "the least of those inside, 0.9, which was fixed beforehand: the better of several would win by noise alone. "
    "The first sixth of the range is early.",
)
C13 = Claim(
    "C13",
    "The best weight decay is easier to see in the test loss than in the accuracy, and early.",
    "Remark 6, section 4.4",
    ("fig09a", "fig09b"),
    (
        Part(
            "before the first drop the losses of those that train are further apart than their accuracies, in noise",
            _curves("fig09a", *WD_SHALLOW[:3]),
            lambda runs: float(np.log2(separation_of(runs, "test_loss") / separation_of(runs, "test_accuracy"))),
            unit="log2 of the separations' ratio",
        ),
        Part(
            "the weight decay with the least loss in the first fifth is that with the least in the end",
            _curves("fig09a", *WD_SHALLOW),
            lambda runs: -abs(decay_of_best(runs, between(0.1, 0.2)) - decay_of_best(runs, final_loss)),
            -SAME,
            "minus decades",
        ),
    ),
    "Separation is the spread of the curves' medians over their test-to-test noise, between 5 and 50 % of the "
    "training. 1e-2 is left out, which loss and accuracy tell apart at once; with it the published curves "
    "themselves show no difference. The same choice is one within a factor of two.",
)
C14 = Claim(
    "C14",
    "Complex data and deep networks need smaller weight decays, simple and shallow ones larger.",
    "Section 4.4",
    ("fig09a", "fig11b", "fig13a", "fig13c", "fig14b", "fig15a"),
    tuple(
        Part(
            f"{what}: {better} does better than {worse}",
            {"better": curve(panel, f"WD={better}"), "worse": curve(panel, f"WD={worse}")},
            log_ratio(worth, "worse", "better"),
            unit="logarithm of the ratio",
        )
        for what, panel, better, worse, worth in (
            ("shallow3, final test loss", "fig09a", "3.2e-3", "1e-3", final_loss),
            ("LeNet on MNIST, least test loss", "fig14b", "1e-3", "1e-4", least_loss),
            ("resnet-56, least test loss", "fig11b", "1e-4", "3.2e-4", least_loss),
            ("wide-32, least test loss", "fig13a", "1e-4", "1e-3", least_loss),
            ("densenet-40, least test error", "fig13c", "1e-6", "1e-4", least_error),
            ("resnet-56 on CIFAR-100, least test loss", "fig15a", "1e-4", "3e-4", least_loss),
        )
    ),
    "Two weight decays of each panel: for the shallow networks that which the paper calls best against one of the"
    " deep networks' size, for the deep ones that which it calls best against the largest of the panel. The best "
    "of each panel would be a statement about their different grids.",
)
C15 = Claim(
    "C15",
    "One run with a snapshot, continued with several weight decays, finds the same best one as a run for each.",
    "Section 4.4",
    ("fig09a", "fig11b", "fig12a", "fig12b"),
    (
        Part(
            "shallow3: the best from a snapshot is the best of the runs at a constant rate",
            _panels(fig12a=("WD=1e-3", "WD=3e-3", "WD=1e-2"), fig09a=WD_SHALLOW),
            same_decay("fig12a", least_loss, "fig09a", final_loss),
            -SAME,
            "minus decades",
        ),
        Part(
            "resnet-56: the best from a snapshot is the best of the range tests",
            _panels(fig12b=("WD=1e-4", "WD=3e-4", "WD=1e-3"), fig11b=WD_DEEP_RANGE),
            same_decay("fig12b", least_loss, "fig11b", least_loss),
            -SAME,
            "minus decades",
        ),
    ),
    "The grids differ (3e-3 here, 3.2e-3 there), so the same is within a factor of two. Resnet-56 is compared "
    "with figure 11b, whose rates are as large, and not with 11a.",
)
C16 = Claim(
    "C16",
    "MNIST, CIFAR-10, CIFAR-100 and ImageNet, with all their networks, train faster with large learning rates.",
    "Section 5",
    ("table2", "fig16a", "fig16b"),
    (
        _policies("cifar10", "wide-32", ("1cycle 0.1-1/45", "CM 0.95-0.85", "100"), ("steps from 0.1", "100")),
        _policies("cifar10", "densenet-40", ("1cycle 0.1-4/45", "CM 0.9-0.85", "100"), ("steps from 0.1", "100")),
        _policies("mnist", "lenet", ("1cycle 0.02-0.2/40", "CM 0.95-0.8", "85"), ("inverse from 0.01", "85")),
        _policies("cifar100", "resnet-56", ("1cycle 0.09-0.9/45", "CM 0.95-0.85", "100"), ("steps from 0.005", "100")),
        Part(
            "resnet-50 and inception-resnet-v2 on ImageNet",
            {},
            lambda runs: np.nan,
            unit="fraction of the test images",
            missing="ImageNet is not here yet",
        ),
    ),
    "Faster is a higher accuracy after the same number of epochs, by any difference. Table 1's shallow3 is left "
    "out, of which the paper shows that it gains nothing from a cyclical rate.",
)


CLAIMS: dict[str, Claim] = {
    claim.name: claim for claim in (C01, C02, C03, C04, C05, C06, C07, C08, C09, C10, C11, C12, C13, C14, C15, C16)
}
