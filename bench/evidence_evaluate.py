"""The row `evaluate.seconds` of bench/evidence.py: the whole examination of the demo's model but for what trains."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from time import perf_counter

from harness import Found, Row
from headway import flow
from headway.core import plugins
from headway.core.frontier import Frontier
from headway.evidence.subject import exam_of
from headway.face.demo.run import FILES, HERE
from headway.release.project import open_project

LEFT_OUT, MOST_S, NAMED = ("ablation", "attack", "load"), 60.0, 5


def rows() -> Found:
    """`headway evaluate` on July and August, as the command does it, once; the slowest parts are named."""
    with tempfile.TemporaryDirectory() as place:
        for name in FILES:
            shutil.copyfile(HERE / name, Path(place) / name)
        project = open_project(Path(place))
        data = flow.periods(project)
        baseline = flow.train(project, data)
        judged = flow.evaluate(project, baseline.model, exam_of(baseline, data["test"], project.blobs))
        frontier = Frontier(name=project.name, baseline=baseline, judged=(judged,), winner=judged)
        audits = [name for name in plugins.names("audit") if name not in LEFT_OUT]
        told: list[tuple[str, float]] = []
        began = perf_counter()
        flow.examine(project, frontier, data, audits=audits, tell=lambda part: told.append((part, perf_counter())))
        ended = perf_counter()
    times = [(part, until - since) for (part, since), (_, until) in zip(told, [*told[1:], ("", ended)], strict=True)]
    slowest = sorted(times, key=lambda each: -each[1])[:NAMED]
    said = ", ".join(f"{part} {seconds:.1f}" for part, seconds in slowest)
    seconds = ended - began
    against = f"{len(times)} probes and audits without {', '.join(LEFT_OUT)}; slowest: {said}"
    return [
        Row(name="evaluate.seconds", measured=seconds, unit="s", target="<= 60", ok=seconds <= MOST_S, against=against)
    ], []
