"""Labels that may be wrong, the likeliest first, and how many there are: of the whole table of a project."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
from msgspec.structs import replace

from headway.core.dataset import Dataset
from headway.core.evidence import Measurement
from headway.core.labelling import Suspect, Suspects
from headway.data.labels.crossfit import out_of_fold
from headway.data.labels.noise import BLOCKS, LabelNoise, estimate_noise
from headway.data.labels.said import OutOfFold
from headway.evaluation.statistics.intervals import Estimate, Sample, interval

MOST = 1000
METHOD = f"chances of each label, out of fold; leave-one-block-out jackknife over {BLOCKS} blocks of groups, t"


def suspects(dataset: Dataset, *, name: str, most: int = MOST) -> Suspects:
    """The rows of a dataset whose labels may be wrong, at most so many, with a count over all its labelled rows.

    Each row is told by a model that learned from other groups. Raises NotApplicable where labels are no classes, or
    too few.
    """
    oof = out_of_fold(dataset)
    noise = estimate_noise(oof)
    order = np.argsort(-noise.error_probability, kind="stable")[:most]
    return Suspects(
        name=name,
        dataset=dataset.digest,
        count=_measured("labels.wrong", noise, oof, place=-1),
        by_class=tuple(_measured("labels.wrong", noise, oof, place=place) for place in range(len(oof.classes))),
        classes=oof.classes,
        turned=tuple(tuple(map(float, line)) for line in noise.transition),
        rows=tuple(_suspect(dataset, noise, oof, int(row)) for row in order),
        at=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _measured(name: str, noise: LabelNoise, oof: OutOfFold, *, place: int) -> Measurement:
    """The count of one class, or of all at -1."""
    rows = len(oof.labels) if place < 0 else int((oof.labels == place).sum())
    estimate = Estimate(
        value=noise.count if place < 0 else float(noise.counts[place]),
        se=float("inf") if noise.standard_errors is None else float(noise.standard_errors[place]),
        dof=BLOCKS - 1,
        method=METHOD,
    )
    sample = Sample(n_rows=rows, n_groups=oof.n_groups, bounds=(0.0, float(rows)))
    found = interval(name, estimate, sample)
    return found if place < 0 else _sliced(found, oof.classes[place])


def _sliced(measurement: Measurement, named: str) -> Measurement:
    return replace(measurement, slice=f"label={named}")


def _suspect(dataset: Dataset, noise: LabelNoise, oof: OutOfFold, place: int) -> Suspect:
    row = int(oof.rows[place])
    groups = dataset.roles.groups
    return Suspect(
        row=row + 1,
        given=oof.classes[oof.labels[place]],
        likely=oof.classes[noise.suggested[place]],
        chance=float(noise.error_probability[place]),
        group=str(dataset.table[groups][row]) if groups else "",
    )
