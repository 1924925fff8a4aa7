"""What a watch means, in one sentence that a person who cannot code understands."""

from __future__ import annotations

from headway.core.config import RetrainSection
from headway.core.evidence import Measurement
from headway.core.watch import Outlook, Watch
from headway.evidence.intervals import FEWEST_GROUPS
from headway.observe.trigger import ALPHA
from headway.release.weigh import Limit, weigh

NAMED = 3
WAYS = 3


def of(watch: Watch, policy: RetrainSection) -> Outlook:
    """Worse where harm is shown by labels, or without them by the estimate; moved where only inputs differ."""
    if _harms(watch, policy):
        return "worse"
    if not watch.quality and not watch.estimated:
        return "unknown"
    return "moved" if watch.drift and watch.drift.alarm else "well"


def sentence(watch: Watch, policy: RetrainSection, *, pending: bool = False) -> str:
    """What was seen, whether it does harm, and what to do; `pending` says that a ticket is open already.

    Harm is never told of inputs alone: what moved may not matter, and what did not move may still have turned.
    """
    harms = _harms(watch, policy)
    said = [_inputs(watch), _rightness(watch, harms)]
    if watch.ticket:
        said.append("a ticket proposes to train it anew")
    elif pending:
        said.append("a ticket to train it anew is open")
    elif watch.outlook == "worse":
        said.append("see what moved, and train it anew or take it back")
    elif watch.outlook in ("well", "moved"):
        said.append("nothing needs to be done")
    return f"{watch.period}: {'; '.join(said)}."


def _inputs(watch: Watch) -> str:
    if watch.drift is None:
        return "whether the inputs moved cannot be said"
    if not watch.drift.alarm:
        return "the inputs look as they did when the release was judged"
    # the first finding tells of all features together, the rest of one each
    named = [finding.where for finding in watch.drift.findings if finding.where != "all"][:NAMED]
    costly = [each.slice for each in watch.harms if each.low > 0][:NAMED]
    most = f", most of all {', '.join(named)}" if named else ""
    price = f" (the move of {', '.join(costly)} is estimated to cost)" if costly else ""
    return f"the inputs are not what they were when the release was judged{most}{price}"


def _rightness(watch: Watch, harms: list[str]) -> str:
    if harms:
        return " and ".join(harms)
    if watch.quality:
        part = "" if watch.n_labelled == watch.n_rows else f" by the {watch.n_labelled:,} labels of {watch.n_rows:,}"
        return f"it is not shown to be worse{part}"
    if watch.estimated:
        return "no label has come yet, and its scores give no sign that it is worse"
    return "no label has come yet, and without them nothing can be said of its quality"


def _harms(watch: Watch, policy: RetrainSection) -> list[str]:
    """Each harm that is shown, as a part of a sentence; the ways to look for it share one chance of a false alarm."""
    ranks, error, cost = watch.find("roc_auc.change"), watch.find("ece"), watch.cost
    found = []
    if ranks is not None and _beyond(ranks, 0.0, sign=-1):
        found.append(f"it ranks worse than when it was judged (AUC {ranks.value:+.3f})")
    if error is not None and _beyond(error, policy.ece_at_most, sign=1):
        found.append(f"its probabilities are off by {error.value:.0%} on average, more than {policy.ece_at_most:.0%}")
    if cost is not None and _beyond(cost, 0.0, sign=1):
        found.append(f"its decisions cost {cost.value:,.0f} a month more")
    return found


def _beyond(found: Measurement, limit: float, *, sign: int) -> bool:
    """Whether it is shown to be above a limit, or (`sign` -1) below it."""
    weighed = weigh(found, Limit(value=limit, sign=sign, alpha=ALPHA / WAYS), fewest_groups=FEWEST_GROUPS)
    return weighed.answer == "fail"
