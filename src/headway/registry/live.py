"""Compare a model with the release of its project that is live, on the same labeled rows.

A store without a release may be that of a new project, or one to which the release was not brought, as in a job of CI.
Only a person knows which, so a gate judges a first model only where an option declares it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from msgspec.structs import replace as renamed

from headway.core.arrays import Floats
from headway.core.contracts import Engine
from headway.core.dataset import Dataset
from headway.core.errors import HeadwayError, NotApplicable
from headway.core.evidence import NOT_RUN, Evidence, Finding, Measurement
from headway.core.label_sets import decide_labels
from headway.core.search_result import SearchResult
from headway.core.variant import DECIDES, MULTILABEL
from headway.core.verdict import LIVE
from headway.data.matrix import matrix
from headway.engines.formats.columns import ColumnSelection, column_indices
from headway.evaluation.calibration.apply import calibration_function
from headway.evaluation.comparison import without_proofs
from headway.evaluation.context import Comparison, load_metric
from headway.evaluation.quality.row_errors import decide_class, decision_churn
from headway.evaluation.statistics.subsets import subset_mean
from headway.evaluation.statistics.tables import build_blocks
from headway.registry.bundle import open_release
from headway.registry.project import LIVE_POINTER, LiveRelease, Project, find_live

BRING_HINT = (
    "bring it by a ref, a shared store or an artifact (docs/ci.md); if no release was ever live: "
    "headway gate --first-model"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedChange:
    """A search result whose winner was judged against the live release, or against the problem with that release.

    Without `live` no release is live, and the winner is a first model.
    """

    search: SearchResult
    live: LiveRelease | None

    @property
    def is_live(self) -> bool:
        """Whether the winner is the model of the live release."""
        bundle = self.live.bundle if self.live else None
        return bundle is not None and bundle.release.variant.digest == self.search.winner.variant.digest


def find_main_release(project: Project, *, first_model: bool) -> LiveRelease | None:
    """Return the live release that a change is judged against, or the problem that it was not brought here.

    None if the release was withdrawn, or if this is declared a first model and nothing here shows that it is not.
    """
    live = find_live(project, "")
    if live is not None:
        return replace(live, hint=BRING_HINT) if live.problem else live
    if first_model or project.state.last(project.name, LIVE_POINTER) is not None:
        return None
    problem = f"no release of {project.name} is in this store: main's was not brought, or there is none yet"
    return LiveRelease(digest="", problem=problem, hint=BRING_HINT)


def compare_with_live(
    live: LiveRelease, subject: Comparison, labeled: Dataset, evidence: Evidence, *, timed: bool = False
) -> Evidence:
    """Return the evidence with the drops of a model's quality against the live release, as `live.roc_auc.drop`.

    A live release that cannot be opened, that reads columns which these rows lack, or that answers another question
    leaves a finding: what was not compared does not pass. If it is `timed`, ratios of times are measured as well, such
    as `live.latency.speedup`; they compare both models as they are released.
    """
    try:
        engine, scores = _live_answers(live, subject, labeled)
        other = without_proofs(subject)
        found = load_metric("quality")(replace(other, reference_scores=scores, reference_decisions=None))
    except HeadwayError as error:
        message = f"not compared with the live release {live.digest[:19]}: {error.what}"
        finding = Finding(
            code=NOT_RUN, severity="undecided", message=message, where=error.where, hint=error.hint, plugin=LIVE_POINTER
        )
        return renamed(evidence, live=live.digest, findings=(*evidence.findings, finding))
    drops = (
        renamed(measured, name=f"{LIVE}{measured.name}")
        for measured in found
        if not isinstance(measured, NotApplicable) and measured.name.endswith(".drop")
    )
    churn = _decision_churn(live, other, scores)
    speedups = _speedups(live, engine, subject) if timed else []
    return renamed(evidence, live=live.digest, measurements=(*evidence.measurements, *drops, *churn, *speedups))


def _speedups(live: LiveRelease, engine: Engine, subject: Comparison) -> list[Measurement]:
    """Return how many times as fast as the live release the model is; none if both do not read the same rows."""
    fields = {field.name: field for field in subject.fields}
    inputs = live.bundle.release.variant.signature.inputs if live.bundle else ()
    if any(fields.get(field.name) != field for field in inputs):
        return []
    columns = column_indices([field.name for field in inputs], subject.names)
    reference = engine if columns == list(range(len(fields))) else ColumnSelection(engine, columns)
    measured = load_metric("latency")(replace(subject, reference=reference, timed=None))
    return [
        renamed(measurement, name=f"{LIVE}{measurement.name}")
        for measurement in measured
        if not isinstance(measurement, NotApplicable) and measurement.name.endswith(".speedup")
    ]


def _decision_churn(live: LiveRelease, subject: Comparison, scores: Floats) -> list[Measurement]:
    """Return the share of decisions that differ from those of the live release, each by its own threshold."""
    if live.bundle is None or subject.variant.task not in (*DECIDES, MULTILABEL):
        return []
    if subject.variant.task == MULTILABEL:
        decisions = decide_labels(scores)
    else:
        decisions = decide_class(scores, live.bundle.release.threshold)
    paired = replace(subject, reference_scores=scores, reference_decisions=decisions)
    turned = decision_churn(paired, build_blocks(paired))
    return [renamed(subset_mean(turned, turned.among), name=f"{LIVE}{turned.name}")]


def _live_answers(live: LiveRelease, subject: Comparison, labeled: Dataset) -> tuple[Engine, Floats]:
    if live.bundle is None:
        raise NotApplicable(live.problem)
    release, own = live.bundle.release, subject.variant
    of_live, of_own = ((variant.task, variant.signature.classes) for variant in (release.variant, own))
    if of_live != of_own:
        raise NotApplicable(f"it is a {release.variant.task} model of other classes", where=str(of_live))
    rows = matrix(labeled.table, release.variant.signature)
    engine = open_release(live.bundle)
    return engine, calibration_function(release.calibrator)(engine.predict(rows))
