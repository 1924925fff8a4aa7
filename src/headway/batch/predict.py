"""Score a file: read, predict and write at once, in order, in parts that survive a kill."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import nanoarrow
import numpy as np

import headway
from headway.batch import columns, journal
from headway.batch.columns import new_refusal
from headway.batch.journal import Journal, Receipt, Terms, describe_terms
from headway.core.batch import Chunk, Column, Format, Scan, ScoringOptions
from headway.core.config import Config
from headway.core.errors import ConfigError, DataError, EngineError
from headway.core.plugins import load_engine, load_format, names
from headway.core.release import Release
from headway.core.threads import cores
from headway.evaluation.calibration.apply import CalibrationFunction, calibration_function
from headway.registry.bundle import Bundle
from headway.registry.model_registry import ModelRegistry
from headway.registry.open import open_release

if TYPE_CHECKING:
    from headway.core.batch import Flags, Floats
    from headway.core.contracts import Engine


BATCH_ROWS = 8192
_ALSO_READ = {"arrows": "arrow", "ipc": "arrow", "feather": "arrow"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is to be scored: the release at `reference` answers the rows of `source` into `out`.

    `keep` names columns of the file that are copied through; `threads` ask the engine, by default one for each core.
    """

    reference: str
    source: Path
    out: Path
    keep: tuple[str, ...] = ()
    threads: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a run is: rows that are kept, and those of this run alone in `seconds`; `share` of the file in [0, 1]."""

    rows: int
    refused: int
    share: float
    run_rows: int
    seconds: float


Callback = Callable[[Progress], object]


def predict(config: Config, order: Order, *, callback: Callback = lambda _: None) -> Receipt:
    """Score a file larger than memory, and give the receipt of its answer; killed at any moment, it goes on.

    The release is verified, and answers its self-test, before a row is read. A row that the release does not take is
    answered by null and told in `OUT.refused.csv`; a column that is not there, or of another type, ends it at once
    (DataError). Raises StoreError where `out` was begun on other terms: nothing is ever mixed.
    """
    bundle = _bundle(config, order.reference)
    reader, writer = _format(order.source, _ALSO_READ), _format(order.out, {})
    wanted = _scoring_options(bundle.release, config, order)
    terms = describe_terms(bundle, order.source, wanted)
    done = journal.load_receipt(order.out, terms)
    if done is not None:
        return done
    scorer = Scorer(release=bundle.release, engine=open_release(bundle))
    scan = reader.scan(order.source, wanted)
    empty = scorer.empty(scan.kept)
    with journal.open_journal(order.out, terms) as kept:
        _Run(scorer, writer, kept, callback).go(scan, _workers(bundle.release, order.threads))
        _expect_unchanged(terms, describe_terms(bundle, order.source, wanted))
        return kept.finish(lambda parts, whole: writer.join(parts, whole, empty, _output_metadata(bundle)))


class _Run:
    """One run over what is left of a file: this thread reads, others ask the engine, and one keeps the parts."""

    def __init__(self, scorer: Scorer, writer: Format, journal: Journal, callback: Callback) -> None:
        self._scorer, self._writer, self._journal, self._tell = scorer, writer, journal, callback
        self._began, self._from_row = time.monotonic(), journal.end

    def go(self, scan: Scan, threads: int) -> None:
        """Answer every row that is in no part yet; a few chunks are in memory at a time."""
        with _pool(1) as keeper, _pool(threads) as askers:
            waiting: deque[tuple[int, Future[None]]] = deque()
            for chunk in scan.chunks(self._journal.end, self._journal.position):
                asked = [askers.submit(self._scorer.scores, rows) for rows in _batches(chunk.rows)]
                waiting.append((len(chunk.rows), keeper.submit(self._keep, chunk, asked)))
                while sum(rows for rows, _ in waiting) - waiting[0][0] >= 2 * threads * BATCH_ROWS:
                    waiting.popleft()[1].result()
            for _, kept in waiting:
                kept.result()

    def _keep(self, chunk: Chunk, asked: Sequence[Future[tuple[Floats, RowErrors]]]) -> None:
        """Keep the answer to a chunk as a part, once the engine has given it."""
        if not asked:
            return
        refusals, answers = list(chunk.refusals), []
        refused, start = {each.row for each in refusals}, chunk.start
        for future in asked:
            scores, faults = future.result()
            new = [
                new_refusal(start + place, "", "", why) for place, why in faults.items() if start + place not in refused
            ]
            refusals += new
            refused |= {each.row for each in new}
            answers.append(scores)
            start += len(scores)
        columns = self._scorer.answer(chunk, np.concatenate(answers), refused)
        self._journal.add(self._writer.encode(columns), refusals, end=chunk.end, position=chunk.position)
        self._report(chunk)

    def _report(self, chunk: Chunk) -> None:
        done = Progress(
            rows=self._journal.end,
            refused=self._journal.refused,
            share=chunk.share,
            run_rows=chunk.end - self._from_row,
            seconds=time.monotonic() - self._began,
        )
        self._tell(done)


@contextmanager
def _pool(threads: int) -> Iterator[ThreadPoolExecutor]:
    """Threads that, where something fails, do no more than they are at."""
    pool = ThreadPoolExecutor(threads)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _batches(rows: Floats) -> Iterator[Floats]:
    return (rows[start : start + BATCH_ROWS] for start in range(0, len(rows), BATCH_ROWS))


def _bundle(config: Config, reference: str) -> Bundle:
    register = ModelRegistry.from_config(config)
    try:
        return register.resolve(reference)
    finally:
        register.state.close()


def _scoring_options(release: Release, config: Config, order: Order) -> ScoringOptions:
    views = {column: view.name for view in release.views for column in view.columns}
    signature, missing = release.variant.signature, tuple(config.data.missing)
    return ScoringOptions(signature=signature, keep=tuple(dict.fromkeys(order.keep)), missing=missing, views=views)


def _format(path: Path, others: Mapping[str, str]) -> Format:
    """How a file is read or written, by its suffix."""
    suffix = path.suffix.lower().removeprefix(".")
    name = others.get(suffix, suffix)
    if name not in names("format"):
        known = ", ".join(f".{each}" for each in names("format"))
        raise ConfigError(f"'{path.name}' is of no known format", where=f"known: {known}", hint="rename it")
    return load_format(name)


def _workers(release: Release, threads: int) -> int:
    """Threads that ask the engine: where it has threads of its own, so many fewer."""
    if threads < 0:
        raise ConfigError(f"{threads} threads cannot score", hint="--threads 1 or more; 0 takes every core")
    wanted = threads or cores()
    settings = {**getattr(load_engine(release.variant.engine), "defaults", {}), **release.variant.settings}
    own = int(settings.get("threads", 1)) or wanted
    return max(1, wanted // own)


def _expect_unchanged(before: Terms, now: Terms) -> None:
    if now != before:
        raise DataError(
            f"'{now.file}' changed while it was read: {'; '.join(now.differences(before))}",
            hint="begin anew once it stays as it is",
        )


def _output_metadata(bundle: Bundle) -> dict[str, str]:
    release = bundle.release
    return {
        "headway.name": release.name,
        "headway.registry": bundle.digest,
        "headway.threshold": repr(release.threshold),
        "headway.version": headway.__version__,
    }


ROW = "row"
_DECISION, _PREDICTION = "decision", "prediction"

RowErrors = Mapping[int, str]
"""Why a row has no answer, by its place among the rows that were asked."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scorer:
    """A release, opened. Threads may share it."""

    release: Release
    engine: Engine
    _calibrated: CalibrationFunction = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_calibrated", calibration_function(self.release.calibrator))

    def scores(self, rows: Floats) -> tuple[Floats, RowErrors]:
        """What the release answers to rows float64 [n, d]: float64 [n, k] after the calibrator, and its faults.

        A row without an answer is NaN: the engine fails on it alone, or gives what is no finite number.
        """
        scores, faults = self._asked(rows)
        scores = self._calibrated(scores)
        for place in np.flatnonzero(~np.isfinite(scores).all(axis=1)).tolist():
            faults.setdefault(place, f"the answer is {scores[place].tolist()}")
        return scores, faults

    def _asked(self, rows: Floats) -> tuple[Floats, dict[int, str]]:
        """The engine's answers; rows that it fails on are halved until the bad one stands alone."""
        try:
            return self.engine.predict(rows), {}
        except EngineError as error:
            if len(rows) < 2:
                return np.full((len(rows), self.engine.predict(rows[:0]).shape[1]), np.nan), {0: error.what}
        half = len(rows) // 2
        (left, faults), (right, others) = self._asked(rows[:half]), self._asked(rows[half:])
        return np.concatenate([left, right]), faults | {half + place: why for place, why in others.items()}

    def answer(self, chunk: Chunk, scores: Floats, refused: set[int]) -> dict[str, Column]:
        """The columns of an answer to a chunk; the rows (their numbers in the file) that are refused have nulls."""
        missing = None
        if refused:
            missing = np.zeros(len(scores), dtype=np.bool_)
            missing[[row - chunk.start for row in refused]] = True
        numbers = Column(type=nanoarrow.int64(), values=np.arange(chunk.start, chunk.end, dtype=np.int64))
        return {ROW: numbers, **chunk.kept, **_answers(self.release, scores, missing)}

    def empty(self, kept: Mapping[str, Column]) -> dict[str, Column]:
        """The columns of an answer without rows; raises DataError where a column that is kept has the name of one."""
        width = len(self.release.variant.signature.inputs)
        scores, _ = self._asked(np.empty((0, width)))
        none = Chunk(start=0, rows=np.empty((0, width)), kept={}, position=0, share=0.0)
        own = self.answer(none, scores, set())
        for name in kept:
            if name in own:
                raise DataError(
                    f"column '{name}' cannot be kept: the answer has a column of that name", hint="rename it"
                )
        names = [ROW, *kept, *(name for name in own if name != ROW)]
        return {name: kept[name] if name in kept else own[name] for name in names}


def _answers(release: Release, scores: Floats, missing: Flags | None) -> dict[str, Column]:
    """Of a classifier the probability, or one for each class, and the decision; of all others the prediction."""
    variant, width = release.variant, scores.shape[1]
    if variant.task == "binary":
        yes = Column(type=nanoarrow.int8(), values=(scores[:, 0] >= release.threshold).astype(np.int8), missing=missing)
        return {variant.signature.output: _floats(scores[:, 0], missing), _DECISION: yes}
    if variant.task != "multiclass":
        names = [_PREDICTION] if width == 1 else [f"{_PREDICTION}.{place}" for place in range(width)]
        return {name: _floats(scores[:, place], missing) for place, name in enumerate(names)}
    classes = variant.signature.classes or tuple(str(place) for place in range(width))
    best = np.where(np.isnan(scores), -np.inf, scores).argmax(axis=1)
    chosen = [classes[place] for place in best.tolist()]
    if missing is not None:
        chosen = [None if none else text for text, none in zip(chosen, missing.tolist(), strict=True)]
    found = {
        f"{variant.signature.output}.{name}": _floats(scores[:, place], missing) for place, name in enumerate(classes)
    }
    return {**found, _DECISION: columns.string_column(chosen)}


def _floats(values: Floats, missing: Flags | None) -> Column:
    return Column(type=nanoarrow.float64(), values=np.ascontiguousarray(values), missing=missing)
