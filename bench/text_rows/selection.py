"""Rows of selective answering: coverage at a certified agreement, and how often a certificate is broken.

A message is answered if the largest probability of the pipeline is at least a threshold. An answer agrees if it is the
label; an answer to a message outside of all intents never does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness import Result, Row, shown
from headway.core.arrays import Floats, Ints
from headway.engines.compiled.text import TextModel
from headway.evaluation.selective import certify_threshold
from text_rows import messages
from text_rows.speed import Pipeline

AGREEMENTS, THRESHOLDS, RESPLITS, MOST_BROKEN, FIRST_ERRORS = (0.95, 0.98), 100, 1_000, 0.05, 10
TINY = {"RESPLITS": 10}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """Confidence [n] of each answer, and 1 [n] for each wrong one."""

    confidence: Floats
    errors: Floats

    def of(self, rows: Ints) -> Answers:
        """Return the answers to some rows."""
        return Answers(confidence=self.confidence[rows], errors=self.errors[rows])

    def thresholds(self, limit: float, held_out: int) -> list[float]:
        """Return quantiles of the confidence, to be tested on `held_out` rows.

        The first test of the sequence must have rows enough to pass: 10 errors of them are within the limit.
        """
        coverage = np.linspace(min(0.9, FIRST_ERRORS / limit / held_out), 1, THRESHOLDS)
        found: list[float] = np.quantile(self.confidence, 1 - coverage).tolist()
        return found

    def realised(self, threshold: float) -> tuple[float, float]:
        """Return coverage, and the share of errors among the answers (0 without any)."""
        answered = self.confidence >= threshold
        return float(answered.mean()), float(self.errors[answered].mean()) if answered.any() else 0.0


def certified() -> Result:
    """Choose thresholds on validation, certify on half of the test messages, and answer the other half."""
    known, rows = messages.load(), list[Row]()
    validation, test = _answers(known.validation), _answers(known.test)
    both = [
        ("", validation, test),
        (
            "_with_outside",
            _together(validation, _answers(known.outside_validation)),
            _together(test, _answers(known.outside_test)),
        ),
    ]
    for suffix, chosen, answers in both:
        order = np.random.default_rng(0).permutation(len(answers.errors))
        held_out, rest = answers.of(order[::2]), answers.of(order[1::2])
        rows += [_coverage(agreement, suffix, chosen, held_out, rest) for agreement in AGREEMENTS]
    return messages.with_source((rows, []))


def resplits() -> Result:
    """Certify on rows that are drawn from all messages, of which the true share of errors is known.

    Rows are drawn one by one with replacement, so that they are independent and the messages are the population. The
    second row certifies on a half, and counts the other half: its share of errors has the chance of its rows as well.
    """
    known, rows = messages.load(), list[Row]()
    everything = _together(_answers(known.validation), _answers(known.test))
    n = len(everything.errors)
    for agreement in AGREEMENTS:
        thresholds = everything.thresholds(1 - agreement, n // 2)
        draw, broken, over, given = np.random.default_rng(1), 0, 0, 0
        for _ in range(RESPLITS):
            threshold = _threshold(everything.of(draw.integers(0, n, n // 2)), thresholds, agreement)
            given += bool(np.isfinite(threshold))
            broken += everything.realised(threshold)[1] > 1 - agreement
            order = draw.permutation(n)
            threshold = _threshold(everything.of(order[: n // 2]), thresholds, agreement)
            over += everything.of(order[n // 2 :]).realised(threshold)[1] > 1 - agreement
        about = f"{given:,} of {RESPLITS:,} draws of {n // 2:,} messages certified at agreement {agreement}"
        name, share = f"select.broken_{agreement * 100:.0f}", broken / RESPLITS
        ok = share <= MOST_BROKEN and given > 0
        rows += [
            Row(name=name, measured=share, unit="share", target=f"<= {MOST_BROKEN}", ok=ok, against=about),
            shown(
                f"{name}_on_other_half",
                over / RESPLITS,
                "share",
                f"{RESPLITS:,} splits in halves; errors on the half that was not used, with its own chance",
            ),
        ]
    return messages.with_source((rows, []))


def _coverage(agreement: float, suffix: str, chosen: Answers, held_out: Answers, rest: Answers) -> Row:
    thresholds, limit = chosen.thresholds(1 - agreement, len(held_out.errors)), 1 - agreement
    certificate = certify_threshold(held_out.confidence, held_out.errors, thresholds=thresholds, limit=limit)
    coverage, risk = rest.realised(certificate.threshold)
    answered = round(coverage * len(rest.errors))
    bounds = certificate.coverage
    against = (
        f"realised agreement {1 - risk:.4f} on {answered:,} of {len(rest.errors):,} test messages; certified on "
        f"{len(held_out.errors):,}: agreement at least {1 - certificate.risk.high:.4f}, coverage {bounds.low:.3f} to "
        f"{bounds.high:.3f}; agreement if all are answered {1 - rest.errors.mean():.4f}; {messages.load().source}"
    )
    return shown(f"select.coverage_{agreement * 100:.0f}{suffix}", coverage, "share", against)


def _threshold(answers: Answers, thresholds: list[float], agreement: float) -> float:
    found = certify_threshold(answers.confidence, answers.errors, thresholds=thresholds, limit=1 - agreement)
    return found.threshold


def _answers(split: messages.Split) -> Answers:
    pipeline = Pipeline.of("words")
    scores = TextModel(pipeline.program, {}).score(split.texts)
    wrong = pipeline.model.classes_[scores.argmax(axis=1)] != np.array(split.intents)
    return Answers(confidence=scores.max(axis=1), errors=wrong.astype(np.float64))


def _together(one: Answers, other: Answers) -> Answers:
    return Answers(
        confidence=np.concatenate([one.confidence, other.confidence]),
        errors=np.concatenate([one.errors, other.errors]),
    )
