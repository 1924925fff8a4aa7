"""Status of a monitoring report, its message, and the retraining ticket that it may open.

A ticket needs a reason: labeled rows have grown by half, or calibration is shown to fail. Where calibration fails in a
period with a broken input, the reason is the feed, which no retraining repairs. A ticket names the reasons and
their evidence, and compares the cost of waiting with the cost of training. Whether a person or headway acts on it is
the policy's `mode`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from msgspec.structs import replace

from headway.core.evidence import Measurement
from headway.core.monitoring import (
    ACCURACY_CHANGE,
    AUC_CHANGE,
    BIAS,
    CALIBRATION_ERROR,
    COST,
    F1_CHANGE,
    INPUT_BROKE,
    LOG_LOSS_CHANGE,
    BrokenInput,
    MonitoringReport,
    MonitoringStatus,
    Reason,
    Ticket,
)
from headway.monitoring.bias import describe_gap
from headway.monitoring.degradation import (
    HARMFUL,
    exceeds,
    format_amount,
)
from headway.monitoring.settings.retrain import RetrainSection

NAMED_FEATURES = 3
HOUR_S = 3600.0
MAX_LOST = 0.05
"""Share of the rows of a period that the log may have lost; the period is unknown if more are."""
QUALITY_NOT_JUDGED = "O003"
"""Code of the finding that gives the reason why the labels do not show the quality."""


_CHANGES = {
    ACCURACY_CHANGE: "fewer of its answers are right",
    F1_CHANGE: "its macro F1 is lower",
    LOG_LOSS_CHANGE: "its probabilities fit worse, with a higher log loss",
}


def monitoring_status(report: MonitoringReport) -> MonitoringStatus:
    """Return the status: degraded if labels show it, drifted if only inputs moved.

    Unknown if the log lost many rows, if the inputs could not be judged, or the quality neither by labels nor by an
    estimate: what could not be judged is never healthy. A period is also unknown if its labels leave a large
    degradation possible: nothing is shown, but for lack of data.
    """
    answer = report.reply("degradation")
    if answer and answer.shown:
        return "degraded"
    if report.n_lost > MAX_LOST * (report.n_rows + report.n_lost):
        return "unknown"
    if not report.is_complete or report.drift is None or not (answer or report.estimated):
        return "unknown"
    if answer and answer.not_excluded:
        return "unknown"
    return "drifted" if report.drift.alarm else "healthy"


def recovered_from(report: MonitoringReport, earlier: Sequence[MonitoringReport]) -> str:
    """Return the label of the last judged period before this one if it was degraded and this one is not, else empty.

    Periods in which nothing could be decided in between are passed over.
    """
    if not report.reply("degradation") or report.status not in ("healthy", "drifted"):
        return ""
    before = [
        one
        for one in reversed(earlier)  # the last report on a period that was judged again
        if one.source == report.source
        and one.until <= report.since
        and one.reply("degradation")
        and one.status != "unknown"
    ]
    last = max(before, key=lambda one: one.until, default=None)
    return last.period if last is not None and last.status == "degraded" else ""


def status_message(report: MonitoringReport, policy: RetrainSection, *, pending: bool = False) -> str:
    """Return the result and the next action in one sentence; `pending` means that a ticket was already open.

    Drift alone is never reported as degradation: what moved may not matter, and the relation may change without drift.
    """
    parts = [_describe_inputs(report), _describe_quality(report, policy)]
    if not report.is_complete:
        parts = [
            f"the period has not ended: {report.n_rows:,} rows so far, {report.n_labeled:,} labeled; "
            "it is judged when it has ended"
        ]
    answer = report.reply("degradation")
    if report.recovered_from:
        parts.append(f"it has recovered: what was shown in {report.recovered_from} is shown no more")
    if report.n_lost:
        parts.append(f"the log lost {report.n_lost:,} rows, and the time in which it did is not judged")
    if report.ticket and report.ticket.broken:
        parts.append("a ticket says to repair the feed before anything is trained on these days")
    elif report.ticket and not pending:
        parts.append("a ticket proposes to retrain")
    elif report.ticket:
        parts.append(f"a retraining ticket is open, renewed: {'; '.join(_costs_of_waiting(report.cost, None))}")
    elif pending:
        parts.append("a retraining ticket is open")
    elif report.status == "degraded":
        parts.append("check what moved, and retrain or roll back")
    elif _broken_inputs(report):
        parts.append("check what fills them before anything else")
    elif answer and answer.not_excluded:
        parts.append("this is not a reason to do nothing: more labels or a longer period (--every 1q) would decide")
    elif answer and report.status in ("healthy", "drifted"):
        parts.append("no action is needed")
    return f"{report.period}: {'; '.join(parts)}."


def _describe_inputs(report: MonitoringReport) -> str:
    if report.drift is None:
        return "drift of the inputs cannot be judged"
    if not report.drift.alarm:
        return "no drift of the inputs is shown since the release was judged"
    moved = _join(_moved_features(report)[:NAMED_FEATURES])
    costly = _join(_costly_features(report)[:NAMED_FEATURES])
    named = f": {moved} moved" if moved else ""
    cost = f" (the drift of {costly} is estimated to cost)" if costly else ""
    broken = "".join(f"; {message}" for message in _broken_inputs(report)[:NAMED_FEATURES])
    return f"the inputs have drifted since the release was judged{named}{cost}{broken}"


def _broken_inputs(report: MonitoringReport) -> list[str]:
    """Return what the rules found of inputs that broke."""
    return [found.message for found in report.drift.findings if found.code == INPUT_BROKE] if report.drift else []


def _moved_features(report: MonitoringReport) -> list[str]:
    """Return the features that are shown to have moved, those with the largest estimated cost first."""
    findings = report.drift.findings if report.drift else ()
    names = [finding.where for finding in findings if finding.where != "all"]
    ranks = {cost.slice: rank for rank, cost in enumerate(report.drift_costs)}
    return sorted(names, key=lambda name: ranks.get(name, len(ranks)))


def _costly_features(report: MonitoringReport) -> list[str]:
    """Return the features whose drift is shown to cost, all of them together at the level of the drift test."""
    answer = report.reply("drift")
    if answer is None or not report.drift_costs:
        return []
    alpha = answer.level / len(report.drift_costs)
    return [cost.slice for cost in report.drift_costs if exceeds(cost, 0.0, 1, alpha=alpha)]


def _describe_quality(report: MonitoringReport, policy: RetrainSection) -> str:
    answer = report.reply("degradation")
    without_key = ""
    if report.n_without_key:
        without_key = f" ({report.n_without_key:,} predictions have no key and cannot get a label)"
    labels = f"the {report.n_labeled:,} labels of {report.n_rows:,} rows{without_key}"
    if answer and answer.shown:
        by = "" if report.n_labeled == report.n_rows else f"by {labels}, "
        return by + _join(_degradations(report, answer.shown, policy))
    if answer:
        shown = "no degradation is shown" + ("" if report.n_labeled == report.n_rows else f" by {labels}")
        if not answer.not_excluded:
            return shown
        return f"{shown}, but a large one is not excluded: {_join(_possible(report, answer.not_excluded, policy))}"
    if report.n_labeled:
        reasons = (finding.message for finding in report.unknown if finding.code == QUALITY_NOT_JUDGED)
        return next(
            reasons,
            f"{report.n_labeled:,} of {report.n_rows:,} labels have arrived; quality is judged when all have had their "
            f"time and 20 groups have some{without_key}",
        )
    if report.estimated:
        area = report.find("roc_auc.estimated") or report.estimated[0]
        return (
            f"no label has arrived yet; an AUC of {area.value:.2f} ({area.low:.2f} to {area.high:.2f}) is estimated "
            "from the scores, if their calibration still holds"
        )
    return f"no label has arrived yet, and without labels the quality cannot be estimated{without_key}"


def _degradations(report: MonitoringReport, shown: tuple[str, ...], policy: RetrainSection) -> list[str]:
    """Return each degradation that is shown, as a part of a sentence."""
    auc_change, error, cost = report.find(AUC_CHANGE), report.find("ece"), report.cost
    parts = []
    if AUC_CHANGE in shown and auc_change:
        parts.append(f"it ranks worse than when it was judged (AUC {auc_change.value:+.3f})")
    for name, words in _CHANGES.items():
        if name in shown and (change := report.find(name)):
            parts.append(f"{words} than when it was judged (by {abs(change.value):.3f})")
    if CALIBRATION_ERROR in shown and error:
        parts.append(
            f"its probabilities are off by {error.value:.0%} on average, limit {policy.ece_at_most:.0%}"
            f"{_error_when_judged(report, error)}"
        )
    if COST in shown and cost:
        parts.append(f"its decisions cost {format_amount(cost.value)} a month more than when it was judged")
    if BIAS in shown:
        parts += [f"{describe_gap(gap)}: {gap.direction}" for gap in report.bias if gap.direction in HARMFUL]
    failed = [result for result in report.rule_results if result.answer == "fail" and result.measurement]
    return [*parts, *(f"it breaks a rule of its policy ({result.message})" for result in failed)]


def _possible(report: MonitoringReport, names: tuple[str, ...], policy: RetrainSection) -> list[str]:
    """Return each degradation that is not excluded, with the interval that leaves it open."""
    auc_change, cost = report.find(AUC_CHANGE), report.cost
    error = report.find("ece") or report.find(CALIBRATION_ERROR)
    parts = []
    if AUC_CHANGE in names and auc_change:
        parts.append(f"the AUC has changed by {auc_change.low:+.2f} to {auc_change.high:+.2f} since it was judged")
    for name, measure in ((ACCURACY_CHANGE, "accuracy"), (F1_CHANGE, "macro F1")):
        if name in names and (change := report.find(name)):
            parts.append(f"the {measure} has changed by {change.low:+.2f} to {change.high:+.2f} since it was judged")
    if CALIBRATION_ERROR in names and error:
        low = max(error.low, 0.0)
        parts.append(f"the calibration error is {low:.0%} to {error.high:.0%}, limit {policy.ece_at_most:.0%}")
    if COST in names and cost:
        ends = f"{format_amount(cost.low)} to {format_amount(cost.high)}"
        parts.append(f"the decisions cost {ends} a month more than when it was judged")
    undecided = [result for result in report.rule_results if str(result.rule) in names]
    return [*parts, *(f"a rule of its policy is undecided ({result.message})" for result in undecided)]


def _error_when_judged(report: MonitoringReport, error: Measurement) -> str:
    change = report.find("ece.change")
    return f" ({error.value - change.value:.0%} when it was judged)" if change else ""


def _join(names: list[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else "".join(names)


def propose_retraining(
    policy: RetrainSection,
    *,
    name: str,
    release: str,
    rows_trained: int,
    rows_labeled: int,
    calibration: Measurement | None = None,
    calibration_failed: bool = False,
    expected_loss: Measurement | None = None,
    price_s: float | None = None,
    evidence: Sequence[str] = (),
    at: str = "",
    until: str = "",
    opened_at: str = "",
    pending: Ticket | None = None,
    broken: Sequence[BrokenInput] = (),
) -> Ticket | None:
    """Return a ticket if the policy gives a reason to retrain, None if it gives none.

    A pending ticket is not opened again, but what waiting costs is renewed by a later period that was measured: then
    the pending ticket is returned with the new price, and with new reasons.

    Parameters
    ----------
    rows_trained, rows_labeled : int
        Number of rows that the release was trained on (0: unknown), and of rows that are labeled by now.
    calibration : Measurement, optional
        The `ece` of its predictions on the last labeled period.
    calibration_failed : bool
        Whether the predictions are shown to be off by more than the policy allows.
    expected_loss : Measurement, optional
        See `monitoring.degradation.expected_loss`.
    price_s : float, optional
        Time of a training with all its seeds.
    evidence : sequence of str
        Digests of evidence.
    at, until : str
        Time of the proposal in the data, and end of the period that it rests on, in ISO 8601.
    opened_at : str
        Time of the proposal by the clock, in ISO 8601.
    broken : sequence of BrokenInput
        Inputs out of their range in that period.
    """
    is_open = pending is not None and pending.release == release
    if pending is not None and is_open and (expected_loss is None or until <= (pending.priced_until or pending.at)):
        return None
    reasons: dict[Reason, str] = {}
    growth = rows_labeled / rows_trained - 1 if rows_trained else 0.0
    if growth >= policy.rows_grown:
        reasons["rows"] = f"labeled rows grew by {growth:.0%}, from {rows_trained:,} to {rows_labeled:,}"
    if calibration is not None and calibration_failed:
        reasons["inputs" if broken else "calibration"] = (
            f"the calibration error is {calibration.value:.3f} [{calibration.low:.3f}, {calibration.high:.3f}] on "
            f"{calibration.n_rows:,} rows of {calibration.n_groups} groups, shown to be above {policy.ece_at_most:g}"
        )
    if not reasons and not is_open:
        return None
    pays = None
    if expected_loss is not None and price_s is not None:
        pays = expected_loss.value > price_s / HOUR_S * policy.hour_costs
    if pending is not None and is_open:
        return replace(
            pending,
            reasons=tuple(dict.fromkeys((*pending.reasons, *reasons))),
            why="; ".join([*(reasons.values() or [_opening(pending)]), *_costs_of_waiting(expected_loss, price_s)]),
            evidence=tuple(dict.fromkeys((*pending.evidence, *evidence))),
            expected_loss=expected_loss,
            price_s=price_s,
            pays=pays,
            priced_until=until,
            broken=tuple(broken),
        )
    return Ticket(
        name=name,
        release=release,
        reasons=tuple(reasons),
        why="; ".join([*reasons.values(), *_costs_of_waiting(expected_loss, price_s)]),
        evidence=tuple(evidence),
        expected_loss=expected_loss,
        price_s=price_s,
        pays=pays,
        acts=policy.mode == "auto",
        at=at,
        priced_until=until,
        opened_at=opened_at,
        broken=tuple(broken),
    )


def with_broken_inputs(ticket: Ticket, broken: Sequence[BrokenInput]) -> Ticket:
    """Return a ticket with the inputs that are broken now; without any, those are no reason any more."""
    reasons = tuple(reason for reason in ticket.reasons if broken or reason != "inputs")
    return replace(ticket, broken=tuple(broken), reasons=reasons)


def _opening(pending: Ticket) -> str:
    """Return that the reasons of an open ticket are no longer given."""
    words: dict[Reason, str] = {
        "rows": "the number of labeled rows",
        "calibration": "the calibration error",
        "certificate": "the withdrawn certificate",
        "inputs": "broken inputs",
    }
    opened = _join([words[reason] for reason in pending.reasons])
    return f"opened on {pending.at[:10]} for {opened}, for which the last period gives no reason any more"


def _costs_of_waiting(loss: Measurement | None, price_s: float | None) -> Iterator[str]:
    if loss is not None:
        word, sign = ("less", -1) if loss.high < 0 else ("more", 1)
        low, high = sorted((sign * loss.low, sign * loss.high))
        price = format_amount(sign * loss.value)
        if loss.has_interval:
            price += f" [{format_amount(low)}, {format_amount(high)}]"
        else:
            price += " (its interval is not known)"
        yield f"its decisions are estimated to cost {price} a month {word} than when it was judged"
    if price_s is not None:
        yield f"a training takes about {price_s:,.0f} s"
