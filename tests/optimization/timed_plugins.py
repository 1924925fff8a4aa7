"""Transforms and metrics that advance a fake clock, installed like any third-party package."""

from __future__ import annotations

from pathlib import Path

import pytest


class Clock:
    """A clock that only the plug-ins of a test advance."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


CLOCK = Clock()

TRANSFORM = '''"""A transform of the tests."""

from headway.core.variant import Step
from tests.optimization.timed_plugins import CLOCK

STAGE = "other"
KEEPS_ANSWERS = {keeps_answers}
COST = {cost}


def plugin(variant, context):
    CLOCK.seconds += {seconds}
    return [variant.remade(Step(transform="{name}"), variant.artifact, engine=variant.engine)]
'''
METRIC = '''"""A metric of the tests."""

from tests.optimization.timed_plugins import CLOCK


def plugin(subject):
    CLOCK.seconds += {seconds}
    return []
'''


class Plugins:
    """A package whose plug-ins a test adds; each name is used once, as declarations are read once in a process."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._points = folder, {"metric": [], "transform": []}
        CLOCK.seconds = 0.0

    def transform(self, name: str, *, seconds: float, keeps_answers: bool = False, cost: str = "{}") -> str:
        """Add a transform that takes `seconds`, and declares `cost`."""
        return self._add("transform", name, TRANSFORM, keeps_answers=keeps_answers, cost=cost, seconds=seconds)

    def metric(self, name: str, *, seconds: float) -> str:
        """Add a metric that takes `seconds` for each variant, and measures nothing."""
        return self._add("metric", name, METRIC, seconds=seconds)

    def _add(self, kind: str, name: str, text: str, **values: object) -> str:
        (self._folder / f"timed_{name}.py").write_text(text.format(name=name, **values))
        self._points[kind].append(f"{name} = timed_{name}")
        info = self._folder / "timed_plugins-0.1.dist-info"
        info.mkdir(exist_ok=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: timed-plugins\nVersion: 0.1\n")
        sections = (f"[headway.{kind}]\n" + "\n".join(lines) for kind, lines in self._points.items() if lines)
        (info / "entry_points.txt").write_text("\n\n".join(sections))
        return name


def install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Plugins:
    """Put a package of timed plug-ins, empty at first, on the path of a test."""
    monkeypatch.syspath_prepend(folder)
    return Plugins(folder)
