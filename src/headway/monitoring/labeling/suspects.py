"""Labels that may be wrong, the likeliest first, and how many there are: of the whole table of a project."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
from msgspec.structs import replace

from headway.core.dataset import Dataset
from headway.core.evidence import Measurement
from headway.core.labelling import Suspect, Suspects
from headway.data.labels.crossfit import said_of
from headway.data.labels.noise import BLOCKS, Noise, noise_of
from headway.data.labels.said import Said
from headway.evaluation.statistics.intervals import Estimate, Sample, interval

MOST = 1000
METHOD = f"chances of each label, out of fold; leave-one-block-out jackknife over {BLOCKS} blocks of groups, t"


def suspects(dataset: Dataset, *, name: str, most: int = MOST) -> Suspects:
    """The rows of a dataset whose labels may be wrong, at most so many, with a count over all its labelled rows.

    Each row is told by a model that learned from other groups. Raises NotApplicable where labels are no classes, or
    too few.
    """
    said = said_of(dataset)
    noise = noise_of(said)
    order = np.argsort(-noise.wrong, kind="stable")[:most]
    return Suspects(
        name=name,
        dataset=dataset.digest,
        count=_measured("labels.wrong", noise, said, place=-1),
        by_class=tuple(_measured("labels.wrong", noise, said, place=place) for place in range(len(said.classes))),
        classes=said.classes,
        turned=tuple(tuple(map(float, line)) for line in noise.turned),
        rows=tuple(_suspect(dataset, noise, said, int(row)) for row in order),
        at=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _measured(name: str, noise: Noise, said: Said, *, place: int) -> Measurement:
    """The count of one class, or of all at -1."""
    rows = len(said.labels) if place < 0 else int((said.labels == place).sum())
    estimate = Estimate(
        value=noise.count if place < 0 else float(noise.counts[place]),
        se=float("inf") if noise.errors is None else float(noise.errors[place]),
        dof=BLOCKS - 1,
        method=METHOD,
    )
    sample = Sample(n_rows=rows, n_groups=said.n_groups, bounds=(0.0, float(rows)))
    found = interval(name, estimate, sample)
    return found if place < 0 else _sliced(found, said.classes[place])


def _sliced(measurement: Measurement, named: str) -> Measurement:
    return replace(measurement, slice=f"label={named}")


def _suspect(dataset: Dataset, noise: Noise, said: Said, place: int) -> Suspect:
    row = int(said.rows[place])
    groups = dataset.roles.groups
    return Suspect(
        row=row + 1,
        given=said.classes[said.labels[place]],
        likely=said.classes[noise.likely[place]],
        chance=float(noise.wrong[place]),
        group=str(dataset.table[groups][row]) if groups else "",
    )
