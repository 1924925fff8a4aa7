"""Models that remember nothing of the rows in question: members and non-members are exchangeable, no alarm is right."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.tree import DecisionTreeClassifier

from harness import Result, Row, shown
from privacy_rows.worlds import FEW_MODELS, Probabilities, audited, draw, is_accused

MODELS, ROWS, FEW = 200, 600, 40
TINY = {"MODELS": 4}


def rows() -> Result:
    """Audit models trained on rows of their own: with a recipe that ignores the rows it gets, and without a recipe."""
    alarms = {"recipe": 0, "model itself": 0}
    for number in range(MODELS):
        rng = np.random.default_rng(1_000 + number)
        table, labels = draw(ROWS, 5, rng)
        others = draw(ROWS, 5, rng)
        groups = np.sort(rng.integers(0, ROWS // 3, ROWS)) if number % 2 else None
        codes = None if groups is None else np.unique(groups, return_inverse=True)[1]

        def fit(_rows: Any, _labels: Any, seed: int, rng: np.random.Generator = rng) -> Any:
            own, target = draw(300, 5, np.random.default_rng([seed, int(rng.integers(1 << 30))]))
            return Probabilities(DecisionTreeClassifier(min_samples_leaf=3).fit(own, target))

        for name, recipe in (("recipe", True), ("model itself", False)):
            alarms[name] += is_accused(
                audited(fit, table, labels, others, groups=codes, recipe=recipe, models=FEW_MODELS)
            )
    found = []
    for name, count in alarms.items():
        about = f"{MODELS} clean models attacked by the {name}, half of them by groups; 5 % over both measures"
        share = count / MODELS
        found.append(
            Row(
                name=f"mia.false_alarm[{name}]",
                measured=share,
                unit="share",
                target="<= 0.05",
                ok=share <= 0.05,
                against=about,
            )
        )
    return [*found, shown("mia.clean_models", MODELS, "", "models audited twice")], []
