"""Compare a model with the release of its project that is live, on the same labeled rows."""

from __future__ import annotations

from dataclasses import replace

from msgspec.structs import replace as renamed

from headway.core.arrays import Floats
from headway.core.dataset import Dataset
from headway.core.errors import HeadwayError, NotApplicable
from headway.core.evidence import NOT_RUN, Evidence, Finding, Measurement
from headway.core.label_sets import decide_labels
from headway.core.variant import DECIDES, MULTILABEL
from headway.core.verdict import LIVE
from headway.data.matrix import matrix
from headway.evaluation.calibration.apply import calibration_function
from headway.evaluation.comparison import without_proofs
from headway.evaluation.context import Comparison, load_metric
from headway.evaluation.quality.row_errors import decide_class, decision_churn
from headway.evaluation.statistics.subsets import subset_mean
from headway.evaluation.statistics.tables import build_blocks
from headway.registry.bundle import open_release
from headway.registry.project import LIVE_POINTER, LiveRelease


def compare_with_live(live: LiveRelease, subject: Comparison, labeled: Dataset, evidence: Evidence) -> Evidence:
    """Return the evidence with the drops of a model's quality against the live release, as `live.roc_auc.drop`.

    A live release that cannot be opened, that reads columns which these rows lack, or that answers another question
    leaves a finding: what was not compared does not pass.
    """
    try:
        scores = _live_scores(live, subject, labeled)
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
    return renamed(evidence, live=live.digest, measurements=(*evidence.measurements, *drops, *churn))


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


def _live_scores(live: LiveRelease, subject: Comparison, labeled: Dataset) -> Floats:
    if live.bundle is None:
        raise NotApplicable(live.problem)
    release, own = live.bundle.release, subject.variant
    of_live, of_own = ((variant.task, variant.signature.classes) for variant in (release.variant, own))
    if of_live != of_own:
        raise NotApplicable(f"it is a {release.variant.task} model of other classes", where=str(of_live))
    rows = matrix(labeled.table, release.variant.signature)
    return calibration_function(release.calibrator)(open_release(live.bundle).predict(rows))
