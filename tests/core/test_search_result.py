from __future__ import annotations

import pytest
from msgspec.structs import replace

from headway.core.evidence import Evidence, Finding, Machine, Measurement
from headway.core.search_result import Baseline, SearchResult
from headway.core.variant import Artifact, Signature, Step, Variant
from headway.core.verdict import EvaluatedVariant, Verdict

BASELINE = Variant(
    artifact=Artifact(format="echo", digest="sha256:0", size_bytes=4), engine="echo", signature=Signature(inputs=())
)
CUT = BASELINE.with_step(Step(transform="truncate"))


def judged(variant: Variant) -> EvaluatedVariant:
    machine = Machine(cpu="none", cores=2, system="Linux", python="3.11")
    evidence = Evidence(subject=variant.digest, dataset="d", period="validation", machine=machine)
    return EvaluatedVariant(variant=variant, evidence=evidence, verdict=Verdict(answer="pass", subject=variant.digest))


FRONTIER = SearchResult(
    name="m",
    baseline=Baseline(model=BASELINE),
    evaluated=(judged(CUT), judged(BASELINE)),
    winner=judged(CUT),
)


def test_the_baseline_is_found_at_any_position() -> None:
    assert FRONTIER.evaluated_baseline.variant == BASELINE


def test_a_variant_is_found_by_its_digest() -> None:
    assert FRONTIER.row(CUT.digest) is FRONTIER.evaluated[0]


def test_an_unknown_digest_finds_no_variant() -> None:
    assert FRONTIER.row("sha256:elsewhere") is None


def test_speed_is_taken_from_the_search_and_the_rest_from_test() -> None:
    def measured(row: EvaluatedVariant, **values: float) -> EvaluatedVariant:
        found = tuple(
            Measurement(name=name.replace("__", "."), value=value, low=value, high=value, method="m", n_rows=1)
            for name, value in values.items()
        )
        return replace(row, evidence=replace(row.evidence, measurements=found))

    searched = measured(judged(CUT), latency__speedup=2.0)
    winner = measured(judged(CUT), roc_auc=0.7)
    found = replace(FRONTIER, evaluated=(searched, judged(BASELINE)), winner=winner)
    assert [found.measured(name).value for name in ("latency.speedup", "roc_auc")] == [2.0, 0.7]
    assert found.measured("ece") is None
    assert replace(found, evaluated=()).measured("latency.speedup") is None


def test_a_longer_budget_is_suggested_where_variants_were_left_out_for_lack_of_time() -> None:
    assert FRONTIER.improved and FRONTIER.suggested_budget_s == 0
    assert replace(FRONTIER, budget_s=10.0, n_left_out=1).suggested_budget_s == 30


@pytest.mark.parametrize(("expected_s", "suggested_s"), [(11.9, 30), (12.1, 0)])
def test_a_longer_budget_is_not_suggested_for_a_transform_that_it_would_leave_out_as_well(
    expected_s: float, suggested_s: float
) -> None:
    late = Finding(code="V003", severity="note", message="distil: not tried", measured=expected_s, limit=2.0)
    result = replace(FRONTIER, budget_s=10.0, n_left_out=1, refusals=(late,))
    assert result.suggested_budget_s == suggested_s
    assert replace(result, n_left_out=2).suggested_budget_s == 30, "a variant was left out as well"
