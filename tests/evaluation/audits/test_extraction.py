"""Audit `extraction`: how many queries copy a model, by view of the answers, and what it refuses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from msgspec.structs import replace as changed
from tests.evaluation.attacked_models import Stump, attacked_by, table

from headway.core.errors import EngineError, NotApplicable
from headway.core.evidence import Measurement
from headway.core.variant import Field
from headway.evaluation.audits import extraction
from headway.evaluation.context import AuditContext
from headway.evaluation.extraction import AnswerView, CopyTask, PathFinder, QueriedModel, copy_model, milestones
from headway.evaluation.settings.attack import AttackSection
from headway.evaluation.statistics.claims import one_sided_bounds
from headway.evaluation.statistics.intervals import UNBOUNDED
from headway.evaluation.statistics.tables import Blocks, block_fields
from headway.reporting.text.formatting import has_interval
from headway.storage.blobs.files import Files

SCORES = AnswerView()


class Tree:
    """A tree of six leaves, each with an answer of its own, over a number, a flag, a category and missing seats."""

    def predict(self, rows):
        wind, seats, _, night, carrier = rows.T
        low = np.where(night == 1, 0.1, np.where(np.isin(carrier, (1, 3)), 0.2, 0.3))
        high = np.where(np.isnan(seats), 0.6, np.where(seats > 150, 0.7, 0.8))
        return np.where(wind > 0.4, high, low)[:, None]


class Linear:
    def predict(self, rows):
        return 1 / (1 + np.exp(-(4 * rows[:, [0]] - rows[:, [2]] / 25)))


class Number:
    def predict(self, rows):
        return rows[:, [0]] * 3 + rows[:, [2]]


class Three:
    """Answers three classes by two columns."""

    def predict(self, rows):
        margin = np.column_stack([rows[:, 0] * 4, rows[:, 2] / 25, np.full(len(rows), 2.0)])
        shares = np.exp(margin)
        return shares / shares.sum(axis=1, keepdims=True)


def task_of(model, *, name="binary", count=600):
    subject = attacked_by(model, count=2 * count)
    return CopyTask(
        task=name,
        fields=subject.fields,
        threshold=0.5,
        pool=subject.rows[:count],
        targets=subject.rows[count:],
        answers=model.predict(subject.rows[count:]),
    )


def queried(model, view=SCORES, *, seed=0):
    return QueriedModel(model, view, threshold=0.5, until=float("inf"), seed=seed)


@pytest.fixture
def context(tmp_path):
    return AuditContext(blobs=Files(tmp_path), budget_s=600, attack=AttackSection(copy_queries=200), key_per_s=2.0)


def of(found, name):
    return {seen.slice: seen for seen in found if isinstance(seen, Measurement) and seen.name == name}


def test_path_finding_copies_a_tree_and_counts_its_queries():
    task, model = task_of(Tree()), queried(Tree())
    finder = PathFinder(task, model, np.random.default_rng(1))
    assert finder.find(400)
    answers, known = finder.answers(task.targets, 400)
    assert known.all() and (answers == task.answers).mean() > 0.99  # thresholds are known to the next value of the pool
    assert model.queries < 400 and len(finder.queried(10_000)[0]) == model.queries


def test_boxes_count_only_once_they_are_known():
    task = task_of(Tree())
    finder = PathFinder(task, queried(Tree()), np.random.default_rng(1))
    finder.find(400)
    assert not finder.answers(task.targets, 5)[1].any() and 0 < finder.answers(task.targets, 100)[1].mean() <= 1


def test_path_finding_gives_up_where_answers_form_no_boxes():
    assert not PathFinder(task_of(Linear()), queried(Linear()), np.random.default_rng(1)).find(10_000)


def test_a_linear_model_is_solved_with_few_queries_and_noise_makes_it_harder():
    task = task_of(Linear())
    exact = copy_model(task, lambda seed: queried(Linear(), seed=seed), 1_000, seeds=1)
    noisy = copy_model(task, lambda seed: queried(Linear(), AnswerView(noise=0.2), seed=seed), 100, seeds=1)
    assert exact["linear student"][0].mean() > 0.99 > noisy["linear student"][0].mean()
    assert "path finding" not in exact and "path finding" not in noisy


def test_students_learn_numbers_and_classes_from_scores_and_from_top_answers():
    number = copy_model(task_of(Number(), name="regression"), lambda seed: queried(Number(), seed=seed), 100, seeds=1)
    assert number["linear student"][-1].mean() > 0.99 and "adaptive student" not in number
    task = task_of(Three(), name="multiclass")
    for view in (AnswerView(), AnswerView(top=True)):
        copies = copy_model(task, lambda seed, view=view: queried(Three(), view, seed=seed), 150, seeds=2)
        best = max(curve[-1].mean() for curve in copies.values())
        assert best > 0.8, view


def test_a_copy_of_top_answers_alone_needs_no_scores(context):
    view = AnswerView(name="top answer", top=True)
    model = queried(Linear(), view)
    assert set(np.unique(model(table(50)))) <= {0.0, 1.0} and model.queries == 50


def test_rounding_keeps_the_decimals_that_it_names():
    seen = queried(Linear(), AnswerView(decimals=1))(table(50))
    assert np.array_equal(seen, np.round(seen, 1))


def test_the_audit_measures_each_view_with_intervals_and_hours(context):
    subject = attacked_by(Tree(), count=1200)
    found = extraction.plugin(replace(subject, groups=np.arange(1200) // 24), context)
    curve = of(found, "extraction.agreement")
    assert {"no queries", "30 queries", "200 queries", "100 queries, top answer"} <= set(curve)
    assert curve["no queries"].value <= curve["30 queries"].value <= curve["200 queries"].value
    assert all(seen.n_groups == 25 and seen.se is not None for seen in curve.values())
    queries = of(found, "extraction.queries_95")
    assert set(queries) == {"", "rounded to 2 decimals", "noise of 0.02", "top answer"}
    assert queries[""].value <= queries["top answer"].value
    hours = of(found, "extraction.hours_95")[""]
    assert hours.unit == "h" and hours.value == pytest.approx(queries[""].value / 2 / 3600)
    assert hours.low == pytest.approx(queries[""].low / 2 / 3600)
    assert hours.high == pytest.approx(queries[""].high / 2 / 3600) or hours.high == queries[""].high == UNBOUNDED[1]


def test_without_a_rate_limit_no_hours_are_given(context):
    found = extraction.plugin(attacked_by(Number(), count=600), replace(context, key_per_s=0.0))
    assert not of(found, "extraction.hours_95")


def test_a_level_that_a_constant_answer_reaches_is_refused_by_name(context):
    found = extraction.plugin(attacked_by(Stump(above=0.97), count=600), context)
    reasons = [seen.what for seen in found if isinstance(seen, NotApplicable)]
    assert any(reason.startswith("extraction.queries_95: a constant answer already agrees on 9") for reason in reasons)


def test_what_cannot_be_judged_is_refused_by_name(context):
    subject = attacked_by(Stump())
    with pytest.raises(NotApplicable, match="a ranking model is judged by its order"):
        extraction.plugin(replace(subject, variant=changed(subject.variant, task="ranking")), context)
    texts = (*subject.variant.signature.inputs[:4], Field(name="note", datatype="BYTES", is_text=True))
    of_texts = changed(subject.variant, signature=changed(subject.variant.signature, inputs=texts))
    with pytest.raises(NotApplicable, match="no copy here learns from texts, such as 'note'"):
        extraction.plugin(replace(subject, variant=of_texts), context)
    with pytest.raises(NotApplicable, match="60 rows are too few"):
        extraction.plugin(attacked_by(Stump(), count=60), context)


def test_without_time_or_if_the_model_rejects_rows_nothing_is_measured(context):
    with pytest.raises(NotApplicable, match="time ran out before every query"):
        extraction.plugin(attacked_by(Stump()), replace(context, budget_s=1e-9))

    class Picky(Stump):
        def predict(self, rows):
            raise EngineError("no such row")

    subject = attacked_by(Stump())
    with pytest.raises(NotApplicable, match="rejects a row of an attacker: no such row"):
        extraction.plugin(replace(subject, model=Picky()), context)


def blocks_of(count, groups):
    return Blocks(**block_fields(np.arange(count) * groups // count, None))


def test_queries_are_interpolated_and_censored_as_a_lower_bound():
    blocks, marks = blocks_of(400, 40), [100, 10_000]
    agrees = [np.arange(400) % 10 < 9, np.ones(400, dtype=bool)]
    best = [column.astype(float) for column in agrees]
    found = extraction.queries_at("extraction.queries_95", 0.95, best, np.zeros(400, dtype=bool), blocks, marks)
    assert found.value == pytest.approx(1_000) and found.low == pytest.approx(1_000) == found.high
    short = extraction.queries_at("extraction.queries_95", 0.95, best[:1], np.zeros(400, dtype=bool), blocks, [100])
    assert short.value == pytest.approx(100) and "a lower bound: 90.0% agree after 100 queries" in short.method


def test_a_rule_on_queries_beyond_those_of_the_attack_is_undecided():
    blocks, marks = blocks_of(400, 40), [100]
    short = extraction.queries_at(
        "extraction.queries_95",
        0.95,
        [(np.arange(400) % 10 < 9).astype(float)],
        np.zeros(400, dtype=bool),
        blocks,
        marks,
    )
    assert one_sided_bounds(short, 0.05) == (pytest.approx(100), UNBOUNDED[1]) and not has_interval(short)


def test_queries_that_some_groups_decide_have_no_upper_end():
    agrees = np.arange(400) >= 20
    agrees[:10] = True
    found = extraction.queries_at(
        "extraction.queries_95",
        0.975,
        [agrees.astype(float)],
        np.zeros(400, dtype=bool),
        blocks_of(400, 40),
        [100],
    )
    assert found.value == pytest.approx(100) and found.high == UNBOUNDED[1]
    assert "it is not reached without some groups" in found.method


def test_the_interval_of_queries_covers_the_truth():
    """Groups differ in how early a copy agrees with them; the truth is that of many groups."""
    random = np.random.default_rng(3)
    marks, covered, repeats = [100, 1_000, 10_000], 0, 300

    def curve(groups, rows=40):
        shift = np.repeat(random.normal(0, 0.04, groups), rows)
        draws = random.random(groups * rows)
        return [(draws < np.clip(level + shift, 0, 1)).astype(float) for level in (0.8, 0.93, 0.97)]

    def measured(groups):
        best = curve(groups)
        constant = np.zeros(groups * 40, dtype=bool)
        return extraction.queries_at("q", 0.95, best, constant, blocks_of(groups * 40, groups), marks)

    truth = np.median([measured(4_000).value for _ in range(5)])
    for _ in range(repeats):
        found = measured(60)
        covered += found.low <= truth <= found.high
    assert covered / repeats >= 0.9


def test_the_budget_is_the_last_milestone():
    assert milestones(100) == [30, 100] and milestones(30) == [30]


def test_fewer_queries_than_registered_are_an_attack_that_is_not_complete(tmp_path):
    context = AuditContext(blobs=Files(tmp_path), budget_s=600, attack=AttackSection(copy_queries=100))
    found = extraction.plugin(attacked_by(Stump(), count=600), context)
    efforts = {(one.effort.done, one.effort.registered) for one in found if isinstance(one, Measurement)}
    assert efforts == {(100, 10_000)}
    hint = next(one.effort.hint for one in found if isinstance(one, Measurement))
    assert hint == "copy_queries = 10000 under [attack]"
