"""Rows of windowed aggregations: exact to the filter of each request, speed offline next to joins, and online.

`tiles.speedup` compares with the self-join of DuckDB, the fastest of the straightforward ways that take any request;
its time grows with the requests and with the events per entity. It runs over the tables as they are, and over copies in
the order of entity and time, whose making counts: the faster of the two is the baseline, in turns with headway. A join
that also requires equal bins of time is shown. So are a window frame of DuckDB and a rolling sum of polars: they take
requests as more rows of the events, and no event that was stored late. The ratio is of CPU seconds, which another
process on the machine hardly changes: a ratio of clocks on a busy machine is chance. By the clock of a quiet machine
the ratio is smaller: DuckDB keeps all cores busy, and most of headway runs on one.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import duckdb
import numpy as np
import polars as pl

from harness import Result, Row, shown
from headway.core.feature_view import DAY_S, Aggregation
from headway.features.window_state import WindowPlan, head_key
from headway.features.windows import aggregate, parse_window

EVENTS, ENTITIES, REQUESTS, DAYS, WINDOW_DAYS = 10_000_000, 1_000, 334_264, 365, 30
CHECKED_EVENTS, CHECKED_REQUESTS, FILTERS, REPEATS, CALLS, MANY = 200_000, 2_000, 5, 3, 2_000, 1_000_000
TINY = {
    "EVENTS": 20_000,
    "ENTITIES": 20,
    "REQUESTS": 500,
    "CHECKED_EVENTS": 2_000,
    "CHECKED_REQUESTS": 50,
    "FILTERS": 1,
    "REPEATS": 1,
    "CALLS": 10,
    "MANY": 2_000,
}
TOLERANCE = 1e-9
_SECOND_US = 1_000_000
_JOIN = """
SELECT requests.row, sum(events.real) AS sum
FROM requests LEFT JOIN events ON events.who = requests.who AND events.event_time <= requests.event_time
AND events.event_time > requests.event_time - INTERVAL {days} DAY GROUP BY requests.row ORDER BY requests.row
"""
_SORTED = """
CREATE OR REPLACE TEMP TABLE {name}_in_order AS
SELECT * REPLACE (who::INTEGER AS who, epoch_us(event_time) AS event_time) FROM {name} ORDER BY who, event_time
"""
_BINNED = """
SELECT requests.row, any_value(found.sum) AS sum FROM requests_in_order AS requests LEFT JOIN (
    SELECT r.row, sum(e.real) AS sum
    FROM (SELECT *, event_time // {us} - unnest([0, 1]) AS bin FROM requests_in_order) AS r
    JOIN (SELECT *, event_time // {us} AS bin FROM events_in_order) AS e
    ON e.who = r.who AND e.bin = r.bin AND e.event_time <= r.event_time AND e.event_time > r.event_time - {us}
    GROUP BY r.row
) AS found ON found.row = requests.row GROUP BY requests.row ORDER BY requests.row
"""
_FRAME = """
SELECT row, sum FROM (
    SELECT row, sum(real) OVER (
        PARTITION BY who ORDER BY event_time
        RANGE BETWEEN INTERVAL '{seconds}.999999 seconds' PRECEDING AND CURRENT ROW
    ) AS sum
    FROM (SELECT who, event_time, real, NULL AS row FROM events
          UNION ALL SELECT who, event_time, NULL, row FROM requests)
) WHERE row IS NOT NULL ORDER BY row
"""


def speed() -> Result:
    """Sum 30 days at the rows of the flights over 10 million events, next to what others do."""
    events, requests = _tables(EVENTS, REQUESTS)
    wanted = {"sum": parse_window(f"sum(real) over {WINDOW_DAYS}d")}
    database = duckdb.connect()
    database.register("events", events)
    database.register("requests", requests.with_row_index("row"))
    window_us = WINDOW_DAYS * DAY_S * _SECOND_US
    in_order = _JOIN.replace("requests LEFT JOIN events", "requests_in_order requests LEFT JOIN events_in_order events")
    in_order = in_order.replace("INTERVAL {days} DAY", str(window_us))
    turns: dict[str, Callable[[], pl.Series]] = {
        "headway": lambda: aggregate(events, requests, wanted, entities=["who"])["sum"],
        "duckdb_join": lambda: _query(database, _JOIN.format(days=WINDOW_DAYS)),
        "duckdb_join_in_order": lambda: _query_in_order(database, in_order),
        "duckdb_join_binned": lambda: _query_in_order(database, _BINNED.format(us=window_us)),
        "duckdb_frame": lambda: _query(database, _FRAME.format(seconds=WINDOW_DAYS * DAY_S - 1)),
        "polars_rolling": lambda: _rolling(events, requests),
    }
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in turns}
    rows, short = list[Row](), list[str]()
    for _ in range(REPEATS):
        answers = dict[str, pl.Series]()
        for name, run in turns.items():
            answers[name], clock_s, cpu_s = _timed(run)
            taken[name].append((clock_s, cpu_s))
        for name, theirs in answers.items():
            if (difference := _difference(answers["headway"], theirs)) > TOLERANCE:
                short.append(f"{name} and headway differ by {difference:.2g}")
    size = f"{REQUESTS:,} requests of {ENTITIES:,} entities, {EVENTS:,} events in {DAYS} days"
    medians = {name: np.median(runs, axis=0).tolist() for name, runs in taken.items()}
    for name, (clock_s, cpu_s) in medians.items():
        label = "tiles.seconds" if name == "headway" else f"tiles.{name}_seconds"
        of = f"{size}; " if name == "headway" else ""
        rows.append(shown(label, clock_s, "s", f"{cpu_s:.2f} s CPU; {of}median of {REPEATS}"))
    _, filter_s, _ = _timed(lambda: _filtered(events, requests.head(FILTERS)))
    rows.append(
        shown(
            "tiles.polars_filter_seconds", filter_s / FILTERS * REQUESTS, "s", f"extrapolated from {FILTERS} requests"
        )
    )
    every = events.select("who", "event_time")
    _, every_s, every_cpu_s = _timed(lambda: aggregate(events, every, wanted, entities=["who"]))
    baseline = min(("duckdb_join", "duckdb_join_in_order"), key=lambda name: medians[name][1])
    times, (clock_s, baseline_cpu_s) = EVENTS / REQUESTS, medians[baseline]
    by_clock, by_cpu = _ratios(taken[baseline], taken["headway"])
    measured = (
        ("tiles.speedup", by_clock, by_cpu, size),
        (
            "tiles.speedup_every_event",
            clock_s * times / every_s,
            baseline_cpu_s * times / every_cpu_s,
            f"{EVENTS:,} requests, in {every_s:.1f} s ({every_cpu_s:.1f} s CPU); DuckDB extrapolated from {REQUESTS:,}",
        ),
    )
    speedups = [
        Row(
            name=name,
            measured=by_cpu,
            unit="x",
            target=">= 50",
            ok=by_cpu >= 50,
            against=f"{baseline}, CPU seconds, median of pairs; by the clock {by_clock:.0f}; {of}",
        )
        for name, by_clock, by_cpu, of in measured
    ]
    others = [
        shown(f"tiles.speedup_{name}", by_cpu, "x", f"CPU seconds, median of pairs; by the clock {by_clock:.1f}")
        for name in turns
        if name not in ("headway", baseline)
        for by_clock, by_cpu in [_ratios(taken[name], taken["headway"])]
    ]
    return [*speedups, *others, *rows], short


def _ratios(theirs: list[tuple[float, float]], ours: list[tuple[float, float]]) -> tuple[float, float]:
    """Return the median ratio of each turn, by the clock and by CPU seconds."""
    by_clock, by_cpu = np.median(np.asarray(theirs) / np.asarray(ours), axis=0)
    return float(by_clock), float(by_cpu)


def exactness() -> Result:
    """Compare each function with the filter of each request: late events, integers over 2**53, floats of all sizes."""
    events, requests = _tables(CHECKED_EVENTS, CHECKED_REQUESTS)
    generator = np.random.default_rng(1)
    late_us = np.where(
        generator.random(len(events)) < 0.1, generator.integers(0, 60 * DAY_S * _SECOND_US, len(events)), 0
    )
    real = generator.normal(size=len(events)) * 10.0 ** generator.integers(-20, 20, len(events))
    number = generator.integers(-(2**44), 2**44, len(events))
    created = (events["event_time"].to_physical() + pl.Series(late_us)).cast(pl.Datetime("us", "UTC"))
    events = events.with_columns(created.alias("created_time"), real=real, number=number * 1_009)
    functions = ("count", "sum", "mean", "min", "max", "last", "distinct")
    wanted = {
        f"{function} {column}": Aggregation(function=function, window_s=WINDOW_DAYS * DAY_S, column=column)
        for function in functions
        for column in ("number", "real")
    }
    found = aggregate(events, requests, wanted, entities=["who"])
    integers, floats = 0.0, 0.0
    for index, values in enumerate(_brute_force(events, requests)):
        for name, one in wanted.items():
            expected, scale = values[name]
            value = found[name][index]
            if expected is None or value is None:
                difference = 0.0 if expected is None and value is None else math.inf
            else:
                difference = abs(value - expected) / (scale if isinstance(expected, float) else 1)
            if one.column == "number" and one.function != "mean":
                integers = max(integers, difference)
            else:
                floats = max(floats, difference)
    against = f"the filter of {CHECKED_REQUESTS:,} requests, a tenth of {CHECKED_EVENTS:,} events stored late"
    rows = [
        Row(
            name=f"tiles.max_difference_{kind}",
            measured=value,
            unit="",
            target=target,
            ok=ok,
            against=f"{what}{against}",
        )
        for kind, value, what, target, ok in (
            ("integers", integers, "", "0", integers == 0),
            ("floats", floats, "over the largest value; ", "<= 1e-9", floats <= TOLERANCE),
        )
    ]
    return rows, []


def online() -> Result:
    """Answer and merge the state of an entity with few events and with a million, seven aggregations over 90 days."""
    functions = ("count", "sum", "mean", "min", "max", "last", "distinct")
    plan = WindowPlan([Aggregation(function=one, window_s=90 * DAY_S, column="v") for one in functions])
    rows = []
    for name, number in (("100_events", 100), ("million_events", MANY)):
        content: dict[str, bytes | None] = {}
        times = np.linspace(1, 90 * DAY_S * _SECOND_US, number).astype(np.int64)
        values = np.arange(number) % 500 / 8
        for part in np.array_split(np.arange(number), max(1, number // 5_000)):
            events = plan.events(times[part], {"v": values[part]})
            content.update(plan.merge("A", content, events, now_us=int(times[part][-1])))
        at_us = int(times[-1]) + _SECOND_US
        stored = {key: content.get(key) for key in plan.keys_at("A", at_us)}
        micros = [
            _timed(lambda stored=stored, at_us=at_us: plan.answer("A", stored, at_us))[1] * 1e6 for _ in range(CALLS)
        ]
        size = sum(len(value or b"") for value in stored.values())
        against = (
            f"p99 {np.quantile(micros, 0.99):.0f}; {size:,} bytes read, head {len(content[head_key('A')] or b''):,}"
        )
        rows.append(shown(f"tiles.answer_us_{name}", float(np.median(micros)), "us", against))
        event = plan.events([at_us], {"v": [1.0]})
        stored = {key: content.get(key) for key in plan.keys_to_merge("A", event)}
        merges = [
            _timed(lambda stored=stored, event=event, at_us=at_us: plan.merge("A", stored, event, now_us=at_us))[1]
            * 1e6
            for _ in range(CALLS)
        ]
        rows.append(shown(f"tiles.merge_us_{name}", float(np.median(merges)), "us", "one event, store not included"))
    return rows, []


def _tables(events: int, requests: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return events in the order of time, and requests in random order after the first window."""
    generator = np.random.default_rng(0)
    end_us = DAYS * DAY_S * _SECOND_US

    def times(values: Any) -> pl.Series:
        return pl.Series(values).cast(pl.Datetime("us", "UTC"))

    table = pl.DataFrame(
        {
            "who": generator.integers(0, ENTITIES, events),
            "event_time": times(np.sort(generator.integers(0, end_us, events))),
            "real": generator.normal(size=events) * 100,
        }
    )
    after_us = WINDOW_DAYS * DAY_S * _SECOND_US
    at = {
        "who": generator.integers(0, ENTITIES, requests),
        "event_time": times(generator.integers(after_us, end_us, requests)),
    }
    return table, pl.DataFrame(at)


def _timed(run: Callable[[], Any]) -> tuple[Any, float, float]:
    """Return the result, and the seconds by the clock and of the process."""
    clock, cpu = time.perf_counter(), time.process_time()
    result = run()
    return result, time.perf_counter() - clock, time.process_time() - cpu


def _query(database: duckdb.DuckDBPyConnection, query: str) -> pl.Series:
    sums = database.execute(query).fetchnumpy()["sum"]
    return pl.Series(np.ma.filled(sums, np.nan)).fill_nan(None)


def _query_in_order(database: duckdb.DuckDBPyConnection, query: str) -> pl.Series:
    """Copy the tables in the order of entity and time, with integers as times, and run a query over the copies."""
    for name in ("events", "requests"):
        database.execute(_SORTED.format(name=name))
    return _query(database, query)


def _difference(ours: pl.Series, theirs: pl.Series) -> float:
    together = pl.DataFrame({"ours": ours, "theirs": theirs}).select((pl.col("ours") - pl.col("theirs")).abs().max())
    return float(together.item()) / max(1.0, float(ours.abs().max()))  # type: ignore[arg-type]


def _rolling(events: pl.DataFrame, requests: pl.DataFrame) -> pl.Series:
    at = requests.with_row_index("row").with_columns(real=pl.lit(None, dtype=pl.Float64))
    both = pl.concat([events.with_columns(row=pl.lit(None, dtype=pl.UInt32)), at.select(*events.columns, "row")])
    rolled = (
        both.sort("event_time", maintain_order=True)
        .with_columns(pl.col("real").rolling_sum_by("event_time", f"{WINDOW_DAYS}d").over("who").alias("sum"))
        .filter(pl.col("row").is_not_null())
    )
    return rolled.sort("row")["sum"]


def _filtered(events: pl.DataFrame, requests: pl.DataFrame) -> list[float]:
    span = pl.duration(days=WINDOW_DAYS)
    return [
        events.filter(
            (pl.col("who") == who) & (pl.col("event_time") <= at) & (pl.col("event_time") > pl.lit(at) - span)
        )["real"].sum()
        for who, at in requests.iter_rows()
    ]


def _brute_force(events: pl.DataFrame, requests: pl.DataFrame) -> list[dict[str, tuple[Any, float]]]:
    """Return, for each request, the value of each function and column, and the largest size of a value."""
    who, event_us = events["who"].to_numpy(), events["event_time"].to_physical().to_numpy()
    created_us = events["created_time"].to_physical().to_numpy()
    columns = {"number": events["number"].to_list(), "real": events["real"].to_list()}
    found = []
    for entity, at_us in zip(requests["who"], requests["event_time"].to_physical(), strict=True):
        since_us = at_us - WINDOW_DAYS * DAY_S * _SECOND_US
        seen = np.flatnonzero((who == entity) & (event_us <= at_us) & (event_us > since_us) & (created_us <= at_us))
        newest = seen[np.lexsort((seen, created_us[seen], event_us[seen]))][-1] if len(seen) else None
        answers: dict[str, tuple[Any, float]] = {}
        for name, column in columns.items():
            values = [column[index] for index in seen]
            scale = float(max(map(abs, values), default=0)) or 1.0
            total = sum(values) if name == "number" else math.fsum(values)
            some = {
                "sum": total,
                "mean": total / max(len(values), 1),
                "last": None if newest is None else column[newest],
            }
            some |= {"min": min(values, default=None), "max": max(values, default=None)}
            some = some if values else dict.fromkeys(some)
            some |= {"count": len(values), "distinct": len(set(values))}
            answers |= {f"{function} {name}": (value, scale) for function, value in some.items()}
        found.append(answers)
    return found
