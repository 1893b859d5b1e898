"""The paper's seventeen claims, as data: what each says, the runs it needs, and the numbers that decide it.

    learning_rate.py   C01 C02 C04 C05 C06 C16 C17    underfitting and overfitting, range tests, 1cycle
    momentum.py        C08 C09 C10 C11 C12            batch size, constant and cyclical momentum
    weight_decay.py    C03 C07 C13 C14 C15            which weight decay, when it shows, and choosing early
    shared.py          where they read their curves, and in which units

`smith.analysis.verdicts` has the rules of decision; `smith.analysis.measures` what is read off a run.

What was known when this was fixed: the published curves, from which the effects to expect were read; one seed of figure
14 at the paper's scale; one or two runs of figures 7 and 9 at a tenth of their length; and single runs at small sizes
by hand of figures 4, 5, 7, 8 and 9, which showed that a miniature is possible. No result in miniature was seen, and of
nothing a second seed at the paper's scale. A first edition of these statistics was mended before there were more. Where
several measures or places were possible, those were taken by which a dozen seeds would see what the published curves
show (claims 3, 13, 14 and 15 most of all). C17 is younger. `why` says what was changed or left out, and why. When the
miniatures of shallow3 and of ImageNet's networks were changed after twelve seeds (docs/miniature.md), no claim was.

Curves to compare are named beforehand: the best of several owes a part to noise, and the best of different grids a part
to the grids. Places are fractions of the training, which a range test's rates are too: 0.025 to 0.125 of a test up to
0.4 are the rates 0.01 to 0.05. Effects in losses are differences of natural logarithms: 0.02 is 2 %.
"""

from smith.analysis.claims.learning_rate import C01, C02, C04, C05, C06, C16, C17
from smith.analysis.claims.momentum import C08, C09, C10, C11, C12
from smith.analysis.claims.weight_decay import C03, C07, C13, C14, C15
from smith.analysis.verdicts import Claim

CLAIMS: dict[str, Claim] = {
    claim.name: claim for claim in (C01, C02, C03, C04, C05, C06, C07, C08, C09, C10, C11, C12, C13, C14, C15, C16, C17)
}
