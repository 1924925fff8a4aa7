"""Put the same labelled rows to a variant and to the model as it came, both opened by their engines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isnan
from typing import TYPE_CHECKING

from headway.core.config import CostSection
from headway.core.contracts import Blobs, Comparison, Engine, SliceColumn
from headway.core.dataset import Dataset
from headway.core.plugins import load_engine
from headway.core.release import SelfTest
from headway.core.search_result import Baseline
from headway.core.variant import Variant
from headway.data import matrix
from headway.data.provenance.digest import table_digest
from headway.data.split import labeled_rows

if TYPE_CHECKING:
    from headway.core.contracts import Bools, Floats, Ints

SELF_TEST_ROWS = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Exam:
    """The labelled rows of a period, with the answers of the model as it came; made once for all variants.

    Arrays are those of `core.contracts.Subject`; `dataset` is the digest of the whole period.
    """

    period: str
    dataset: str
    reference: Engine
    threshold: float
    rows: Floats
    labels: Floats
    reference_scores: Floats
    groups: Ints
    slices: Mapping[str, SliceColumn]
    costs: tuple[float, float] = (1.0, 1.0)
    weights: Floats | None = None
    people: Mapping[str, SliceColumn] = field(default_factory=dict)
    unseen: Bools | None = None
    price: CostSection | None = None
    lists: Ints | None = None


def exam_of(baseline: Baseline, dataset: Dataset, blobs: Blobs, *, price: CostSection | None = None) -> Exam:
    """What every variant will be asked on this period; `price` is that of the machine that answers."""
    known = labeled_rows(dataset)
    rows = matrix.matrix(known.table, baseline.model.signature)
    reference = open_variant(baseline.model, blobs)
    return Exam(
        period=dataset.name,
        dataset=table_digest(dataset.table),
        reference=reference,
        threshold=baseline.threshold,
        rows=rows,
        labels=matrix.target_values(known),
        reference_scores=reference.predict(rows),
        groups=matrix.group_codes(known),
        slices=matrix.slice_columns(known),
        costs=baseline.costs,
        weights=matrix.sample_weights(known),
        people=matrix.sensitive_columns(known),
        unseen=matrix.unseen_rows(known.table, baseline.model.signature),
        price=price,
        lists=matrix.query_codes(known),
    )


def subject_of(variant: Variant, exam: Exam, blobs: Blobs, *, view: Dataset | None = None) -> Comparison:
    """A variant beside the model as it came.

    With a `view`, the same rows as another feature view gives them, the variant reads that while the model as it came
    keeps the exam's: so a view that is wrong at serving shows as the variant's fault.
    """
    rows = matrix.matrix(labeled_rows(view).table, variant.signature) if view else exam.rows
    model = open_variant(variant, blobs)
    return Comparison(
        variant=variant,
        model=model,
        reference=exam.reference,
        rows=rows,
        labels=exam.labels,
        scores=model.predict(rows),
        reference_scores=exam.reference_scores,
        groups=exam.groups,
        slices=exam.slices,
        threshold=exam.threshold,
        costs=exam.costs,
        weights=exam.weights,
        people=exam.people,
        unseen=exam.unseen,
        price=exam.price,
        lists=exam.lists,
    )


def open_variant(variant: Variant, blobs: Blobs) -> Engine:
    """The variant's model, opened by its engine; raises EngineError or PluginError with the mend."""
    engine = load_engine(variant.engine)
    return engine(blobs.get(variant.artifact.digest), variant.settings)


def self_test(variant: Variant, rows: Floats, blobs: Blobs) -> SelfTest:
    """The first rows with the variant's own answers, for a server to repeat before it takes traffic."""
    some = rows[:SELF_TEST_ROWS]
    answers = open_variant(variant, blobs).predict(some)
    return SelfTest(
        rows=_kept(some),
        answers=_kept(answers),
    )


def _kept(values: Floats) -> tuple[tuple[float | None, ...], ...]:
    """Numbers [n, d] as a record keeps them: None for what is no number."""
    return tuple(tuple(None if isnan(value) else value for value in row) for row in values.tolist())
