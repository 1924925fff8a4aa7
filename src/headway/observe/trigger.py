"""When to train anew: labelled rows have grown by half, or calibration is shown to fail; a ticket with its price.

A schedule trains by the calendar; this policy asks for a reason. The ticket names its reasons, the evidence that they
were read from, and what waiting costs against what training costs. Whether a person or headway acts on it is the
policy's `mode`.
"""

from __future__ import annotations

from collections.abc import Iterator

from headway.core.config import RetrainSection
from headway.core.evidence import Measurement
from headway.core.record import Record
from headway.core.ticket import Reason, Ticket
from headway.evidence.intervals import FEWEST_GROUPS
from headway.release.weigh import Limit, weigh

ALPHA = 0.05
HOUR_S = 3600.0


class Situation(Record, frozen=True, kw_only=True):
    """How a live release stands: rows it was trained on, rows labelled by now, and what was measured of it since.

    `calibration` is `ece` of its answers on the last labelled period, recalibrated if it is; `expected_loss` is of
    `observe.price`; `price_s` is what its training took; `evidence` are digests; `at` is the time in ISO 8601.
    """

    name: str
    release: str
    rows_trained: int
    rows_labelled: int
    calibration: Measurement | None = None
    expected_loss: Measurement | None = None
    price_s: float | None = None
    evidence: tuple[str, ...] = ()
    at: str = ""


def propose(situation: Situation, policy: RetrainSection, *, pending: Ticket | None = None) -> Ticket | None:
    """A ticket where the policy gives a reason to train anew, None where it gives none or one is `pending` already.

    Calibration is a reason only if the judge would say fail: the whole one-sided 95 % interval is above the limit.
    """
    if pending is not None and pending.release == situation.release:
        return None
    found = list(_reasons(situation, policy))
    if not found:
        return None
    return Ticket(
        name=situation.name,
        release=situation.release,
        reasons=tuple(reason for reason, _ in found),
        why="; ".join([*(text for _, text in found), *_prices(situation)]),
        evidence=situation.evidence,
        expected_loss=situation.expected_loss,
        price_s=situation.price_s,
        pays=_pays(situation, policy),
        acts=policy.mode == "auto",
        at=situation.at,
    )


def _reasons(situation: Situation, policy: RetrainSection) -> Iterator[tuple[Reason, str]]:
    grown = situation.rows_labelled / max(situation.rows_trained, 1) - 1
    if grown >= policy.rows_grown:
        yield (
            "rows",
            f"labelled rows grew by {grown:.0%}, from {situation.rows_trained:,} to {situation.rows_labelled:,}",
        )
    found = situation.calibration
    if found is None:
        return
    limit = Limit(value=policy.ece_at_most, sign=1, alpha=ALPHA)
    if weigh(found, limit, fewest_groups=FEWEST_GROUPS).answer == "fail":
        yield (
            "calibration",
            f"the calibration error is {found.value:.3f} [{found.low:.3f}, {found.high:.3f}] on {found.n_rows:,} rows "
            f"of {found.n_groups} groups, shown to be above {policy.ece_at_most:g}",
        )


def _prices(situation: Situation) -> Iterator[str]:
    loss = situation.expected_loss
    if loss is not None:
        yield f"it costs {loss.value:,.0f} [{loss.low:,.0f}, {loss.high:,.0f}] a month more than when it was judged"
    if situation.price_s is not None:
        yield f"the last training took {situation.price_s:,.0f} s"


def _pays(situation: Situation, policy: RetrainSection) -> bool | None:
    """Whether the expected loss of a month is above the price of a training with all its seeds; None if not known."""
    if situation.expected_loss is None or situation.price_s is None:
        return None
    return situation.expected_loss.value > situation.price_s / HOUR_S * policy.hour_costs
