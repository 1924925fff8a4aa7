"""Audit `attack`: how often decisions can be flipped, through which columns, and compared with the baseline."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from msgspec.structs import replace as changed
from tests.evaluation.attacked_models import Constant, Stump, attacked_by

from headway.core.errors import NotApplicable
from headway.core.evidence import Measurement
from headway.evaluation.audits import attack
from headway.evaluation.context import AuditContext
from headway.evaluation.settings.attack import AttackSection
from headway.storage.blobs.files import Files

SLACK = AttackSection(queries=100)


@pytest.fixture
def context(tmp_path):
    return AuditContext(blobs=Files(tmp_path), budget_s=60, attack=SLACK)


def of(found, name):
    return {
        measurement.slice: measurement
        for measurement in found
        if isinstance(measurement, Measurement) and measurement.name == name
    }


def test_a_planted_weak_column_is_found_and_named(context):
    found = attack.plugin(attacked_by(Stump()), context)
    alone = of(found, "attack.column.success")
    assert of(found, "attack.success")[""].low > 0.8 and alone["wind"].low > 0.8
    assert {alone[name].value for name in ("seats", "fare", "night", "carrier")} == {0.0}
    assert 0 < alone["fare"].high < 0.12
    assert of(found, "attack.columns")[""].value == 1 and 0 < of(found, "attack.reach")[""].value < 1
    assert set(of(found, "attack.success")) == {"", "decided no", "decided yes"}


def test_a_constant_model_has_success_0_and_reports_no_median(context):
    found = attack.plugin(attacked_by(Constant()), context)
    seen = of(found, "attack.success")[""]
    assert (seen.value, seen.n_rows, seen.n_groups) == (0.0, 600, 30) and 0 < seen.high < 0.12
    assert [reason.what for reason in found if isinstance(reason, NotApplicable)] == [
        "attack.columns has no median: 0 rows were flipped, 11 are needed",
        "attack.reach has no median: 0 rows were flipped, 11 are needed",
    ]


def test_a_variant_with_equal_decisions_has_no_drop_and_a_weaker_one_has(context):
    same = attack.plugin(replace(attacked_by(Stump(), Stump()), keeps_answers=True), context)
    weaker = attack.plugin(attacked_by(Stump(at=0), Stump(at=0, above=0.95)), context)
    assert all(
        measurement.low == measurement.value == measurement.high == 0
        for measurement in of(same, "attack.success.drop").values()
    )
    assert of(weaker, "attack.success.drop")[""].low > 0
    assert of(weaker, "attack.column.success.drop")["wind"].low > 0


def test_fixed_columns_flip_no_decision(context):
    found = attack.plugin(attacked_by(Stump()), replace(context, attack=changed(SLACK, fixed=("wind",))))
    assert of(found, "attack.success")[""].high < 0.12 and "wind" not in of(found, "attack.column.success")


def test_an_attack_needs_features_that_may_change_and_decisions(context):
    subject = attacked_by(Stump())
    fixed = changed(SLACK, fixed=("wind", "seats", "fare", "night", "carrier"))
    with pytest.raises(NotApplicable, match="no feature with several values may change"):
        attack.plugin(subject, replace(context, attack=fixed))
    with pytest.raises(NotApplicable, match="a regression model makes no decisions"):
        attack.plugin(replace(subject, variant=changed(subject.variant, task="regression")), context)


def test_the_classes_of_several_are_decisions_by_their_names(context):
    subject = attacked_by(Stump())
    signature = changed(subject.variant.signature, classes=("calm", "storm"))

    class Two(Stump):
        def predict(self, rows):
            yes = super().predict(rows)
            return np.hstack([1 - yes, yes])

    both = Two().predict(subject.rows)
    variant = changed(subject.variant, task="multiclass", signature=signature)
    made = replace(subject, variant=variant, model=Two(), reference=Two(), scores=both, reference_scores=both)
    assert set(of(attack.plugin(made, context), "attack.success")) == {"", "decided calm", "decided storm"}


def test_without_time_for_all_decisions_nothing_is_measured(context):
    with pytest.raises(NotApplicable, match="time ran out"):
        attack.plugin(attacked_by(Stump()), replace(context, budget_s=1e-9))


def test_a_slow_model_is_evaluated_on_fewer_rows(context, monkeypatch):
    monkeypatch.setattr(attack, "time_per_row", lambda subject: 1e-3)
    found = attack.plugin(attacked_by(Stump()), replace(context, budget_s=40))
    assert of(found, "attack.success")[""].n_rows == 120
