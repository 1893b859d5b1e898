"""Numbers from results: curves over seeds, the published curves, claims and their verdicts. Nothing is drawn here.

seeds.py                  results as curves: what a run counts as after it diverged, and curves over seeds
published.py, places.py   the paper's curves (paper/*.csv), and where the paper shows which run
traces.py, measures.py    results and published curves on one axis, and what a claim reads off them
readings.py, tuning.py    what is read off a range test, and what a way comes to with the best setting of a grid
claims/, verdicts.py      the seventeen claims, and the rules by which results decide them and an experiment's own
fidelity.py               how near our curves come to the published ones
calibration.py            which value of a setting that the paper does not give comes nearest
curves.py, clues.py       plain functions of arrays: places and slopes; plateau, over- and underfitting
"""
