"""Find API keys whose requests copy or probe the model: a sequential test of each key and day over the prediction log.

Three signs are counted, each as yes or no for a row:

- `synthetic`: the row is unlike the reference rows, and no less so than rows that mix its values with those of earlier
  rows of the key. Boosted trees separate the reference rows from mixed, permuted, interpolated and uniform ones. Real
  rows of another season may be unlike the reference too, but mixing their values makes them more so; rows that an
  attacker made of values of several rows are mixed already.
- `boundary`: the score is among the twentieth of the reference scores that are nearest to the threshold.
- `bisection`: the row differs from earlier ones in one column, and its value halves the gap to one of the last values.

Equal rows count once, so that retries and polling are no sign. Rows that differ from an earlier row in one column, as a
form sends them, count for `bisection` only. Each sign has an e-process that bets against a share of at most `SHARES`
(several times that of the reference, for keys are not alike); their mean is at most 1 in expectation. By Ville's
inequality it exceeds `keys / false_alarms` for any of the honest keys of a day with a chance of `false_alarms`, however
often it is looked up.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Literal

import numpy as np
import polars as pl
from msgspec.structs import replace as changed

from headway.core.arrays import Bools, Floats, Ints
from headway.core.errors import NotApplicable
from headway.core.monitoring import KeyProbing, ProbingReport
from headway.core.variant import DECIDES, Field
from headway.monitoring.deployed_release import DeployedRelease
from headway.monitoring.prediction_log import LOG_COLUMNS, SegmentReader
from headway.registry.project import Project
from headway.serving.settings.serve import ServeSection
from headway.storage import traffic
from headway.storage.addresses import log_root

if TYPE_CHECKING:
    from lightgbm import Booster

Sign = Literal["synthetic", "boundary", "bisection"]
SHARES: dict[Sign, float] = {"synthetic": 0.2, "boundary": 0.3, "bisection": 0.2}
"""Largest share of rows with each sign that an honest key may have."""
MAX_ROWS = 10_000
"""Different rows of a key and day that are judged, the first ones."""
MIN_REFERENCE = 500
MAX_DAYS = 7
"""Days of the log that are judged, the last ones."""
_REFERENCE_ROWS, _SEED, _TREES, _TAIL = 4_000, 0, 60, 0.05
_BETS = (0.2, 0.4, 0.7, 0.95)  # of the way from the null share to 1
_LAST, _MIDDLE = 3, (0.4, 0.6)
_MIN_EARLIER, _MIXTURES = 5, 3


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ProbingReference:
    """What the rows of honest callers look like: trees with the score above which a row is synthetic, and the boundary.

    `values` are the sorted values of each column, `margins` the distance from the boundary within which a score is
    near; None if the model makes no decisions.
    """

    booster: Booster
    synthetic: float
    values: tuple[Floats, ...]
    threshold: float
    margin: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyEvidence:
    """The evidence against a key on a day: the largest e-value, and the row at which it exceeded the limit, or -1.

    `rows` counts those that were sent and `distinct` the different ones that were judged; `shares` are those of the
    rows with each sign, and `sign` is the one that says most.
    """

    rows: int
    distinct: int
    e_value: float
    found_at: int
    sign: Sign
    shares: dict[Sign, float]


def fit_probing_reference(
    rows: Floats, scores: Floats, fields: Sequence[Field], *, task: str, threshold: float
) -> ProbingReference:
    """Fit the reference to rows (n, d) of honest callers and the scores (n, k) of the model.

    Raises
    ------
    NotApplicable
        If there are fewer than 500 rows, or the model reads texts, of which no synthetic ones are made.
    """
    if texts := [field.name for field in fields if field.is_text]:
        raise NotApplicable(f"probing by texts, such as '{texts[0]}', cannot be separated from other requests")
    if len(rows) < MIN_REFERENCE:
        raise NotApplicable(f"{len(rows):,} rows of reference are too few to know honest requests: {MIN_REFERENCE}")
    lightgbm = importlib.import_module("lightgbm")  # takes half a second
    random = np.random.default_rng(_SEED)
    chosen = random.permutation(len(rows))[:_REFERENCE_ROWS]
    real, answers = rows[chosen], scores[chosen]
    half = len(real) // 2
    made = _synthetic_rows(real, fields, random)
    booster = lightgbm.train(
        {
            "objective": "binary",
            "verbose": -1,
            "seed": _SEED,
            "deterministic": True,
            "force_row_wise": True,
            "num_threads": 1,
        },
        lightgbm.Dataset(np.concatenate([real[:half], made]), np.repeat([0.0, 1.0], [half, len(made)])),
        num_boost_round=_TREES,
    )
    held_out = np.asarray(booster.predict(real[half:]), dtype=np.float64)
    margin = float(np.quantile(_margins(answers, threshold), _TAIL)) if task in DECIDES else None
    return ProbingReference(
        booster=booster,
        synthetic=float(np.quantile(held_out, 1 - _TAIL)),
        values=tuple(np.unique(column[~np.isnan(column)]) for column in rows.T),
        threshold=threshold,
        margin=margin,
    )


def _synthetic_rows(real: Floats, fields: Sequence[Field], random: np.random.Generator) -> Floats:
    """Make rows as attackers do: mixed from two, permuted, interpolated between two, and uniform in the ranges."""
    n = len(real) // 2
    one, other = (real[random.integers(0, len(real), n)] for _ in range(2))
    mixed = np.where(random.random(one.shape) < 0.5, one, other)
    permuted = np.column_stack([random.permutation(column) for column in real.T])[:n]
    between = one + random.random((n, 1)) * (other - one)
    low, high = np.nanmin(real, axis=0), np.nanmax(real, axis=0)
    uniform = random.uniform(low, high, one.shape)
    categorical = [at for at, field in enumerate(fields) if field.datatype == "BYTES"]
    for rows in (between, uniform):
        rows[:, categorical] = mixed[:, categorical]
    return np.concatenate([mixed, permuted, between, uniform])


def _margins(scores: Floats, threshold: float) -> Floats:
    """Return how far each score (n, k) is from another decision, (n,)."""
    if scores.shape[1] == 1:
        return np.asarray(np.abs(scores[:, 0] - threshold), dtype=np.float64)
    ordered = np.sort(scores, axis=1)
    return np.asarray(ordered[:, -1] - ordered[:, -2], dtype=np.float64)


def judge_key(reference: ProbingReference, rows: Floats, scores: Floats, *, limit: float) -> KeyEvidence:
    """Judge the rows (n, d) that a key sent on a day, in order of time, with the scores (n, k) that it got.

    `limit` is the e-value from which the key is found.
    """
    sent = len(rows)
    _, first = np.unique(_codes(rows).sum(axis=1), return_index=True)
    first = np.sort(first)[:MAX_ROWS]
    rows, scores = rows[first], scores[first]
    varied, halving = _bisections(reference, rows)
    fresh = ~varied
    synthetic = _looks_synthetic(reference, rows)
    fresh &= np.arange(len(rows)) >= _MIN_EARLIER
    marks: dict[Sign, tuple[Bools, Bools]] = {"synthetic": (synthetic, fresh), "bisection": (halving, varied)}
    if reference.margin is not None:
        marks["boundary"] = (_margins(scores, reference.threshold) <= reference.margin, fresh)
    processes = {name: _e_process(seen, counted, SHARES[name]) for name, (seen, counted) in marks.items()}
    total = np.mean(list(processes.values()), axis=0)
    above = np.flatnonzero(total >= limit)
    return KeyEvidence(
        rows=sent,
        distinct=len(rows),
        e_value=float(total.max()),
        found_at=int(first[above[0]]) if len(above) else -1,
        sign=max(processes, key=lambda name: float(processes[name].max())),
        shares={name: float(seen[counted].mean()) if counted.any() else 0.0 for name, (seen, counted) in marks.items()},
    )


def _looks_synthetic(reference: ProbingReference, rows: Floats) -> Bools:
    """Return which rows (n, d) are unlike the reference, and no less so than mixtures with earlier rows of the key."""
    random = np.random.default_rng(_SEED)
    scores = np.asarray(reference.booster.predict(rows, num_threads=1), dtype=np.float64)
    found = scores > reference.synthetic
    at = np.flatnonzero(found & (np.arange(len(rows)) >= _MIN_EARLIER))
    if not len(at):
        return found
    of_mixtures = []
    for _ in range(_MIXTURES):
        partners = rows[(random.random(len(at)) * at).astype(np.int64)]
        mixed = np.where(random.random(partners.shape) < 0.5, rows[at], partners)
        of_mixtures.append(np.asarray(reference.booster.predict(mixed, num_threads=1), dtype=np.float64))
    found[at] = scores[at] >= np.median(of_mixtures, axis=0)
    return found


def _e_process(seen: Bools, counted: Bools, share: float) -> Floats:
    """Return the e-process (n,) against a share of at most `share`: the mean of bets on larger ones."""
    logs = np.zeros((len(_BETS), len(seen)))
    for number, way in enumerate(_BETS):
        bet = share + way * (1 - share)
        step = np.where(seen, np.log(bet / share), np.log((1 - bet) / (1 - share)))
        logs[number] = np.cumsum(np.where(counted, step, 0.0))
    found: Floats = np.exp(np.minimum(logs, 300.0)).mean(axis=0)
    return found


def _codes(rows: Floats) -> Ints:
    """Return a number for each cell (n, d), equal for equal values of a column, whose sum over a row identifies it."""
    bits = np.ascontiguousarray(np.where(np.isnan(rows), np.inf, rows + 0.0)).view(np.uint64)
    with np.errstate(over="ignore"):
        mixed = (bits ^ (bits >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(32))) * (np.arange(1, rows.shape[1] + 1, dtype=np.uint64) * 2 + 0x9E3779B9)
        mixed = mixed ^ (mixed >> np.uint64(31))
    return np.asarray(mixed.view(np.int64), dtype=np.int64)


def _bisections(reference: ProbingReference, rows: Floats) -> tuple[Bools, Bools]:
    """Return which different rows differ from an earlier one in one column, and which of these halve a gap there."""
    cells = _codes(rows)
    totals = cells.sum(axis=1)
    varied, halving = np.zeros(len(rows), dtype=np.bool_), np.zeros(len(rows), dtype=np.bool_)
    for at in range(rows.shape[1]):
        _, group, counts = np.unique(totals - cells[:, at], return_inverse=True, return_counts=True)
        several = np.flatnonzero(counts[group] > 1)
        earlier: dict[int, list[float]] = {}
        for number in several.tolist():
            value, values = float(rows[number, at]), earlier.setdefault(int(group[number]), [])
            if values:
                varied[number] = True
                halving[number] |= _halves(value, values, reference.values[at])
            values.append(value)
    return varied, halving


def _halves(value: float, earlier: Sequence[float], known: Floats) -> bool:
    """Return whether a value lies in the middle of the gap between two earlier ones, one of them among the last."""
    below = [other for other in earlier if other < value]
    above = [other for other in earlier if other > value]
    if not below or not above:
        return False
    low, high = max(below), min(above)
    if not {low, high} & set(earlier[-_LAST:]):
        return False
    ranks = np.searchsorted(known, [low, value, high])
    by_rank = (ranks[1] - ranks[0]) / max(int(ranks[2] - ranks[0]), 1)
    by_value = (value - low) / (high - low)
    return any(_MIDDLE[0] <= share <= _MIDDLE[1] for share in (by_rank, by_value))


def audit_keys(
    project: Project, deployed: DeployedRelease, reference: Callable[[], Floats], *, now: datetime | None = None
) -> ProbingReport | None:
    """Judge what each API key sent to a release on the last days of the log, those since the last report.

    Parameters
    ----------
    reference : callable
        Returns rows (n, d) of honest callers, such as those that the release was judged on; may raise NotApplicable.

    Returns
    -------
    ProbingReport or None
        None if the log has no request with an API key in these days.
    """
    now = now or datetime.now(UTC)
    last = project.latest(ProbingReport)
    first = now.date() - timedelta(days=MAX_DAYS - 1)
    if last is not None and last.release == deployed.digest:
        first = max(first, datetime.fromisoformat(last.at).date())
    since = datetime(first.year, first.month, first.day, tzinfo=UTC)
    rows = _answered_rows(project, deployed, since)
    if rows is None:
        return None
    named = rows.filter(pl.col(traffic.API_KEY) != "")
    report = ProbingReport(
        name=project.name,
        release=deployed.digest,
        at=now.isoformat(timespec="seconds"),
        limit=0.0,
        rows_without_key=len(rows) - len(named),
    )
    variant = deployed.release.variant
    try:
        honest = reference()
        fitted = fit_probing_reference(
            honest,
            deployed.predict(honest),
            variant.signature.inputs,
            task=variant.task,
            threshold=deployed.release.threshold,
        )
    except NotApplicable as error:
        return changed(report, reason=error.what)
    judged = list(
        _judged_days(fitted, named, variant.signature.names, project.config[ServeSection].probing_false_alarms)
    )
    return changed(report, keys=tuple(key for key, _ in judged), limit=max((limit for _, limit in judged), default=0.0))


def _answered_rows(project: Project, deployed: DeployedRelease, since: datetime) -> pl.DataFrame | None:
    """Return the rows that callers got answers to since a time, in order of time; None if none has an API key."""
    since_us = int(since.timestamp() * 1_000_000)
    folder = traffic.log_folder(log_root(project.config, project.name), deployed.release.name, deployed.digest)
    tables = SegmentReader(folder, LOG_COLUMNS, since_us=since_us).read()
    if not any(traffic.API_KEY in table.columns for table in tables):
        return None
    rows = pl.concat(tables, how="diagonal_relaxed").with_columns(pl.col(traffic.API_KEY).fill_null(""))
    answered = (pl.col("answered") == 1) & (pl.col("status") == 0) & (pl.col("at_us") >= since_us)
    return rows.filter(answered).sort("at_us", "request", maintain_order=True)


def _judged_days(
    reference: ProbingReference, rows: pl.DataFrame, names: Sequence[str], false_alarms: float
) -> Iterator[tuple[KeyProbing, float]]:
    """Yield what each key sent on each day, with the limit of that day."""
    inputs = [f"in.{name}" for name in names]
    outputs = [name for name in rows.columns if name.startswith("out.")]
    days = rows.with_columns(day=pl.from_epoch("at_us", time_unit="us").dt.date())
    for (day,), of_day in days.partition_by("day", as_dict=True, maintain_order=True).items():
        by_key = of_day.partition_by(traffic.API_KEY, as_dict=True, maintain_order=True)
        limit = len(by_key) / false_alarms
        for (api_key,), sent in by_key.items():
            values, scores = (sent.select(columns).cast(pl.Float64).to_numpy() for columns in (inputs, outputs))
            found = judge_key(reference, values, scores, limit=limit)
            yield (
                KeyProbing(
                    day=str(day),
                    api_key=str(api_key),
                    rows=found.rows,
                    distinct=found.distinct,
                    e_value=found.e_value,
                    sign=found.sign,
                    shares={name: round(share, 6) for name, share in found.shares.items()},
                    is_found=found.found_at >= 0,
                    rows_until_found=found.found_at + 1,
                ),
                limit,
            )
