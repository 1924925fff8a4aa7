"""Lines on speed and cost: each ratio with the baseline's call that it is against, or why there is none."""

from __future__ import annotations

from collections.abc import Sequence

from headway.core.evidence import AS_CALLED, Evidence, Finding, Measurement
from headway.core.search_result import SearchResult
from headway.evaluation.machine_load import BUSY
from headway.reporting.text import formatting

WALL_RATIOS = {
    AS_CALLED: "as you call it",
    "latency.speedup": "engine against engine, one row",
    "throughput.speedup": "engine against engine, in batches",
}
ONE_ROW_CPU = "cost.cpu_s.one_row.speedup"
CPU_RATIOS = {
    "cost.cpu_s.as_called.speedup": "CPU time, as you call it",
    ONE_ROW_CPU: "CPU time, engine against engine, one row",
    "cost.cpu_s.batch.speedup": "CPU time, engine against engine, in batches",
}
"""Ratios that a busy machine leaves; that of one row is always shown."""
_COSTS = {"cost.cpu_s": " of CPU time", "cost.per_million": "", "cost.energy_j": " of the processor's energy"}
_HOW = {"one_row": "one by one", "batch": "in batches"}
COSTS = tuple(f"{name}.{how}" for how in _HOW for name in _COSTS)
"""Costs of a million predictions: CPU time, money if a price is declared, and energy if it was measured."""


def describe_search_speeds(search: SearchResult, *, only_calls: bool = False) -> list[str]:
    """Return the lines on the winner of a search; see `describe_speeds`."""
    searched = search.row(search.winner.variant.digest)
    sources = [search.winner.evidence, *([searched.evidence] if searched else [])]
    return describe_speeds(sources, only_calls=only_calls)


def describe_speeds(sources: Sequence[Evidence], *, only_calls: bool = False) -> list[str]:
    """Return a line for each ratio of times and one of CPU time, or why there is none and all ratios of CPU time.

    Parameters
    ----------
    sources : sequence of Evidence
        Evidence on one variant, the preferred first.
    only_calls : bool
        Leave out ratios whose baseline's call was not recorded, as in evidence of earlier versions.
    """
    shown, cpu = (
        {name: [seen for seen in find_all(sources, name) if seen.baseline or not only_calls] for name in titles}
        for titles in (WALL_RATIOS, CPU_RATIOS)
    )
    lines = [_line(WALL_RATIOS[name], seen) for name, ratios in shown.items() for seen in ratios]
    busy = busy_finding(sources)
    names = CPU_RATIOS if busy else [ONE_ROW_CPU]
    cpu_lines = [_line(CPU_RATIOS[name], seen) for name in names for seen in cpu[name]]
    earlier = any(not seen.baseline for name in WALL_RATIOS for seen in find_all(sources, name))
    if busy is None or earlier or shown[AS_CALLED]:
        return [*lines, *cpu_lines]
    what = "not timed as you call it" if lines else "no speedup"
    return [*lines, f"{what}: {busy.message}", f"to get one, {busy.hint}", *cpu_lines]


def find_all(sources: Sequence[Evidence], name: str) -> list[Measurement]:
    """Return the measurements of a name, one for each slice, from the first evidence that has any."""
    found = ([seen for seen in evidence.measurements if seen.name == name] for evidence in sources)
    return next((seen for seen in found if seen), [])


def find_costs(sources: Sequence[Evidence]) -> tuple[Measurement, ...]:
    """Return the costs of a million predictions, each from the first evidence that has it."""
    return tuple(seen for name in COSTS for seen in find_all(sources, name))


def describe_costs(found: Sequence[Measurement]) -> str:
    """Return what a million predictions cost, one by one and in batches, of these and other measurements."""
    costs = {seen.name: seen for seen in found}
    parts = []
    for how, title in _HOW.items():
        shown = [(costs[f"{name}.{how}"], what) for name, what in _COSTS.items() if f"{name}.{how}" in costs]
        if shown:
            figures = ", ".join(f"{formatting.format_measurement(found)}{what}" for found, what in shown)
            parts.append(f"{title} {figures} ({formatting.format_basis(shown[0][0])})")
    return "; ".join(parts) or "not measured"


def busy_finding(sources: Sequence[Evidence]) -> Finding | None:
    """Return the finding that the machine was busy, if any."""
    found = (finding for evidence in sources for finding in evidence.findings if finding.code == BUSY)
    return next(found, None)


def _line(title: str, found: Measurement) -> str:
    against = f" (against {found.baseline})" if found.baseline else ""
    if not formatting.has_interval(found):
        return f"{title}: not shown, as {found.n_groups} rounds give no interval; try a longer budget{against}"
    return f"{title}: {formatting.format_measurement(found)}{against}"
