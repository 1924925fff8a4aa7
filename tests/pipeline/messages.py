"""A table of messages with their intents, and the project that `headway init` makes of it."""

from __future__ import annotations

import functools
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from headway.cli.commands.init import write_project

WORDS = {
    "delivery": "where parcel driver late courier door delivered street",
    "refund": "money back refund paid charged twice cancel return",
    "account": "password login account email locked sign reset name",
}
COMMON = "please the my is to can you i have today with about still again help order"


@functools.cache
def messages(rows: int = 3_600) -> pl.DataFrame:
    """Return messages of 120 days with a channel, a number of orders, the customer and the intent."""
    draw = np.random.default_rng(0)
    intents = draw.choice(list(WORDS), rows)
    start = datetime(2025, 1, 1)
    return pl.DataFrame(
        {
            "at": [start + timedelta(days=row * 120 // rows, minutes=row % 30) for row in range(rows)],
            "customer": [f"c{number}" for number in draw.integers(0, rows // 6, rows)],
            "message": [_message(draw, str(intent)) for intent in intents],
            "channel": draw.choice(["mail", "chat", "phone"], rows),
            "n_orders": draw.integers(0, 9, rows),
            "intent": intents,
        }
    )


def _message(draw: np.random.Generator, intent: str) -> str:
    kinds = draw.random(int(draw.integers(5, 14)))
    own, common = WORDS[intent].split(), COMMON.split()
    other = " ".join(WORDS.values()).split()
    return " ".join(str(draw.choice(own if kind < 0.3 else other if kind < 0.35 else common)) for kind in kinds)


def write(folder: Path, table: pl.DataFrame, *, text: tuple[str, ...] = ()) -> Path:
    """Write a table next to a new project with its features declared, and return the project's folder."""
    source = folder / "messages.parquet"
    table.write_parquet(source)
    write_project(folder / "support", source, "intent", text=text)
    file = folder / "support/headway.toml"
    lines = (line.removeprefix("# ") if '"request"' in line[-10:] else line for line in file.read_text().split("\n"))
    file.write_text("\n".join(lines))
    return folder / "support"
