"""What the calls of `import headway` return: models and measurements that print as text, in a notebook as tables."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from getpass import getuser
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console, RenderableType

from headway import pipeline
from headway.api.in_memory_project import InMemoryProject
from headway.api.model import Floats, Model
from headway.core.contracts import Engine
from headway.core.evidence import Evidence, Finding, Measurement
from headway.core.release import PointerUpdate
from headway.core.search_result import SearchResult
from headway.core.verdict import RELATIVE, Answer, EvaluatedVariant, Verdict
from headway.evaluation.measure import BUSY, this_machine
from headway.reporting.page import notebook_html, write_report
from headway.reporting.report_data import ReportData
from headway.reporting.text import formatting, tables, words
from headway.reporting.text.tables import Table
from headway.reporting.text.terminal import TerminalTable

_TEXT_WIDTH = 160
_BESIDE = (".lag1", ".drop", "speedup", *RELATIVE)
"""Figures that compare with another model, or say how an interval was made: no news of one model alone."""


class Result(ABC):
    """A result with a title, lines of words, and a sheet; `print` and a notebook show the same."""

    @abstractmethod
    def _title(self) -> str: ...

    def _lines(self) -> Sequence[str]:
        return ()

    @abstractmethod
    def _sheet(self) -> Table: ...

    def __str__(self) -> str:
        console = Console(width=_TEXT_WIDTH, highlight=False, markup=False, color_system=None)
        parts: list[RenderableType] = [self._title(), *self._lines(), "", TerminalTable(self._sheet())]
        with console.capture() as capture:
            for part in parts:
                console.print(part)
        return "\n".join(line.rstrip() for line in capture.get().splitlines())

    def _repr_html_(self) -> str:
        return notebook_html(self._title(), self._lines(), self._sheet())


class OptimizationResult(Result, Model):
    """The fastest form that is still right, called as the model itself, with the frontier that it was chosen from."""

    def __init__(
        self, frontier: SearchResult, engine: Engine, laid: InMemoryProject, *, threshold: float | None
    ) -> None:
        super().__init__(frontier.winner.variant, engine, threshold=threshold)
        self.frontier = frontier
        self._laid = laid
        self._whole = laid.native.around(Model(self.variant, engine, threshold=threshold)) if laid.native else None

    def predict(self, rows: Any) -> NDArray[Any]:
        """As `Model.predict`; Python of one's own that stood around the model still does."""
        return np.asarray(self._whole.predict(rows)) if self._whole else super().predict(rows)

    def predict_proba(self, rows: Any) -> Floats:
        """As `Model.predict_proba`; Python of one's own that stood around the model still does."""
        return np.asarray(self._whole.predict_proba(rows)) if self._whole else super().predict_proba(rows)

    @property
    def native(self) -> tuple[str, ...]:
        """The Python of one's own that stays as it is around the optimised model, by its places; mostly none."""
        return self._laid.native.parts if self._laid.native else ()

    @property
    def folder(self) -> Path:
        """Where its store is; a folder that was not named goes with this object."""
        return Path(self._laid.project.config.folder)

    @property
    def verdict(self) -> Verdict:
        """The judge's verdict on it, from rows that the search did not see."""
        return self.frontier.winner.verdict

    @property
    def speedup(self) -> Measurement | None:
        """How many times faster one row is answered than by the model as it came, timed in turns; None if not timed."""
        return self._searched("latency.speedup")

    @property
    def why(self) -> dict[str, str]:
        """Of each other variant by its name, and each transform that did not apply, one sentence on why it lost."""
        return {**self.frontier.reasons, **dict(map(_refused, self.frontier.refusals))}

    @property
    def table(self) -> list[dict[str, object]]:
        """The frontier, a dict for each variant, fit for a dataframe: name, verdict, each value, low and high."""
        return [_row(each) for each in self.frontier.judged]

    def report(self, path: str | Path = "report.html") -> Path:
        """Write the frontier as one HTML file that needs no other; returns its path."""
        policy = self._laid.project.config.policy
        story = ReportData(
            title=f"A faster form of {self.frontier.name}",
            slice_rows=policy.slice_rows,
            slice_groups=policy.slice_groups,
            frontier=self.frontier.judged,
            left=self.frontier.left,
            reasons=self.frontier.reasons,
            refusals=self.frontier.refusals,
            winner=self.frontier.winner,
            machine=this_machine(),
        )
        return write_report(story, Path(path))

    def release(self, *, who: str = "", why: str = "") -> PointerUpdate:
        """Sign it and point `live` of its name at it, in the store of `folder`; the move that it made.

        Raises Refused unless the verdict is pass, and where Python of one's own stands around the model.
        """
        if self._laid.native:
            raise self._laid.native.refused()
        return pipeline.release(self._laid.project, self.frontier, who=who or getuser(), why=why).move

    def _searched(self, name: str) -> Measurement | None:
        row = self.frontier.row(self.variant.digest)
        return row.evidence.find(name) if row else None

    def _title(self) -> str:
        return f"{self.variant.name}: {_faster(self.speedup)}, verdict {self.verdict.answer}"

    def _lines(self) -> Sequence[str]:
        batches = self._searched("throughput.speedup")
        return (
            *([f"in batches: {formatting.format_measurement(batches)}"] if batches else []),
            *([f"kept as it is, in Python: {'; '.join(self.native)}"] if self.native else []),
            *(f"{rule_result.answer}: {rule_result.message}" for rule_result in self.verdict.rule_results),
            *(finding.message for finding in self.frontier.origin.evidence.findings if finding.code == BUSY),
        )

    def _sheet(self) -> Table:
        return tables.tabulate_variants_briefly(self.frontier.judged, self.frontier.winner)

    def __repr__(self) -> str:
        return f"<headway: {self._title()}>"


class EvaluationResult(Result):
    """What a model is worth: the evidence, by measure."""

    def __init__(self, evidence: Evidence) -> None:
        self.evidence = evidence

    def __getitem__(self, name: str) -> Measurement:
        """The measurement of that name over all rows; raises KeyError that lists those there are."""
        return find_measurement(self.evidence, name)

    def _title(self) -> str:
        rows = max((each.n_rows for each in self.evidence.measurements), default=0)
        return f"measured on {rows:,} rows: {len(self.evidence.measurements)} figures"

    def _lines(self) -> Sequence[str]:
        return tuple(finding.message for finding in self.evidence.findings)

    def _sheet(self) -> Table:
        shown = (each for each in self.evidence.measurements if not each.slice and not each.name.endswith(_BESIDE))
        return tables.tabulate_measurements(tuple(shown))

    def __repr__(self) -> str:
        return f"<headway: {self._title()}>"


class ComparisonResult(Result):
    """One model against another on the same rows: the verdict, rule by rule, and the evidence under it."""

    def __init__(self, judged: EvaluatedVariant) -> None:
        self.evidence, self.verdict = judged.evidence, judged.verdict

    @property
    def answer(self) -> Answer:
        """pass, fail or undecided."""
        return self.verdict.answer

    def __getitem__(self, name: str) -> Measurement:
        """The measurement of that name over all rows; raises KeyError that lists those there are."""
        return find_measurement(self.evidence, name)

    def _title(self) -> str:
        return f"the other model {words.ANSWERS[self.answer]}"

    def _sheet(self) -> Table:
        return tables.tabulate_rules(self.verdict)

    def __repr__(self) -> str:
        return f"<headway: {self._title()}>"


def find_measurement(evidence: Evidence, name: str) -> Measurement:
    """The measurement of a name over all rows; raises KeyError that lists those there are."""
    measurement = evidence.find(name)
    if measurement is None:
        there = ", ".join(dict.fromkeys(each.name for each in evidence.measurements))
        raise KeyError(f"{name!r} was not measured; there are: {there}")
    return measurement


def _refused(finding: Finding) -> tuple[str, str]:
    """The transform that gave nothing, and why."""
    name, _, message = finding.message.partition(": ")
    return name, message


def _faster(speedup: Measurement | None) -> str:
    return "not timed" if speedup is None else f"{formatting.format_measurement(speedup)} for one row"


def _row(judged: EvaluatedVariant) -> dict[str, object]:
    row: dict[str, object] = {"variant": judged.variant.name, "verdict": judged.verdict.answer}
    for each in judged.evidence.measurements:
        if not each.slice:
            row |= {each.name: each.value, f"{each.name}.low": each.low, f"{each.name}.high": each.high}
    return row
