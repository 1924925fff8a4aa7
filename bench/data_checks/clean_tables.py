"""Clean tables on which a check must report nothing: rows in days with correlated labels, features and sizes.

No label was changed. Days have an effect of their own on the labels; apart from that, a world is as named.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from headway.core.dataset import Dataset, Roles

WORLDS = {
    "plain": (120, 60),
    "weather by day": (90, 40),
    "weather that lasts": (90, 40),
    "rare places": (60, 60),
    "a trend": (60, 60),
    "uneven days": (80, 60),
    "one feature": (60, 40),
}
"""How many days, and rows a day."""
ROLES = Roles(target="late", groups="day")


def clean_world(name: str, seed: int) -> Dataset:
    """Generate a random table of that world."""
    draw = np.random.default_rng(seed)
    days, rows = WORLDS[name]
    sizes = np.full(days, rows)
    if name == "uneven days":
        sizes = np.maximum(20, draw.lognormal(np.log(rows), 0.7, days).astype(np.int64))
    day = np.repeat(np.arange(days), sizes)
    hour, wind = draw.integers(0, 24, len(day)), draw.gamma(2.0, 5.0, len(day))
    odds = hour / 8 + draw.normal(0, 0.5, days)[day] - 2.5
    columns = {"day": day, "hour": hour}
    if name != "one feature":
        columns |= {"wind": wind, "carrier": draw.choice(["AA", "B6", "UA"], len(day))}
        odds = odds + wind / 15 - 1
    if name.startswith("weather"):
        warm = draw.normal(0, 1, days)
        for day_number in range(1, days if name.endswith("lasts") else 0):
            warm[day_number] = 0.8 * warm[day_number - 1] + 0.6 * warm[day_number]
        columns["temp"] = warm[day]
        odds = odds + 0.3 * warm[day]
    if name == "rare places":
        often = 1 / np.arange(1, 61) ** 1.5
        columns["dest"] = np.array([f"d{code}" for code in draw.choice(60, len(day), p=often / often.sum())])
    if name == "a trend":
        columns["age"] = day + draw.normal(0, 1, len(day))
    late = draw.random(len(day)) < 1 / (1 + np.exp(-odds))
    return Dataset(name=name, table=pl.DataFrame({**columns, "late": late.astype(np.int8)}), roles=ROLES)
