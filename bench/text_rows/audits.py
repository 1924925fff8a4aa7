"""Rows of audits: how often a certificate is withdrawn by mistake, and how soon after a shift of messages.

A life is a sequence of answers that were drawn for the audit, each with its label, and audited after each. They are
drawn with replacement from messages of which the true share of errors is known.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness import Result, Row, shown
from headway.core.arrays import Bools, Floats
from headway.engines.compiled.text import TextModel
from headway.evaluation.selective import audited_rows_needed, certify_threshold, is_broken
from headway.evaluation.settings.answer import AnswerSection
from headway.evaluation.statistics.sequential import bet_returns, log_wealth
from text_rows import messages
from text_rows.selection import Answers
from text_rows.speed import Pipeline

AGREEMENT, LEVEL, LIVES, LIFE, MOST_WITHDRAWN = 0.95, 0.95, 1_000, 3_000, 0.05
DAY_LIVES, DAYS, BAD_DAYS, WORSE = 200, 90, 0.1, 4.0
BEFORE, OUTSIDE = 500, 0.3
TINY = {"LIVES": 20, "LIFE": 600, "DAY_LIVES": 5, "BEFORE": 50}


def withdrawals() -> Result:
    """Audit answers whose share of errors is the limit itself, which is the hardest to keep, for whole lives."""
    errors = _certified().answered.errors
    if not errors.any():
        return messages.with_source(
            ([], [f"audit.false_withdrawals: {len(errors):,} messages are answered, none wrongly"])
        )
    draw, limit = np.random.default_rng(1), float(errors.mean())
    lives = [errors[draw.integers(0, len(errors), LIFE)] for _ in range(LIVES)]
    withdrawn = [bool(_broken(life, limit).any()) for life in lives]
    days = [_by_days(limit, draw) for _ in range(DAY_LIVES)]
    return messages.with_source(
        (
            [
                _at_most(
                    "audit.false_withdrawals",
                    float(np.mean(withdrawn)),
                    f"{LIVES:,} lives of {LIFE:,} audits, one after each answer; {limit:.3f} of {len(errors):,} "
                    "answered messages are wrong, which is the limit",
                ),
                _at_most(
                    "audit.false_withdrawals_days",
                    float(np.mean(days)),
                    f"{DAY_LIVES} lives of {DAYS} days of 2 to 20 answers, of which {BAD_DAYS:.0%} have {WORSE:g} "
                    "times as many errors as the others; audited by whole days, after each",
                ),
            ],
            [],
        )
    )


def shifts() -> Result:
    """Add messages outside of all intents, which the model answers if it is confident, and count until withdrawal."""
    known, limit = _certified(), 1 - AGREEMENT
    before, outside = known.answered, _answers(messages.load().outside_test)
    if not len(before.errors):
        return messages.with_source(([], ["audit.rows_to_withdrawal: no threshold is certified on these messages"]))
    coverage, wrong = len(before.errors) / len(known.everything.errors), outside.confidence >= known.threshold
    share = OUTSIDE * float(wrong.mean())
    answered = (1 - OUTSIDE) * coverage + share
    risk = (share + (1 - OUTSIDE) * coverage * float(before.errors.mean())) / answered
    draw, found = np.random.default_rng(2), []
    for _ in range(LIVES):
        first = before.errors[draw.integers(0, len(before.errors), BEFORE)]
        later = np.where(
            draw.random(LIFE) < share / answered, 1.0, before.errors[draw.integers(0, len(before.errors), LIFE)]
        )
        broken = _broken(np.concatenate([first, later]), limit)[BEFORE:]
        found.append(int(broken.argmax()) + 1 if broken.any() else LIFE + 1)
    rows = float(np.median(found))
    needed = audited_rows_needed(limit, risk, alpha=1 - LEVEL)
    audit_share = AnswerSection().audit_share
    about = (
        f"median of {LIVES:,} lives with {BEFORE} audited answers before; {OUTSIDE:.0%} of the messages are then "
        f"outside of all intents, and {risk:.3f} of the answers are wrong at a limit of {limit:.2f}"
    )
    return messages.with_source(
        (
            [
                shown("audit.rows_to_withdrawal", rows, "audited answers", f"{about}; {needed} without a time before"),
                shown(
                    "audit.messages_to_withdrawal",
                    rows / audit_share / answered,
                    "messages",
                    f"{about}; {audit_share:.0%} of the answers are audited",
                ),
                shown(
                    "audit.found", float(np.mean(np.array(found) <= LIFE)), "share", f"{about}; within {LIFE:,} audits"
                ),
            ],
            [],
        )
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Certified:
    """Answers to all messages with an intent, and the threshold that is certified on the test messages."""

    everything: Answers
    threshold: float

    @property
    def answered(self) -> Answers:
        """Answers above the threshold."""
        return self.everything.of(np.flatnonzero(self.everything.confidence >= self.threshold))


def _certified() -> _Certified:
    validation, test = _answers(messages.load().validation), _answers(messages.load().test)
    limit = 1 - AGREEMENT
    thresholds = validation.thresholds(limit, len(test.errors))
    found = certify_threshold(test.confidence, test.errors, thresholds=thresholds, limit=limit, level=LEVEL)
    everything = Answers(
        confidence=np.concatenate([validation.confidence, test.confidence]),
        errors=np.concatenate([validation.errors, test.errors]),
    )
    return _Certified(everything=everything, threshold=found.threshold)


def _answers(split: messages.Split) -> Answers:
    pipeline = Pipeline.of("words")
    scores = TextModel(pipeline.program, {}).score(split.texts)
    wrong = pipeline.model.classes_[scores.argmax(axis=1)] != np.array(split.intents)
    return Answers(confidence=scores.max(axis=1), errors=wrong.astype(np.float64))


def _broken(errors: Floats, limit: float) -> Bools:
    """Return after which answers of a life an audit withdraws: what `is_broken` says of each beginning."""
    wealth = log_wealth(np.log(bet_returns(errors, limit)).cumsum(axis=0))
    found: Bools = wealth >= -np.log(1 - LEVEL)
    assert bool(found[-1]) == is_broken(errors, limit=limit, alpha=1 - LEVEL)
    return found


def _by_days(limit: float, draw: np.random.Generator) -> bool:
    """Return whether a life of days, of which some are bad, is withdrawn; their mean share of errors is the limit."""
    days = np.repeat(np.arange(DAYS), draw.integers(2, 21, DAYS))
    usual = limit / (1 + BAD_DAYS * (WORSE - 1))
    share = np.where(draw.random(DAYS) < BAD_DAYS, WORSE, 1.0)[days] * usual
    wrong = (draw.random(len(days)) < share).astype(np.float64)
    ends = np.flatnonzero(np.diff(days, append=DAYS)) + 1
    return any(is_broken(wrong[:end], groups=days[:end], limit=limit, alpha=1 - LEVEL) for end in ends.tolist())


def _at_most(name: str, measured: float, against: str) -> Row:
    ok = measured <= MOST_WITHDRAWN
    return Row(name=name, measured=measured, unit="share", target=f"<= {MOST_WITHDRAWN}", ok=ok, against=against)
