"""A small table to begin with: deliveries of 120 days, of which the rainy and the far ones are late more often."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import polars as pl

DAYS, A_DAY = 120, 60
DEPOTS = ("north", "river", "south")


def sample_deliveries() -> pl.DataFrame:
    """7,200 deliveries, made up; those of one day share its traffic, and 1 in 25 gauges of rain was not read."""
    draw = np.random.default_rng(7)
    rows = DAYS * A_DAY
    day = np.repeat(np.arange(DAYS), A_DAY)
    minute = draw.integers(7 * 60, 20 * 60, rows)
    depot = draw.integers(0, len(DEPOTS), rows)
    distance_km = draw.gamma(2.0, 6.0, rows) + 2 * depot
    parcels = draw.poisson(4, rows) + 1
    rain_mm = np.maximum(0, draw.normal(-1, 3, DAYS))[day] * draw.uniform(0.5, 1.5, rows)
    traffic = draw.normal(0, 0.6, DAYS)[day] + (np.abs(minute - 17 * 60) < 90)
    strain = distance_km / 9 + rain_mm / 3 + parcels / 8 + traffic - 4
    late = draw.random(rows) < 1 / (1 + np.exp(-strain))
    start = datetime(2025, 1, 1)
    at = [
        start + timedelta(days=int(number), minutes=int(minutes)) for number, minutes in zip(day, minute, strict=True)
    ]
    return pl.DataFrame(
        {
            "ordered_at": at,
            "day": [moment.date() for moment in at],
            "minute": minute,
            "depot": [DEPOTS[number] for number in depot],
            "distance_km": np.round(distance_km, 1),
            "parcels": parcels,
            "rain_mm": [
                None if lost else round(rain, 1) for rain, lost in zip(rain_mm, draw.random(rows) < 0.04, strict=True)
            ],
            "late": late.astype(np.int8),
        }
    ).sort("ordered_at")
