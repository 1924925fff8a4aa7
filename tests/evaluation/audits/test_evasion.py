"""Audit `evasion`: distances of the nearest flips, by costs, bounds and the contract."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.evaluation.attacked_models import Both, Constant, Stump, attacked_by
from tests.evaluation.audits.test_attack import of

from headway.core.errors import NotApplicable
from headway.core.evidence import Measurement
from headway.data.contract.table_contract import ColumnContract, TableContract
from headway.evaluation.audits import attack, evasion
from headway.evaluation.context import AuditContext
from headway.evaluation.settings.attack import AttackSection
from headway.storage.blobs.files import Files


@pytest.fixture
def context(tmp_path):
    return AuditContext(blobs=Files(tmp_path), budget_s=600, attack=AttackSection(queries=60, rows=120))


def test_the_distance_of_a_stump_is_that_to_its_threshold(context):
    subject = attacked_by(Stump())
    found = evasion.plugin(subject, context)
    distance, success, queries = (of(found, f"evasion.{name}")[""] for name in ("distance", "success", "queries"))
    wind = np.quantile(subject.rows[:, 0], 0.75) - np.quantile(subject.rows[:, 0], 0.25)
    expected = float(np.median(np.abs(subject.rows[:, 0] - 0.5))) / wind
    assert distance.low <= expected + 0.1 and distance.high >= expected - 0.1
    assert success.value == 1.0 and 1 < queries.value <= 60


def test_a_constant_model_has_no_distance_and_says_so(context):
    found = evasion.plugin(attacked_by(Constant()), context)
    assert of(found, "evasion.success")[""].high < 0.2
    reasons = [reason.what for reason in found if isinstance(reason, NotApplicable)]
    assert reasons == [
        "evasion.distance has no median: 0 rows were flipped, 11 are needed",
        "evasion.queries has no median: 0 rows were flipped, 11 are needed",
    ]


def test_a_median_over_too_few_groups_is_not_reported(context):
    subject = attacked_by(Stump())
    alike = (np.abs(subject.rows[:, 0] - 0.5) > 0.25).astype(np.int64)
    found = evasion.plugin(replace(subject, groups=alike), context)
    assert not of(found, "evasion.distance") and of(found, "evasion.success")


def test_columns_keep_within_the_contract_where_the_attack_has_no_bounds(context):
    contract = TableContract(
        columns={
            "wind": ColumnContract(type="number", minimum=0.1, maximum=0.9),
            "fare": ColumnContract(type="number", minimum=0, maximum=60),
            "seats": ColumnContract(type="integer", minimum=0),
            "carrier": ColumnContract(type="string", values=("AA",)),
            "other": ColumnContract(type="number", minimum=0, maximum=1),
        }
    )
    limits = AttackSection(bounds={"fare": (5.0, 50.0)}, cost={"wind": 3.0})
    columns = {
        column.name: column
        for column in evasion.plausible_columns(
            attacked_by(Stump()), replace(context, attack=limits, contract=contract)
        )
    }
    assert (columns["wind"].min_value, columns["wind"].max_value, columns["wind"].cost) == (0.1, 0.9, 3.0)
    assert (columns["fare"].min_value, columns["fare"].max_value, columns["fare"].max_move) == (5.0, 50.0, 45.0)
    assert columns["seats"].max_value < 300 and len(columns["carrier"].among) == 4


@pytest.mark.parametrize(
    ("relation", "expected"),
    [
        ("a <= b", [True, True, False, True]),
        ("a < b", [True, False, False, True]),
        ("a == b", [False, True, False, True]),
        ("a + b == c", [True, False, False, True]),
        ("a -> b", None),
        ("a <= elsewhere", None),
    ],
)
def test_relations_of_the_contract_are_kept(relation, expected):
    check = evasion.relations_kept(TableContract(relations=(relation,)), ("a", "b", "c"))
    rows = np.array([[1.0, 2.0, 3.0], [2.0, 2.0, 3.0], [3.0, 2.0, 1.0], [np.nan, 2.0, 1.0]])
    assert (None if check is None else check(rows).tolist()) == expected


def test_a_relation_that_no_flip_keeps_makes_rows_robust(context):
    contract = TableContract(relations=("wind == night",))
    found = evasion.plugin(attacked_by(Both()), replace(context, contract=contract))
    assert of(found, "evasion.success")[""].value < 0.5


def test_without_a_column_that_may_change_the_audit_does_not_apply(context):
    fixed = AttackSection(fixed=("wind", "seats", "fare", "night", "carrier"))
    with pytest.raises(NotApplicable, match="no feature with several values"):
        evasion.plugin(attacked_by(Stump()), replace(context, attack=fixed))


@pytest.mark.parametrize("audit", [evasion, attack])
def test_fewer_queries_or_rows_than_registered_are_an_attack_that_is_not_complete(context, audit):
    few, full = AttackSection(queries=60), AttackSection()
    name = audit.__name__.rpartition(".")[2]

    def effort(subject, limits, **settings):
        found = audit.plugin(subject, replace(context, attack=limits, **settings))
        (only,) = {one.effort for one in found if isinstance(one, Measurement)}
        return only

    subject = attacked_by(Stump(), count=200)
    weak = effort(subject, few)
    assert str(weak) == f"attack '{name}' with 60 of 1,000 queries" and weak.hint == "queries = 1000 under [attack]"
    assert effort(subject, full).is_complete
    slow = effort(subject, full, budget_s=1e-3, row_s=1.0)
    assert (slow.done, slow.registered, slow.unit) == (100, 200, "rows")
    assert f"headway evaluate --audit {name} --budget 10m" in slow.hint
