"""The detector of keys that copy or probe a model: honest traffic, attacks, its false-alarm budget, and its reports."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from headway.core.errors import NotApplicable
from headway.core.variant import Field
from headway.monitoring import probing
from headway.monitoring.probing import MIN_REFERENCE, SHARES, fit_probing_reference, judge_key
from headway.storage import traffic

FIELDS = tuple(Field(name=name) for name in ("age", "income", "debt", "score", "region", "flag"))
LIMIT = 1_000.0


def people(count, *, seed, shift=0.0):
    """Return rows whose columns depend on each other, as those of real tables do; `shift` is that of another season."""
    rng = np.random.default_rng(seed)
    age = np.round(rng.uniform(20, 70, count) + shift)
    region = rng.integers(0, 8, count)
    income = np.round(age * 1_000 * (1 + region / 8) + rng.normal(0, 1_500, count))
    debt = np.round(income * 0.4 + rng.normal(0, 1_000, count))
    score = np.round(800 - debt / 100 + rng.normal(0, 5, count), 1)
    return np.column_stack([age, income, debt, score, region, (income > 60_000) * 1.0])


def model(rows):
    return 1 / (1 + np.exp(-(rows[:, [3]] - 600) / 60))


@pytest.fixture(scope="module")
def reference():
    rows = people(4_000, seed=0)
    return fit_probing_reference(rows, model(rows), FIELDS, task="binary", threshold=0.5)


def evidence(reference, rows):
    return judge_key(reference, rows, model(rows), limit=LIMIT)


@pytest.mark.parametrize("shift", [0.0, 12.0])
def test_honest_keys_are_not_found_even_in_another_season(reference, shift):
    rows = people(2_000, seed=5, shift=shift)
    for sent in (rows, np.repeat(rows[:50], 20, axis=0), rows[rows[:, 4] == 2]):
        found = evidence(reference, sent)
        assert found.found_at == -1 and found.e_value < LIMIT
    assert evidence(reference, np.repeat(rows[:50], 20, axis=0)).distinct == 50


def test_a_form_that_changes_one_field_at_a_time_is_not_found(reference):
    rng, rows = np.random.default_rng(2), people(500, seed=6)
    sent = [rows[0]]
    for base in rows[:60]:
        for at in range(rows.shape[1]):
            row = base.copy()
            row[at] = rows[rng.integers(len(rows)), at]
            sent += [base, row]
    found = evidence(reference, np.array(sent))
    assert found.found_at == -1 and found.shares["bisection"] < 0.1


def test_rows_mixed_of_several_are_found_after_a_few_hundred(reference):
    rng, rows = np.random.default_rng(3), people(200, seed=7)
    mixed = np.column_stack([rng.choice(column, 2_000) for column in rows.T])
    found = evidence(reference, mixed)
    assert 0 < found.found_at < 1_000 and found.sign == "synthetic" and found.shares["synthetic"] > SHARES["synthetic"]


def test_rows_near_the_decision_boundary_are_found(reference):
    rows = people(40_000, seed=8)
    near = rows[np.abs(model(rows)[:, 0] - 0.5) < 0.01][:400]
    found = evidence(reference, near)
    assert found.found_at > 0 and found.sign == "boundary" and found.shares["boundary"] > 0.9


def test_bisection_of_columns_is_found(reference):
    sent = []
    for base in people(12, seed=9):
        for at in (0, 1, 2, 3):
            low, high = base[at] * 0.5, base[at] * 1.5
            for value in (low, high):
                sent.append(np.where(np.arange(6) == at, value, base))
            for _ in range(9):
                middle = (low + high) / 2
                sent.append(np.where(np.arange(6) == at, middle, base))
                low, high = (low, middle) if len(sent) % 2 else (middle, high)
    found = evidence(reference, np.array(sent))
    assert found.found_at > 0 and found.sign == "bisection" and found.shares["bisection"] > 0.5


def test_the_e_process_keeps_its_budget_at_the_null_share():
    rng = np.random.default_rng(11)
    found = 0
    for _ in range(2_000):
        seen = rng.random(600) < 0.2
        found += probing._e_process(seen, np.ones(600, dtype=bool), 0.2).max() >= 20
    assert found / 2_000 <= 0.05


def test_classes_are_judged_by_the_gap_of_the_two_most_probable(reference):
    rows = people(1_000, seed=12)
    scores = np.column_stack([1 - model(rows), model(rows)])
    fitted = fit_probing_reference(rows, scores, FIELDS, task="multiclass", threshold=0.5)
    assert 0 < fitted.margin < 0.2
    assert fit_probing_reference(rows, scores[:, :1], FIELDS, task="regression", threshold=0.5).margin is None
    assert (
        "boundary"
        not in judge_key(
            fit_probing_reference(rows, scores[:, :1], FIELDS, task="regression", threshold=0.5),
            rows,
            scores[:, :1],
            limit=LIMIT,
        ).shares
    )


def test_what_cannot_be_judged_is_refused_by_name():
    rows = people(MIN_REFERENCE - 1, seed=1)
    with pytest.raises(NotApplicable, match="499 rows of reference are too few"):
        fit_probing_reference(rows, model(rows), FIELDS, task="binary", threshold=0.5)
    texts = (*FIELDS[:-1], Field(name="note", datatype="BYTES", is_text=True))
    with pytest.raises(NotApplicable, match="probing by texts, such as 'note'"):
        fit_probing_reference(people(600, seed=1), model(rows), texts, task="binary", threshold=0.5)


def test_each_key_and_day_is_judged_with_a_limit_for_all_keys_of_the_day(reference):
    day_us = 86_400_000_000
    honest, mixed = people(300, seed=20), people(2_000, seed=21)
    rng = np.random.default_rng(1)
    mixed = np.column_stack([rng.permutation(column) for column in mixed.T])

    def logged(rows, api_key, day):
        names = [f"in.{field.name}" for field in FIELDS]
        table = pl.DataFrame(dict(zip(names, rows.T, strict=True)))
        at_us = pl.Series(np.arange(len(rows)) + day * day_us)
        return table.with_columns(
            pl.lit(api_key).alias(traffic.API_KEY), at_us=at_us, **{"out.0": pl.Series(model(rows)[:, 0])}
        )

    rows = pl.concat([logged(honest, "shop", 1), logged(mixed, "eve", 1), logged(honest, "shop", 2)])
    found = list(probing._judged_days(reference, rows, [field.name for field in FIELDS], 0.01))
    assert [(key.api_key, key.day, key.is_found, limit) for key, limit in found] == [
        ("shop", "1970-01-02", False, 200.0),
        ("eve", "1970-01-02", True, 200.0),
        ("shop", "1970-01-03", False, 100.0),
    ]
    assert found[1][0].rows == 2_000 and 0 < found[1][0].rows_until_found <= 2_000
