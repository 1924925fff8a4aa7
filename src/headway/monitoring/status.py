"""Status of a monitoring report, and its message."""

from __future__ import annotations

from headway.core.evidence import Measurement
from headway.core.sections.retrain import RetrainSection
from headway.core.watch import MonitoringReport, MonitoringStatus
from headway.monitoring.degradation import AUC_CHANGE, CALIBRATION_ERROR, COST, exceeds, format_amount

NAMED = 3
QUALITY = "quality"


def monitoring_status(watch: MonitoringReport) -> MonitoringStatus:
    """Return the status: degraded if labels show it, drifted if only inputs moved, unknown without any quality estimate."""
    reply = watch.reply("harm")
    if reply and reply.shown:
        return "degraded"
    if not watch.is_complete or not (watch.quality or watch.estimated):
        return "unknown"
    return "drifted" if watch.drift and watch.drift.alarm else "healthy"


def status_message(watch: MonitoringReport, policy: RetrainSection, *, pending: bool = False) -> str:
    """Say in one sentence what was found and what to do; `pending` means that a ticket was open already.

    Drift alone is never reported as degradation: what moved may not matter, and the relation may change without drift.
    """
    said = [_inputs(watch), _rightness(watch, policy)] if watch.is_complete else [_so_far(watch)]
    if watch.ticket:
        said.append("a ticket proposes to train it anew")
    elif pending:
        said.append("a ticket to train it anew is open")
    elif watch.status == "degraded":
        said.append("see what moved, and train it anew or take it back")
    elif watch.reply("harm") and watch.status in ("healthy", "drifted"):
        said.append("nothing needs to be done")
    return f"{watch.period}: {'; '.join(said)}."


def _so_far(watch: MonitoringReport) -> str:
    return f"it is not over: {watch.n_rows:,} rows so far, {watch.n_labeled:,} with a label; it is judged once it is"


def _inputs(watch: MonitoringReport) -> str:
    if watch.drift is None:
        return "whether the inputs moved cannot be said"
    if not watch.drift.alarm:
        return "no change of the inputs is shown since the release was judged"
    named = _and(_moved(watch)[:NAMED])
    most = f": {named} moved" if named else ""
    costly = _and(_costly(watch)[:NAMED])
    price = f" (the move of {costly} is estimated to cost)" if costly else ""
    return f"the inputs are not what they were when the release was judged{most}{price}"


def _moved(watch: MonitoringReport) -> list[str]:
    """Return the features that are shown to have moved, those with the largest estimated cost first."""
    drift = watch.drift
    # the first finding tells of all features together, the rest of one each
    named = [finding.where for finding in drift.findings if finding.where != "all"] if drift else []
    indexes = {each.slice: index for index, each in enumerate(watch.drift_costs)}
    return sorted(named, key=lambda name: indexes.get(name, len(indexes)))


def _costly(watch: MonitoringReport) -> list[str]:
    """Return the features whose drift is shown to cost, all of them together at the level of the drift test."""
    inputs = watch.reply("drift")
    if inputs is None or not watch.drift_costs:
        return []
    return [
        each.slice for each in watch.drift_costs if exceeds(each, 0.0, 1, alpha=inputs.level / len(watch.drift_costs))
    ]


def _rightness(watch: MonitoringReport, policy: RetrainSection) -> str:
    reply = watch.reply("harm")
    if reply and reply.shown:
        by = f"{_by(watch).strip()}, " if _by(watch) else ""
        return by + _and(_harms(watch, reply.shown, policy))
    if reply:
        return f"it is not shown to be worse{_by(watch)}"
    if watch.n_labeled:
        return _untold(watch) or (
            f"{watch.n_labeled:,} labels of {watch.n_rows:,} have come, and it is judged once all have had their time "
            f"and 20 groups have some{_lost(watch)}"
        )
    if watch.estimated:
        return f"no label has come yet, and its scores would give {_estimate(watch)}"
    return f"no label has come yet, and without them nothing can be said of its quality{_lost(watch)}"


def _untold(watch: MonitoringReport) -> str:
    """Why labels that have come tell nothing of its quality."""
    return next((each.message for each in watch.unknown if each.message.startswith(f"{QUALITY} cannot be said")), "")


def _by(watch: MonitoringReport) -> str:
    if watch.n_labeled == watch.n_rows:
        return ""
    return f" by the {watch.n_labeled:,} labels of {watch.n_rows:,}{_lost(watch)}"


def _lost(watch: MonitoringReport) -> str:
    return f" ({watch.n_without_key:,} answers have no key, so that no label can come)" if watch.n_without_key else ""


def _estimate(watch: MonitoringReport) -> str:
    area = watch.find("roc_auc.estimated") or watch.estimated[0]
    return f"an AUC of {area.value:.2f} ({area.low:.2f} to {area.high:.2f}) if they mean what they meant"


def _harms(watch: MonitoringReport, shown: tuple[str, ...], policy: RetrainSection) -> list[str]:
    """Return each degradation that is shown, as a part of a sentence."""
    ranks, error, cost = watch.find(AUC_CHANGE), watch.find("ece"), watch.cost
    found = []
    if AUC_CHANGE in shown and ranks:
        found.append(f"it ranks worse than when it was judged (AUC {ranks.value:+.3f})")
    if CALIBRATION_ERROR in shown and error:
        then = _when_judged(watch, error)
        found.append(
            f"its probabilities are off by {error.value:.0%} on average, more than {policy.ece_at_most:.0%}{then}"
        )
    if COST in shown and cost:
        found.append(f"its decisions cost {format_amount(cost.value)} a month more than when it was judged")
    broken = [each for each in watch.rule_results if each.answer == "fail" and each.measurement]
    return [*found, *(f"it breaks a rule of its policy ({each.message})" for each in broken)]


def _when_judged(watch: MonitoringReport, error: Measurement) -> str:
    change = watch.find("ece.change")
    return f" ({error.value - change.value:.0%} when it was judged)" if change else ""


def _and(names: list[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else "".join(names)
