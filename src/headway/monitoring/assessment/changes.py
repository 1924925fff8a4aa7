"""What changed since data were assessed: source, columns, distributions, settings.

D058: The source is not the one that was assessed.
D059: Columns were added, removed, or changed type since the assessment.
D060: Distributions moved since the assessment was opened.
D061: Settings of the checks changed since the assessment.

D060 uses the group-aware drift test. Rows later than the assessed ones are compared with them; without later rows, the
whole table is. A test is made whenever the number of groups has grown by half, and the n-th test has a false-alarm
rate of 5 % / n (n + 1), so that all tests together have 5 %.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

import msgspec
import numpy as np
import polars as pl

from headway.core.assessment import Assessment, DriftTest, Shift
from headway.core.config import Config
from headway.core.contracts import Blobs
from headway.core.dataset import Dataset
from headway.core.errors import NotApplicable
from headway.core.evidence import Finding
from headway.core.monitoring import Drift
from headway.core.settings_section import SettingsSection
from headway.core.variant import Field, Signature
from headway.data.context import Window, Windows, run_detector
from headway.data.matrix import group_codes as group_numbers
from headway.data.matrix import matrix
from headway.data.settings.data import DataSection
from headway.data.settings.personal import PersonalSection
from headway.data.settings.split import SplitSection
from headway.monitoring.drift import feature_values, make_bins
from headway.monitoring.scored_rows import WEEK, time_expression

ALPHA = 0.05
GROWTH = 1.5
SHIFT_BINS = 10
MAX_SHIFTS, NAMED_COLUMNS = 6, 5
DETECTOR = "group_permutation"


def compare_distributions(opening: Assessment, last: DriftTest, dataset: Dataset, blobs: Blobs) -> DriftTest:
    """Test whether the data moved since an assessment was opened, given the test that was made last."""
    later = later_rows(dataset, opening.until)
    before = decode_sample(blobs.get(opening.sample))
    now = draw_sample(later or dataset, like=before)
    count, n_groups = last.count + 1, now[GROUP].n_unique()
    if later and n_groups < GROWTH * last.n_groups:
        message = (
            f"the next test is due at {int(np.ceil(GROWTH * last.n_groups))} groups of later rows; there are {n_groups}"
        )
        return DriftTest(count=last.count, n_groups=last.n_groups, message=message)
    level = ALPHA / (count * (count + 1))
    windows = _sample_windows(before, now, run=WEEK if dataset.roles.time else 1, alpha=level)
    drift = run_detector(DETECTOR, windows)
    if isinstance(drift, NotApplicable):
        return DriftTest(count=last.count, n_groups=last.n_groups, message=f"not tested: {drift.what}")
    p = next(
        measurement.value
        for measurement in drift.measurements
        if measurement.name == "drift.p" and not measurement.slice
    )
    shifts = _shifts(windows, drift) if drift.alarm else ()
    message = _result_message(windows, p, level, [shift.column for shift in shifts])
    return DriftTest(count=count, n_groups=n_groups if later else 0, message=message, p=p, level=level, shifts=shifts)


def distribution_finding(opening: Assessment, found: DriftTest) -> list[Finding]:
    """Return a finding (D060) if distributions moved."""
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
            hint="fix the source of a column that broke, or retrain if the world changed: headway watch",
        )
    ]


def _result_message(windows: Windows, p: float, level: float, moved: list[str]) -> str:
    before, after = (f"{len(np.unique(window.groups)):,}" for window in (windows.before, windows.after))
    columns = len(windows.signature.inputs)
    on = f"p {p:.2g}, limit {level:.2g}, over {columns} columns of {after} groups against {before}"
    if p > level:
        return f"no change is shown ({on})"
    return on + (f"; shown for {', '.join(moved[:NAMED_COLUMNS])}" if moved else "; for no single column")


def _sample_windows(before: pl.DataFrame, now: pl.DataFrame, *, run: int, alpha: float) -> Windows:
    """Return both samples in the columns that they share, by name and type."""
    shared = [name for name in now.columns if name != GROUP and before.schema.get(name) == now.schema[name]]
    signature = Signature(inputs=tuple(_field(before[name], now[name]) for name in shared))
    one, two = (
        Window(rows=matrix(sample, signature), groups=sample[GROUP].to_numpy().astype(np.int64))
        for sample in (before, now)
    )
    return Windows(before=one, after=two, signature=signature, run=run, alpha=alpha)


def _field(before: pl.Series, now: pl.Series) -> Field:
    if now.dtype != pl.String:
        return Field(name=now.name)
    texts = pl.concat([before, now]).drop_nulls().unique().sort()
    return Field(name=now.name, datatype="BYTES", categories=tuple(texts))


def _shifts(windows: Windows, drift: Drift) -> tuple[Shift, ...]:
    """Return the columns that moved by themselves, smallest p first, in bins of both windows."""
    names = [finding.where for finding in drift.findings if finding.where != "all"][:MAX_SHIFTS]
    p = {measurement.slice: measurement.value for measurement in drift.measurements if measurement.name == "drift.p"}
    return tuple(_shift(windows, name, p[name]) for name in names)


def _shift(windows: Windows, name: str, p: float) -> Shift:
    number = windows.signature.names.index(name)
    values = feature_values(windows, number)
    bins = make_bins(windows.signature.inputs[number], values, max_bins=SHIFT_BINS)
    codes, split = bins.codes(values), len(windows.before.rows)
    counts = [np.bincount(part, minlength=bins.size).astype(float) for part in (codes[:split], codes[split:])]
    seen = np.flatnonzero(counts[0] + counts[1])
    before, now = (tuple((part / part.sum())[seen].tolist()) for part in counts)
    return Shift(column=name, p=p, bins=tuple(bins.label(int(bin)) for bin in seen), before=before, now=now)


def source_finding(before: Assessment, now: Assessment) -> list[Finding]:
    """Return a finding (D058) if the source changed."""
    if before.source == now.source:
        return []
    return [
        Finding(
            code="D058",
            severity="warn",
            message=f"the source is '{now.source}', and was '{before.source}' when assessed on {before.at[:10]}",
            where="[data] source",
            hint="read the findings of this assessment; compare with headway check --history",
        )
    ]


NAMED_CHANGES = 5


def schema_finding(before: Assessment, now: Assessment) -> list[Finding]:
    """Return a finding (D059) if columns changed; their order does not count."""
    changes = _column_changes(before.columns, now.columns)
    if not changes:
        return []
    more = f" and {len(changes) - NAMED_CHANGES} more" if len(changes) > NAMED_CHANGES else ""
    return [
        Finding(
            code="D059",
            severity="warn",
            message=f"columns changed since {before.at[:10]}: {', '.join(changes[:NAMED_CHANGES])}{more}",
            where="columns",
            measured=float(len(changes)),
            limit=0.0,
            hint="declare when a new column is known: [data.known] COLUMN; retrain before predicting with it",
        )
    ]


def _column_changes(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    came = [f"'{name}' is new" for name in now if name not in before]
    went = [f"'{name}' is gone" for name in before if name not in now]
    other = [
        f"'{name}' was {before[name]} and is {now[name]}"
        for name in now
        if name in before and before[name] != now[name]
    ]
    return [*went, *came, *other]


SECTIONS: tuple[type[SettingsSection], ...] = (DataSection, PersonalSection, SplitSection)
EXCLUDED_SETTINGS = ("data.source", "data.query")
"""The source has a finding of its own, and may hold a password."""

NAMED_SETTINGS = 3


def check_settings(config: Config) -> dict[str, str]:
    """Return every setting on which the findings of the checks depend, as JSON by `section.field`."""
    found = {}
    for section in SECTIONS:
        for field, value in msgspec.to_builtins(config[section]).items():
            found[f"{section.table}.{field}"] = msgspec.json.encode(value, order="sorted").decode()
    return {name: text for name, text in found.items() if name not in EXCLUDED_SETTINGS}


def settings_finding(before: Assessment, now: Assessment) -> list[Finding]:
    """Return a finding (D061) if settings changed; a setting that an older headway did not have does not count."""
    changed = [name for name, text in now.settings.items() if before.settings.get(name, text) != text]
    if not changed:
        return []
    listed = ", ".join(
        f"{name} was {_shorten(before.settings[name])}, is {_shorten(now.settings[name])}"
        for name in changed[:NAMED_SETTINGS]
    )
    more = f" and {len(changed) - NAMED_SETTINGS} more" if len(changed) > NAMED_SETTINGS else ""
    return [
        Finding(
            code="D061",
            severity="note",
            message=f"settings of the checks changed since {before.at[:10]}: {listed}{more}",
            where="headway.toml",
            measured=float(len(changed)),
            limit=0.0,
        )
    ]


def _shorten(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:37]}..."


MAX_ROWS = 16_384
MAX_CATEGORIES = 50
MIN_CATEGORY_ROWS = 10
"""Rows that a text needs to be kept as it is."""

GROUP = "__group"
RARE = "(rare)"


def draw_sample(dataset: Dataset, *, like: pl.DataFrame | None = None) -> pl.DataFrame:
    """Draw the features and the target of some rows of every group, with the column GROUP.

    Numbers become float64, categories stay strings. `like` is an earlier sample: its categories are kept and all others
    are masked, so that a category is not rare in only one of two samples because that one is smaller.
    """
    names = dict.fromkeys([*dataset.features, dataset.roles.target])
    texts = {} if like is None else {column.name: column for column in like if column.dtype == pl.String}
    columns = [column for name in names if (column := _column(dataset.table[name], texts.get(name))) is not None]
    table = pl.DataFrame([*columns, sample_groups(dataset)])
    rows_per_group = max(1, MAX_ROWS // max(1, table[GROUP].n_unique()))
    drawn = table.filter(pl.int_range(pl.len()).shuffle(seed=0).over(GROUP) < rows_per_group)
    if len(drawn) > MAX_ROWS:
        drawn = drawn.sample(MAX_ROWS, seed=0)
    return drawn.sort(GROUP).with_columns(pl.col(column.name).sort().over(GROUP) for column in columns)


def sample_groups(dataset: Dataset) -> pl.Series:
    """Return the group of each row as a number: the day if rows have a time, else that of the declared group."""
    if dataset.roles.time:
        days = time_expression(dataset).dt.date().cast(pl.Int32).cast(pl.Int64)
        return dataset.table.select(days.alias(GROUP)).to_series()
    return pl.Series(GROUP, group_numbers(dataset))


def encode_sample(sample: pl.DataFrame) -> bytes:
    """Encode a sample for the blob store: Arrow IPC, numbers as float32."""
    content = io.BytesIO()
    numbers = [pl.col(name).cast(pl.Float32) for name, kind in sample.schema.items() if kind == pl.Float64]
    sample.with_columns(numbers).write_ipc(content, compression="zstd")
    return content.getvalue()


def decode_sample(content: bytes) -> pl.DataFrame:
    """Decode a sample from the blob store."""
    found = pl.read_ipc(io.BytesIO(content))
    return found.with_columns(pl.col(name).cast(pl.Float64) for name, kind in found.schema.items() if kind.is_float())


def _column(column: pl.Series, known: pl.Series | None) -> pl.Series | None:
    """Prepare a column for the sample, None if it has too many categories.

    `known` holds the categories that are not rare.
    """
    if column.dtype.is_numeric() or column.dtype == pl.Boolean:
        return column.cast(pl.Float32).cast(pl.Float64).fill_nan(None)
    if column.dtype not in (pl.String, pl.Categorical, pl.Enum):
        return None
    if known is not None:
        texts = column.cast(pl.String)
        return texts.set(~texts.is_in(known.drop_nulls().implode()), RARE)
    if column.n_unique() > MAX_CATEGORIES:
        return None
    counts = column.cast(pl.String).value_counts()
    rare = counts.filter(pl.col("count") < MIN_CATEGORY_ROWS)[column.name]
    texts = column.cast(pl.String)
    return texts.set(texts.is_in(rare.drop_nulls().implode()), RARE) if rare.drop_nulls().len() else texts


def later_rows(dataset: Dataset, until: str) -> Dataset | None:
    """Return the rows after a time in ISO 8601; None if there are none, rows have no time, or no time is given."""
    if not until or not dataset.roles.time:
        return None
    rows = dataset.table.filter(time_expression(dataset) > datetime.fromisoformat(until))
    return None if rows.is_empty() else replace(dataset, table=rows)


def last_time(dataset: Dataset) -> str:
    """Return the time of the last row in ISO 8601, empty if rows have no time."""
    if not dataset.roles.time:
        return ""
    last = dataset.table.select(time_expression(dataset)).to_series().max()
    return last.isoformat() if isinstance(last, datetime) else ""
