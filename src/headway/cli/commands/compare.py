"""Compare two variants of a search, or two releases, point by point on the same labelled rows."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from headway import pipeline
from headway.cli.main import AsJson, ProjectFolder, SearchDigest
from headway.registry.project import open_project
from headway.reporting.console import print_result
from headway.reporting.text.formatting import parse_duration
from headway.reporting.text.terminal import render_comparison


def plugin(
    first: str,
    second: str,
    *,
    project: ProjectFolder = Path("."),
    search: SearchDigest = "",
    period: Literal["validation", "live"] = "validation",
    rows: int = 0,
    time: str = "",
    json: AsJson = False,
) -> None:
    """Show quality, flipped decisions, calibration, slices and speed of two models next to each other.

    Example: headway compare onnxruntime "lightgbm (baseline)" --project headway-demo
    Example: headway compare flight-delays@live onnxruntime --project headway-demo --rows 20

    Parameters
    ----------
    first
        A variant of the search, by its name or digest, or a release, by its address (`flights@live`).
    second
        Another one, to compare it with.
    period
        The labelled rows: `validation` or `live`. Rows of `test` are left for verdicts.
    rows
        Number of rows that they decide differently to print; these may hold personal data.
    time
        How long single calls of both are timed (2s); by default only timings in the evidence are shown.
    """
    opened = open_project(project)
    found = pipeline.compare_points(
        opened,
        pipeline.find_search(opened, search),
        pipeline.periods(opened),
        first,
        second,
        period=period,
        n_examples=max(rows, 0),
        seconds=parse_duration(time) if time else 0.0,
    )
    print_result(found, render_comparison(found), json=json)
