"""Compare what devices answered with what the same releases answer on this machine, on rows that the devices shipped.

A row differs if an output does, by more than rounding. Engines of another processor may round otherwise; a device that
is broken, or a log that was made up, differs by more.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, cast

import numpy as np
from msgspec.structs import replace

from headway.core.arrays import Floats
from headway.core.errors import HeadwayError
from headway.core.evidence import Measurement
from headway.core.fleet import DeviceComparison, FleetComparison
from headway.core.plugins import load_engine
from headway.evaluation.calibration.apply import calibration_function
from headway.evaluation.statistics.intervals import Sample
from headway.evaluation.statistics.proportions import groups_share
from headway.registry.device_logs import load_statuses, segments_of
from headway.registry.model_registry import now
from headway.registry.project import Project
from headway.storage import segments, traffic
from headway.storage.addresses import log_root

if TYPE_CHECKING:
    from headway.storage.segments import Column

SAMPLED_ROWS, SAMPLED_SEGMENTS = 200, 10
_RELATIVE, _ABSOLUTE = 1e-5, 1e-6
_Predict = Callable[[Floats], Floats]
_Opened = tuple[tuple[str, ...], _Predict]


def compare_devices(project: Project) -> FleetComparison:
    """Compare up to 200 rows of the last 10 segments of each device, drawn at random, and save the result.

    Rows with texts, rows that failed, and rows of releases that cannot be opened here are left out.
    """
    folder = traffic.devices_folder(log_root(project.config, project.name), project.name)
    opened = cache(lambda digest: _open(project, digest))
    found: list[DeviceComparison] = []
    for status in load_statuses(project.config.state, project.name):
        random = np.random.default_rng(0)
        paths = segments_of(folder, status.device)[-SAMPLED_SEGMENTS:]
        parts = [_compare_segment(segments.load(path), opened, random) for path in paths]
        order, differs = np.concatenate([np.zeros((2, 0)), *parts], axis=1)
        drawn = differs[np.argsort(order)[:SAMPLED_ROWS]]
        found.append(DeviceComparison(device=status.device, rows=len(drawn), differing=int(drawn.sum())))
    compared = FleetComparison(name=project.name, at=now().isoformat(timespec="seconds"), devices=tuple(found))
    compared = replace(compared, share=_share([one for one in found if one.rows]))
    project.save(compared)
    return compared


def _share(compared: list[DeviceComparison]) -> Measurement | None:
    """Return the share of differing rows; its variance is that between devices."""
    if not compared:
        return None
    differing, rows = (
        np.array([getattr(device, name) for device in compared], float) for name in ("differing", "rows")
    )
    sample = Sample(n_rows=int(rows.sum()), n_groups=len(compared))
    return groups_share("fleet.disagreement", differing, rows, sample)


def _open(project: Project, digest: str) -> _Opened | None:
    """Return the columns that a release reads, and its predictions; None if it is not here, or reads texts."""
    try:
        bundle = project.registry.resolve(f"{project.name}@{digest}")
    except HeadwayError:
        return None
    variant = bundle.release.variant
    if variant.signature.texts:
        return None
    model = load_engine(variant.engine)(bundle.model, variant.settings)
    calibrate = calibration_function(bundle.release.calibrator)
    return variant.signature.names, lambda rows: calibrate(model.predict(rows))


def _compare_segment(
    columns: dict[str, Column], opened: Callable[[str], _Opened | None], random: np.random.Generator
) -> Floats:
    """Compare rows of a segment: return a random number of each, and 1 if it differs, else 0; shape (2, n).

    Only the rows with the lowest numbers are compared: no others can be among the lowest of the device.
    """
    nothing = np.zeros((2, 0))
    release = opened(str(cast("list[str]", columns["release"])[0])) if len(columns["release"]) else None
    outputs = [name for name in sorted(columns, key=_number) if name.startswith("out.")]
    names = [f"in.{name}" for name in release[0]] if release else []
    if release is None or not outputs or any(name not in columns for name in names):
        return nothing
    answered = np.flatnonzero(np.asarray(columns["status"]) == 0)
    order = random.random(len(answered))
    lowest = np.argsort(order)[:SAMPLED_ROWS]
    if not len(lowest):
        return nothing
    rows, logged = (
        np.column_stack([np.asarray(columns[name], np.float64)[answered[lowest]] for name in part])
        for part in (names, outputs)
    )
    here = release[1](rows)
    if here.shape != logged.shape:
        return np.stack([order[lowest], np.ones(len(rows))])
    is_same = np.isclose(logged, here, rtol=_RELATIVE, atol=_ABSOLUTE, equal_nan=True).all(1)
    return np.stack([order[lowest], np.where(is_same, 0.0, 1.0)])


def _number(name: str) -> int:
    """Return the number of an output column, by which it is ordered."""
    number = name.partition(".")[2]
    return int(number) if number.isdecimal() else -1
