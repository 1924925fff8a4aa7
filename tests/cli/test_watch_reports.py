"""What `headway watch` prints: a table and sentences, and when it follows, only what is new."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from rich.console import Console

from headway.cli.commands.watch import follow_reports, watches_table
from headway.cli.exit_codes import FAIL, PASS, UNDECIDED, of_watches
from headway.core.evidence import Finding, Measurement
from headway.core.monitoring import Drift, MonitoringAnswer, MonitoringReport

P = Measurement(name="drift.p", value=0.4, low=0.4, high=0.4, method="test", n_rows=900)
ESTIMATE = Finding(code="O004", severity="undecided", message="quality without labels could not be judged: too few")
JULY = MonitoringReport(
    name="flights",
    release="sha256:1",
    period="2013-07",
    since="2013-07-01T00:00:00",
    until="2013-08-01T00:00:00",
    n_rows=900,
    n_labeled=0,
    status="unknown",
    message="2013-07: nothing can be said.",
    drift=Drift(alarm=False, measurements=(P,)),
    unknown=(ESTIMATE,),
    answers=(MonitoringAnswer(question="drift", level=0.013),),
)
JUDGED = replace(
    JULY,
    n_labeled=900,
    status="healthy",
    message="2013-07: it is well.",
    answers=(*JULY.answers, MonitoringAnswer(question="degradation", level=0.009)),
)
OPEN = replace(
    JULY, period="2013-08", since="2013-08-01T00:00:00", is_complete=False, drift=None, answers=(), unknown=()
)


def printed(found: list[MonitoringReport]) -> str:
    console = Console(width=240)
    with console.capture() as capture:
        console.print(watches_table(found))
    return capture.get()


def followed(*polls: list[MonitoringReport]) -> tuple[list[list[str]], list[MonitoringReport]]:
    """Return the messages shown at each poll with news, and the last reports; interrupt after the last poll."""
    shown: list[list[str]] = []
    remaining = iter(polls)
    waited: list[float] = []

    def wait(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == len(polls):
            raise KeyboardInterrupt

    last = follow_reports(
        lambda: next(remaining), lambda news: shown.append([report.message for report in news]), interval_s=5, wait=wait
    )
    assert waited == [5] * len(polls)
    return shown, last


def test_a_report_is_shown_once_and_again_after_it_was_judged():
    shown, last = followed([JULY], [JULY], [JUDGED], [JUDGED])
    assert shown == [[JULY.message], [JUDGED.message]] and last == [JUDGED]


def test_only_the_new_window_is_shown():
    assert followed([JUDGED], [JUDGED, OPEN])[0] == [[JUDGED.message], [OPEN.message]]


def test_more_rows_of_an_open_window_are_not_shown_and_its_end_is():
    more, ended = replace(OPEN, n_rows=950), replace(OPEN, is_complete=True, n_rows=1800)
    assert len(followed([OPEN], [more], [ended])[0]) == 2


def test_the_p_value_is_shown_with_its_limit():
    assert "no change shown" in printed([JULY]) and "p 0.400, limit 0.0130" in printed([JULY])
    assert "not yet judged" in printed([OPEN])
    assert "cannot be judged" in printed([replace(JULY, drift=None)])


def test_a_missing_estimate_is_shown_only_while_no_labels_answer():
    assert ESTIMATE.message in printed([JULY])
    assert ESTIMATE.message not in printed([JUDGED])


def test_without_a_window_the_message_names_what_is_missing():
    assert "no window with at least 20 groups (such as days) has begun" in printed([])


@pytest.mark.parametrize(
    ("found", "code"),
    [
        ([], UNDECIDED),
        ([OPEN], UNDECIDED),
        ([replace(JUDGED, status="degraded"), OPEN], FAIL),
        ([JUDGED], PASS),
    ],
    ids=["none", "open", "degraded, then an open one", "healthy"],
)
def test_the_exit_code_is_that_of_the_last_complete_window(found, code):
    assert of_watches(found) == code
