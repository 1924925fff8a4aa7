"""Comparison of a new release with the live one, on the same rows, which neither was trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl
from msgspec.structs import replace

from headway.core import plugins
from headway.core.arrays import Floats
from headway.core.contracts import Engine
from headway.core.dataset import Dataset
from headway.core.errors import DataError
from headway.core.evidence import Evidence
from headway.core.record import canonical, digest_of
from headway.core.sections import PolicySection
from headway.core.variant import Variant
from headway.core.verdict import RELATIVE, EvaluatedVariant, Rule
from headway.data import matrix
from headway.data.provenance.fingerprint import table_digest
from headway.data.split import select_period
from headway.evaluation.context import Comparison
from headway.evaluation.measure import measure
from headway.monitoring.deployed_release import DeployedRelease
from headway.monitoring.scored_rows import parse_delay, time_expression
from headway.registry.judge import judge
from headway.registry.project import Project

EXCLUDED_METRICS = ("latency",)
NO_WORSE = Rule(measure="brier.drop", at_most=0.0)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HoldoutSet:
    """Labeled rows held out of training, with the predictions of the live release on them, float64 [n, 1]."""

    dataset: Dataset
    digest: str
    deployed: DeployedRelease
    scores: Floats

    def subject(self, variant: Variant, model: Engine, *, scores: Floats | None = None) -> Comparison:
        """Pair a variant with live; its predictions [n, 1] are those of its model, unless given."""
        rows = matrix.matrix(self.dataset.table, variant.signature)
        return Comparison(
            variant=variant,
            model=model,
            reference=self.deployed.model,
            rows=rows,
            labels=matrix.target_values(self.dataset),
            scores=model.predict(rows) if scores is None else scores,
            reference_scores=self.scores,
            groups=matrix.group_codes(self.dataset),
            slices=matrix.slice_columns(self.dataset),
            threshold=self.deployed.release.threshold,
            weights=matrix.sample_weights(self.dataset),
            query_ids=matrix.query_codes(self.dataset),
            sensitive_features=matrix.sensitive_columns(self.dataset),
        )

    def measure(self, subject: Comparison) -> Evidence:
        """Measure every metric but those of speed, with live as the reference."""
        names = [name for name in plugins.names("metric") if name not in EXCLUDED_METRICS]
        found = measure(subject, names, dataset_digest=self.digest, period=self.dataset.name)
        return replace(found, reference=self.deployed.digest)


def make_holdout(deployed: DeployedRelease, rows: Dataset) -> HoldoutSet:
    """Return labeled rows as a holdout set, with the predictions of live."""
    inputs = matrix.matrix(rows.table, deployed.release.variant.signature)
    return HoldoutSet(dataset=rows, digest=table_digest(rows.table), deployed=deployed, scores=deployed.predict(inputs))


def promotion_rules(policy: PolicySection) -> PolicySection:
    """Return the policy with the rules that a release must meet to replace live.

    These are `[[policy.retrain]]`, or the relative rules of a release with live as the baseline, and a Brier score shown to
    be no worse. Rules on single predictions are left out, since a model trained on more data answers differently. Absolute
    rules are left out, since live may break them as well, and a better release should not be held back.
    """
    own = tuple(rule for rule in policy.release if rule.relative and not rule.measure.endswith(RELATIVE))
    rules = policy.retrain or (NO_WORSE, *(rule for rule in own if rule.measure != NO_WORSE.measure))
    return replace(policy, release=rules)


def recalibration_rules(policy: PolicySection) -> PolicySection:
    """Return those promotion rules that a shift can affect: it keeps ranks within a day, so rules on ROC AUC are left out."""
    rules = promotion_rules(policy)
    return replace(rules, release=tuple(rule for rule in rules.release if "roc_auc" not in rule.measure))


def judge_against_live(
    project: Project, variant: Variant, evidence: Evidence, policy: PolicySection
) -> EvaluatedVariant:
    """Judge evidence against live, and save evidence and verdict."""
    verdict = judge(evidence, policy)
    project.save(evidence)
    project.save(verdict)
    return EvaluatedVariant(variant=variant, evidence=evidence, verdict=verdict)


def rows_labeled_by(project: Project, dataset: Dataset, until: datetime | None) -> tuple[Dataset, datetime]:
    """Return the rows whose label had arrived by a time, or all labeled rows; and the exclusive end of those rows."""
    time, delay = time_expression(dataset), parse_delay(project.config.data.label_delay)
    labeled = dataset.table.filter(pl.col(dataset.roles.target).is_not_null())
    last = labeled.select(time.max()).item()
    if last is None:
        raise DataError("no row has a label", where=dataset.name, hint="headway labels add")
    end = min(until - delay, last) if until else last
    all_labeled = Dataset(name=dataset.name, table=labeled, roles=dataset.roles)
    end += timedelta(microseconds=1)
    return select_period(all_labeled, datetime.min, end, name=dataset.name), end


def outcome_key(*parts: str | int | Sequence[str]) -> str:
    """Return the digest of everything that determines an outcome."""
    return digest_of(canonical(parts))
