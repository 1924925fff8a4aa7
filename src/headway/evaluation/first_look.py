"""The cheapest look at a variant: short rounds of its speed, and nothing about its answers."""

from __future__ import annotations

from headway.core.contracts import Blobs
from headway.core.evidence import Evidence
from headway.core.variant import Variant
from headway.evaluation.measure import written
from headway.evaluation.race import timed
from headway.evaluation.subject import Exam, open_variant

ROUNDS, ROUND_NS = 20, 300_000


def first_look(variant: Variant, exam: Exam, blobs: Blobs) -> Evidence:
    """Evidence of speed alone, of twenty short rounds; it decides who is measured further, and no rule of a policy."""
    model = open_variant(variant, blobs)
    found = timed(model, exam.rows, rounds=ROUNDS, round_ns=ROUND_NS) if len(exam.rows) else []
    return written(variant, found, dataset_digest=exam.dataset, period=exam.period)
