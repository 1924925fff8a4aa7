"""Labels of drawn answers keep a certificate or withdraw it, for a class or for all; nothing else counts."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest
from msgspec.structs import replace
from tests.monitoring import audits, rollouts
from tests.monitoring.audits import CLASSES, DAY_US, NOON_US

from headway import pipeline
from headway.core.selective import CertificateAudit, CertificateWithdrawal
from headway.monitoring.certificate import AuditedAnswers, audit_answers, covered_remote_labels, judge_audit
from headway.registry.project import open_project
from headway.registry.withdrawals import withdrawn_classes

SOON = datetime(2020, 2, 2, tzinfo=UTC)
LATER = datetime(2020, 6, 1, tzinfo=UTC)


@pytest.fixture
def project(tmp_path):
    """A project with a live release that answers selectively."""
    opened = rollouts.project(tmp_path)
    rollouts.live(opened, audits.answering())
    yield opened
    opened.state.close()
    opened.registry.state.close()


def _release(project):
    return project.registry.resolve("flights@live").digest


def _audit(project, now=SOON) -> CertificateAudit:
    found = audit_answers(project, now=now)
    assert found is not None
    return found


def _withdrawn(project):
    bundle = project.registry.resolve("flights@live")
    return withdrawn_classes(project.state, bundle.release.answers, name="flights", digest=bundle.digest)


def test_right_answers_keep_the_certificate(project):
    keys = audits.log(project, _release(project), [0, 1, 2] * 40)
    audits.label(project, dict(zip(keys, [0, 1, 2] * 40, strict=True)))

    audit = _audit(project)

    assert (audit.status, audit.n_drawn, audit.n_labeled, audit.n_overdue) == ("holds", 120, 120, 0)
    assert audit.risk is not None and audit.risk.value == 0 and audit.risk.high < 0.1
    assert audit.classes.keys() == {"delivery", "refund"}, "the class without a certificate of its own has no share"
    assert not _withdrawn(project) and audit.rows_to_detect > 0


def test_too_many_wrong_answers_withdraw_everything(project):
    answers = [0, 1, 2] * 20
    keys = audits.log(project, _release(project), answers)
    audits.label(project, {key: (answer + 1) % 3 for key, answer in zip(keys, answers, strict=True)})

    audit = _audit(project)

    assert audit.status == "broken" and set(audit.withdrawn) == set(CLASSES)
    assert "the model answers nothing until a new release" in audit.message
    assert _withdrawn(project) == set(CLASSES)
    (withdrawal,) = project.records(CertificateWithdrawal)
    assert withdrawal.classes == () and withdrawal.risk.low > 0.1 and withdrawal.by == "audit"


def test_answers_of_a_model_behind_a_device_do_not_judge_the_certificate_of_both(project):
    release = project.registry.resolve("flights@live").release
    plan = replace(release.answers, forwarded_by="sha256:device", classes={})
    answers = np.array([0, 1, 2] * 20)
    audited = AuditedAnswers(
        classes=CLASSES,
        answer=answers,
        errors=np.ones(60),
        days=np.arange(60),
        overdue=np.zeros(60, dtype=bool),
    )
    audit = judge_audit(plan, audited, name="flights", release="r", level=0.95, at=SOON)
    assert (audit.status, audit.withdrawn) == ("unknown", ()) and audit.risk.value == 1


def test_a_class_with_wrong_answers_is_withdrawn_alone(project):
    answers = [1] * 12 + [0, 2] * 150
    keys = audits.log(project, _release(project), answers)
    audits.label(project, {key: 2 if answer == 1 else answer for key, answer in zip(keys, answers, strict=True)})

    audit = _audit(project)

    assert audit.withdrawn == ("refund",) == tuple(_withdrawn(project))
    assert "no longer answers refund" in audit.message
    (withdrawal,) = project.records(CertificateWithdrawal)
    assert withdrawal.classes == ("refund",) and withdrawal.risk.slice == "refund"
    _audit(project)
    assert len(project.records(CertificateWithdrawal)) == 1, "what is withdrawn is not withdrawn again"


def test_what_is_withdrawn_stays_so_for_the_release_and_not_for_the_next(project):
    test_too_many_wrong_answers_withdraw_everything(project)
    audits.label(project, {str(number): number % 3 for number in range(60)})

    assert set(_audit(project).withdrawn) == set(CLASSES), "labels that were corrected later give nothing back"

    rollouts.live(project, audits.answering(threshold=0.25))
    assert _audit(project).status == "unknown" and not _withdrawn(project)


def test_only_drawn_answers_count(project):
    answers = [0, 1] * 40
    keys = audits.log(project, _release(project), answers, audit=0)
    audits.label(project, dict.fromkeys(keys, 2))

    audit = _audit(project)

    assert (audit.status, audit.n_drawn, audit.n_labeled, audit.risk) == ("unknown", 0, 0, None)


def test_a_correction_counts_and_the_remote_stage_does_not(project):
    keys = audits.log(project, _release(project), [0] * 60)
    audits.label(project, dict.fromkeys(keys, 1))
    audits.label(project, dict.fromkeys(keys, 0))
    audits.label(project, dict.fromkeys(keys, 1), who="remote")

    audit = _audit(project)

    assert audit.status == "holds" and audit.risk is not None and audit.risk.value == 0


def test_answers_without_a_label_are_neither_right_nor_wrong(project):
    keys = audits.log(project, _release(project), [0] * 60)
    audits.label(project, dict.fromkeys(keys[:20], 0))

    soon, later = _audit(project), _audit(project, LATER)

    assert (soon.status, soon.n_labeled, soon.n_overdue) == ("holds", 20, 0)
    assert (later.status, later.n_labeled, later.n_overdue) == ("unknown", 20, 40)
    assert "40 drawn answers still have no label" in later.message


def test_dependent_answers_count_by_whole_days(tmp_path):
    opened = rollouts.project(tmp_path)
    release = audits.answering()
    by_day = audits.plan(n_groups=100, classes=())
    digest = rollouts.live(opened, rollouts.replace(release, answers=by_day))
    for day in range(8):
        keys = audits.log(opened, digest, [0] * 5, first=day * 5, at_us=NOON_US + day * DAY_US)
        audits.label(opened, dict.fromkeys(keys[: 3 if day == 7 else 5], 1))

    first_day = audit_answers(opened, now=datetime(2020, 2, 1, 23, tzinfo=UTC))
    all_days = audit_answers(opened, now=datetime(2020, 2, 9, tzinfo=UTC))

    assert first_day is not None and first_day.n_labeled == 0, "a day that is not over does not count"
    assert all_days is not None and all_days.n_labeled == 35, "a day waits for its labels"
    assert all_days.risk is not None and all_days.risk.n_groups == 7
    assert all_days.status == "broken"
    opened.state.close()


def test_an_audit_that_says_the_same_is_saved_once(project):
    keys = audits.log(project, _release(project), [0] * 30)
    audits.label(project, dict.fromkeys(keys, 0))
    first = _audit(project)
    _audit(project, datetime(2020, 2, 3, tzinfo=UTC))

    assert [one.at for one in project.records(CertificateAudit)] == [first.at]


def test_a_release_that_answers_every_row_has_no_audit(tmp_path):
    opened = rollouts.project(tmp_path)
    assert pipeline.audit_certificate(opened) is None, "nothing is live"
    rollouts.live(opened, rollouts.release())

    assert pipeline.audit_certificate(opened) is None
    opened.state.close()


STAGES = ("remote", "people")


@pytest.fixture
def handed_on(tmp_path):
    """Open a project whose release hands messages to a remote stage, with settings of it."""
    folder = tmp_path / "handed"
    folder.mkdir()
    opened = []

    def open_with(*, n_groups: int = 0, per_class: str = "false", **stage: str):
        remote = {"url": "https://llm.example/v1", "model": "small", **stage}
        lines = "\n".join(f'{name} = "{value}"' for name, value in remote.items())
        toml = f"{rollouts.TOML}\n[answer]\nlimit = 0.1\nper_class = {per_class}\n[answer.remote]\n{lines}\n"
        is_new = not opened
        project = rollouts.project(folder, toml=toml) if is_new else reopened(folder, toml)
        if is_new:
            release = audits.answering()
            plan = replace(audits.plan(n_groups=n_groups), stages=STAGES)
            rollouts.live(project, replace(release, answers=plan))
        opened.append(project)
        return project

    yield open_with
    for project in opened:
        project.state.close()
        project.registry.state.close()


def reopened(folder, toml):
    (folder / "headway.toml").write_text(toml)
    return open_project(folder)


def remote_answers(project, answers, labels, **fields):
    """Log messages that the remote stage answered, and the labels of people."""
    keys = audits.log(project, _release(project), [0] * len(answers), by="remote", **fields)
    audits.label(project, dict(zip(keys, answers, strict=True)), who="remote")
    audits.label(project, {key: label for key, label in zip(keys, labels, strict=True) if label is not None})
    return keys


def test_answers_of_the_remote_stage_count_once_labels_show_that_they_keep_the_limit(handed_on):
    project = handed_on()
    remote_answers(project, [0, 1] * 10, [0, 1] * 10)
    few = _audit(project)
    assert (few.remote.n_drawn, few.remote.n_labeled, few.remote.covers) == (20, 20, ())
    assert few.remote.risk.value == 0 and few.remote.risk.high > 0.1
    assert "none counts until at most 10.0% are shown to be" in few.message
    assert few.risk is None and few.status == "unknown", "they say nothing of the model's own"

    remote_answers(project, [0, 1] * 50, [0, 1] * 50, first=20)
    many = _audit(project)
    assert many.remote.covers == CLASSES and many.remote.risk.high <= 0.1 and many.remote.stage
    assert "of the remote stage's answers, 120 of 120 drawn ones were checked" in many.message


def test_wrong_answers_of_the_remote_stage_end_that_and_leave_the_models_certificate(handed_on):
    project = handed_on()
    remote_answers(project, [0, 1] * 60, [0, 1] * 60)
    assert _audit(project).remote.covers
    remote_answers(project, [0, 1] * 30, [2, 2] * 30, first=120)
    audit = _audit(project)
    assert audit.remote.covers == () and audit.remote.risk.value == pytest.approx(1 / 3)
    assert not audit.withdrawn and not project.records(CertificateWithdrawal)


def test_only_drawn_answers_with_a_label_in_time_count_for_the_remote_stage(handed_on):
    project = handed_on()
    remote_answers(project, [0] * 120, [0] * 120, audit=0)
    assert _audit(project).remote.n_drawn == 0
    audits.log(project, _release(project), [0] * 5, by="remote", first=500)
    assert _audit(project).remote.n_drawn == 0, "what it did not answer is not its answer"
    remote_answers(project, [0] * 250, [0] * 120 + [None] * 130, first=1000)
    assert _audit(project).remote.covers
    late = _audit(project, now=LATER).remote
    assert (late.n_overdue, late.covers) == (130, ())


def test_with_dependent_days_complete_days_count_for_the_remote_stage(handed_on):
    project = handed_on(n_groups=30)
    remote_answers(project, [0] * 200, [0] * 200)
    audit = _audit(project).remote
    assert audit.risk.n_groups == 1 and audit.covers == ()


def test_a_class_of_its_own_needs_labels_of_its_own(handed_on):
    project = handed_on(per_class="true")
    remote_answers(project, [0] * 200 + [1] * 3, [0] * 200 + [1] * 3)
    assert _audit(project).remote.covers == ("delivery",)


def test_another_model_elsewhere_starts_over(handed_on):
    project = handed_on()
    remote_answers(project, [0] * 120, [0] * 120)
    before = _audit(project).remote
    after = _audit(handed_on(model="large")).remote
    assert (after.n_drawn, after.covers) == (0, ()) and after.stage != before.stage
    again = _audit(handed_on(model="large"), now=LATER).remote
    assert again.since_us == after.since_us


@pytest.mark.parametrize("settings", [{"protocol": "headway"}, {"url": ""}])
def test_a_server_that_audits_its_own_answers_or_none_is_not_audited_here(handed_on, settings):
    project = handed_on(**settings)
    remote_answers(project, [0] * 20, [0] * 20)
    assert _audit(project).remote is None
    release = project.registry.resolve("flights@live").release
    assert covered_remote_labels(project, release, _release(project)) == (0.0, 1.0, 2.0)


def test_labels_that_count_are_those_of_classes_that_the_audit_covers(handed_on):
    project = handed_on()
    release = project.registry.resolve("flights@live").release
    assert covered_remote_labels(project, release, _release(project)) == ()
    remote_answers(project, [0] * 120, [0] * 120)
    _audit(project)
    assert covered_remote_labels(project, release, _release(project)) == (0.0, 1.0, 2.0)
    assert covered_remote_labels(handed_on(model="large"), release, _release(project)) == ()
