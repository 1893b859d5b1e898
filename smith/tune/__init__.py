"""The paper's method on a network and data of one's own: range tests, comparisons, and the whole recipe.

    from smith import Task, epochs, tune

    task = Task(MyNet, train=(x, y), test=(xt, yt))
    lr = tune.range_test(task, "lr", 1e-4, 10, length=epochs(2), seeds=3)
    plan = tune.recipe(task, budget="10m")
    result = plan.train(epochs(30), seeds=3)
    plan.report("my_task/", result)

All of it is trained by the engine of the paper's experiments and kept as its results are: what is interrupted goes on,
and what was trained is not trained again.
"""

from smith.analysis.clues import Clues, clues
from smith.tune.comparisons import Comparison, batch_size, compare, momentum, one_cycle, weight_decay
from smith.tune.ranges import RangeTestResult, Suggestion, range_test
from smith.tune.recipe import Plan, Step, Trained, recipe
from smith.tune.task import Task

__all__ = [
    "Clues",
    "Comparison",
    "Plan",
    "RangeTestResult",
    "Step",
    "Suggestion",
    "Task",
    "Trained",
    "batch_size",
    "clues",
    "compare",
    "momentum",
    "one_cycle",
    "range_test",
    "recipe",
    "weight_decay",
]
