"""What each kind of plug-in must be; one contract test per kind holds every plug-in installed to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol

from headway.core.dataset import Dataset
from headway.core.evidence import Finding, Measurement
from headway.core.record import Settings
from headway.core.variant import Artifact, Variant

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray

    Floats = NDArray[numpy.float64]
    Ints = NDArray[numpy.int64]


class Engine(Protocol):
    """A model, opened. `formats` names the artifact formats it opens; equal rows give equal answers."""

    formats: ClassVar[tuple[str, ...]]

    def __init__(self, content: bytes, settings: Settings) -> None:
        """Open the bytes of an artifact; raises EngineError with the mend where they cannot be opened."""
        ...

    @classmethod
    def adopt(cls, model: object) -> bytes:
        """The bytes (of format `formats[0]`) of a fitted model of this library; raises NotApplicable for any other."""
        ...

    def predict(self, rows: Floats) -> Floats:
        """rows: float64 [n, d], missing as NaN, texts as category ranks -> float64 [n, k]; k = 1 but for multiclass."""
        ...


class Blobs(Protocol):
    """Content-addressed bytes: what goes in comes out unchanged, or not at all."""

    def put(self, content: bytes) -> str:
        """Keep bytes, return their digest; putting the same bytes again changes nothing."""
        ...

    def get(self, digest: str) -> bytes:
        """The bytes of a digest; raises StoreError if absent or no longer of that digest."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Workbench:
    """What a transform works with: where artifacts live, and rows of the `choose` period (float64 [n, d])."""

    blobs: Blobs
    sample: Floats

    def read(self, variant: Variant) -> bytes:
        """The bytes of a variant's artifact."""
        return self.blobs.get(variant.artifact.digest)

    def keep(self, content: bytes, format: str) -> Artifact:
        """Keep the bytes of a new artifact."""
        return Artifact(format=format, digest=self.blobs.put(content), size_bytes=len(content))


class Transform(Protocol):
    """From one variant, the variants it can become; raises NotApplicable where it does not apply."""

    def __call__(self, variant: Variant, bench: Workbench) -> Sequence[Variant]:
        """New variants, each with one step more than the one given."""
        ...


class Check(Protocol):
    """From a dataset, what is wrong with it; raises NotApplicable where it cannot judge."""

    def __call__(self, dataset: Dataset) -> Sequence[Finding]:
        """Findings, none if all is well."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceColumn:
    """One named slice column: `codes` int64 [n] into `values`."""

    codes: Ints
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A variant beside the model as it came, both opened, with their answers on the same labelled rows.

    `rows` float64 [n, d]; `labels` float64 [n]; `scores` and `reference_scores` float64 [n, k]; `groups` int64 [n] in
    0..G-1, rows of one group share fate; `threshold` turns a score into a decision (score >= threshold).
    """

    variant: Variant
    model: Engine
    reference: Engine
    rows: Floats
    labels: Floats
    scores: Floats
    reference_scores: Floats
    groups: Ints
    slices: Mapping[str, SliceColumn]
    threshold: float


class Probe(Protocol):
    """From a subject, measurements; raises NotApplicable where the measure has no meaning for it."""

    def __call__(self, subject: Subject) -> Sequence[Measurement]:
        """Measurements, each with its interval or its count."""
        ...
