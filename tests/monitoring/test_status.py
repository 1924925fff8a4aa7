"""The sentence of a watch: every part true, nothing claimed that was not asked."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from headway.core.evidence import Finding, Measurement
from headway.core.monitoring import Drift, MonitoringAnswer, MonitoringReport, Ticket
from headway.monitoring import status
from headway.monitoring.settings.retrain import RetrainSection

POLICY = RetrainSection()
TICKET = Ticket(name="flights", release="sha256:1", reasons=("rows",), why="rows grew")
ASKED = MonitoringAnswer(question="degradation", level=0.01)
PLAIN = MonitoringReport(
    name="flights",
    release="sha256:1",
    period="2013-07",
    since="2013-07-01T00:00:00",
    until="2013-08-01T00:00:00",
    n_rows=900,
    n_labeled=900,
    status="unknown",
    message="",
    drift=Drift(alarm=False, measurements=()),
)


def measured(name: str, value: float, *, slice: str = "", se: float = 0.001) -> Measurement:
    return Measurement(
        name=name,
        value=value,
        low=value - 2 * se,
        high=value + 2 * se,
        method="test",
        n_rows=900,
        n_groups=30,
        slice=slice,
        se=se,
        dof=29,
    )


def moved(*names: str, drift_costs: tuple[Measurement, ...] = (), level: float = 0.01) -> MonitoringReport:
    """A period whose inputs moved, these features for sure."""
    findings = tuple(Finding(code="O001", severity="warn", message="", where=name) for name in ("all", *names))
    drift = Drift(alarm=True, measurements=(), findings=findings)
    reply = MonitoringAnswer(question="drift", level=level, shown=("drift.p",))
    return replace(PLAIN, drift=drift, drift_costs=drift_costs, answers=(reply, ASKED))


def message_of(watch: MonitoringReport, *, pending: bool = False) -> str:
    return status.status_message(replace(watch, status=status.monitoring_status(watch)), POLICY, pending=pending)


def test_a_period_without_drift_or_degradation_needs_no_action():
    seen = replace(PLAIN, answers=(ASKED,), quality=(measured("roc_auc", 0.7),))
    assert status.monitoring_status(seen) == "healthy"
    assert message_of(seen) == (
        "2013-07: no drift of the inputs is shown since the release was judged; "
        "no degradation is shown; no action is needed."
    )


def test_moved_features_are_named_in_order_of_their_cost():
    drift_costs = (measured("drift.loss", 0.05, slice="hour"), measured("drift.loss", 0.01, slice="wind", se=0.01))
    seen = moved("wind", "dest", "hour", drift_costs=drift_costs)
    assert "judged: hour, wind and dest moved (the drift of hour is estimated to cost); no degradation" in message_of(
        seen
    )


def test_a_drift_cost_is_reported_only_at_the_level_that_all_features_share():
    drift_costs = (
        measured("drift.loss", 0.0025, slice="hour"),
        *(measured("drift.loss", 0.0, slice=feature) for feature in "abc"),
    )
    assert "hour is estimated to cost" in message_of(moved("hour", drift_costs=drift_costs, level=0.05))
    assert "estimated to cost" not in message_of(
        moved("hour", drift_costs=drift_costs, level=0.01)
    )  # 2.5 standard errors, of four


def test_drift_without_a_single_significant_feature_names_none():
    assert "the inputs have drifted since the release was judged; no degradation" in message_of(moved())


def test_each_degradation_is_reported_with_its_evidence():
    harm = MonitoringAnswer(question="degradation", level=0.01, shown=("roc_auc.change", "ece.split", "cost"))
    seen = replace(
        PLAIN,
        answers=(harm,),
        n_labeled=700,
        n_without_key=50,
        quality=(measured("ece", 0.23),),
        change=(measured("roc_auc.change", -0.04), measured("ece.change", 0.05)),
        cost=measured("retrain.expected_loss", 1234.4),
    )
    assert status.monitoring_status(seen) == "degraded"
    assert message_of(seen).partition("; ")[2] == (
        "by the 700 labels of 900 rows (50 predictions have no key and cannot get a label), it ranks worse than when "
        "it was judged (AUC -0.040), its probabilities are off by 23% on average, limit 5% (18% when it was judged) "
        "and its decisions cost 1,234 a month more than when it was judged; check what moved, and retrain or roll back."
    )


def test_without_labels_the_estimate_is_reported_with_its_interval():
    seen = replace(PLAIN, n_labeled=0, estimated=(measured("roc_auc.estimated", 0.71, se=0.02),))
    assert message_of(seen).endswith(
        "no label has arrived yet; an AUC of 0.71 (0.67 to 0.75) is estimated from the scores, if their calibration "
        "still holds."
    )


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"n_labeled": 0}, "no label has arrived yet, and without labels the quality cannot be estimated"),
        ({"n_labeled": 300}, "300 of 900 labels have arrived; quality is judged when all have had their time"),
        (
            {"is_complete": False},
            "2013-07: the period has not ended: 900 rows so far, 900 labeled; it is judged when it has ended.",
        ),
        ({"drift": None, "n_labeled": 0}, "2013-07: drift of the inputs cannot be judged; no label"),
        (
            {"unknown": (Finding(code="O003", severity="undecided", message="quality could not be judged: no task"),)},
            "quality could not be judged: no task",
        ),
    ],
    ids=["no label", "labels to come", "not over", "too few groups", "another task"],
)
def test_questions_that_were_not_tested_are_reported_as_unknown(fields, message):
    seen = replace(PLAIN, **fields)
    assert status.monitoring_status(seen) == "unknown"
    assert message in message_of(seen) and "no action is needed" not in message_of(seen)


def test_a_period_whose_inputs_cannot_be_judged_is_never_healthy():
    seen = replace(PLAIN, drift=None, answers=(ASKED,), quality=(measured("roc_auc", 0.7),))
    assert status.monitoring_status(seen) == "unknown"
    assert message_of(seen).startswith("2013-07: drift of the inputs cannot be judged; no degradation is shown.")


def test_quality_that_was_measured_but_not_judged_is_not_healthy():
    seen = replace(PLAIN, n_labeled=300, quality=(measured("roc_auc", 0.7),))
    assert status.monitoring_status(seen) == "unknown"
    assert status.monitoring_status(replace(seen, estimated=(measured("roc_auc.estimated", 0.7),))) == "healthy"


def test_an_input_that_broke_is_described_and_asks_for_action():
    found = Finding(
        code="O006", severity="warn", message="hour is out of its range on 9 days: it is missing", where="hour"
    )
    seen = replace(PLAIN, drift=Drift(alarm=True, measurements=(), findings=(found,)), answers=(ASKED,))
    assert message_of(seen) == (
        "2013-07: the inputs have drifted since the release was judged: hour moved; hour is out of its range on "
        "9 days: it is missing; no degradation is shown; check what fills them before anything else."
    )


def test_a_ticket_is_reported_when_it_is_opened_and_while_it_is_open():
    seen = replace(PLAIN, answers=(ASKED,))
    assert message_of(replace(seen, ticket=TICKET)).endswith("; a ticket proposes to retrain.")
    assert message_of(seen, pending=True).endswith("; a retraining ticket is open.")


OPEN = MonitoringAnswer(question="degradation", level=0.01, not_excluded=("ece.split",))


def test_a_period_that_does_not_exclude_a_large_degradation_is_unknown_and_not_nothing_to_do():
    seen = replace(PLAIN, answers=(OPEN,), quality=(measured("ece.split", 0.08, se=0.05),))
    assert status.monitoring_status(seen) == "unknown"
    assert message_of(seen).partition("judged; ")[2] == (
        "no degradation is shown, but a large one is not excluded: the calibration error is 0% to 18%, limit 5%; this "
        "is not a reason to do nothing: more labels or a longer period (--every 1q) would decide."
    )


def month(number: int, state: str, **fields: object) -> MonitoringReport:
    since, until = (f"2013-{at:02}-01T00:00:00" for at in (number, number + 1))
    label = f"2013-{number:02}"
    return replace(PLAIN, period=label, since=since, until=until, status=state, answers=(ASKED,), **fields)


@pytest.mark.parametrize(
    ("earlier", "recovered"),
    [
        ([month(7, "degraded")], "2013-07"),
        ([month(7, "degraded"), month(8, "unknown")], "2013-07"),
        ([month(7, "degraded"), month(8, "healthy")], ""),
        ([month(7, "degraded", source="log")], ""),
        ([month(10, "degraded")], ""),
        ([], ""),
    ],
    ids=["the month before", "unknown between", "reported before", "of the log", "later", "the first"],
)
def test_recovery_is_reported_in_the_first_period_in_which_nothing_is_shown_any_more(earlier, recovered):
    now = month(9, "healthy")
    assert status.recovered_from(now, earlier) == recovered
    assert status.recovered_from(replace(now, status="degraded"), earlier) == ""
    assert ("it has recovered" in message_of(replace(now, quality=NOW, recovered_from=recovered))) is bool(recovered)


NOW = (measured("roc_auc", 0.7),)


def test_a_renewed_ticket_is_reported_with_what_waiting_costs():
    priced = replace(PLAIN, answers=(ASKED,), ticket=TICKET, cost=measured("retrain.expected_loss", 100.0, se=20))
    assert message_of(priced, pending=True).endswith(
        "a retraining ticket is open, renewed: its decisions are estimated to cost 100 [60, 140] a month more than "
        "when it was judged."
    )


def test_a_period_of_which_the_log_lost_many_rows_is_unknown_unless_a_degradation_is_shown():
    seen = replace(PLAIN, answers=(ASKED,), quality=(measured("roc_auc", 0.7),))
    assert status.monitoring_status(replace(seen, n_lost=47)) == "healthy"
    lossy = replace(seen, n_lost=48)
    assert status.monitoring_status(lossy) == "unknown"
    assert "the log lost 48 rows, and the time in which it did is not judged" in message_of(lossy)
    shown = replace(ASKED, shown=("roc_auc.change",))
    assert status.monitoring_status(replace(lossy, answers=(shown,))) == "degraded"
