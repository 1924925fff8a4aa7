"""Coverage follows the evidence: what is removed, aged or contradicted opens exactly the requirements that need it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from tests.security.threat_graphs import MAX_AGE, NOW, complete_graph, result

from headway.core.threats import AcceptedRisk, RequirementCoverage, ThreatEvidence
from headway.security.threats.catalogue import load_catalogue
from headway.security.threats.coverage import EvidenceGraph, ProjectFact, compute_coverage

CATALOGUE = load_catalogue()
COMPLETE = complete_graph()
OLD = (NOW - MAX_AGE - timedelta(seconds=1)).isoformat()
MUTATIONS = {
    "removed": lambda _: None,
    "old": lambda one: msgspec.structs.replace(one, at=OLD),
    "other model": lambda one: msgspec.structs.replace(one, model="sha256:other"),
    "other data": lambda one: msgspec.structs.replace(one, data="sha256:other"),
    "contradicted": lambda one: msgspec.structs.replace(one, problem="something was found"),
}


def covered(graph: EvidenceGraph, **accepted: AcceptedRisk) -> dict[str, RequirementCoverage]:
    risks = {id: ("sha256:risk", risk) for id, risk in accepted.items()}
    rows = compute_coverage(CATALOGUE, graph, now=NOW, max_age=MAX_AGE, accepted=risks)
    return {row.id: row for row in rows}


def mutated(changes: dict[str, str]) -> EvidenceGraph:
    changed = [MUTATIONS[changes[one.key]](one) if one.key in changes else one for one in COMPLETE.evidence]
    return replace(COMPLETE, evidence=tuple(one for one in changed if one))


def test_complete_evidence_covers_every_requirement():
    assert {row.coverage for row in covered(COMPLETE).values()} == {"covered"}


@settings(max_examples=500, deadline=None)
@given(
    some.dictionaries(
        some.sampled_from([kind.key for kind in CATALOGUE.evidence]),
        some.sampled_from(sorted(MUTATIONS)),
        min_size=1,
        max_size=6,
    )
)
def test_what_loses_its_evidence_is_a_gap_and_nothing_else_changes(changes):
    before, after = covered(COMPLETE), covered(mutated(changes))
    lost = set(changes)
    expected = {row.id for row in CATALOGUE.requirement if any(set(need.split(" | ")) <= lost for need in row.needs)}
    assert {id for id, row in after.items() if row.coverage == "gap"} == expected
    spared = {
        row.id for row in CATALOGUE.requirement if not lost & {k for need in row.needs for k in need.split(" | ")}
    }
    assert all(after[id] == before[id] for id in spared)


def test_a_gap_says_what_is_missing_why_and_what_to_do():
    reasons = {}
    for how in MUTATIONS:
        [missing] = covered(mutated({"measure:load.*": how}))["AML.T0029"].missing
        reasons[how] = (missing.code, missing.message, missing.command)
    held = "measure:load.* holds, but "
    accept = 'headway threats accept AML.T0029 --until 2027-02-27 --reason "..."'
    assert reasons == {
        "removed": ("absent", "it was not measured on the live release", "headway evaluate --audit load"),
        "old": ("old", f"{held}90 days ago, and 90 are allowed", "headway evaluate --audit load"),
        "other model": ("other model", f"{held}for another release than the live one", "headway evaluate --audit load"),
        "other data": (
            "other data",
            f"{held}on other data than those of the live release",
            "headway evaluate --audit load",
        ),
        "contradicted": ("contradicted", "something was found", accept),
    }


@pytest.mark.parametrize(
    ("search", "command"),
    [
        ("", "headway evaluate --audit load"),
        ("0123456789ab", "headway evaluate --audit load --search 0123456789ab"),
        (None, "headway optimize"),
    ],
)
def test_what_is_measured_is_the_winner_of_the_search_that_is_live(search, command):
    rows = covered(replace(mutated({"measure:load.*": "removed"}), search=search))
    [gap] = rows["AML.T0029"].missing
    assert gap.command == command
    assert ("as after a retraining" in gap.next_step) == (search is None)


def test_without_a_release_the_next_step_is_to_make_one():
    nothing = replace(COMPLETE, evidence=(), release="", model="", models=frozenset())
    [missing] = covered(nothing)["AML.T0015"].missing
    assert (missing.message, missing.command) == ("no release is live", "headway release")


def test_a_fact_that_does_not_hold_makes_a_requirement_not_applicable_with_its_reason():
    facts = {**COMPLETE.facts, "remote_stage": ProjectFact(holds=False, reason="no remote stage")}
    row = covered(replace(COMPLETE, facts=facts, evidence=()))["AML.T0057"]
    assert (row.coverage, row.reason, row.missing) == ("not applicable", "no remote stage", ())


def test_an_alternative_covers_and_the_newest_evidence_is_named():
    newer = ThreatEvidence(key="measure:evasion.distance", message="newer", at=NOW.isoformat(), result=result("pass"))
    graph = replace(mutated({"measure:attack.success": "old"}), evidence=(*COMPLETE.evidence, newer))
    [evidence] = covered(graph)["AML.T0015"].evidence
    assert evidence == newer


def test_an_accepted_risk_closes_a_gap_and_is_not_named_for_what_is_covered():
    risk = AcceptedRisk(
        name="flights", requirement="AML.T0029", who="ada", reason="one caller", at="", until="", exposure=""
    )
    risks = {"AML.T0029": risk, "AML.T0015": risk}
    rows = covered(mutated({"measure:load.*": "removed"}), **risks)
    assert (rows["AML.T0029"].coverage, rows["AML.T0029"].is_open) == ("gap", False)
    assert rows["AML.T0015"].accepted == ""


AUC = "measure:privacy.membership.auc"


def judged(key, answer):
    """Return a complete graph in which one measurement has this answer of its rule; None: it has no rule."""
    found = None if answer is None else result(answer)
    return replace(
        COMPLETE,
        evidence=tuple(
            msgspec.structs.replace(one, result=found) if one.key == key else one for one in COMPLETE.evidence
        ),
    )


def test_a_measurement_that_breaks_its_rule_covers_nothing_and_says_that_the_attack_succeeds():
    row = covered(judged(AUC, "fail"))["AML.T0024.000"]
    assert (row.coverage, row.is_open) == ("measured", True)
    assert [(one.code, one.message) for one in row.missing] == [("breaks its rule", "auc is 0.95: fail")]
    assert row.missing[0].command.startswith("headway threats accept AML.T0024.000 --until ")
    assert [one.key for one in row.evidence] == [AUC]
    risk = {
        "AML.T0024.000": (
            "sha256:risk",
            AcceptedRisk(
                name="flights",
                requirement="AML.T0024.000",
                who="ann",
                reason="one caller",
                at="",
                until="",
                exposure="",
            ),
        )
    }
    (accepted,) = (
        row
        for row in compute_coverage(CATALOGUE, judged(AUC, "fail"), now=NOW, max_age=MAX_AGE, accepted=risk)
        if row.id == "AML.T0024.000"
    )
    assert (accepted.coverage, accepted.accepted, accepted.is_open) == ("measured", "sha256:risk", False)


def test_a_number_without_a_rule_or_a_decision_is_a_gap():
    (none,), (undecided,) = (covered(judged(AUC, answer))["AML.T0024.000"].missing for answer in (None, "undecided"))
    assert none.code == "no rule" and none.message.endswith("holds, but no rule says what is acceptable")
    assert none.next_step == "Add a rule on privacy.membership. under [[policy.release]] in headway.toml."
    assert (undecided.code, undecided.message) == ("undecided", "auc is 0.95: undecided")


def test_one_alternative_that_breaks_its_rule_counts_although_another_passes():
    rows = covered(judged("measure:attack.success", "fail"))
    assert {row.coverage for row in rows.values()} == {"covered", "measured"}
    assert rows["AML.T0015"].coverage == "measured"
    old = replace(
        COMPLETE,
        evidence=tuple(
            msgspec.structs.replace(one, result=result("fail"), at=OLD) if one.key == AUC else one
            for one in COMPLETE.evidence
        ),
    )
    assert covered(old)["AML.T0024.000"].coverage == "gap"  # what is old says nothing, in either direction
