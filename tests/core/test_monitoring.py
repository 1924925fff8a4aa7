"""What a report of monitoring answers by name, and what earlier versions wrote into tickets."""

from __future__ import annotations

from headway.core.evidence import Measurement
from headway.core.monitoring import (
    Drift,
    KeyProbing,
    MonitoringAnswer,
    MonitoringReport,
    ProbingReport,
    Ticket,
)
from headway.core.record import read, write


def measured(name: str, slice: str = "") -> Measurement:
    return Measurement(name=name, slice=slice, value=0.5, low=0.4, high=0.6, method="m", n_rows=9)


REPORT = MonitoringReport(
    name="m",
    release="sha256:0",
    period="day",
    since="2026-11-27",
    until="2026-11-28",
    n_rows=9,
    n_labeled=9,
    status="drifted",
    message="",
    drift=Drift(alarm=True, measurements=()),
    quality=(measured("roc_auc", "sex=F"), measured("roc_auc")),
    change=(measured("roc_auc.drop"),),
    estimated=(measured("brier"),),
    answers=(MonitoringAnswer(question="drift", level=0.05),),
)


def test_a_measurement_over_all_rows_is_found_in_each_part() -> None:
    found = [REPORT.find(name) for name in ("roc_auc", "roc_auc.drop", "brier", "ece")]
    assert found == [REPORT.quality[1], REPORT.change[0], REPORT.estimated[0], None]


def test_a_question_that_was_not_tested_has_no_answer() -> None:
    assert (REPORT.reply("drift"), REPORT.reply("degradation")) == (REPORT.answers[0], None)


def test_an_interval_without_bounds_is_left_out_of_the_message_of_an_earlier_ticket() -> None:
    unbounded = "179,769,313" + ",486" * 100
    ticket = Ticket(name="m", release="sha256:0", reasons=(), why=f"loss 3 [-{unbounded}, {unbounded}] per month")
    assert read(Ticket, write(ticket).replace(b'"version":3', b'"version":2')).why == "loss 3 per month"


def test_keys_that_probed_the_model_are_those_that_were_found() -> None:
    keys = [
        KeyProbing(
            day="2026-11-28", api_key=name, rows=9, distinct=9, e_value=value, sign="", shares={}, is_found=value > 20
        )
        for name, value in (("ann", 1.0), ("bob", 40.0))
    ]
    report = ProbingReport(name="m", release="sha256:0", at="2026-11-28", limit=20.0, keys=tuple(keys))
    assert report.found == (keys[1],)
