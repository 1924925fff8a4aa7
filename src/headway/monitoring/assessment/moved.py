"""D060: distributions moved since the assessment was opened, by the test of drift that honours groups.

Rows later than those assessed are compared with them where there are any, else the whole table. Tests are made as new
groups come, the next one when they have grown by half; the n-th may raise a false alarm with a chance of 5 % / n (n+1),
so that all together do with 5 %.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from headway.core.assessment import Assessment, Shift, Tested
from headway.core.contracts import Blobs, Window, Windows
from headway.core.dataset import Dataset
from headway.core.drift import Drift
from headway.core.errors import NotApplicable
from headway.core.evidence import Finding
from headway.core.plugins import load_detector
from headway.core.variant import Field, Signature
from headway.data.matrix import matrix
from headway.monitoring.answered import WEEK
from headway.monitoring.assessment.rows import later_rows
from headway.monitoring.assessment.sample import GROUP, sample_of, unpacked
from headway.monitoring.drift.bins import bins_of, column

ALPHA = 0.05
GROWN = 1.5
BINS = 10
MOST_SHIFTS, NAMED = 6, 5
DETECTOR = "group_permutation"


def look(opening: Assessment, last: Tested, dataset: Dataset, blobs: Blobs) -> Tested:
    """Whether the data moved since an assessment was opened, after the tests that were made until now."""
    later = later_rows(dataset, opening.until)
    before = unpacked(blobs.get(opening.sample))
    now = sample_of(later or dataset, like=before)
    count, n_groups = last.count + 1, now[GROUP].n_unique()
    if later and n_groups < GROWN * last.n_groups:
        message = (
            f"the next test is due at {int(np.ceil(GROWN * last.n_groups))} groups of later rows; there are {n_groups}"
        )
        return Tested(count=last.count, n_groups=last.n_groups, message=message)
    level = ALPHA / (count * (count + 1))
    windows = _windows(before, now, run=WEEK if dataset.roles.time else 1, alpha=level)
    try:
        drift = load_detector(DETECTOR)(windows)
    except NotApplicable as reason:
        return Tested(count=last.count, n_groups=last.n_groups, message=f"cannot be told: {reason.what}")
    p = next(each.value for each in drift.measurements if each.name == "drift.p" and not each.slice)
    shifts = _shifts(windows, drift) if drift.alarm else ()
    message = _says(windows, p, level, [each.column for each in shifts])
    return Tested(count=count, n_groups=n_groups if later else 0, message=message, p=p, level=level, shifts=shifts)


def finding(opening: Assessment, found: Tested) -> list[Finding]:
    """What to say where distributions moved."""
    if found.p is None or found.level is None or found.p > found.level:
        return []
    return [
        Finding(
            code="D060",
            severity="warn",
            message=f"the data moved since the assessment of {opening.at[:10]}: {found.message}",
            where="distributions",
            measured=found.p,
            limit=found.level,
            hint="repair the source of a column that broke, or train anew where the world changed: headway watch",
        )
    ]


def _says(windows: Windows, p: float, level: float, moved: list[str]) -> str:
    before, after = (f"{len(np.unique(each.groups)):,}" for each in (windows.before, windows.after))
    columns = len(windows.signature.inputs)
    on = f"p {p:.2g}, limit {level:.2g}, over {columns} columns of {after} groups against {before}"
    if p > level:
        return f"no change is shown ({on})"
    return on + (f"; shown of {', '.join(moved[:NAMED])}" if moved else "; of no column by itself")


def _windows(before: pl.DataFrame, now: pl.DataFrame, *, run: int, alpha: float) -> Windows:
    """Both samples in the columns that they share, by name and kind."""
    shared = [name for name in now.columns if name != GROUP and before.schema.get(name) == now.schema[name]]
    signature = Signature(inputs=tuple(_field(before[name], now[name]) for name in shared))
    one, two = (
        Window(rows=matrix(each, signature), groups=each[GROUP].to_numpy().astype(np.int64)) for each in (before, now)
    )
    return Windows(before=one, after=two, signature=signature, run=run, alpha=alpha)


def _field(before: pl.Series, now: pl.Series) -> Field:
    if now.dtype != pl.String:
        return Field(name=now.name)
    texts = pl.concat([before, now]).drop_nulls().unique().sort()
    return Field(name=now.name, datatype="BYTES", categories=tuple(texts))


def _shifts(windows: Windows, drift: Drift) -> tuple[Shift, ...]:
    """The columns that are shown to have moved by themselves, the surest first, in bins of both windows."""
    names = [each.where for each in drift.findings if each.where != "all"][:MOST_SHIFTS]
    p = {each.slice: each.value for each in drift.measurements if each.name == "drift.p"}
    return tuple(_shift(windows, name, p[name]) for name in names)


def _shift(windows: Windows, name: str, p: float) -> Shift:
    number = windows.signature.names.index(name)
    values = column(windows, number)
    bins = bins_of(windows.signature.inputs[number], values, most=BINS)
    codes, split = bins.codes(values), len(windows.before.rows)
    counts = [np.bincount(each, minlength=bins.size).astype(float) for each in (codes[:split], codes[split:])]
    seen = np.flatnonzero(counts[0] + counts[1])
    before, now = (tuple((each / each.sum())[seen].tolist()) for each in counts)
    return Shift(column=name, p=p, bins=tuple(bins.label(int(bin)) for bin in seen), before=before, now=now)
