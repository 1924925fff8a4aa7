"""Results of the functions of `import headway`: they print as text, and show as tables in a notebook."""

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
from headway.core.evidence import Evidence, Measurement
from headway.core.release import PointerUpdate
from headway.core.renamed import warn_renamed
from headway.core.search_result import SearchResult
from headway.core.threads import this_machine
from headway.core.verdict import RELATIVE, Answer, EvaluatedVariant, Verdict
from headway.evaluation.measure import BUSY
from headway.reporting.page import notebook_html, write_report
from headway.reporting.report_data import ReportData
from headway.reporting.text import formatting, tables, words
from headway.reporting.text.tables import Table
from headway.reporting.text.terminal import TerminalTable

_TEXT_WIDTH = 160
_NOT_OF_ONE_MODEL = (".lag1", ".drop", "speedup", *RELATIVE)
"""Measures that compare with another model, or describe an interval: nothing to show for a single model."""


class Result(ABC):
    """A result with a title, lines of text and a table; `print` and a notebook show the same."""

    @abstractmethod
    def _title(self) -> str: ...

    def _lines(self) -> Sequence[str]:
        return ()

    @abstractmethod
    def _table(self) -> Table: ...

    def __str__(self) -> str:
        console = Console(width=_TEXT_WIDTH, highlight=False, markup=False, color_system=None)
        parts: list[RenderableType] = [self._title(), *self._lines(), "", TerminalTable(self._table())]
        with console.capture() as capture:
            for part in parts:
                console.print(part)
        return "\n".join(line.rstrip() for line in capture.get().splitlines())

    def __repr__(self) -> str:
        return f"<headway: {self._title()}>"

    def _repr_html_(self) -> str:
        return notebook_html(self._title(), self._lines(), self._table())


class OptimizationResult(Result, Model):
    """The fastest variant that meets the policy, called like the original model, with the search behind it.

    Attributes
    ----------
    variant : Variant
        The winner: its engine, steps and signature.
    search : SearchResult
        The whole search: baseline, evaluated variants, winner, reasons.
    threshold : float or None
        Decision threshold, if `costs` were given.
    classes_ : ndarray of shape (n_classes,)
        Classes of a classifier, in the order of the columns of `predict_proba`.
    feature_names_in_ : ndarray of shape (d,)
    n_features_in_ : int
    verdict : Verdict
    speedup : Measurement or None
    why : dict
    table : list of dict
    native : tuple of str
    folder : Path
    frontier : SearchResult
        Former name of `search`.
    """

    def __init__(
        self, search: SearchResult, engine: Engine, memory: InMemoryProject, *, threshold: float | None
    ) -> None:
        super().__init__(search.winner.variant, engine, threshold=threshold)
        self.search = search
        self._memory = memory
        optimized = Model(self.variant, engine, threshold=threshold)
        self._outer = memory.native.around(optimized) if memory.native else None

    def predict(self, rows: Any) -> NDArray[Any]:
        """Predict as `Model.predict`, with the user's own Python around the model still in place."""
        return np.asarray(self._outer.predict(rows)) if self._outer else super().predict(rows)

    def predict_proba(self, rows: Any) -> Floats:
        """Predict as `Model.predict_proba`, with the user's own Python around the model still in place."""
        return np.asarray(self._outer.predict_proba(rows)) if self._outer else super().predict_proba(rows)

    @property
    def frontier(self) -> SearchResult:
        """Search result; renamed to `search`."""
        warn_renamed("optimize", "frontier", "search")
        return self.search

    @property
    def native(self) -> tuple[str, ...]:
        """Parts of the model that stay in Python around the optimized model, by their position; mostly none."""
        return self._memory.native.parts if self._memory.native else ()

    @property
    def folder(self) -> Path:
        """Folder of the evidence; a temporary one is deleted together with this object."""
        return Path(self._memory.project.config.folder)

    @property
    def verdict(self) -> Verdict:
        """Verdict of the policy, on rows that the search did not use."""
        return self.search.winner.verdict

    @property
    def speedup(self) -> Measurement | None:
        """How many times faster than the baseline one row is predicted, in paired runs; None if not timed."""
        return self._measured_in_search("latency.speedup")

    @property
    def why(self) -> dict[str, str]:
        """One sentence for each other variant, and each transform that did not apply, on why it was not chosen."""
        return self.search.reasons | {finding.plugin: finding.reason for finding in self.search.refusals}

    @property
    def table(self) -> list[dict[str, object]]:
        """One dict for each evaluated variant, fit for a dataframe: variant, verdict, each value, low and high."""
        return [_row(variant) for variant in self.search.evaluated]

    def report(self, path: str | Path = "report.html") -> Path:
        """Write the search as one self-contained HTML file.

        Parameters
        ----------
        path : str or Path

        Returns
        -------
        Path
            The file that was written.
        """
        policy = self._memory.project.config.policy
        data = ReportData(
            title=f"Faster variants of {self.search.name}",
            slice_rows=policy.slice_rows,
            slice_groups=policy.slice_groups,
            frontier=self.search.evaluated,
            screened_out=self.search.screened_out,
            reasons=self.search.reasons,
            refusals=self.search.refusals,
            winner=self.search.winner,
            machine=this_machine(),
        )
        return write_report(data, Path(path))

    def release(self, *, who: str = "", why: str = "") -> PointerUpdate:
        """Sign the winner as a release and point `live` of its name at it, in the store of `folder`.

        Parameters
        ----------
        who : str
            Who releases it; default: the name of the user.
        why : str
            Reason, for the history.

        Returns
        -------
        PointerUpdate
            The pointer's update.

        Raises
        ------
        Refused
            If the verdict is not pass, or the user's own Python stands around the model.
        """
        if self._memory.native:
            raise self._memory.native.refused()
        return pipeline.release(self._memory.project, self.search, who=who or getuser(), why=why).move

    def _measured_in_search(self, name: str) -> Measurement | None:
        row = self.search.row(self.variant.digest)
        return row.evidence.find(name) if row else None

    def _title(self) -> str:
        return f"{self.variant.name}: {_format_speedup(self.speedup)}, verdict {self.verdict.answer}"

    def _lines(self) -> Sequence[str]:
        batches = self._measured_in_search("throughput.speedup")
        return (
            *([f"in batches: {formatting.format_measurement(batches)}"] if batches else []),
            *([f"not optimized, still in Python: {'; '.join(self.native)}"] if self.native else []),
            *(f"{result.answer}: {result.message}" for result in self.verdict.rule_results),
            *(finding.message for finding in self.search.evaluated_baseline.evidence.findings if finding.code == BUSY),
        )

    def _table(self) -> Table:
        return tables.tabulate_variants_briefly(self.search.evaluated, self.search.winner)


class EvaluationResult(Result):
    """Evidence on one model; ``result["roc_auc"]`` is a measurement with its interval.

    Attributes
    ----------
    evidence : Evidence
        All measurements and findings.
    """

    def __init__(self, evidence: Evidence) -> None:
        self.evidence = evidence

    def __getitem__(self, name: str) -> Measurement:
        """Return the measurement of that name over all rows; raises KeyError that lists the names."""
        return find_measurement(self.evidence, name)

    def _title(self) -> str:
        rows = max((found.n_rows for found in self.evidence.measurements), default=0)
        return f"measured on {rows:,} rows: {len(self.evidence.measurements)} figures"

    def _lines(self) -> Sequence[str]:
        return tuple(finding.message for finding in self.evidence.findings)

    def _table(self) -> Table:
        measured = self.evidence.measurements
        shown = (found for found in measured if not found.slice and not found.name.endswith(_NOT_OF_ONE_MODEL))
        return tables.tabulate_measurements(tuple(shown))


class ComparisonResult(Result):
    """Verdict on another model against this one, on the same rows, and the evidence behind it.

    Attributes
    ----------
    verdict : Verdict
        Answer of the policy, rule by rule.
    evidence : Evidence
        All measurements; those that end in ``.drop`` are paired differences, positive if the other model is worse.
    answer : {"pass", "fail", "undecided"}
    """

    def __init__(self, judged: EvaluatedVariant) -> None:
        self.evidence, self.verdict = judged.evidence, judged.verdict

    @property
    def answer(self) -> Answer:
        """Answer of the verdict: pass, fail or undecided."""
        return self.verdict.answer

    def __getitem__(self, name: str) -> Measurement:
        """Return the measurement of that name over all rows; raises KeyError that lists the names."""
        return find_measurement(self.evidence, name)

    def _title(self) -> str:
        return f"the other model {words.ANSWERS[self.answer]}"

    def _table(self) -> Table:
        return tables.tabulate_rules(self.verdict)


def find_measurement(evidence: Evidence, name: str) -> Measurement:
    """Return the measurement of a name over all rows; raises KeyError that lists the names."""
    measurement = evidence.find(name)
    if measurement is None:
        names = ", ".join(dict.fromkeys(found.name for found in evidence.measurements))
        raise KeyError(f"{name!r} was not measured; measured: {names}")
    return measurement


def _format_speedup(speedup: Measurement | None) -> str:
    return "not timed" if speedup is None else f"{formatting.format_measurement(speedup)} for one row"


def _row(judged: EvaluatedVariant) -> dict[str, object]:
    row: dict[str, object] = {"variant": judged.variant.name, "verdict": judged.verdict.answer}
    for found in judged.evidence.measurements:
        if not found.slice:
            row |= {found.name: found.value, f"{found.name}.low": found.low, f"{found.name}.high": found.high}
    return row
