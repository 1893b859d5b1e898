"""The claims on learning rates and policies: underfitting, range tests, super-convergence."""

from smith.analysis.claims.shared import IMAGES, OCTAVES, RATIO, alone, compared, divergence, policies
from smith.analysis.measures import accuracy, final_loss, mean_loss, rate_of_minimum, rise
from smith.analysis.verdicts import Claim, Part

NO_FALL = 0.01  # of the accuracy: one image in a hundred


C01 = Claim(
    "C01",
    "The test loss shows over- and underfitting early, where accuracy and training loss do not.",
    "Remark 1, section 3",
    ("fig01a",),
    (
        Part("the test loss rises", *alone(rise("test_loss", 0.025, 0.125), "fig01a"), unit=RATIO),
        Part(
            "the test accuracy does not fall, by more than 0.01",
            *alone(rise("test_accuracy", 0.025, 0.125), "fig01a"),
            -NO_FALL,
            IMAGES,
        ),
        Part("the training loss falls", *alone(rise("train_loss", 0.025, 0.125), "fig01a", sign=-1), unit=RATIO),
    ),
    "Between the rates 0.01 and 0.05, where the paper points to overfitting. A rise is that of a straight-line fit, "
    "and of any size, as the seeds tell how much of it is noise. It was in units of each run's own noise, which is "
    "badly known from the few tests there, and the mean of such ratios is too large.",
)


C02 = Claim(
    "C02",
    "Underfitting shows as a test loss that keeps falling; a better setting falls faster, then falls less, and ends "
    "better.",
    "Remark 2, section 3.2",
    ("fig03a",),
    (
        Part(
            "the smaller rate's test loss still falls in the second half before the first drop",
            *alone(rise("test_loss", 0.4, 0.8), "fig03a", "LR=0.001", sign=-1),
            unit=RATIO,
        ),
        Part(
            "the larger rate's test loss falls less there",
            *compared(rise("test_loss", 0.4, 0.8), "fig03a", "LR=0.0055", "LR=0.001"),
            unit=RATIO,
        ),
        Part(
            "early, the larger rate has the lower test loss",
            *compared(mean_loss(0.02, 0.1), "fig03a", "LR=0.001", "LR=0.0055"),
            unit=RATIO,
        ),
        Part(
            "at the end the larger rate has the lower test loss",
            *compared(final_loss, "fig03a", "LR=0.001", "LR=0.0055"),
            unit=RATIO,
        ),
    ),
    "The rate drops at 5/6 of the run; from 0.4 to 0.8 both curves are past their first fall. The paper says that the "
    "better setting is flat there, and its curve still falls by 2 %: so only that it falls less is asked. The end was "
    "asked in accuracy, which the paper does not show of these runs.",
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
            *compared(rate_of_minimum, "fig04a", "WD=4e-3", "WD=1e-4"),
            unit=OCTAVES,
        ),
        Part(
            "the test loss of 1e-4 rises in the second half of the test",
            *alone(rise("test_loss", 0.5, 1), "fig04a", "WD=1e-4"),
            unit=RATIO,
        ),
        Part(
            "with 1e-2 the range test diverges at a smaller rate than with 4e-3",
            *divergence("fig04a", "WD=4e-3", "WD=1e-2"),
            unit=OCTAVES,
        ),
    ),
    "The paper names the three weight decays too small, good and too large. Divergence is a test loss that stays "
    "above the middle between guessing and the least loss of the two runs. The rise was that of the end over the "
    "least of all tests, which lies below their mean: a curve that is flat at the end would have been called rising "
    "in 8, 19 and 37 % of cases with 4, 8 and 12 seeds. A straight line over the second half, fixed beforehand, is "
    "zero on average where the curve is flat.",
)


C05 = Claim(
    "C05",
    "There is a largest speed at which the learning rate may grow: a faster range test diverges at a smaller rate.",
    "Section 4.1",
    ("speeda",),
    (
        Part(
            "the range test of 20,000 iterations diverges at a larger rate than that of 2,500",
            *divergence("speeda", "20,000 iterations", "2,500 iterations"),
            unit=OCTAVES,
        ),
    ),
    "The longest and the shortest of three lengths over the same rates. The paper shows no such figure: these runs are "
    "ours. Both have to stay below the same loss, the middle between guessing and the least of the two runs: the short "
    "test learns less, and a bar of its own would be higher.",
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
            *compared(accuracy, "fig05a", "CLR=0.1-3", "LR=0.35"),
            unit=IMAGES,
        ),
        policies("cifar10", "wide-32", ("1cycle 0.1-1/45", "CM 0.95-0.85", "100"), ("steps from 0.1", "800")),
    ),
    "The two places where the paper compares an eighth of the length on data that all have; C17 asks it of ImageNet. "
    '"More" is any difference above zero.',
)


C16 = Claim(
    "C16",
    "MNIST, CIFAR-10 and CIFAR-100, with all their networks, train faster with large learning rates.",
    "Section 5",
    ("table2",),
    (
        policies("mnist", "lenet", ("1cycle 0.02-0.2/40", "CM 0.95-0.8", "85"), ("inverse from 0.01", "85")),
        policies("cifar10", "wide-32", ("1cycle 0.1-1/45", "CM 0.95-0.85", "100"), ("steps from 0.1", "100")),
        policies("cifar10", "densenet-40", ("1cycle 0.1-4/45", "CM 0.9-0.85", "100"), ("steps from 0.1", "100")),
        policies("cifar100", "resnet-56", ("1cycle 0.09-0.9/45", "CM 0.95-0.85", "100"), ("steps from 0.005", "100")),
    ),
    "Faster is a higher accuracy after the same number of epochs, by any difference. Table 1's shallow3 is left out: "
    "the paper shows that it gains nothing from a cyclical rate. The paper says it of ImageNet too: C17 asks that, "
    "because few have the data. The rate of 0.005 of resnet-56's steps may be a slip: the author's job list has 0.1.",
)


C17 = Claim(
    "C17",
    "ImageNet too: 1cycle with very large learning rates reaches more in 20 epochs than the usual schedule in over a "
    "hundred.",
    "Sections 4.1 and 5",
    ("fig16a", "fig16b"),
    (
        Part(
            "resnet-50: higher final accuracy after 200,000 iterations than the usual schedule's after 1,340,000",
            *compared(accuracy, "fig16a", "1cycle LR=0.1-1, WD=1e-5", "Original; LR=0.1, WD=1e-4"),
            unit=IMAGES,
        ),
        Part(
            "inception-resnet-v2: higher final accuracy after 220,000 iterations than the usual schedule's after "
            "1,150,000",
            *compared(accuracy, "fig16b", "1cycle LR=0.1-1, WD=3e-6", "Original; LR=0.1, WD=1e-4"),
            unit=IMAGES,
        ),
    ),
    "What C06 and C16 say of ImageNet, as figure 16 shows it, each network with the larger of the weight decays that "
    "1cycle had. It was no part of them before, but left out, and was written when eight seeds in miniature had shown "
    "that 1cycle learns little there; the published curves alone say what is asked.",
)
