"""Coverage of the intervals of a recipe's rates, over draws of rows in groups and of trainings, by simulation."""

from __future__ import annotations

import numpy as np

from harness import Result, Row
from headway.core.evidence import Measurement
from headway.evaluation.membership_inference import Attacked, AttackRates, Shadows, Signals, score_all

LEAST = 0.93
WORLDS, TRUTHS = 300, 30
CASES = ((400, 1, 12, 0.3), (200, 5, 12, 0.3), (200, 5, 12, 0.0), (4_000, 1, 12, 0.3))
"""Groups, rows of each, models (half of the pairs calibrate), and the leak."""
TINY = {"WORLDS": 4, "TRUTHS": 2, "CASES": ((420, 1, 12, 0.3),)}
ATTACKS = ("lira", "rmia", "population")
RATES = {"auc": 0.0, "tpr_1pct": 0.01, "tpr_0.1pct": 0.001}


def _world(rng: np.random.Generator, n_groups: int, per: int, models: int, leak: float) -> dict[str, Measurement]:
    """Return the measurements of one draw of rows and trainings: difficulty and leak differ by row and by group."""
    groups = np.repeat(np.arange(n_groups), per)
    n_rows = len(groups)
    base = 1 + rng.normal(size=n_groups)[groups] * 0.5 + rng.normal(size=n_rows)
    strength = leak * np.exp(0.7 * rng.normal(size=n_groups)[groups] + 0.7 * rng.normal(size=n_rows))
    signals, inside = list[Signals](), list[np.ndarray[tuple[int], np.dtype[np.bool_]]]()
    for _ in range(models // 2):
        first = (rng.permutation(n_groups) < n_groups // 2)[groups]
        for members in (first, ~first):
            noise = 0.1 * rng.normal() + 0.2 * rng.normal(size=n_groups)[groups] + 0.4 * rng.normal(size=n_rows)
            confidence = base + noise + strength * members
            signals.append(Signals(confidence, -np.log1p(np.exp(-confidence)), (confidence > 0).astype(np.float64)))
            inside.append(members)
    known = Shadows.of(signals, inside)
    calibration = known.some([model for model in range(models) if model // 2 % 2 == 0])
    scores: dict[str, list[Attacked]] = {attack: [] for attack in ATTACKS}
    for model in range(models):
        if model // 2 % 2:
            found = score_all(signals[model], calibration, has_labels=False)
            for attack in ATTACKS:
                scores[attack].append(Attacked(scores=found[attack], members=inside[model]))
    measured = dict[str, Measurement]()
    for attack, attacked in scores.items():
        rates = AttackRates(attacked, groups)
        measured[f"auc {attack}"] = rates.auc("auc")
        for name, rate in RATES.items():
            if rate and rate * rates.n_others >= 2:
                measured[f"{name} {attack}"] = rates.true_positive_rate(name, rate)
    return measured


def rows() -> Result:
    """Count how often each interval holds the mean of worlds with ten times the groups."""
    held: dict[str, list[bool]] = {}
    for number, (n_groups, per, models, leak) in enumerate(CASES):
        rng = np.random.default_rng(number)
        truths = [_world(rng, min(10 * n_groups, 8_000), per, models, leak) for _ in range(TRUTHS)]
        for _ in range(WORLDS):
            for key, one in _world(rng, n_groups, per, models, leak).items():
                truth = float(np.mean([found[key].value for found in truths]))
                case = f"{key}, {n_groups} groups of {per}, leak {leak:g}"
                held.setdefault(case, []).append(one.low <= truth <= one.high)
    shares = {case: float(np.mean(covered)) for case, covered in held.items()}
    worst = min(shares, key=lambda case: shares[case])
    rates = [case for case in shares if not case.startswith("auc")]
    mean = float(np.mean([shares[case] for case in rates]))
    about = f"{len(shares)} measures and worlds, {WORLDS} draws each; nominal 0.95"
    return [
        Row(
            name="mia.coverage",
            measured=mean,
            unit="share",
            target=f">= {LEAST}",
            ok=mean >= LEAST,
            against=f"true-positive rates, mean of {len(rates)} cases of {WORLDS} draws; nominal 0.95",
        ),
        Row(
            name="mia.coverage[least]",
            measured=shares[worst],
            unit="share",
            target=f">= {LEAST} within the error of {WORLDS} draws",
            ok=shares[worst] >= LEAST - 2 * (LEAST * (1 - LEAST) / WORLDS) ** 0.5,
            against=f"{worst}; the least of {about}",
        ),
    ], []
