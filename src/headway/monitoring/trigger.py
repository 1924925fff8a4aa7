"""Retraining trigger: labeled rows have grown by half, or calibration is shown to fail; a ticket with its costs.

Unlike a schedule, this policy requires a reason. The ticket names its reasons, their evidence, and compares the cost of
waiting with the cost of training. Whether a person or headway acts on it is the policy's `mode`.
"""

from __future__ import annotations

from collections.abc import Iterator

from headway.core.evidence import Measurement
from headway.core.record import Record
from headway.core.sections.retrain import RetrainSection
from headway.core.ticket import Reason, Ticket
from headway.monitoring.degradation import format_amount

HOUR_S = 3600.0


class RetrainingInputs(Record, frozen=True, kw_only=True):
    """State of a live release: rows it was trained on, rows labeled by now, and what was measured since.

    `calibration` is the `ece` of its predictions on the last labeled period; `off` means that they are shown to be off by
    more than the policy allows; `expected_loss` comes from `monitoring.degradation`; `price_s` is the time of a training
    with all its seeds; `evidence` are digests; `at` is the time in ISO 8601.
    """

    name: str
    release: str
    rows_trained: int
    rows_labeled: int
    calibration: Measurement | None = None
    off: bool = False
    expected_loss: Measurement | None = None
    price_s: float | None = None
    evidence: tuple[str, ...] = ()
    at: str = ""


def propose_retraining(
    situation: RetrainingInputs, policy: RetrainSection, *, pending: Ticket | None = None
) -> Ticket | None:
    """Return a ticket if the policy gives a reason to retrain, None if it gives none or a ticket is `pending`."""
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


def _reasons(situation: RetrainingInputs, policy: RetrainSection) -> Iterator[tuple[Reason, str]]:
    grown = situation.rows_labeled / max(situation.rows_trained, 1) - 1
    if grown >= policy.rows_grown:
        yield (
            "rows",
            f"labeled rows grew by {grown:.0%}, from {situation.rows_trained:,} to {situation.rows_labeled:,}",
        )
    found = situation.calibration
    if found is not None and situation.off:
        yield (
            "calibration",
            f"the calibration error is {found.value:.3f} [{found.low:.3f}, {found.high:.3f}] on {found.n_rows:,} rows "
            f"of {found.n_groups} groups, shown to be above {policy.ece_at_most:g}",
        )


def _prices(situation: RetrainingInputs) -> Iterator[str]:
    loss = situation.expected_loss
    if loss is not None:
        word, sign = ("less", -1) if loss.high < 0 else ("more", 1)
        low, high = sorted((sign * loss.low, sign * loss.high))
        price = f"{format_amount(sign * loss.value)} [{format_amount(low)}, {format_amount(high)}]"
        yield f"its decisions are estimated to cost {price} a month {word} than when it was judged"
    if situation.price_s is not None:
        yield f"a training takes about {situation.price_s:,.0f} s"


def _pays(situation: RetrainingInputs, policy: RetrainSection) -> bool | None:
    """Return whether a month's expected loss exceeds the cost of a training with all its seeds; None if unknown."""
    if situation.expected_loss is None or situation.price_s is None:
        return None
    return situation.expected_loss.value > situation.price_s / HOUR_S * policy.hour_costs
