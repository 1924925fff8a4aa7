"""Rows `extract.*`: queries that copy a model with and without defences, and the detector on honest and hostile keys.

Honest keys send the flights of months that the reference does not hold: batch scorers, single requests with retries,
dashboards that poll the same row, forms that change one field at a time, a customer of one airport, and sensors whose
values drift. Attackers hold `LEAKED` rows. Run alone: `python bench/security_rows/extraction.py`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

import lightgbm
import numpy as np
import polars as pl
from numpy.typing import NDArray

import flight_data
from harness import Result, Row, run_parts, shown
from headway.core.evidence import Measurement
from headway.core.variant import Artifact, Field, Signature, Variant
from headway.evaluation import extraction
from headway.evaluation.audits import extraction as audit
from headway.evaluation.context import AuditContext, Comparison
from headway.evaluation.settings.attack import AttackSection
from headway.monitoring.probing import fit_probing_reference, judge_key
from headway.reporting.text.formatting import has_interval
from headway.storage.in_memory import InMemoryBlobs

Floats = NDArray[np.float64]
COLUMNS = ("carrier", "origin", "dest", "dep_minute", "arr_minute", "weekday", "distance", "plane_age", "seats")
WEATHER = ("temp", "dewp", "humid", "wind_dir", "wind_speed", "pressure", "visib")
BATCH, REPEATS, KEY_DAYS, QUERIES, LEAKED, BUDGET = 20_000, 6, 200, 3_000, 300, 10_000
FALSE_ALARMS, KEYS, ROWS = 0.01, 10, 20_000
TINY = {"REPEATS": 1, "KEY_DAYS": 6, "QUERIES": 300, "BUDGET": 100}


class Flights(NamedTuple):
    """Rows of the reference and of later months, their day and label, the fields, and a model of the first months."""

    reference: Floats
    later: Floats
    days: NDArray[np.int64]
    labels: Floats
    fields: tuple[Field, ...]
    model: Boosted


class Boosted:
    """A LightGBM model as an engine; `decimals` rounds its scores."""

    def __init__(self, booster: lightgbm.Booster, decimals: int | None = None) -> None:
        self.booster, self.decimals = booster, decimals

    def predict(self, rows: Floats) -> Floats:
        """Return scores (n, 1)."""
        scores = np.asarray(self.booster.predict(rows, num_threads=1))[:, None]
        return scores if self.decimals is None else np.round(scores, self.decimals)


def _flights(*, trees: int = 200) -> Flights:
    table = flight_data.load().sort("departs_at")
    texts = COLUMNS[:3]
    coded = table.with_columns(
        *(pl.col(name).rank("dense").cast(pl.Float64) - 1 for name in texts), month=pl.col("date").dt.month()
    )
    rows = coded.select(*COLUMNS, *WEATHER).cast(pl.Float64).fill_null(np.nan).to_numpy()
    month, late = coded["month"].to_numpy(), coded["late"].cast(pl.Float64).fill_null(0).to_numpy()
    fields = tuple(
        Field(name=name, datatype="BYTES", categories=tuple(sorted(table[name].unique().to_list())))
        if name in texts
        else Field(name=name)
        for name in (*COLUMNS, *WEATHER)
    )
    train = month <= 5
    data = lightgbm.Dataset(rows[train], late[train], categorical_feature=[0, 1, 2])
    settings = {"objective": "binary", "verbose": -1, "seed": 0, "deterministic": True, "num_threads": 1}
    model = Boosted(lightgbm.train(settings, data, num_boost_round=trees))
    later = month >= 8
    days = (coded["date"] - coded["date"].min()).dt.total_days().to_numpy()
    return Flights(rows[(month == 6) | (month == 7)], rows[later], days[later], late[later], fields, model)


def honest(flights: Flights, random: np.random.Generator) -> dict[str, Floats]:
    """Return what honest keys of several kinds send on one day."""
    rows, days = flights.later, flights.days
    day = rows[days == random.choice(np.unique(days))]
    single = day[random.permutation(len(day))[:300]]
    form = _form(day[random.integers(len(day), size=25)], rows, random)
    weather = day[random.integers(len(day))][None].repeat(288, axis=0)
    weather[:, len(COLUMNS)] = np.round(weather[0, len(COLUMNS)] + random.normal(0, 0.5, 288).cumsum(), 2)
    airport = rows[rows[:, 2] == random.choice(np.unique(rows[:, 2]))]
    return {
        "batch": rows[random.permutation(len(rows))[:BATCH]],
        "day": day,
        "retries": np.repeat(single, random.integers(1, 5, len(single)), axis=0),
        "polling": day[random.integers(len(day), size=5)].repeat(500, axis=0)[random.permutation(2_500)],
        "form": form,
        "sensor": weather,
        "airport": airport[random.permutation(len(airport))[:500]],
    }


def _form(bases: Floats, rows: Floats, random: np.random.Generator) -> Floats:
    """Return the requests of a screen that asks again after each change of one field, a few changes for each row."""
    sent = []
    for base in bases:
        row = base.copy()
        sent.append(row.copy())
        for _ in range(random.integers(3, 12)):
            at = random.integers(rows.shape[1])
            row[at] = rows[random.integers(len(rows)), at]
            sent.append(row.copy())
            if random.random() < 0.5:
                row = base.copy()
    return np.array(sent)


def attacks(flights: Flights, random: np.random.Generator, n: int) -> dict[str, Floats]:
    """Return the queries of attackers who hold a few rows: those of the audit, and of simple public recipes."""
    pool = flights.later[random.permutation(len(flights.later))[:LEAKED]]
    task = extraction.CopyTask(
        task="binary",
        fields=flights.fields,
        threshold=0.25,
        pool=pool,
        targets=pool,
        answers=flights.model.predict(pool),
    )
    low, high = np.nanmin(pool, axis=0), np.nanmax(pool, axis=0)
    made = {
        "mixed rows": task.draw(n, random)[random.permutation(n)],
        "adaptive": _recorded(flights, task, random, n, extraction.adaptive_copies),
        "path finding": _recorded(flights, task, random, n, extraction.path_copies),
        "uniform": _whole(random.uniform(low, high, (n, pool.shape[1])), pool),
        "line search": _line_search(flights, pool, random, n),
        "jacobian": _augmented(pool, random, n),
        "marginals": np.column_stack([random.choice(column, n) for column in pool.T]),
    }
    return made


def _whole(rows: Floats, pool: Floats) -> Floats:
    """Return rows whose whole-number columns are whole again."""
    whole = np.array([np.array_equal(np.round(c[~np.isnan(c)]), c[~np.isnan(c)]) for c in pool.T])
    return np.where(whole, np.round(rows), rows)


class _Recorder(Boosted):
    def __init__(self, model: Boosted) -> None:
        super().__init__(model.booster)
        self.sent: list[Floats] = []

    def predict(self, rows: Floats) -> Floats:
        """Record the rows and return their scores."""
        self.sent.append(rows)
        return super().predict(rows)


def _recorded(
    flights: Flights,
    task: extraction.CopyTask,
    random: np.random.Generator,
    n: int,
    attack: Callable[..., object],
) -> Floats:
    recorder = _Recorder(flights.model)
    view = extraction.AnswerView()
    model = extraction.QueriedModel(recorder, view, threshold=task.threshold, until=float("inf"), seed=0)
    attack(task, model, extraction.milestones(n), random)
    return np.concatenate(recorder.sent)[:n]


def _line_search(flights: Flights, pool: Floats, random: np.random.Generator, n: int) -> Floats:
    """Return bisections between rows of two decisions (the first step of boundary attacks)."""
    decided = flights.model.predict(pool)[:, 0] >= 0.25
    sent: list[Floats] = []
    while sum(map(len, sent)) < n and decided.any() and not decided.all():
        near, far = pool[random.choice(np.flatnonzero(~decided))], pool[random.choice(np.flatnonzero(decided))]
        for _ in range(10):
            middle = near + (far - near) / 2
            sent.append(middle[None])
            is_yes = flights.model.predict(middle[None])[0, 0] >= 0.25
            near, far = (near, middle) if is_yes else (middle, far)
    return np.concatenate(sent)[:n] if sent else pool


def _augmented(pool: Floats, random: np.random.Generator, n: int) -> Floats:
    """Return steps of a share of the spread in all columns, from rows asked before (Papernot et al. 2017)."""
    spread = np.nanstd(pool, axis=0)
    rows = pool[:100]
    while len(rows) < n:
        signs = random.choice([-1.0, 1.0], (len(rows), rows.shape[1]))
        rows = np.concatenate([rows, _whole(rows + 0.3 * spread * signs, pool)])
    return rows[:n]


def detector() -> Result:
    """Judge honest key-days and attacks by the detector."""
    flights = _flights()
    scores = flights.model.predict(flights.reference)
    reference = fit_probing_reference(flights.reference, scores, flights.fields, task="binary", threshold=0.25)
    random, limit = np.random.default_rng(1), KEYS / FALSE_ALARMS

    def evidence(rows: Floats):
        return judge_key(reference, rows, flights.model.predict(rows), limit=limit)

    found: dict[str, list[int]] = {}
    false: dict[str, list[bool]] = {}
    while sum(map(len, false.values())) < KEY_DAYS:
        for name, rows in honest(flights, random).items():
            seen = evidence(rows)
            false.setdefault(name, []).append(seen.found_at >= 0)
    for _ in range(REPEATS):
        for name, rows in attacks(flights, random, QUERIES).items():
            seen = evidence(rows)
            found.setdefault(name, []).append(seen.found_at)
    real = [evidence(flights.later[random.permutation(len(flights.later))[:QUERIES]]) for _ in range(REPEATS)]
    all_false, all_found = (
        [seen for kind in false.values() for seen in kind],
        [at for ats in found.values() for at in ats],
    )
    share, wrong = float(np.mean([at >= 0 for at in all_found])), float(np.mean(all_false))
    rows_to_find = float(np.median([at + 1 for at in all_found if at >= 0] or [0]))
    names = ", ".join(f"{name} {sum(at >= 0 for at in ats)}/{len(ats)}" for name, ats in found.items())
    kinds = ", ".join(f"{name} {sum(seen)}/{len(seen)}" for name, seen in false.items())
    of_real = f"attackers with {QUERIES:,} real rows, which look like a batch scorer"
    return [
        Row(
            name="extract.detector_found", measured=share, unit="share", target=">= 0.9", ok=share >= 0.9, against=names
        ),
        Row(
            name="extract.detector_false",
            measured=wrong,
            unit="share",
            target="<= 0.01",
            ok=wrong <= 0.01,
            against=kinds,
        ),
        shown("extract.detector_rows", rows_to_find, "rows", "median number of rows until an attacker is found"),
        shown(
            "extract.detector_found[real rows]", float(np.mean([one.found_at >= 0 for one in real])), "share", of_real
        ),
    ], []


def queries() -> Result:
    """Count the queries that copy the model of flights, for each view of its answers; a day is a group."""
    flights = _flights()
    some = slice(None, None, max(1, len(flights.later) // ROWS))
    rows, labels, scores = flights.later[some], flights.labels[some], flights.model.predict(flights.later[some])
    artifact = Artifact(format="lightgbm", digest=f"sha256:{'0' * 64}", size_bytes=1)
    variant = Variant(artifact=artifact, engine="lightgbm", signature=Signature(inputs=flights.fields))
    subject = Comparison(
        variant=variant,
        model=flights.model,
        reference=flights.model,
        rows=rows,
        labels=labels,
        scores=scores,
        reference_scores=scores,
        groups=flights.days[some] - flights.days.min(),
        slices={},
        threshold=0.25,
    )
    context = AuditContext(blobs=InMemoryBlobs(), budget_s=1e6, attack=AttackSection(copy_queries=max(BUDGET, 100)))
    measured = [seen for seen in audit.plugin(subject, context) if isinstance(seen, Measurement)]
    return [
        shown(
            f"extract.queries_95[{seen.slice}]" if seen.slice else "extract.queries_95",
            seen.value,
            "queries",
            f"{seen.low:,.0f} to {seen.high:,.0f}; {seen.method}" if has_interval(seen) else seen.method,
        )
        for seen in measured
        if seen.name == "extraction.queries_95"
    ], []


if __name__ == "__main__":
    run_parts(__doc__, {"detector": detector, "queries": queries})
