"""What each kind of plug-in must be; one contract test per kind holds every plug-in installed to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Protocol

from headway.core.record import Settings

if TYPE_CHECKING:
    import numpy
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


def no_training_rows() -> None:
    return None
