"""Cost of a million rows: CPU seconds, money if a price per core hour is declared, and energy if it is counted."""

from __future__ import annotations

from functools import partial

from msgspec.structs import replace

from headway.core.errors import NotApplicable
from headway.core.evidence import Measurement
from headway.evaluation.benchmark import MIN_ROUNDS, measure_cpu_time, widen_for_bursts
from headway.evaluation.context import Comparison
from headway.evaluation.energy import EnergyMeter
from headway.evaluation.machine_load import LoadMeter
from headway.evaluation.statistics.intervals import mean_over_repeats

ROUNDS, MILLION, HOUR_S = 20, 1e6, 3600


def plugin(subject: Comparison) -> list[Measurement | NotApplicable]:
    """Measure `cost.cpu_s.one_row` and `cost.cpu_s.batch` per million rows; with `[cost]`, both as `cost.per_million`.

    CPU time of all threads, in 20 rounds, without the overhead of the server; a slow model has fewer rounds, so that
    they take at most `timing_s`. Calls take more CPU time while other processes share the machine: intervals are wider
    then. Where the RAPL counters of the processor can be read, `cost.energy_j` is what its packages used in each round,
    in joules per million rows; a NotApplicable takes its place if other processes worked too. Where they cannot be read
    no energy is measured, and `headway doctor` says why. Raises NotApplicable without
    rows.
    """
    if not len(subject.rows):
        raise NotApplicable("the data has no rows")
    price = subject.price if subject.price and subject.price.core_hour else None
    found: list[Measurement | NotApplicable] = []
    meter, load = _energy_meter(), LoadMeter()
    measured = measure_cpu_time(subject.model, subject.rows, rounds=ROUNDS, limit_s=subject.timing_s, energy=meter)
    over_rounds = partial(mean_over_repeats, what="rounds", min_repeats=MIN_ROUNDS)
    busy, is_shared = meter.busy() if meter else None, load.is_shared()
    for how, work in measured.items():
        seconds = work.row_ns * MILLION / 1e9
        spent = over_rounds(f"cost.cpu_s.{how}", seconds, n_rows=work.rows)
        costs = [replace(spent, unit="s")]
        if price:
            cost = seconds / HOUR_S * price.core_hour
            priced = over_rounds(f"cost.per_million.{how}", cost, n_rows=work.rows)
            costs.append(replace(priced, unit=price.currency))
        found += [widen_for_bursts(one) for one in costs] if is_shared else costs
        if work.row_uj is not None and busy is None:  # uJ a row are J a million rows
            used = over_rounds(f"cost.energy_j.{how}", work.row_uj, n_rows=work.rows)
            found.append(replace(used, unit="J"))
    return [*found, *([] if price else [_unpriced()]), *([busy] if busy else [])]


def _energy_meter() -> EnergyMeter | None:
    try:
        return EnergyMeter()
    except NotApplicable:
        return None


def _unpriced() -> NotApplicable:
    hint = "declare the price of an hour of one core:\n[cost]\ncore_hour = 0.04"
    return NotApplicable("no price is declared: the cost is given in CPU seconds alone", hint=hint)
