"""What a report of monitoring answers by name, and what earlier versions wrote into tickets."""

from __future__ import annotations

from headway.core.evidence import Finding, Measurement
from headway.core.monitoring import (
    INPUT_BROKE,
    BrokenInput,
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


def test_broken_cells_are_columns_with_days_and_columns_alone_from_findings() -> None:
    findings = [Finding(code=code, severity="warn", message="", where="hour") for code in (INPUT_BROKE, "O001")]
    hour = BrokenInput(column="hour", days=("2026-11-27", "2026-11-28"), message="")
    drift = Drift(alarm=True, measurements=(), findings=tuple(findings), broken=(hour,))
    assert drift.broken_cells == {("hour", ""), ("hour", "2026-11-27"), ("hour", "2026-11-28")}


def test_a_ticket_names_the_feed_to_repair_before_its_reasons_and_is_open_while_it_has_some() -> None:
    hour = BrokenInput(column="hour", days=("2026-11-28", "2026-11-27"), message="")
    ticket = Ticket(name="m", release="sha256:0", reasons=("inputs",), why="it costs", broken=(hour, hour))
    assert ticket.message == "repair the feed of hour, out of range on 2 days from 2026-11-27; it costs"
    assert Ticket(name="m", release="sha256:0", reasons=(), why="it costs").message == "it costs"
    assert ticket.is_open("sha256:0") and not ticket.is_open("sha256:1")
    assert not Ticket(name="m", release="sha256:0", reasons=(), why="").is_open("sha256:0")


def test_keys_that_probed_the_model_are_those_that_were_found() -> None:
    keys = [
        KeyProbing(
            day="2026-11-28", api_key=name, rows=9, distinct=9, e_value=value, sign="", shares={}, is_found=value > 20
        )
        for name, value in (("ann", 1.0), ("bob", 40.0))
    ]
    report = ProbingReport(name="m", release="sha256:0", at="2026-11-28", limit=20.0, keys=tuple(keys))
    assert report.found == (keys[1],)
