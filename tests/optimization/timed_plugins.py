"""Transforms and metrics that advance a fake clock, and ones that fail, installed like any third-party package."""

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
FAILING_TRANSFORM = '''"""A transform of the tests: the compiled form, on an engine that fails."""

from headway.core.variant import Step
from headway.optimization.transforms import trees

STAGE = "lower"
KEEPS_ANSWERS = True


def plugin(variant, context):
    compiled = trees.plugin(variant, context)[0]
    return [variant.remade(Step(transform="{name}"), compiled.artifact, engine="{name}")]
'''
FAILING_ENGINE = '''"""An engine of the tests that is opened {opens} times, and then raises its library's own error."""

from headway.engines.trees import Trees


class LibraryError(Exception):
    """Derived from Exception, as those of CatBoost, LightGBM and ONNX Runtime."""


class plugin(Trees):
    n_opened = 0

    def __init__(self, content, settings):
        super().__init__(content, settings)
        type(self).n_opened += 1

    def predict(self, rows):
        if self.n_opened > {opens}:
            raise LibraryError("no such border")
        return super().predict(rows)
'''


class Plugins:
    """A package whose plug-ins a test adds; each name is used once, as declarations are read once in a process."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._points = folder, {"engine": [], "metric": [], "transform": []}
        CLOCK.seconds = 0.0

    def transform(self, name: str, *, seconds: float, keeps_answers: bool = False, cost: str = "{}") -> str:
        """Add a transform that takes `seconds`, and declares `cost`."""
        return self._add("transform", name, TRANSFORM, keeps_answers=keeps_answers, cost=cost, seconds=seconds)

    def metric(self, name: str, *, seconds: float) -> str:
        """Add a metric that takes `seconds` for each variant, and measures nothing."""
        return self._add("metric", name, METRIC, seconds=seconds)

    def failing(self, name: str, *, opens: int) -> str:
        """Add a transform to an engine of the same name, whose models answer until it was opened `opens` times."""
        self._add("engine", name, FAILING_ENGINE, module=f"{name}_engine", opens=opens)
        return self._add("transform", name, FAILING_TRANSFORM)

    def _add(self, kind: str, name: str, text: str, *, module: str = "", **values: object) -> str:
        module = f"timed_{module or name}"
        (self._folder / f"{module}.py").write_text(text.format(name=name, **values))
        self._points[kind].append(f"{name} = {module}")
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
