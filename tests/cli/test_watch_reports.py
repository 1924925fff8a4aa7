"""What `headway watch` prints: a table and sentences, and when it follows, only what is new."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from rich.console import Console

from headway.cli.commands.watch import follow_reports, watches_table
from headway.cli.exit_codes import FAIL, PASS, UNDECIDED, of_watches
from headway.core.drift import Drift
from headway.core.evidence import Finding, Measurement
from headway.core.watch import MonitoringAnswer, MonitoringReport

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
    answers=(*JULY.answers, MonitoringAnswer(question="harm", level=0.009)),
)
GOING_ON = replace(
    JULY, period="2013-08", since="2013-08-01T00:00:00", is_complete=False, drift=None, answers=(), unknown=()
)


def printed(found: list[MonitoringReport]) -> str:
    console = Console(width=240)
    with console.capture() as capture:
        console.print(watches_table(found))
    return capture.get()


def followed(*looks: list[MonitoringReport]) -> tuple[list[list[str]], list[MonitoringReport]]:
    """The periods that were told at each look that had news, and what was seen last; then somebody interrupts."""
    shown: list[list[str]] = []
    left = iter(looks)
    waited: list[float] = []

    def wait(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == len(looks):
            raise KeyboardInterrupt

    last = follow_reports(
        lambda: next(left), lambda news: shown.append([each.message for each in news]), interval_s=5, wait=wait
    )
    assert waited == [5] * len(looks)
    return shown, last


def test_what_is_told_once_is_not_told_again_and_what_was_judged_meanwhile_is():
    shown, last = followed([JULY], [JULY], [JUDGED], [JUDGED])
    assert shown == [[JULY.message], [JUDGED.message]] and last == [JUDGED]


def test_only_the_period_that_is_new_is_told():
    assert followed([JUDGED], [JUDGED, GOING_ON])[0] == [[JUDGED.message], [GOING_ON.message]]


def test_more_rows_of_a_period_that_goes_on_are_no_news_and_its_end_is():
    more, ended = replace(GOING_ON, n_rows=950), replace(GOING_ON, is_complete=True, n_rows=1800)
    assert len(followed([GOING_ON], [more], [ended])[0]) == 2


def test_the_p_is_shown_beside_the_limit_that_it_had_to_be_below():
    assert "no change shown" in printed([JULY]) and "p 0.400, limit 0.0130" in printed([JULY])
    assert "not yet judged" in printed([GOING_ON])
    assert "cannot say" in printed([replace(JULY, drift=None)])


def test_an_estimate_that_could_not_be_made_is_missed_only_where_no_label_told():
    assert ESTIMATE.message in printed([JULY])
    assert ESTIMATE.message not in printed([JUDGED])


def test_without_a_period_it_says_what_it_waits_for():
    assert "no window with at least 20 groups (such as days) has begun" in printed([])


@pytest.mark.parametrize(
    ("found", "code"),
    [
        ([], UNDECIDED),
        ([GOING_ON], UNDECIDED),
        ([replace(JUDGED, status="degraded"), GOING_ON], FAIL),
        ([JUDGED], PASS),
    ],
    ids=["none", "not over", "worse, then one that goes on", "healthy"],
)
def test_the_exit_code_is_that_of_the_last_period_that_is_over(found, code):
    assert of_watches(found) == code
