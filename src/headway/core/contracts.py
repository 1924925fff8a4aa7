"""Contracts of engines, blob stores, state stores and trial servers, and the labeled rows that layers pass on.

E008: a newer version of its library wrote the model.

One contract test per kind runs over every installed plug-in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Protocol, runtime_checkable

from headway.core.evidence import Finding
from headway.core.record import Settings
from headway.core.variant import Variant

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray

    Floats = NDArray[numpy.float64]
    Ints = NDArray[numpy.int64]
    Bools = NDArray[numpy.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclaredColumn:
    """A column that a registry declares for a model: FP64 is a number, BYTES a string, and empty is any type."""

    name: str
    datatype: str = ""
    is_required: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSource:
    """A model file in a folder of a registry, the columns declared for it, and the folder of its own code, if any.

    `runs_code` is True if opening it can run code, though its suffix does not show that.
    """

    path: Path
    suffix: str
    columns: tuple[DeclaredColumn, ...] = ()
    code: str = ""
    runs_code: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFile:
    """The bytes of a model file, the suffix of its name (`.json`), and the columns that a registry declares for it."""

    content: bytes
    suffix: str
    columns: tuple[DeclaredColumn, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedModel:
    """A fitted model as an engine imported it, with what the model knows about itself; empty where it does not say.

    Attributes
    ----------
    content
        Artifact in the engine's first format.
    width
        Number of columns of a row.
    names
        Names of the columns, in order.
    classes
        Classes of a classifier, in the order of its answers.
    categories
        Categories of each categorical column, in order.
    absent
        Value of a cell that a sparse row leaves out: 0.0 or NaN.
    engine
        Name of the engine that opens it, if that is another one.
    variant
        The variant that it is, for a model that headway made; then nothing is inferred from the table.
    outputs
        How many numbers it answers a row, if only that is known of its task; 0 otherwise.
    findings
        What a person should know about the file, such as a newer version of the library that wrote it (E008).
    threads
        Number of threads that the model's own setting asks for (`n_jobs`, `nthread`); 0 if it has none.
    columns
        Columns that a registry declares for it.
    """

    content: bytes
    width: int = 0
    names: tuple[str, ...] = ()
    task: str = ""
    classes: tuple[str, ...] = ()
    categories: tuple[tuple[str, ...], ...] = ()
    absent: float = 0.0
    engine: str = ""
    variant: Variant | None = None
    outputs: int = 0
    threads: int = 0
    findings: tuple[Finding, ...] = ()
    columns: tuple[DeclaredColumn, ...] = ()


NEWER_LIBRARY = "E008"


def newer_library(library: str, made_by: Sequence[int], installed: Sequence[int]) -> tuple[Finding, ...]:
    """Return the finding that a newer version of a library wrote a model, if its major and minor number are higher."""
    if tuple(made_by[:2]) <= tuple(installed[:2]):
        return ()
    written, own = (".".join(map(str, version)) for version in (made_by, installed))
    return (
        Finding(
            code=NEWER_LIBRARY,
            severity="warn",
            message=f"{library} {written} wrote the model, and {own} is installed here: it may answer differently",
            hint=f"pip install --upgrade {library.lower()}",
        ),
    )


class Engine(Protocol):
    """A model, opened. `formats` names the artifact formats it opens; equal rows give equal answers.

    `files` names the suffixes of the model files that `import_model` accepts (`.txt`). An engine may have more methods:
    `bind(content, signature)` returns the artifact for the columns of a table, with the model's signature;
    `opened(file)` returns the model in a ModelFile that runs code, and is called only with trust;
    `program(model)` returns the file of a model that is a program, None for another: importing it may not end, so a
    process whose time and memory are limited tries that first;
    `refit(content, rows, labels, weights)` returns the artifact of the same model fitted on other rows: its settings
    decide how long that takes, so it runs in such a process (`optimization.refit`);
    `training_leaves()` returns the number of training rows in each leaf of the first tree, and `leaves(rows)` the leaf
    of each row, by which the rows that a model was trained on are recognized; `at_least(rows, threshold)` returns 1 for
    each row whose score is at least the threshold, else 0, faster than by its score; `most_probable(rows)` returns the
    class of the highest score of each row, the first of equal ones, likewise; `predict_sparse(rows, absent)`
    answers a SciPy matrix in CSR form, whose cells that are not stored are `absent`, without making it dense; a
    `Decider` decides as its library does; if `reads_columns` is true, rows in Fortran order are read without a copy.
    `native`, if it is there, is the library's own object: a file's baseline is timed as a user of the library would
    call it.
    """

    formats: ClassVar[tuple[str, ...]]
    files: ClassVar[tuple[str, ...]]

    def __init__(self, content: bytes, settings: Settings) -> None:
        """Open the bytes of an artifact; raises EngineError with a hint if that fails."""
        ...

    @classmethod
    def import_model(cls, model: object) -> ImportedModel:
        """Import a fitted model of this library, or a file of one.

        Raises
        ------
        NotApplicable
            If it is a model of another library.
        EngineError
            If it is a model of this library that cannot be imported.
        """
        ...

    def predict(self, rows: Floats) -> Floats:
        """Compute the answers to rows; several threads may call it at once.

        Parameters
        ----------
        rows : ndarray of shape (n, d), float64
            Missing values as NaN, categories as ranks.

        Returns
        -------
        ndarray of shape (n, k), float64
            k is the number of classes for multiclass, of labels for multilabel, else 1.
        """
        ...


@runtime_checkable
class Decider(Protocol):
    """Optional methods of an engine whose library decides by more than the scores that `predict` returns."""

    @property
    def thresholds(self) -> tuple[float, ...]:
        """Thresholds that the library may decide two classes by, other than one half."""
        ...

    def decide(self, rows: Floats) -> Ints | None:
        """Return the class that the library predicts for each row, as an index into the model's classes, (n,).

        For several labels a row it is the indicator matrix (n, k) of 0 and 1. None if the model has no classes.
        """
        ...


class Blobs(Protocol):
    """Content-addressed bytes: they come out unchanged, or not at all.

    A plug-in for a server may have more methods: `require_usable(state)` raises StoreError if the server does not do
    what blobs need, and remembers in the folder that it was asked. One with `save_release`, `load_release` and
    `releases` shares releases as well (`SharedReleases`).
    """

    def __init__(self, address: Path | str) -> None:
        """Open the blobs in a folder, which is created by the first `put`, or at a URL of the plug-in's scheme."""
        ...

    def put(self, content: bytes) -> str:
        """Store bytes and return their digest; storing them again changes nothing."""
        ...

    def create(self, content: bytes) -> bool:
        """Store bytes that are absent; return True for exactly one of all calls, the one that stored them."""
        ...

    def get(self, digest: str) -> bytes:
        """Return the bytes of a digest; raises StoreError if they are absent or damaged."""
        ...

    def digests(self) -> Iterator[str]:
        """Yield the digests of all blobs, in their order."""
        ...


@runtime_checkable
class SharedReleases(Protocol):
    """Releases that several machines share; nothing that comes from it has been verified."""

    def save_release(self, name: str, digest: str, contents: Mapping[str, bytes]) -> None:
        """Save the files of a release under its name and digest; saving it again replaces what differs."""
        ...

    def load_release(self, name: str, digest: str) -> dict[str, bytes] | None:
        """Return the files of a release; None if there is none."""
        ...

    def releases(self, name: str) -> list[str]:
        """Return the digests of all releases of a name, sorted."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """Bytes with a publisher's signature (`registry.sign`)."""

    content: bytes
    signature: bytes


class SavedRecord(NamedTuple):
    """A record with its index in the order of saving, from 1."""

    position: int
    kind: str
    name: str
    content: bytes


class SavedUpdate(NamedTuple):
    """A pointer update with its index in the chain, from 1."""

    position: int
    signed: Signed


class Lease(Protocol):
    """The right to do a piece of work that one process at a time does."""

    def expect_held(self) -> None:
        """Raise LeaseLost if the lease ended, so that another process may have taken it."""
        ...


class State(Protocol):
    """Mutable state: pointer updates in one chain, records as bytes, and the number of evaluations of `test`.

    An update that lost a race is reported to the caller. Saved records never change and keep their order.
    """

    def __init__(self, address: Path | str) -> None:
        """Open the state in a folder, created if absent, or at a URL of the plug-in's scheme.

        Raises StoreError with a hint if a newer headway wrote it.
        """
        ...

    def append(self, signed: Signed) -> bool:
        """Append an update (`core.record.write` of a PointerUpdate) to the chain, or change nothing.

        Returns False if another pointer was updated first, so that `previous` is not the end any more: chain it again.
        Raises PointerMoved, which names the current release of the pointer, if `number` does not follow the last update
        of its own pointer.
        """
        ...

    def updates(self, name: str = "", pointer: str = "", *, since: int = 1) -> list[Signed]:
        """Return the pointer updates, oldest first: all of the chain, or those of a name, or of a pointer.

        `since` is the index in the chain, from 1, of the first that is read.
        """
        ...

    def last(self, name: str = "", pointer: str = "") -> Signed | None:
        """Return the last of `updates` without reading the others, or None."""
        ...

    def recent_updates(
        self, name: str = "", pointer: str = "", *, limit: int = 100, before: int = 0
    ) -> list[SavedUpdate]:
        """Return at most `limit` of `updates`, newest first; with `before`, only those before that index."""
        ...

    def save(self, kind: str, content: bytes, *, name: str) -> str:
        """Save the bytes of a record of a kind (`evidence`, `verdict`, ...) under a name; return their digest."""
        ...

    def records(self, kind: str, *, name: str = "", digest: str = "") -> list[bytes]:
        """Return the records of a kind, oldest first: all, or those of a name, or the one of a digest."""
        ...

    def latest(self, kind: str, *, name: str) -> bytes | None:
        """Return the last record of a kind and name without reading the others, or None."""
        ...

    def recent(self, kind: str, *, name: str = "", limit: int = 100, before: int = 0) -> list[SavedRecord]:
        """Return at most `limit` records of a kind, or of a kind and name, newest first.

        With `before`, only those before that index: the next page begins before the last record of this one.
        """
        ...

    def count(self, kind: str, *, name: str = "") -> int:
        """Return the number of records of a kind, or of a kind and name, without reading them."""
        ...

    def count_evaluation(self, name: str, dataset: str) -> int:
        """Count one more evaluation of the `test` period of a dataset (its digest); return how many there were."""
        ...

    def test_evaluations(self, name: str, dataset: str) -> int:
        """Return how often the `test` period of a dataset was evaluated for a name."""
        ...

    def all_records(self, *, after: int = 0, limit: int = 100) -> list[SavedRecord]:
        """Return the records of every kind and name in the order of saving, at most `limit` after the index `after`."""
        ...

    def all_evaluations(self) -> dict[tuple[str, str], int]:
        """Return the number of evaluations by name and dataset."""
        ...

    def lease(self, name: str) -> AbstractContextManager[Lease]:
        """Hold the lease of a name, until the context or its process ends.

        Raises LeaseHeld, which names the holder, if another context holds it, on this or another machine.
        """
        ...

    def close(self) -> None:
        """Close the state; closing it twice is allowed."""
        ...


class Feed(Protocol):
    """Messages between servers, between two reads of the store. All of it may be lost, and nothing is trusted.

    A method that does not reach the feed raises StoreUnavailable, and the next call tries again.
    """

    def __init__(self, address: str) -> None:
        """Take the address of a feed, and connect with the first call."""
        ...

    def announce(self) -> None:
        """Hint to all who wait that a pointer has moved."""
        ...

    def wait(self, timeout_s: float) -> bool:
        """Wait for a hint, at most so long; return True if there was one, or one may have been missed.

        One may have been missed before the first call, and while the feed could not be reached.
        """
        ...

    def spend(self, spent_ns: Mapping[str, int]) -> Mapping[str, int]:
        """Add what requests of each key have spent of its rate limit, in nanoseconds, over all servers.

        Returns for each the nanoseconds until it has its full burst again.
        """
        ...

    def add(self, name: str, numbers: Sequence[int], *, keep_s: int) -> Sequence[int]:
        """Add to the numbers of a name over all servers, and return the sums; they expire `keep_s` after the last."""
        ...

    def close(self) -> None:
        """Close the connections."""
        ...


class OnlineStore(Protocol):
    """The newest row of each entity of feature views: a table per version of a view, and a row of numbers per key.

    A method that does not reach a server raises StoreUnavailable, and the next call tries again. Threads may share it.
    `is_remote` is True if a call waits for the network. Names of tables of states are not those of tables of rows.
    """

    is_remote: ClassVar[bool]

    def __init__(self, address: Path | str) -> None:
        """Open the tables in a folder, created by the first `write`, or take a URL of the plug-in's scheme."""
        ...

    def read(self, requests: Sequence[tuple[str, Sequence[str]]]) -> list[tuple[Floats, Ints]]:
        """Look up the keys of each table, in one round trip for all tables.

        Returns for each table the values, float64 (n, d), NaN for unknown keys, and the event times in microseconds
        since 1970, int64 (n,), -1 for unknown keys. Raises StoreError for a table that does not exist.
        """
        ...

    def read_with_states(
        self, requests: Sequence[tuple[str, Sequence[str]]], states: Sequence[tuple[str, Sequence[str]]]
    ) -> tuple[list[tuple[Floats, Ints]], list[list[bytes | None]]]:
        """Look up rows as `read` does, and states, all in one round trip.

        A table of states has bytes per key, None for unknown keys.
        """
        ...

    def replace_states(
        self,
        table: str,
        before: Mapping[str, bytes | None],
        after: Mapping[str, bytes | None],
        *,
        staged: bool = False,
        progress: bytes | None = None,
    ) -> Mapping[str, bytes | None] | None:
        """Store states under several keys at once if those of `before` are still stored; else change nothing.

        None deletes the key. Returns None, or what is stored under the keys of `before` if another process has changed
        one: merge with that, and try again. The table is created. `staged` and `progress` are as for `write`.
        """
        ...

    def write(
        self,
        table: str,
        keys: Sequence[str],
        values: Floats,
        event_us: Ints,
        *,
        staged: bool = False,
        progress: bytes | None = None,
    ) -> int:
        """Store a batch of at most 10,000 rows whole or not at all, and create the table; return how many were stored.

        A row that is older than the stored one of its key is left out, an equally old one replaces it. With `staged`,
        the rows go to the table that `publish` puts in place of this one; other rows go to both while there is one.
        `progress` is saved in the same step, and says how far the writer is.

        Raises DataError for a key that cannot be stored, and for another number of columns than the table has.
        """
        ...

    def progress(self, table: str, *, staged: bool = False) -> bytes:
        """Return the last `progress` of a table, or of its staged one; empty for none."""
        ...

    def publish(self, table: str) -> None:
        """Put the staged table in place of a table, in one step; raises StoreError if there is none."""
        ...

    def discard_staged(self, table: str) -> None:
        """Delete the staged table, if there is one."""
        ...

    def tables(self, *, staged: bool = False) -> dict[str, int]:
        """Return the number of columns of each table, or of those with staged rows; 0 for one of states."""
        ...

    def scan(self, table: str, *, staged: bool = False) -> Iterator[tuple[list[str], Floats, Ints]]:
        """Yield all rows of a table, or its staged ones, in batches as `read` returns them; none if it does not exist.

        Rows that are written during the scan may be left out, and a row may come twice.
        """
        ...

    def delete(self, table: str, keys: Sequence[str]) -> int:
        """Delete the rows of keys, also staged, and these strings of the vocabulary; return the number of rows.

        No byte of them is left in the store.
        """
        ...

    def drop(self, table: str) -> None:
        """Delete a table with its vocabulary, if it exists."""
        ...

    def codes(self, table: str, feature: str, strings: Sequence[str]) -> Ints:
        """Return the code of each string in the vocabulary of a feature, to which new strings are appended."""
        ...

    def strings(self, table: str, feature: str, codes: Sequence[int]) -> list[str | None]:
        """Return the string of each code; None for a code that is unknown or was erased."""
        ...

    def close(self) -> None:
        """Close the connections; the next call opens them again."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceColumn:
    """A slice column: `codes` int64 of shape (n,) index into `values`."""

    codes: Ints
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LabeledData:
    """Labeled rows of one period, in the order of time if there is one.

    Attributes
    ----------
    rows
        float64 of shape (n, d).
    labels
        float64 of shape (n,); of shape (n, k), of 0 and 1, for several labels a row.
    groups
        int64 of shape (n,), in 0..G-1; rows of one group are dependent.
    weights
        float64 of shape (n,), > 0; None if all rows count the same.
    slices
        Slice columns of these rows, by name.
    """

    rows: Floats
    labels: Floats
    groups: Ints
    weights: Floats | None = None
    slices: Mapping[str, SliceColumn] = field(default_factory=dict)


def no_training_rows() -> None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A running server: its address, its first process, and its start time (`time.perf_counter`).

    `request` encodes rows, float64 of shape (n, d); `answers` decodes the numbers of a response in row-major order.
    """

    host: str
    port: int
    process: int
    began_s: float
    request: Callable[[Floats], bytes]
    answers: Callable[[bytes], Floats]


Serve = Callable[[Variant], AbstractContextManager[Trial]]
"""Starts a server of a variant, which is stopped at the end of the block."""
