"""The flights of the year by month, and the demo's model trained up to any month with any seed."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from time import process_time

import numpy as np
import polars as pl
from msgspec.structs import replace

import flight_data
from headway.cli.demo import flights
from headway.cli.demo.train import train
from headway.core.arrays import Bools, Floats, Ints
from headway.core.config import load
from headway.core.variant import Signature
from headway.data.context import Window
from headway.data.matrix import dataset_signature, matrix, target_values
from headway.data.open import make_dataset
from headway.data.roles import parse_roles
from headway.data.settings.data import DataSection
from headway.data.settings.split import SplitSection
from headway.data.split import labeled_rows, split_dataset

DEMO = Path(flights.__file__).parent
FIRST_TRAINED_TO = 4  # January to April, as in the demo


@dataclass(frozen=True, slots=True, kw_only=True)
class Year:
    """All flights: rows float64 [n, d], month and day (since 1970) int64 [n], `late` float64 [n], NaN where unknown."""

    rows: Floats
    late: Floats
    month: Ints
    day: Ints
    signature: Signature
    seconds: list[float] = field(default_factory=list)

    def window(self, chosen: Bools) -> Window:
        """Return the chosen flights as a detector receives them."""
        return Window(rows=self.rows[chosen], groups=self.day[chosen])

    def scores(self, trained_to: int, seed: int, until: int) -> Floats:
        """Return predictions of a model trained up to one month for the months after it up to another.

        NaN elsewhere, float64 [n].
        """
        known = ~np.isnan(self.late)
        past, later = known & (self.month <= trained_to), known & (self.month > trained_to) & (self.month <= until)
        frame = pl.DataFrame(self.rows[past], schema=list(self.signature.names))
        began = process_time()
        model = train(frame, self.late[past], seed=seed)
        self.seconds.append(process_time() - began)
        answers = np.full(len(self.late), np.nan)
        answers[later] = model.predict(self.rows[later], num_threads=1)
        return answers


def load_year() -> Year:
    """Read and join the flights; categories are those that the demo's training period has."""
    config = load(DEMO)
    roles = replace(parse_roles(config[DataSection]), ignore=())  # the table of one program has no entities
    dataset = make_dataset(flight_data.load(), roles, name="flights")
    signature = dataset_signature(labeled_rows(split_dataset(dataset, config[SplitSection])["train"]))
    table = dataset.table
    late = np.full(len(table), np.nan)
    late[table["late"].is_not_null().to_numpy()] = target_values(labeled_rows(dataset))
    return Year(
        rows=matrix(table, signature),
        late=late,
        month=table["departs_at"].dt.month().cast(pl.Int64).to_numpy(),
        day=table["date"].to_physical().cast(pl.Int64).to_numpy(),
        signature=signature,
    )
