"""Quality of several classes by late labels: a planted change is found and named, and noise seldom is."""

from __future__ import annotations

import dataclasses
from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest
from msgspec.structs import replace
from tests.monitoring.rollouts import deployed_in_january, release

from headway.core.config import Config
from headway.core.dataset import Roles
from headway.core.errors import NotApplicable
from headway.core.measure import main_measures
from headway.core.monitoring import MonitoringReport
from headway.data.open import make_dataset
from headway.evaluation.context import Comparison
from headway.evaluation.quality.multiclass import measure_multiclass
from headway.evaluation.statistics.intervals import period_change
from headway.monitoring.budget import WEALTH, Budget, lord_level
from headway.monitoring.degradation import LabeledGroups, find_degradation, require_frequent_classes
from headway.monitoring.deployed_release import DeployedRelease
from headway.monitoring.monitor import MonitoringContext, monitor_window
from headway.monitoring.windows import monitoring_windows

FIRST, DAYS, A_DAY = datetime(2020, 1, 1), 91, 20
CLASSES = ("parcel", "refund", "address")


class Softmax:
    """Answers the softmax of the two inputs and 0, which is how labels are drawn."""

    def predict(self, rows: np.ndarray) -> np.ndarray:
        return softmax(np.column_stack([rows, np.zeros(len(rows))]))


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def draw(draws: np.random.Generator, probabilities: np.ndarray) -> np.ndarray:
    return (draws.random((len(probabilities), 1)) > probabilities.cumsum(1)).sum(1).astype(np.float64)


def deployed() -> DeployedRelease:
    made = release()
    made = replace(
        made,
        variant=replace(made.variant, task="multiclass", signature=replace(made.variant.signature, classes=CLASSES)),
    )
    return deployed_in_january(made, Softmax())


def report(*, wrong: float = 0.0, rare: bool = False) -> MonitoringReport:
    """Return the report on February, in which a share of the labels are those of the next class."""
    draws = np.random.default_rng(0)
    n = DAYS * A_DAY
    at = [FIRST + timedelta(days=row // A_DAY, minutes=row % A_DAY) for row in range(n)]
    inputs = 2 * draws.normal(size=(n, 2))
    labels = draw(draws, Softmax().predict(inputs))
    changed = (np.arange(n) >= 31 * A_DAY) & (draws.random(n) < wrong)
    labels = np.where(changed, (labels + 1) % 3, labels)
    if rare:
        labels = np.where((labels == 2) & (np.arange(n) % A_DAY > 0), 0.0, labels)
    days = [time.date() for time in at]
    table = pl.DataFrame({"at": at, "day": days, "a": inputs[:, 0], "b": inputs[:, 1], "y": labels})
    roles = Roles(target="y", task="multiclass", classes=CLASSES, time="at", groups="day")
    context = MonitoringContext(deployed=deployed(), config=Config(), budget=Budget([]))
    window = next(
        monitoring_windows(context.deployed, make_dataset(table, roles, name="m"), Config(), now=datetime(2021, 1, 1))
    )
    return monitor_window(context, window).report


def test_labels_of_the_next_class_are_found_and_each_measure_says_by_how_much():
    found = report(wrong=0.4)

    answer = found.reply("degradation")
    assert answer.shown == ("accuracy.change", "macro_f1.change", "log_loss.change")
    assert answer.level == lord_level([], WEALTH["degradation"])
    assert found.status == "degraded"
    assert "fewer of its answers are right than when it was judged (by 0." in found.message
    assert {one.name for one in found.quality} == {"accuracy", "macro_f1", "log_loss", "brier", "ece"}
    assert all(one.n_groups == 29 and one.low < one.value < one.high for one in found.quality)
    assert found.cost is None


def test_without_a_change_the_release_is_healthy():
    found = report()
    assert (found.reply("degradation").shown, found.status) == ((), "healthy")
    assert found.find("macro_f1.change").n_groups == 60


def test_a_class_on_few_days_leaves_macro_f1_unjudged_and_named():
    found = report(rare=True)
    assert found.find("macro_f1.change") is None and found.find("accuracy.change") is not None
    (reason,) = (one.message for one in found.unknown if "macro F1" in one.message)
    assert reason.startswith("the change of macro F1 could not be judged: class 'address' has labels in ")


def test_each_class_needs_labels_in_twenty_groups_of_both_periods():
    days = np.repeat(np.arange(30), 2)
    every_day = LabeledGroups(np.tile([0, 1], 30), days)
    require_frequent_classes(every_day, every_day, ("a", "b"))
    with pytest.raises(NotApplicable, match="class 'b' has labels in 5 groups"):
        few = LabeledGroups(np.where(days < 5, np.tile([0, 1], 30), 0), days)
        require_frequent_classes(every_day, few, ("a", "b"))


def test_scores_of_another_system_have_no_probabilities_of_classes():
    made = dataclasses.replace(deployed(), scores="a")
    draws = np.random.default_rng(0)
    n = DAYS * A_DAY
    at = [FIRST + timedelta(days=row // A_DAY) for row in range(n)]
    table = pl.DataFrame({"at": at, "a": draws.random(n), "b": draws.random(n), "y": draws.integers(0, 3, n)})
    rows = make_dataset(table, Roles(target="y", task="multiclass", time="at"), name="m")
    context = MonitoringContext(deployed=made, config=Config(), budget=Budget([]))
    window = next(monitoring_windows(made, rows, Config(), now=datetime(2021, 1, 1)))
    (reason,) = (one.message for one in monitor_window(context, window).report.unknown if one.code == "O003")
    assert "several classes need the probability of each" in reason


def comparison(draws: np.random.Generator, *, days: int, classes: int, effect: float) -> Comparison:
    """Return 40 answers a day whose labels lean to some classes on each day, which the release does not see."""
    group = np.repeat(np.arange(days), 40)
    logits = 1.5 * draws.normal(size=(len(group), classes))
    scores = softmax(logits)
    labels = draw(draws, softmax(logits + effect * draws.normal(size=(days, classes))[group]))
    return Comparison(
        variant=deployed().release.variant,
        model=Softmax(),
        reference=Softmax(),
        rows=logits,
        labels=labels,
        scores=scores,
        reference_scores=scores,
        groups=group,
        slices={},
        threshold=0.5,
    )


@pytest.mark.long
@pytest.mark.parametrize(("classes", "effect"), [(3, 0.0), (3, 0.5), (10, 0.5)])
def test_a_year_without_a_change_has_a_false_alarm_in_at_most_25_of_1000_cases(classes, effect):
    """Twelve months against one judged quarter, each tested at the level that is left of the year's budget."""
    n_years, alarms = 300, 0
    for seed in range(n_years):
        draws = np.random.default_rng(seed)
        judged = measured(comparison(draws, days=91, classes=classes, effect=effect))
        answers: list[bool] = []
        for _ in range(12):
            now = measured(comparison(draws, days=30, classes=classes, effect=effect))
            change = tuple(
                period_change(now[name], judged[name]) for name in main_measures("multiclass") if name in now
            )
            month = MonitoringReport(
                name="", release="", period="", since="", until="", n_rows=1, n_labeled=1, status="unknown",
                message="", change=change,
            )  # fmt: skip
            level = lord_level(answers, WEALTH["degradation"])
            answers.append(bool(find_degradation(month, level=level, ece_at_most=1.0).shown))
        alarms += any(answers)
    assert alarms <= 15  # of 300; more than 15 have a probability of 0.4 % at a rate of 25 in 1,000


def measured(subject: Comparison) -> dict[str, object]:
    return {one.name: one for one in measure_multiclass(subject) if not one.slice}
