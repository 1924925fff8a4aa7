"""A year of real core records with plausible figures: drift, a rollback, a ticket, a retraining, a new release."""

from __future__ import annotations

from msgspec.structs import replace
from stories import cut, estimate, evidence, fact, flights, verdict

from headway.core.evidence import Finding, Measurement
from headway.core.monitoring import Drift, MonitoringAnswer, MonitoringReport, MonitoringStatus, Ticket
from headway.core.release import PointerUpdate
from headway.core.rollout import Plan, Rollout, RolloutStage, RolloutTraffic
from headway.core.search_result import Baseline, SearchResult
from headway.core.training import Retraining
from headway.core.verdict import EvaluatedVariant, Rule, RuleResult, Verdict
from headway.reporting.report_data import (
    DatedRetraining,
    LiveChange,
    MonitoringHistory,
    ReleaseState,
    ReleaseStatus,
    ReportData,
    RolloutSummary,
)

FIRST, SECOND, FEED = (f"sha256:{letter * 64}" for letter in "abf")
NAMES = {FIRST: "first release", SECOND: "retrained in October"}
ABSTAINS = Finding(
    code="O004", severity="undecided", message="quality without labels could not be judged: too uncertain"
)


def watch(
    month: int, release: str = FIRST, status: MonitoringStatus = "drifted", *parts: Measurement, **changes: object
) -> MonitoringReport:
    """What was seen of a month of 2013, whose inputs moved; `parts` are what was measured, or estimated."""
    period = f"2013-{month:02}"
    seen = MonitoringReport(
        name="flights",
        release=release,
        period=period,
        since=f"{period}-01T00:00:00",
        until=f"2013-{month + 1:02}-01T00:00:00" if month < 12 else "2014-01-01T00:00:00",
        n_rows=27_574,
        n_labeled=27_010,
        status=status,
        message=f"{period}: the inputs are not what they were, most of all seats; a ticket proposes to retrain it.",
        drift=Drift(alarm=True, measurements=(fact("drift.p", 0.001),)),
        quality=tuple(part for part in parts if not part.name.endswith(".estimated")),
        estimated=tuple(part for part in parts if part.name.endswith(".estimated")),
    )
    return replace(seen, **changes)


def harmed(*shown: str) -> tuple[MonitoringAnswer, ...]:
    """The measures by which a period is shown to be worse."""
    return (MonitoringAnswer(question="degradation", level=0.05, shown=shown),)


def quality(auc: float, ece: float, half: float = 0.035) -> tuple[Measurement, Measurement]:
    """AUC and calibration error of a month."""
    return estimate("roc_auc", auc, 0.05, rows=27_010), estimate("ece", ece, half, rows=27_010)


def rollout(release: str, status: str, *, share: float = 0.2) -> Rollout:
    """A rollout of one stage that has ended, or not."""
    return Rollout(
        name="flights",
        release=release,
        live=FIRST,
        salt=release[-8:],
        rules=(Rule(measure="decision_churn", at_most=0.05),),
        plan=Plan(stages=(RolloutStage(share=share),)),
        status=status,  # type: ignore[arg-type]
        requests=3_030,
        of_release=597,
        started_at="2026-11-24T18:38:42+00:00",
        stage_at="2026-11-24T18:38:43+00:00",
        why="canary 20 % is rolled back",
    )


def flips(answer: str = "fail") -> Verdict:
    """Return the verdict on the traffic of a release."""
    seen = estimate("decision_churn", 0.34, 0.17, rows=97)
    rule_result = RuleResult(
        rule=Rule(measure="decision_churn", at_most=0.05), answer=answer, message="", measurement=seen
    )  # type: ignore[arg-type]
    return Verdict(answer=answer, subject=FEED, rule_results=(rule_result,), at="2026-11-24T18:38:43+00:00")  # type: ignore[arg-type]


def rolled_back() -> RolloutSummary:
    """A release whose feed broke."""
    return RolloutSummary(
        at="2013-10",
        rollout=rollout(FEED, "rolled back"),
        aim="reads the schedule from a feed",
        verdict=flips(),
        note="After 1,500 requests its feed broke.",
        traffic=RolloutTraffic(answered=597, logged_only=0),
    )


def retraining(*, trainings: int = 3, loss: float = -0.02) -> Retraining:
    """Return a retraining, compared with the live release by Brier score on 28 days."""
    of = cut(150)
    found = (estimate("brier.drop", loss, 0.005, rows=25_312),)
    row = EvaluatedVariant(variant=of, evidence=evidence(of, *found, period="test"), verdict=_better(loss, found[0]))
    return Retraining(
        name="flights",
        key="sha256:" + "c" * 64,
        live=FIRST,
        search_result=SearchResult(
            name="flights", baseline=Baseline(model=of), evaluated=(row,), winner=row, at="2026-11-24T18:39:11+00:00"
        ),
        trainings=trainings,
        seconds=15.3,
        message="retrained on 218,439 rows before 2013-09-02: shown to be better than live",
        release=SECOND,
    )


def _better(loss: float, found: Measurement) -> Verdict:
    of = verdict(cut(150), ())
    rule = Rule(measure="brier.drop", at_most=0.0)
    answer = "pass" if loss < 0 else "fail"
    rule_result = RuleResult(rule=rule, answer=answer, message="", measurement=found)  # type: ignore[arg-type]
    return replace(of, answer=answer, rule_results=(rule_result,))


def ticket(**changes: object) -> Ticket:
    """A ticket for both reasons."""
    made = Ticket(
        name="flights",
        release=FIRST,
        reasons=("rows", "calibration"),
        why="labeled rows grew by 132%, from 105,475 to 244,737",
        at="2013-10-02T00:00:00",
    )
    return replace(made, **changes)


def turn(release: str, *, back: bool = False) -> LiveChange:
    """A move of `live` by hand."""
    move = PointerUpdate(
        name="flights",
        pointer="live",
        number=3,
        release=release,
        previous="",
        at="2026-11-25T10:00:00+00:00",
        who="ada",
        why="callers complain",
    )
    return LiveChange(at="2013-12-05", move=move, back=back)


def year() -> MonitoringHistory:
    """A release that got worse in September, what was done, and the one that took its place in November."""
    retrained = RolloutSummary(
        at="2013-11",
        rollout=rollout(SECOND, "promoted", share=0.5),
        aim=retraining().message,
        verdict=flips("pass"),
    )
    cost = replace(estimate("retrain.expected_loss", 3387.0, 2216.0), unit="cost a month")
    return MonitoringHistory(
        watches=(
            watch(9, FIRST, "degraded", *quality(0.671, 0.135), estimate("roc_auc.estimated", 0.69, 0.08)),
            watch(10, FIRST, "drifted", *quality(0.66, 0.09), unknown=(ABSTAINS,)),
            watch(11, SECOND, "degraded", *quality(0.67, 0.07), cost=cost),
            watch(12, SECOND, "degraded", *quality(0.70, 0.08), cost=cost),
        ),
        tickets=(ticket(),),
        rollouts=(rolled_back(), retrained),
        retrainings=(DatedRetraining(at="2013-10", retraining=retraining()),),
        names=NAMES,
        limits={"ece": 0.05},
    )


def release_state(release: str, status: ReleaseStatus, **changes: object) -> ReleaseState:
    """A release of the flights; one that is not live was ended by the judge."""
    winner = flights().winner
    assert winner is not None
    made = ReleaseState(
        release=release,
        name=winner.variant.name,
        status=status,
        pointer="canary" if status in ("canary", "withdrawn") else "live",
        at="2026-11-24T18:30:42+00:00",
        who="ann",
        why="fastest feasible of 10 variants",
        answer="pass",
        variant=winner.variant,
        verdict=winner.verdict,
    )
    ended = {} if status in ("live", "canary") else {"until": "2026-11-24T18:39:11+00:00", "ended_by": "rollout"}
    return replace(made, **{"ended_why": "33 decisions flipped" if ended else "", **ended, **changes})


def lived() -> ReportData:
    """The flights with their year."""
    return replace(flights(), year=year())


def watched_only(*watches: MonitoringReport) -> ReportData:
    """A project of which nothing is known but what was watched."""
    return ReportData(title="churn", year=MonitoringHistory(watches=watches, names={FIRST: "first release"}))


def renewed() -> ReportData:
    """Return the result of a retraining: its variants, its winner against live, and its history."""
    found = DatedRetraining(at="2013-10", retraining=retraining())
    return replace(
        flights(),
        months=(),
        replay=None,
        refused=None,
        year=MonitoringHistory(retrainings=(found,), tickets=(ticket(),)),
    )
