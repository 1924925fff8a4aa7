"""Results of the functions of `import headway`: they print as text, and show as tables in a notebook."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from getpass import getuser
from pathlib import Path
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from msgspec.structs import asdict, replace
from numpy.typing import NDArray
from rich.console import Console, RenderableType

from headway import pipeline
from headway.api.as_called import LibraryCalls
from headway.api.in_memory_project import InMemoryProject
from headway.api.model import AnswerForm, Model
from headway.api.tables import make_frame
from headway.core import config as settings
from headway.core.config import Config
from headway.core.contracts import Engine
from headway.core.errors import EngineError, Refused
from headway.core.evidence import AS_CALLED, Evidence, Measurement
from headway.core.late import LateModule
from headway.core.plugins import load_engine
from headway.core.release import PointerUpdate
from headway.core.renamed import warn_renamed
from headway.core.search_result import SearchResult
from headway.core.selective import AnswerPlan
from headway.core.settings.project import ProjectSection
from headway.core.threads import this_machine
from headway.core.training import Training
from headway.core.verdict import RELATIVE, Answer, EvaluatedVariant, Verdict
from headway.data.settings.policy import PolicySection
from headway.evaluation.machine_load import BUSY
from headway.optimization.importers.custom_python import custom_code_refused
from headway.optimization.settings.optimize import OptimizeSection
from headway.registry.project import Project, project_of
from headway.reporting.charts.rendered import RenderedChart
from headway.reporting.console import write_atomically
from headway.reporting.report_data import ReportData
from headway.reporting.text import formatting, tables, words
from headway.reporting.text.speeds import ONE_ROW_CPU, describe_search_speeds
from headway.reporting.text.tables import Table
from headway.reporting.text.terminal import TerminalTable

if TYPE_CHECKING:
    from headway.reporting import page
    from headway.reporting.charts import pareto
else:  # with the library for charts, which a search does without
    page, pareto = LateModule("headway.reporting.page"), LateModule("headway.reporting.charts.pareto")

_WIDTHS = (80, 160)
"""Limits of the width of a printed result; it fits the terminal between them, and a pipe gets the larger one."""
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

    def _picture(self) -> RenderedChart | None:
        return None

    def __str__(self) -> str:
        narrow, wide = _WIDTHS
        width = min(max(get_terminal_size((wide, 24)).columns, narrow), wide)
        console = Console(width=width, highlight=False, markup=False, color_system=None)
        parts: list[RenderableType] = [self._title(), *self._lines(), "", TerminalTable(self._table())]
        with console.capture() as capture:
            for part in parts:
                console.print(part)
        return "\n".join(line.rstrip() for line in capture.get().splitlines())

    def __repr__(self) -> str:
        return f"<headway: {self._title()}>"

    def _repr_html_(self) -> str:
        return page.notebook_html(self._title(), self._lines(), self._table(), self._picture())


class ReleaseResult(PointerUpdate, frozen=True, kw_only=True):
    """The update that made a release live, and the folder that it was signed in."""

    folder: str = ""

    def __str__(self) -> str:
        reference = f"{self.name}@{self.pointer}"
        return (
            f"{reference} is {formatting.short_digest(self.release)}, signed in {self.folder}\n"
            f"serve it: headway serve {reference} --project {self.folder}"
        )

    __repr__ = __str__


PROJECT_FILE = """# Written by best.release(): the project of this release. All settings: headway config
[project]
name = {name}
"""


class OptimizationResult(Result, Model):
    """The fastest variant that meets the policy, called like the original model, with the search behind it.

    Attributes
    ----------
    variant : Variant
        The winner: its engine, steps and signature.
    search : SearchResult
        The whole search: baseline, evaluated variants, winner, reasons.
    threshold : float or None
        Decision threshold of a binary classifier, by which the rules judge and `predict` decides: chosen from `costs`,
        or that of the model's own `predict` without them.
    classes_ : ndarray of shape (n_classes,)
        Classes of a classifier, in the order of the columns of `predict_proba`.
    feature_names_in_ : ndarray of shape (d,)
    n_features_in_ : int
    improved : bool
    verdict : Verdict
    speedup : Measurement or None
    answers : AnswerPlan or None
    why : dict
    table : DataFrame
    native : tuple of str
    folder : Path
    frontier : SearchResult
        Former name of `search`.
    """

    def __init__(self, search: SearchResult, engine: Engine, memory: InMemoryProject) -> None:
        content = memory.project.blobs.get(search.winner.variant.artifact.digest)
        threshold, rule = search.baseline.threshold, search.baseline.threshold_rule
        form = memory.form
        super().__init__(
            search.winner.variant, engine, threshold=threshold, threshold_rule=rule, content=content, form=form
        )
        self.search = search
        self._memory: InMemoryProject | None = memory
        self._config = memory.project.config
        self._library = memory.library
        self._is_temporary = memory.temporary
        optimized = Model(self.variant, engine, threshold=threshold, threshold_rule=rule, content=content, form=form)
        self._outer = memory.native.around(optimized) if memory.native else None
        self._parts = memory.native.parts if memory.native else ()
        self._library_calls: LibraryCalls | None = None

    def use_library_calls(self, calls: LibraryCalls | None) -> Self:
        """Answer by the library's own object where it is faster, and return the result; a pickle goes without."""
        self._library_calls = calls
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the search and the bytes of the winner; what is loaded does not need the folder of the search."""
        state = self.__dict__.keys() & _PICKLED
        return _restore, (self._content, {name: self.__dict__[name] for name in sorted(state)})

    def save(self, path: str | Path) -> Path:
        """Save the model as `Model.save`; raises EngineError if the user's own Python stands around it."""
        if self._parts:
            raise EngineError(
                "a saved model holds data only, and this one has custom Python code around it",
                where="; ".join(self._parts),
                hint="joblib.dump(best, 'best.joblib')",
            )
        return super().save(path)

    def predict(self, rows: Any) -> NDArray[Any]:
        """Predict as `Model.predict`, with the user's own Python around the model still in place."""
        if self._library_calls and (call := self._library_calls.find("predict", rows)):
            return np.asarray(call(rows))
        return np.asarray(self._outer.predict(rows)) if self._outer else super().predict(rows)

    def predict_proba(self, rows: Any) -> Any:
        """Predict as `Model.predict_proba`, with the user's own Python around the model still in place."""
        if self._library_calls and (call := self._library_calls.find("predict_proba", rows)):
            return call(rows)
        return self._outer.predict_proba(rows) if self._outer else super().predict_proba(rows)

    @property
    def frontier(self) -> SearchResult:
        """Search result; renamed to `search`."""
        warn_renamed("optimize", "frontier", "search")
        return self.search

    @property
    def native(self) -> tuple[str, ...]:
        """Parts of the model that stay in Python around the optimized model, by their position; mostly none."""
        return self._parts

    @property
    def folder(self) -> Path:
        """Folder of the evidence; a temporary one is deleted together with this object."""
        return Path(self._config.folder)

    @property
    def improved(self) -> bool:
        """Whether a faster variant was found; if not, this is the original model. See `search.suggested_budget_s`."""
        return self.search.improved

    @property
    def verdict(self) -> Verdict:
        """Verdict of the policy, on rows that the search did not use."""
        return self.search.winner.verdict

    @property
    def speedup(self) -> Measurement | None:
        """How many times faster than the original model one row is predicted, in paired runs; None if not timed.

        If the original is in memory, both are called as the user calls it (`speedup.slice` is `dataframe_row`,
        `array_row` or `sparse_row`), so that the overhead of this object counts; else their engines are compared.
        `speedup.baseline` names the original's call and settings. None if other processes used the cores: the ratio of
        CPU times is then `search.measured("cost.cpu_s.one_row.speedup")`.
        """
        evidence = self.search.winner.evidence
        called = next((found for found in evidence.measurements if found.name == AS_CALLED), None)
        if called is None and not any(finding.code == BUSY for finding in evidence.findings):
            called = self._measured_in_search("latency.speedup")
        return called if called is not None and formatting.has_interval(called) else None

    @property
    def answers(self) -> AnswerPlan | None:
        """Which rows the model answers alone, with the certificate; None without `answer_limit`: all rows."""
        return self.search.answers

    @property
    def why(self) -> dict[str, str]:
        """One sentence for each other variant, and each transform that did not apply, on why it was not chosen."""
        return self.search.reasons | {finding.plugin: finding.reason for finding in self.search.refusals}

    @property
    def table(self) -> Any:
        """Evaluated variants as a DataFrame: pandas if `X` was pandas, else polars.

        Columns: `variant`, `winner`, `verdict`, then the objective, the speedups, the measures of the policy and the
        other main measures, each followed by the ends of its interval (`roc_auc`, `roc_auc.low`, `roc_auc.high`), and
        `why` a variant lost. Every other measure is in the evidence of `search.evaluated`.
        """
        rules = [result.rule.measure for result in self.verdict.rule_results]
        first = [self._config[OptimizeSection].objective, "latency.speedup", "throughput.speedup", *rules]
        return make_frame([self._row(row, first) for row in self.search.evaluated], library=self._library)

    def _row(self, judged: EvaluatedVariant, first: Sequence[str]) -> dict[str, object]:
        measured = {found.name: found for found in judged.evidence.measurements if not found.slice}
        row: dict[str, object] = {
            "variant": judged.variant.name,
            "winner": judged.variant.digest == self.variant.digest,
            "verdict": judged.verdict.answer,
        }
        for name in dict.fromkeys((*first, *(name for name in measured if "." not in name))):
            if (found := measured.get(name)) is not None:
                low, high = (found.low, found.high) if formatting.has_interval(found) else (None, None)
                row |= {name: found.value, f"{name}.low": low, f"{name}.high": high}
        return {**row, "why": self.search.reasons.get(judged.variant.name, "")}

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
        return page.write_report(self._report_data(), Path(path))

    def _report_data(self) -> ReportData:
        policy = self._config[PolicySection]
        return ReportData(
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

    def release(
        self, *, who: str = "", why: str = "", override: str = "", folder: str | Path | None = None
    ) -> ReleaseResult:
        """Sign the winner as a release and point `live` of its name at it, in the store of a folder.

        A folder without a headway.toml gets one, so that `headway serve --project FOLDER` finds the release.

        Parameters
        ----------
        who : str
            Who releases it; default: the name of the user.
        why : str
            Reason, for the history.
        override : str
            Reason of a person who releases a winner whose verdict is not pass; the history shows it.
        folder : str or Path, optional
            Project that gets the release; default: the `folder` of `headway.optimize`.

        Returns
        -------
        ReleaseResult
            The pointer's update and the folder; it prints the command that serves the release.

        Raises
        ------
        Refused
            If the verdict is not pass and not overridden, the user's own Python stands around the model, or the only
            folder is the temporary one of the search.
        """
        if self._parts:
            raise custom_code_refused(self._parts)
        if folder is None and self._is_temporary:
            raise Refused(
                "this search kept its evidence in a temporary folder, and a release in it would be deleted with it",
                where=str(self.folder),
                hint='best.release(folder="my-project"), or headway.optimize(..., folder="my-project")',
            )
        target = self.folder if folder is None else Path(folder).expanduser().absolute()
        project = self._project_in(target)
        update = pipeline.release(project, self.search, who=who or getuser(), why=why, override=override).move
        if not (target / settings.FILE).exists():
            write_atomically(PROJECT_FILE.format(name=json.dumps(self.search.name)), target / settings.FILE)
        return ReleaseResult(**asdict(update), folder=str(target))

    def _project_in(self, folder: Path) -> Project:
        """Return the project in a folder; another folder than that of the search gets the records of the search."""
        if self._memory and folder == self.folder:
            return self._memory.project
        config = settings.load(folder) if (folder / settings.FILE).exists() else Config(folder=str(folder))
        project = project_of(config.having(replace(config[ProjectSection], name=self.search.name)))
        project.blobs.put(self._content)
        trainings: list[Training] = []
        if self._memory:
            project.blobs.put(self._memory.project.blobs.get(self.search.baseline.model.artifact.digest))
            trainings = self._memory.project.records(Training)
        for record in (*trainings, self.search.winner.evidence, self.search.winner.verdict, self.search):
            project.save(record)
        return project

    def _measured_in_search(self, name: str) -> Measurement | None:
        row = self.search.row(self.variant.digest)
        return row.evidence.find(name) if row else None

    def _title(self) -> str:
        if not self.improved:
            return words.no_faster_variant(self.search)
        speedup = self.speedup or self.search.measured(ONE_ROW_CPU)
        return f"{self.variant.name}: {_format_speedup(speedup)}, verdict {self.verdict.answer}"

    def _lines(self) -> Sequence[str]:
        return (
            *([] if self.improved else [f"the original model is returned; its verdict: {self.verdict.answer}"]),
            *(describe_search_speeds(self.search) if self.improved else []),
            *([f"not optimized, still in Python: {'; '.join(self.native)}"] if self.native else []),
            f"quality: {words.describe_quality(self.search.winner.evidence)}",
            *([] if self.answers is None else [words.describe_answers(self.answers)]),
            *(f"{result.answer}: {result.message}" for result in self.verdict.rule_results),
            *filter(None, [words.describe_undecided_changes(self.search)]),
            *(finding.message for finding in self.search.winner.evidence.findings if finding.severity == "warn"),
            self._next_step(),
        )

    def _next_step(self) -> str:
        """Return what to call next: a report, and a release where one is possible."""
        report = 'best.report("report.html") shows all of it'
        if self.verdict.answer != "pass" or self._parts:
            return f"next: {report}"
        release = 'best.release(folder="my-project")' if self._is_temporary else "best.release()"
        return f"next: {report}; {release} signs it for a server"

    def _table(self) -> Table:
        return tables.tabulate_variants_briefly(self.search.evaluated, self.search.winner)

    def _picture(self) -> RenderedChart | None:
        return pareto.draw_pareto(self._report_data())


_PICKLED = {"search", "_form", "_config", "_library", "_is_temporary", "_outer", "_parts"}


def _restore(content: bytes, state: dict[str, Any]) -> OptimizationResult:
    """Return a result from its pickle: the engine is opened again, and the rows of the search are not there."""
    result = OptimizationResult.__new__(OptimizationResult)
    variant = state["search"].winner.variant
    engine = load_engine(variant.engine)(content, variant.settings)
    baseline = state["search"].baseline
    threshold, rule = baseline.threshold, baseline.threshold_rule
    form = state.get("_form", AnswerForm())  # absent from pickles of an earlier checkout
    Model.__init__(result, variant, engine, threshold=threshold, threshold_rule=rule, content=content, form=form)
    result.__dict__.update(state, _memory=None, _library_calls=None)
    return result


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
        found = self.evidence.measurements
        rows = max((seen.n_rows for seen in found if not formatting.is_timing(seen)), default=0)
        return f"measured on {rows:,} rows: {len(found)} figures"

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
    if speedup is None or not formatting.has_interval(speedup):
        return "no speedup measured"
    how = {AS_CALLED: " as you call it", ONE_ROW_CPU: " in CPU time"}.get(speedup.name, "")
    return f"{formatting.format_measurement(speedup)} for one row{how}"
