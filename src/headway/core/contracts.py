"""What each kind of plug-in must be; one contract test per kind holds every plug-in installed to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Protocol

from headway.core.calibrator import Calibrator
from headway.core.config import Config, CostSection
from headway.core.dataset import Dataset
from headway.core.drift import Drift
from headway.core.errors import NotApplicable
from headway.core.evidence import Finding, Measurement
from headway.core.labeling import Labeling
from headway.core.record import Settings
from headway.core.release import FeatureView
from headway.core.sections.attack import AttackSection
from headway.core.trial import Serve
from headway.core.variant import Artifact, Signature, Variant

if TYPE_CHECKING:
    import numpy
    import polars
    from numpy.typing import NDArray

    Floats = NDArray[numpy.float64]
    Ints = NDArray[numpy.int64]
    Bools = NDArray[numpy.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFile:
    """The bytes of a model file, and how its name ends (`.json`)."""

    content: bytes
    suffix: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedModel:
    """A fitted model as an engine took it, with what the model says of itself; empty is what it does not say.

    `content` is of the engine's first format, `width` counts the columns of a row. `names` are those columns in order,
    `classes` of a classifier in the order of its answers, `categories` of each text column that it reads, in order.
    `absent` is what a cell means that a sparse row leaves out: 0.0 or NaN. `engine` is named where another opens it.
    """

    content: bytes
    width: int = 0
    names: tuple[str, ...] = ()
    task: str = ""
    classes: tuple[str, ...] = ()
    categories: tuple[tuple[str, ...], ...] = ()
    absent: float = 0.0
    engine: str = ""


class Engine(Protocol):
    """A model, opened. `formats` names the artifact formats it opens; equal rows give equal answers.

    `files` says how the names of the model files end that `adopt` may take (`.txt`). Two more methods an engine may
    have: `bind(content, signature)` gives the artifact for the columns of a table, with the signature as the model has
    it; `opened(file)` gives the model in a ModelFile that runs code, and is called with trust alone.
    """

    formats: ClassVar[tuple[str, ...]]
    files: ClassVar[tuple[str, ...]]

    def __init__(self, content: bytes, settings: Settings) -> None:
        """Open the bytes of an artifact; raises EngineError with the mend where they cannot be opened."""
        ...

    @classmethod
    def import_model(cls, model: object) -> ImportedModel:
        """A fitted model of this library, or a ModelFile of it, as bytes; raises NotApplicable for any other.

        Raises EngineError, with the mend, for one of this library that cannot be taken.
        """
        ...

    def predict(self, rows: Floats) -> Floats:
        """rows: float64 [n, d], missing as NaN, texts as category ranks -> float64 [n, k]; k = 1 but for multiclass.

        Threads may call it at once.
        """
        ...


class Blobs(Protocol):
    """Content-addressed bytes: what goes in comes out unchanged, or not at all."""

    def __init__(self, folder: Path) -> None:
        """Open the blobs of a folder, made when the first is put."""
        ...

    def put(self, content: bytes) -> str:
        """Keep bytes, return their digest; putting the same bytes again changes nothing."""
        ...

    def get(self, digest: str) -> bytes:
        """The bytes of a digest; raises StoreError if absent or no longer of that digest."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """Bytes with the signature that a publisher put under them (`release.sign`)."""

    content: bytes
    signature: bytes


class State(Protocol):
    """What changes: the moves of pointers in one chain, records kept as bytes, and the looks at `test` that were spent.

    Whoever appends is told if somebody else was first; what was kept stays as it was, in the order in which it came.
    """

    def __init__(self, folder: Path) -> None:
        """Open the state in a folder, made if absent; raises StoreError with the mend if it is of a newer headway."""
        ...

    def append(self, signed: Signed) -> bool:
        """Keep a move (`core.record.write` of a Move) at the end of the chain, or change nothing.

        False says that another pointer moved meanwhile, so that the move's `previous` is no longer the end: chain it
        anew. Raises PointerMoved, which says where to, if its `number` does not follow the last of its own pointer.
        """
        ...

    def moves(self, name: str = "", pointer: str = "") -> list[Signed]:
        """The moves kept, oldest first: all of the chain, or those of a name, or of a pointer."""
        ...

    def last(self, name: str = "", pointer: str = "") -> Signed | None:
        """The last of `moves`, read without reading the others; None where there is none."""
        ...

    def save(self, kind: str, content: bytes, *, name: str) -> str:
        """Keep the bytes of a record (`evidence`, `verdict`, ...) under a name, return their digest; again is once."""
        ...

    def records(self, kind: str, *, name: str = "", digest: str = "") -> list[bytes]:
        """The records of a kind, oldest first: all, or those of a name, or the one of a digest."""
        ...

    def latest(self, kind: str, *, name: str) -> bytes | None:
        """The last of `kept` of a name, read without reading the others; None where there is none."""
        ...

    def count_evaluation(self, name: str, dataset: str) -> int:
        """Count one more judged look at the `test` period of a dataset (its digest); returns how many there were."""
        ...

    def looks(self, name: str, dataset: str) -> int:
        """How often the `test` period of a dataset was judged for a name."""
        ...

    def close(self) -> None:
        """Let go of the state; closing twice is fine."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceColumn:
    """One named slice column: `codes` int64 [n] into `values`."""

    codes: Ints
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LabeledData:
    """Labelled rows of one period, in the order of time if there is one.

    `rows` float64 [n, d]; `labels` float64 [n]; `groups` int64 [n] in 0..G-1; `weights` float64 [n] > 0, if not alike;
    `slices` of these rows by their column.
    """

    rows: Floats
    labels: Floats
    groups: Ints
    weights: Floats | None = None
    slices: Mapping[str, SliceColumn] = field(default_factory=dict)


def _no_training_rows() -> None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class TransformContext:
    """Artifacts and data that a transform works with.

    Attributes
    ----------
    blobs
        Store of artifacts.
    sample
        Rows of the `validation` period, float64 of shape (n, d).
    validation
        The same rows with their labels; None where they have none.
    train
        Function that returns the rows the model was trained on, or None where they are unknown.
    threshold
        A score of at least this value is a decision for the positive class.
    model_families
        Model families to train as alternatives to the baseline.
    """

    blobs: Blobs
    sample: Floats
    validation: LabeledData | None = None
    train: Callable[[], LabeledData | None] = _no_training_rows
    threshold: float = 0.5
    model_families: tuple[str, ...] = ()

    def read(self, variant: Variant) -> bytes:
        """Return the bytes of a variant's artifact."""
        return self.blobs.get(variant.artifact.digest)

    def save(self, content: bytes, format: str) -> Artifact:
        """Store the bytes of a new artifact."""
        return Artifact(format=format, digest=self.blobs.put(content), size_bytes=len(content))


class Transform(Protocol):
    """Make new variants from one variant.

    The module of a transform declares three literals, which the search reads without an import: STAGE (when the search
    applies it), KEEPS_ANSWERS (True if the new variants answer as the old one) and REQUIRES (fields of the context that
    must be set for it to take part).
    """

    def __call__(self, variant: Variant, context: TransformContext) -> Sequence[Variant]:
        """Return new variants, each with one step more than `variant`.

        Raises
        ------
        NotApplicable
            If the transform does not apply to this variant.
        EngineError
            If it applies and failed.
        """
        ...


class Source(Protocol):
    """From the URL of a database and a query, a table; the plug-in's name is the scheme of its URLs (`sqlite:`)."""

    def __call__(self, url: str, query: str, *, folder: Path) -> polars.DataFrame:
        """The rows that the query gives; a relative path in the URL starts in `folder`, and nothing is written.

        Raises DataError, with the mend, where the database cannot be opened or refuses the query; who asked hides the
        password of the URL in it.
        """
        ...


def _no_table() -> None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckContext:
    """What a check looks at: a dataset, and what is known about it beside its rows.

    `periods` are its train, validation, test and live, none where it is not cut. `requests` gives the rows that servers
    were asked, a column a feature, and when by ASKED_AT; None where nobody asked them yet. `config` is that of the
    project. `detector` tells whether two windows of rows come from one world, where anybody gave one.
    `labelling` says how its labels came about.
    """

    dataset: Dataset
    periods: Mapping[str, Dataset] = field(default_factory=dict)
    requests: Callable[[], polars.DataFrame | None] = _no_table
    config: Config = field(default_factory=Config)
    detector: Detector | None = None
    labeling: Labeling = field(default_factory=Labeling)


class Check(Protocol):
    """From a survey of data, what is wrong with them; raises NotApplicable where it cannot judge."""

    def __call__(self, survey: CheckContext) -> Sequence[Finding]:
        """Findings of its own code, none if all is well; it changes nothing."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A variant beside the model as it came, both opened, with their answers on the same labelled rows.

    `rows` float64 [n, d]; `labels` float64 [n]; `scores` and `reference_scores` float64 [n, k]; `groups` int64 [n] in
    0..G-1, rows of one group share fate; `threshold` turns a score into a decision (score >= threshold), and `costs`
    are those of a false alarm and of a miss. `weights` float64 [n] > 0 say how much each row counts, if not alike.
    `sensitive_features` are the slice columns whose values are groups of people. `unseen` bool [n] says which rows hold a text that
    the model never saw, which it may read as a missing value. `price` is that of the machine that answers. `query_ids`
    int64 [n] are those that a ranking puts in order.
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
    costs: tuple[float, float] = (1.0, 1.0)
    weights: Floats | None = None
    sensitive_features: Mapping[str, SliceColumn] = field(default_factory=dict)
    unseen: Bools | None = None
    price: CostSection | None = None
    query_ids: Ints | None = None


MetricResults = Sequence[Measurement | NotApplicable]
"""What a probe or an audit measured; of what it could not, a NotApplicable that says why, with the mend."""


class Metric(Protocol):
    """From a subject, measurements; raises NotApplicable where the measure has no meaning for it."""

    def __call__(self, subject: Comparison) -> MetricResults:
        """Measurements, each with its interval or its count."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditContext:
    """What an audit works with beside its subject: how long it may take, and what the model is made from.

    `learn` trains the model as it came anew on the columns named, with a seed, and gives it opened over those columns
    in their order; None where nobody knows how it is made, or it takes no seed. `weigh` trains it, with a seed, on all
    columns of the subject, and on classes that count alike if that is asked. `months` are those of the rows, where
    rows have a time. `together` are features that belong together: what is done to one is done to all. `origin` is the
    model as it came, and `bench` what transforms made the subject of it with, where that is known. `calibrator` and
    `views` are those of what is to be released. `serve` gives a server of a variant, None where nobody knows how it is
    served; it is asked `rate_per_s` times a second. `attack` says what of a row an attacker may change.
    """

    blobs: Blobs
    budget_s: float
    train: Callable[[], LabeledData | None] = _no_training_rows
    learn: Callable[[Sequence[str], int], Engine] | None = None
    weigh: Callable[[bool, int], Engine] | None = None
    months: SliceColumn | None = None
    together: Sequence[Sequence[str]] = ()
    origin: Variant | None = None
    bench: Callable[[], TransformContext] | None = None
    calibrator: Calibrator = field(default_factory=Calibrator)
    views: Sequence[FeatureView] = ()
    serve: Serve | None = None
    rate_per_s: float = 200.0
    attack: AttackSection = field(default_factory=AttackSection)


class Audit(Protocol):
    """A probe that takes its time: asked of what is to be released, and not of every variant of a search."""

    def __call__(self, subject: Comparison, ground: AuditContext) -> MetricResults:
        """Measurements, each with its interval or its count; raises NotApplicable where there can be none."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The rows of one period: float64 [n, d], missing as NaN, texts as category ranks; `groups` int64 [n].

    Rows of one group share fate; groups are numbered in order of time, as days are since some day.
    """

    rows: Floats
    groups: Ints


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """Two periods side by side, their columns as the signature says.

    `run` counts neighbouring groups that a detector moves as one, since they lean on each other, and over which a
    pattern repeats: 7 for days. It is 1 where chance decided which group belongs to which window. `alpha` is the chance
    of an alarm that a detector may take where nothing changed.
    """

    before: Window
    after: Window
    signature: Signature
    run: int = 7
    alpha: float = 0.05


class Detector(Protocol):
    """From two windows, whether their inputs come from one world; raises NotApplicable where it cannot judge."""

    def __call__(self, windows: Windows) -> Drift:
        """One alarm for all features, and each feature's part in it; equal windows give equal answers."""
        ...
