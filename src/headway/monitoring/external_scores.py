"""Scores of another system, monitored without its model: the reference period, the inputs, and the scores."""

from __future__ import annotations

import difflib
from dataclasses import replace as changed
from datetime import datetime
from types import MappingProxyType
from typing import ClassVar

import polars as pl
from msgspec.structs import replace

from headway.core.arrays import Floats
from headway.core.contracts import ImportedModel
from headway.core.dataset import Dataset
from headway.core.errors import DataError, EngineError, NotApplicable
from headway.core.record import Settings, canonical, digest_of
from headway.core.release import Release
from headway.core.training import Training
from headway.core.variant import LIBRARY_THRESHOLD, Artifact, Variant
from headway.core.verdict import Verdict
from headway.data.contract.discovery import observed_contract
from headway.data.matrix import dataset_signature, matrix, sample_weights, target_values
from headway.data.settings.model import ModelSection
from headway.data.settings.policy import PolicySection
from headway.data.settings.split import SplitSection
from headway.data.split import labeled_rows, select_period, time_span
from headway.evaluation.threshold import choose_threshold
from headway.monitoring.deployed_release import DeployedRelease
from headway.registry.project import Project

SCORES = "scores"
"""Engine and format of a variant whose scores another system computed."""
REFERENCE = 3
"""Without a declared test period, the first third of the days is the reference."""


class ScoredElsewhere:
    """Engine of a model that headway does not have."""

    formats: ClassVar[tuple[str, ...]] = (SCORES,)
    files: ClassVar[tuple[str, ...]] = ()

    def __init__(self, content: bytes = b"", settings: Settings = MappingProxyType({})) -> None:
        del content, settings

    @classmethod
    def import_model(cls, model: object) -> ImportedModel:
        """Raise NotApplicable, as another system has the model."""
        raise NotApplicable(f"scores of another system, not {type(model).__name__}")

    def predict(self, rows: Floats) -> Floats:
        """Raise EngineError: another system computes the scores."""
        raise EngineError(f"another system computes the scores of these {len(rows):,} rows")


def open_scores(project: Project, dataset: Dataset) -> DeployedRelease:
    """Return the scores of another system in the form of a release, as far as monitoring needs one.

    The reference is the declared test period, or else the first third of the time at the first call, which is saved.

    Raises
    ------
    DataError
        If the column of `[model] scores` is absent, has a row without a score, or holds no probabilities.
    """
    config, column = project.config, project.config[ModelSection].scores
    roles = replace(dataset.roles, ignore=(*dataset.roles.ignore, column))
    dataset = changed(dataset, roles=roles)
    _expect_scores(dataset, column)
    signature = dataset_signature(dataset)
    artifact = Artifact(format=SCORES, digest="", size_bytes=0)
    variant = Variant(artifact=artifact, engine=SCORES, signature=signature, task=roles.task)
    training = _reference(project, dataset, variant)
    since, until = (datetime.fromisoformat(text) for text in (training.judged_since, training.judged_until))
    reference = select_period(dataset, since, until, name="reference")
    known, costs = labeled_rows(reference), config[ModelSection].costs
    threshold = LIBRARY_THRESHOLD
    if roles.task == "binary" and costs is not None:
        scores = known.table[column].cast(pl.Float64).to_numpy()
        threshold = choose_threshold(target_values(known), scores, costs=costs.pair, weights=sample_weights(known))
    named = (SCORES, project.name, column, training.judged_since, training.judged_until)
    contract = observed_contract(
        matrix(reference.table, signature), signature, margin=config[PolicySection].contract_margin
    )
    return DeployedRelease(
        release=Release(
            name=project.name,
            variant=variant,
            evidence=(),
            verdict=Verdict(answer="undecided", subject="", why="scores of another system are not judged"),
            threshold=threshold,
            threshold_rule="library" if costs is None else "costs",
            contract=contract,
        ),
        digest=digest_of(canonical(named)),
        model=ScoredElsewhere(),
        training=training,
        scores=column,
    )


def _expect_scores(dataset: Dataset, column: str) -> None:
    """Raise DataError unless every row has a score, for a binary task in [0, 1]."""
    if column not in dataset.table.columns:
        near = difflib.get_close_matches(column, dataset.table.columns, 1)
        hint = f'scores = "{near[0]}"' if near else f"columns: {', '.join(dataset.table.columns)}"
        raise DataError(f"no column '{column}'", where="[model] scores", hint=hint)
    values = dataset.table[column].cast(pl.Float64, strict=False)
    unknown = int((~values.is_finite().fill_null(value=False)).sum())
    if unknown:
        raise DataError(
            f"{unknown:,} of {len(values):,} rows have no score in '{column}'",
            where="[model] scores",
            hint="leave these rows out of [data] source, or give them the score that was used",
        )
    low, high = float(str(values.min())), float(str(values.max()))
    if dataset.roles.task == "binary" and not 0 <= low <= high <= 1:
        raise DataError(
            f"scores of a binary task are probabilities, and '{column}' goes from {low:g} to {high:g}",
            where="[model] scores",
            hint="divide a percentage by 100; turn log-odds s into 1 / (1 + exp(-s))",
        )


def _reference(project: Project, dataset: Dataset, variant: Variant) -> Training:
    """Return what stands for the training of another system: only the period of reference is known."""
    recipe = f"{SCORES}:{project.config[ModelSection].scores}"
    declared, stored = project.config[SplitSection].test, reversed(project.records(Training))
    saved = next((training for training in stored if training.recipe == recipe), None)
    if saved is not None and not declared:
        return saved
    since, until = (datetime.fromisoformat(text) for text in declared or time_span(dataset))
    if not declared:
        end = since + (until - since) / REFERENCE
        midnight = end.replace(hour=0, minute=0, second=0, microsecond=0)
        until = midnight if midnight > since else end
    made = Training(
        dataset="",
        recipe=recipe,
        model=variant,
        since=since.isoformat(),
        until=since.isoformat(),
        judged_since=since.isoformat(),
        judged_until=until.isoformat(),
        n_rows=0,
        seconds=0.0,
    )
    if not declared:
        project.save(made)
    return made
