"""Measure the variants of a search: in this process, or each alone on a node of workers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from random import SystemRandom

from headway.core.contracts import Blobs
from headway.core.dataset import Dataset
from headway.core.errors import Refused
from headway.core.evidence import Evidence
from headway.core.record import canonical
from headway.core.search_result import Baseline
from headway.core.threads import this_machine
from headway.core.variant import Variant
from headway.core.workers import HERE, Workers
from headway.evaluation.comparison import EvaluationSet, build_evaluation_set, compare_with_baseline, screen_speed
from headway.evaluation.measure import build_evidence, measure
from headway.evaluation.settings.cost import CostSection
from headway.optimization.screening import failed_candidate
from headway.storage.in_memory import InMemoryBlobs

TIMED = ("latency", "cost")
"""Metrics that measure a time, which is never the same twice."""


@dataclass(frozen=True, kw_only=True, eq=False)
class EvaluationInputs:
    """What a worker builds an evaluation set from: no store and no setting is in it.

    `content` is the artifact of the baseline; `price` and `timing_s` are those of `build_evaluation_set`.
    """

    baseline: Baseline
    content: bytes
    period: Dataset
    price: CostSection | None
    timing_s: float

    @cached_property
    def evaluation_set(self) -> EvaluationSet:
        """The evaluation set, built once in a process."""
        blobs = InMemoryBlobs()
        blobs.put(self.content)
        return build_evaluation_set(self.baseline, self.period, blobs, price=self.price, timing_s=self.timing_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantTask:
    """A variant to measure, with the bytes of its artifact."""

    variant: Variant
    content: bytes
    metrics: tuple[str, ...]


def measure_task(inputs: EvaluationInputs, task: VariantTask) -> Evidence:
    """Measure one variant in a worker."""
    blobs = InMemoryBlobs()
    blobs.put(task.content)
    return measure_variant(task.variant, inputs.evaluation_set, blobs, metrics=task.metrics)


def measure_variant(
    variant: Variant, evaluation_set: EvaluationSet, blobs: Blobs, *, metrics: Sequence[str]
) -> Evidence:
    """Measure a variant by these metrics; without any, its speed alone, briefly.

    The evidence of a candidate that raises an error has no measurements, and the reason as its finding.
    """
    dataset, period = evaluation_set.dataset, evaluation_set.period
    try:
        if not metrics:
            return screen_speed(variant, evaluation_set, blobs)
        subject = compare_with_baseline(variant, evaluation_set, blobs)
        return measure(subject, metrics, dataset_digest=dataset, period=period)
    except Exception as error:  # noqa: BLE001 - libraries derive theirs from Exception, and none may end a search
        return build_evidence(variant, [], [failed_candidate(variant, error)], dataset_digest=dataset, period=period)


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantMeter:
    """Measures variants on one evaluation set, which was built from a baseline and a period.

    What `workers` measure is checked: each evidence is on the variant, the rows and the kind of machine that were asked
    for, and one variant of each call is measured here again, but for its speed, and compared to the bit.
    """

    baseline: Baseline
    period: Dataset
    evaluation_set: EvaluationSet
    blobs: Blobs
    workers: Workers = HERE

    def measure(
        self, variants: Sequence[Variant], proceed: Callable[[], bool], *, metrics: Sequence[str] = ()
    ) -> Iterator[tuple[int, Evidence]]:
        """Yield the number of each variant with its evidence, in the order in which they end.

        Without metrics their speed is measured, briefly. `proceed` is called before each variant, and none is begun
        after it returned False.
        """
        if self.workers is HERE:
            for number, variant in enumerate(variants):
                if not proceed():
                    return
                yield number, measure_variant(variant, self.evaluation_set, self.blobs, metrics=metrics)
            return
        tasks = (
            VariantTask(variant=variant, content=self._content(variant), metrics=tuple(metrics)) for variant in variants
        )
        finished: list[tuple[Variant, Evidence]] = []
        for number, found in self.workers.map(measure_task, self._inputs(), tasks, proceed=proceed, alone=True):
            self._expect_asked_for(found, variants[number])
            finished.append((variants[number], found))
            yield number, found
        exact = [name for name in metrics if name not in TIMED]
        if finished and exact:
            variant, found = SystemRandom().choice(finished)
            _expect_equal(measure_variant(variant, self.evaluation_set, self.blobs, metrics=exact), found)

    def _inputs(self) -> EvaluationInputs:
        return EvaluationInputs(
            baseline=self.baseline,
            content=self._content(self.baseline.model),
            period=replace(self.period, provenance={}, tracked=()),
            price=self.evaluation_set.price,
            timing_s=self.evaluation_set.timing_s,
        )

    def _content(self, variant: Variant) -> bytes:
        return self.blobs.get(variant.artifact.digest)

    def _expect_asked_for(self, found: Evidence, variant: Variant) -> None:
        """Raise Refused if evidence is on another variant, on other rows, or of another kind of machine."""
        expected = (variant.digest, self.evaluation_set.dataset, this_machine())
        if (found.subject, found.dataset, found.machine) != expected:
            raise Refused(f"a worker's evidence is not on {variant.name} and these rows, or of another kind of machine")


def _expect_equal(own: Evidence, found: Evidence) -> None:
    """Raise Refused unless all measurements made here are among those of a worker, to the bit."""
    theirs = {canonical(measurement) for measurement in found.measurements}
    different = [measurement.name for measurement in own.measurements if canonical(measurement) not in theirs]
    if different:
        raise Refused(
            f"a worker measured another {different[0]} than this machine on the same variant and rows",
            where="[compute] ray",
            hint='the same versions of all libraries on every node; or measure on this machine alone: ray = ""',
        )
