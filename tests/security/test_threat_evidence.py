"""What is read of a project as evidence: records on the live release count, others do not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace as dataclass_replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace
from tests.monitoring import rollouts
from tests.monitoring.test_overview import watched

from headway.core.assessment import Assessment, CheckRun
from headway.core.compliance import WrittenRecord
from headway.core.evidence import DECLARED_PRIVACY, NOT_RUN, AttackEffort, Evidence, Finding, Measurement
from headway.core.labeling import Confirmation
from headway.core.monitoring import KeyProbing, ProbingReport
from headway.core.provenance import Provenance
from headway.core.record import digest_of
from headway.core.release import Bounds, Contract, Release
from headway.core.rollout import Plan, Rollout
from headway.core.selective import CertificateAudit
from headway.core.threads import this_machine
from headway.core.threats import ThreatEvidence
from headway.core.verdict import Rule, RuleResult
from headway.data.settings.policy import PolicySection
from headway.registry.model_registry import UpdateReason
from headway.registry.project import Project, open_project
from headway.security.threats.assessment import assess_threats
from headway.security.threats.catalogue import load_catalogue
from headway.security.threats.coverage import EvidenceGraph, invalidity
from headway.security.threats.evidence import data_digest, read_evidence
from headway.storage import segments, traffic

NOW = datetime.now(UTC)
DATA = {"train": "sha256:train", "validation": "sha256:validation", "test": "sha256:test"}
MODEL = rollouts.release().variant.digest
FULL = AttackEffort(attack="attack", done=800, registered=800, unit="rows")
FLIPPED = Measurement(
    name="attack.success",
    value=0.1,
    low=0.05,
    high=0.2,
    method="t",
    n_rows=800,
    n_groups=40,
    se=0.04,
    dof=39,
    effort=FULL,
)
CHECKED = Assessment(
    name="flights",
    at=NOW.isoformat(timespec="seconds"),
    by="ada",
    headway="0.1.0",
    number=1,
    source="table",
    dataset="sha256:all",
    n_rows=9,
    n_groups=3,
    until="",
    columns={},
    settings={},
    check_runs=(CheckRun(name="backdoor", code="D041"), CheckRun(name="noisy_labels", code="D035", unjudged="too few")),
    findings=(),
    data=DATA,
)


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    opened = rollouts.project(tmp_path)
    rules = (Rule(measure="attack.success", at_most=0.5), Rule(measure="attack.success.drop", at_most=0.0))
    yield ruled(opened, *rules)
    opened.state.close()


def ruled(project: Project, *rules: Rule) -> Project:
    """Return a project with these rules."""
    config = project.config
    return dataclass_replace(project, config=config.having(replace(config[PolicySection], release=rules)))


def measured(**changes: object) -> Evidence:
    made = Evidence(
        subject=MODEL,
        dataset=DATA["test"],
        period="test",
        machine=this_machine(),
        measurements=(FLIPPED,),
        at=NOW.isoformat(timespec="seconds"),
    )
    return replace(made, **changes)


def release(**fields: object) -> Release:
    return rollouts.release(data=DATA, **fields)


def graph(project: Project) -> EvidenceGraph:
    return read_evidence(project, load_catalogue())


def find(project: Project, key: str) -> ThreatEvidence | None:
    """Return the valid evidence of a key."""
    found = graph(project)
    valid = [one for one in found.evidence if invalidity(one, found, now=NOW, max_age=timedelta(days=90)) is None]
    return next((one for one in valid if one.key == key), None)


def test_without_a_release_only_settings_speak(project):
    found = graph(project)
    assert found.release == found.model == ""
    assert {one.key.partition(":")[0] for one in found.evidence} == {"setting"}


def test_a_live_release_speaks_by_its_signature_its_rows_and_its_verdict(project):
    contract = Contract(columns=(Bounds(name="a"),), n_rows=9)
    digest = rollouts.live(project, release(contract=contract))
    assert find(project, "signature:release").record == digest
    assert find(project, "signature:updates").message == "1 pointer update verify"
    assert find(project, "self_test:release").message == "1 rows with their answers are tested at every load"
    assert find(project, "contract:release").message == "the ranges of 1 columns are part of the release"
    assert find(project, "rollback:release") is None


def test_the_files_of_the_live_release_are_scanned(project):
    made = release()
    rollouts.live(project, made)
    [found] = [one for one in graph(project).evidence if one.key == "scan:model"]
    assert found.problem.startswith("model.echo is not judged: ")
    content = b"1.0, 2.0\n3.0, 4.0\n"
    artifact = replace(made.variant.artifact, digest=digest_of(content))
    csv = replace(made, variant=replace(made.variant, artifact=artifact))
    digest = project.registry.publish(csv, {"model.csv": content})
    project.registry.point("flights@live", digest, UpdateReason(who="ann", why="a test", verdict=made.verdict))
    assert find(project, "scan:model").message == "1 file of the live release scanned (csv)"


def test_what_a_release_declares_of_its_training_stands_next_to_what_was_measured(project):
    finding = Finding(code=DECLARED_PRIVACY, severity="note", message="declared", measured=3.0)
    area = replace(FLIPPED, name="privacy.membership.auc")
    rollouts.live(project, release(evidence=(measured(findings=(finding,)),)))
    assert find(project, "measure:privacy.membership.auc") is None
    project.save(measured(measurements=(area,)))
    message = find(project, "measure:privacy.membership.auc").message
    assert message.endswith("measured on 800 rows; epsilon 3 of its training is declared, not verified")
    assert "epsilon" not in find(project, "measure:attack.success").message


def test_an_earlier_release_of_live_can_return(project):
    rollouts.live(project, release(made_by="first"))
    rollouts.live(project, release(made_by="second"))
    assert find(project, "rollback:release").message == "1 earlier release of live can return"


def test_a_release_that_was_changed_contradicts_what_rests_on_it(project):
    digest = rollouts.live(project, release())
    file = project.config.state / "releases" / "flights" / digest.removeprefix("sha256:") / "model.echo"
    file.write_bytes(b"another")
    found = graph(project)
    [signature] = [one for one in found.evidence if one.key == "signature:release"]
    assert "model.echo was changed" in signature.problem
    assert found.release == ""
    covered = {row.id: row for row in assess_threats(project, who="ada").now.requirements}
    assert covered["AML.M0013"].missing[0].message == signature.problem


def test_a_chain_that_was_edited_contradicts_what_rests_on_it(project):
    rollouts.live(project, release())
    project.registry.trusted_keys.write_text("")
    [updates] = [one for one in graph(project).evidence if one.key == "signature:updates"]
    assert updates.problem


def test_measurements_count_for_the_live_model_on_its_own_data(project):
    rollouts.live(project, release())
    project.save(measured(subject="sha256:another"))
    project.save(measured(dataset="sha256:another"))
    assert find(project, "measure:attack.success") is None
    project.save(measured(measurements=(replace(FLIPPED, slice="carrier=AA"), FLIPPED)))
    found = find(project, "measure:attack.success")
    assert found.message == "attack.success measured on 800 rows"
    assert (found.measurement, found.is_signed) == (FLIPPED, False)


def test_evidence_of_the_signed_release_is_marked_so_and_counts_by_its_age(project):
    none = replace(FLIPPED, name="load.failed", value=0.0, low=0.0, high=0.0, n_groups=0, se=None, dof=None)
    load = [replace(FLIPPED, name="load.p99"), none]
    old = (NOW - timedelta(days=100)).isoformat()
    rollouts.live(project, release(evidence=(measured(measurements=tuple(load)), measured(at=old))))
    found = find(project, "measure:load.*")
    assert found.is_signed
    assert found.message == "load.p99 and 1 more measured on 800 rows"
    assert find(project, "measure:attack.success") is None


def membership(low: float) -> Measurement:
    return replace(FLIPPED, name="privacy.membership.auc", value=low + 0.1, low=low, high=low + 0.2)


def of(project: Project, key: str) -> ThreatEvidence:
    (found,) = (one for one in graph(project).evidence if one.key == key)
    return found


def test_a_measurement_has_the_answer_of_the_rule_of_the_policy_or_of_the_catalogue(project):
    key = "measure:privacy.membership.auc"
    rollouts.live(project, release(evidence=(measured(measurements=(membership(0.85),)),)))
    found = of(project, key).result
    assert found is not None and (found.answer, str(found.rule)) == ("fail", "privacy.membership.auc at most 0.6")
    assert found.message.startswith("privacy.membership.auc is 0.95 ")
    lenient = ruled(project, Rule(measure="privacy.membership.auc", at_most=0.99))
    assert of(lenient, key).result.answer == "undecided"  # it may be 1.02
    strict = ruled(
        lenient, *lenient.config[PolicySection].release, Rule(measure="privacy.membership.tpr_1pct", at_most=0.05)
    )
    assert of(strict, key).result.rule.measure == "privacy.membership.auc"  # what fails, else what is undecided


def test_a_weak_attack_and_a_measurement_without_a_rule_cover_nothing(project):
    weak = replace(membership(0.4), effort=replace(FULL, done=6))
    rollouts.live(project, release(evidence=(measured(measurements=(weak, FLIPPED)),)))
    assert of(project, "measure:privacy.membership.auc").result.answer == "undecided"
    assert find(project, "measure:privacy.membership.auc") is None
    without = ruled(project)
    assert of(without, "measure:attack.success").result is None
    assert find(without, "measure:attack.success") is None


def test_a_rule_that_failed_is_harm_and_not_a_contradiction(project):
    rule = Rule(measure="attack.success", at_most=0.05)
    made = release(rules=(rule,))
    failed = (RuleResult(rule=rule, answer="fail", message="it is 0.1"),)
    verdict = replace(made.verdict, rule_results=failed, by="ada", why="in a hurry", at=NOW.isoformat())
    rollouts.live(project, replace(made, verdict=verdict))
    found = of(project, "rule:attack.*")
    assert (found.result, found.problem) == (failed[0], "")


def test_an_audit_that_could_not_judge_says_why(project):
    rollouts.live(project, release())
    reason = Finding(code=NOT_RUN, severity="undecided", message="audit 'attack' did not run: no time", plugin="attack")
    project.save(measured(measurements=(), findings=(reason,)))
    [found] = [one for one in graph(project).evidence if one.key == "measure:attack.success"]
    assert found.problem == "audit 'attack' did not run: no time"


def test_a_verdict_that_a_person_gave_is_not_that_of_the_judge(project):
    made = release()
    overridden = replace(made.verdict, by="ada", why="in a hurry", at="2026-11-01T00:00:00+00:00")
    rollouts.live(project, replace(made, verdict=overridden))
    [found] = [one for one in graph(project).evidence if one.key == "verdict:pass"]
    assert found.problem == "ada decided in place of the judge: in a hurry"


def test_rules_of_the_policy_that_passed_are_evidence_by_their_measure(project):
    rule = Rule(measure="attack.success", at_most=0.5)
    rollouts.live(project, release(rules=(rule,)))
    assert find(project, "rule:attack.*").message == "the rule attack.success at most 0.5 passes"
    made = release(rules=(rule,), made_by="another")
    failed = (RuleResult(rule=rule, answer="undecided", message=""),)
    rollouts.live(project, replace(made, verdict=replace(made.verdict, rule_results=failed)))
    assert find(project, "rule:attack.*") is None


def test_checks_count_for_the_data_of_the_live_release_unless_they_found_something(project):
    rollouts.live(project, release())
    project.save(CHECKED)
    assert find(project, "check:backdoor").message == "the check backdoor ran on 9 rows"
    assert find(project, "check:noisy_labels") is None
    assert find(project, "check:flipped_labels") is None
    finding = Finding(code="D041", severity="warn", message="rows with 7 have another label")
    project.save(replace(CHECKED, findings=(finding, finding)))
    [found] = [one for one in graph(project).evidence if one.key == "check:backdoor"]
    assert found.problem == "the check backdoor found: rows with 7 have another label (and 1 more)"
    project.save(replace(CHECKED, findings=(replace(finding, severity="undecided"),)))
    assert find(project, "check:backdoor") is None
    project.save(replace(CHECKED, findings=(replace(finding, severity="note"),)))
    assert find(project, "check:backdoor")
    project.save(replace(CHECKED, data={**DATA, "test": "sha256:other"}))
    assert find(project, "check:backdoor"), "a later check of other data says nothing of the data of the live release"


def test_checks_of_other_data_alone_do_not_count(project):
    rollouts.live(project, release())
    project.save(replace(CHECKED, data={**DATA, "test": "sha256:other"}))
    assert find(project, "check:backdoor") is None


def test_the_versions_of_its_data_must_all_be_stored(project):
    rollouts.live(project, release())
    versions = [
        Provenance(period=name, digest=digest, n_rows=1, columns={}, rows="", form=1) for name, digest in DATA.items()
    ]
    for version in versions[:2]:
        project.save(version)
    assert find(project, "provenance:data") is None
    project.save(versions[2])
    assert find(project, "provenance:data").data == data_digest(DATA)
    assert data_digest({"live": "sha256:live"}) == ""


def test_periods_of_the_live_release_that_were_judged_are_evidence(project):
    digest = rollouts.live(project, release())
    at = NOW.isoformat(timespec="seconds")
    project.save(watched("sha256:another", at=at))
    project.save(watched(digest, at=at, is_complete=False))
    assert find(project, "monitoring:drift") is None
    project.save(watched(digest, at=at))
    assert find(project, "monitoring:drift") and find(project, "monitoring:degradation")
    project.save(watched(digest, at=at, status="degraded", message="it ranks worse"))
    assert find(project, "monitoring:degradation") is None
    assert find(project, "monitoring:drift")


def test_rollouts_audits_of_answers_and_logs_of_the_live_release_are_evidence(project):
    digest = rollouts.live(project, release())
    rollout = Rollout(
        name="flights", release=digest, live="", salt="", plan=Plan(), rules=(), status="promoted", started_at="", by=""
    )
    audit = CertificateAudit(
        name="flights",
        release=digest,
        status="holds",
        message="the certificate holds",
        limit=0.05,
        n_drawn=9,
        n_labeled=9,
        n_overdue=0,
        rows_to_detect=9,
        at=NOW.isoformat(),
    )
    assert not any(find(project, key) for key in ("rollout:ended", "answers:audit", "log:predictions", "record:signed"))
    project.save(rollout)
    project.save(audit)
    project.save(WrittenRecord(name="flights", record="sha256:record", release=digest, at=NOW.isoformat()))
    segments.save(traffic.log_folder(project.config.state, "flights", digest), {"at_us": np.array([1])})
    assert all(find(project, key) for key in ("rollout:ended", "answers:audit", "log:predictions", "record:signed"))
    project.save(replace(audit, status="broken", message="the certificate is broken"))
    assert find(project, "answers:audit") is None


def test_a_search_for_keys_that_copy_is_evidence_unless_one_is_found_and_sends_on(project):
    digest = rollouts.live(project, release())
    report = ProbingReport(name="flights", release=digest, at=NOW.isoformat(), limit=100.0)
    project.save(report)
    assert not [one for one in graph(project).evidence if one.key == "detector:probing"]
    key = KeyProbing(
        day="2026-11-29", api_key="eve", rows=9, distinct=9, e_value=1e9, sign="boundary", shares={}, is_found=True
    )
    project.save(replace(report, keys=(key,)))
    [found] = [one for one in graph(project).evidence if one.key == "detector:probing"]
    assert found.problem == "API keys that copy or probe the model are not throttled: eve"
    project.save(report)
    assert find(project, "detector:probing") is None
    project.save(replace(report, keys=(replace(key, throttled=True),)))
    assert find(project, "detector:probing").message == "1 key-days were searched for copying"
    project.save(replace(report, reason="no reference"))
    assert find(project, "detector:probing") is None


def test_settings_speak_only_if_they_are_set(project, tmp_path):
    quiet = {one.key for one in graph(project).evidence}
    assert {"setting:serve.limits", "setting:serve.contract", "setting:trust.keys"} <= quiet
    assert not quiet & {"setting:serve.rate", "setting:serve.keys", "setting:ui.users", "log:labels"}
    (tmp_path / "keys.toml").write_text("")
    (tmp_path / "users.toml").write_text("")
    project.save(Confirmation(row="", row_number=1, label=1.0, who="ada", why="seen", at=""))
    toml = """
key_per_s = 5
throttle_per_s = 1
round_digits = 2
contract = "reject"
tls_certificate = "server.pem"
host = "0.0.0.0"
[provenance]
creator = "ada"
license = "CC0-1.0"
[personal]
drop = ["email"]
[data]
sensitive_features = ["sex"]
[model]
file = "model.onnx"
[answer]
limit = 0.05
stages = ["remote"]
remote = { url = "https://llm.example/v1", spend_cap_per_day = 5 }
[[alert]]
name = "ops"
to = "email"
"""
    (tmp_path / "headway.toml").write_text(rollouts.TOML + toml)
    found = graph(open_project(tmp_path))
    assert {key for key in load_catalogue().kinds if key.startswith(("setting:", "log:l"))} <= {
        one.key for one in found.evidence
    }
    assert {name for name, fact in found.facts.items() if not fact.holds} == set()
