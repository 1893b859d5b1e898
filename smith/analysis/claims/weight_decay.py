"""The claims on weight decay, and on choosing early."""

from smith.analysis.claims.shared import RATIO, compared, of_panel, of_panels
from smith.analysis.measures import (
    Statistic,
    difference,
    each_test,
    early_order,
    final_loss,
    least_loss,
    median_after,
    median_error,
    median_loss,
    minus,
    saved_by_choice,
)
from smith.analysis.verdicts import Claim, Part

WD_SHALLOW = ("WD=1e-3", "WD=1.8e-3", "WD=3.2e-3", "WD=1e-2")
WD_DEEP_RANGE = ("WD=1e-6", "WD=1e-5", "WD=1e-4", "WD=3.2e-4")
SHOWN_11B = 0.55  # of the range test, up to a rate of 1.15: what figure 11b shows of it


def _gain_of_more_decay(constant: str, range_test: str, small: str, large: str) -> Statistic:
    """Returns the statistic: how much more the larger weight decay lowers the loss at a constant rate."""
    at_constant = difference(final_loss, f"{constant} {small}", f"{constant} {large}")
    return minus(at_constant, difference(least_loss, f"{range_test} {small}", f"{range_test} {large}"))


C03 = Claim(
    "C03",
    "Hyper-parameters chosen after a fifth of the training hold to its end.",
    "Sections 3.2 and 4.4",
    ("fig09a",),
    (
        Part(
            "the weight decay of the least loss at a test after 15 to 25 % of the training costs less than half of "
            "what one at random costs in the end",
            of_panel("fig09a", *WD_SHALLOW),
            saved_by_choice(each_test("test_loss", 0.15, 0.25), final_loss),
            unit=RATIO,
        ),
    ),
    "What a choice costs is its final loss over the least final loss of the four weight decays, averaged over the "
    "tests at which one might have chosen. Half, because to know only that 1e-2 is bad already saves half of the "
    "cost. The order of the two curves of figure 3a was asked too: an order of two is right in half of the cases by "
    "chance, so that four seeds can not decide it, and claim 2 asks for the size of both differences. Kendall's tau "
    "of the four orders, asked before, takes few values.",
)


C07 = Claim(
    "C07",
    "Large learning rates need less of other regularisation: with them more weight decay gains less, or loses.",
    "Remark 3, section 4.1, and section 4.4",
    ("fig09a", "fig10a", "fig11a", "fig11b"),
    (
        Part(
            "resnet-56: 3.2e-4 gains more over 1e-4 at a constant rate of 0.1 than in a range test up to 2",
            of_panels(fig11a=("WD=1e-4", "WD=3.2e-4"), fig11b=("WD=1e-4", "WD=3.2e-4")),
            _gain_of_more_decay("fig11a", "fig11b", "WD=1e-4", "WD=3.2e-4"),
            unit=RATIO,
        ),
        Part(
            "shallow3: 3.2e-3 gains more over 1e-3 at a constant rate of 0.005 than in a range test up to 0.01",
            of_panels(fig09a=("WD=1e-3", "WD=3.2e-3"), fig10a=("WD=1e-3", "WD=3.2e-3")),
            _gain_of_more_decay("fig09a", "fig10a", "WD=1e-3", "WD=3.2e-3"),
            unit=RATIO,
        ),
    ),
    "The gain is in test loss: at the end where the rate is constant, at its least in a range test. Compared are two "
    "weight decays, a factor of three apart, that both panels have: the best of each panel would be a statement about "
    "their different grids. That 1e-3 does not train at rates up to 3 (figure 5b) was a part too; it says that so much "
    "is too much, not that large rates need less than small ones.",
)


C13 = Claim(
    "C13",
    "The best weight decay is easier to see in the test loss than in the accuracy, before the first drop of the rate.",
    "Remark 6, section 4.4",
    ("fig09a", "fig09b"),
    (
        Part(
            "between 10 and 50 % of the training more tests put two weight decays in the order of the end by their "
            "losses than by their accuracies",
            of_panel("fig09a", *WD_SHALLOW),
            minus(early_order("test_loss", 0.1, 0.5), early_order("test_accuracy", 0.1, 0.5)),
            unit="fraction of the tests, mean over all pairs",
        ),
    ),
    "All four weight decays, and all six pairs of them. It was the spread of the curves over their noise, without "
    "1e-2: with it the published curves show no difference, as one curve that is far off makes up the spread of both "
    "quantities. Pairs count alike. That the best one shows early was a part too. Claim 3 asks that of the same "
    "curves; before a fifth of the training the published curves themselves do not show it (a choice between 10 and "
    "20 % costs half of what one at random does), and that a choice by the loss is better there than one by the "
    "accuracy would be seen by 12 seeds in one of five cases.",
)


C14 = Claim(
    "C14",
    "Complex data and deep networks need smaller weight decays, simple and shallow ones larger.",
    "Section 4.4",
    ("fig09a", "fig11b", "fig13a", "fig13c", "fig14b", "fig15a"),
    tuple(
        Part(
            f"{what}: {better} does better than {worse}",
            *compared(worth, panel, f"WD={worse}", f"WD={better}"),
            unit="logarithm of the ratio",
        )
        for what, panel, better, worse, worth in (
            ("shallow3, final test loss", "fig09a", "3.2e-3", "1e-3", final_loss),
            ("LeNet on MNIST, median test loss", "fig14b", "1e-3", "1e-4", median_loss(0.77)),
            ("resnet-56, median test loss", "fig11b", "1e-4", "3.2e-4", median_loss(SHOWN_11B)),
            ("wide-32, median test loss", "fig13a", "1e-4", "1e-3", median_loss()),
            ("densenet-40, median test error", "fig13c", "1e-6", "1e-4", median_error),
            ("resnet-56 on CIFAR-100, median test loss", "fig15a", "1e-4", "3e-4", median_loss()),
        )
    ),
    "Two weight decays of each panel: for the shallow networks that which the paper calls best against one of the"
    " deep networks' size, for the deep ones that which it calls best against the largest of the panel. The best of "
    "each panel would be a statement about their different grids. A range test is read by its median, which counts how "
    "low the loss is and over how many of the rates that the panel shows. It was read by its least loss, in which the "
    "difference on CIFAR-100, 2 %, is too small: 12 seeds would see it in one of four cases.",
)


C15 = Claim(
    "C15",
    "One run with a snapshot, continued with several weight decays, finds as good a one as a run for each.",
    "Section 4.4",
    ("fig09a", "fig11b", "fig12a", "fig12b"),
    (
        Part(
            "shallow3: the best from a snapshot costs less than half of what one at random costs at a constant rate",
            of_panels(fig12a=("WD=1e-3", "WD=3e-3", "WD=1e-2"), fig09a=WD_SHALLOW),
            saved_by_choice(median_after(0.25), final_loss, "fig12a", "fig09a"),
            unit=RATIO,
        ),
        Part(
            "resnet-56: the best from a snapshot costs less than half of what one at random costs in range tests",
            of_panels(fig12b=("WD=1e-4", "WD=3e-4", "WD=1e-3"), fig11b=WD_DEEP_RANGE),
            saved_by_choice(median_after(0.5), median_loss(SHOWN_11B), "fig12b", "fig11b"),
            unit=RATIO,
        ),
    ),
    "The best from a snapshot has the lowest median loss of the tests after it, also of the run that the snapshot is "
    "of. What a choice costs is read in the separate runs, of the weight decay that is nearest to it (the grids "
    "differ: 3e-3 here, 3.2e-3 there; 1e-3 of figure 12b counts as 3.2e-4); one at random is one of the three. "
    "Resnet-56 is compared with figure 11b, whose rates are as large, and not with 11a. That both find the same one "
    "within a factor of two was asked, which chance gives in 42 and 17 % of cases.",
)
