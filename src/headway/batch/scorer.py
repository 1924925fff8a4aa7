"""Score one file: read, run the engine and write at once, in order, in parts that survive a kill."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

import nanoarrow
import numpy as np

import headway
from headway.batch import columns, journal
from headway.batch.columns import new_refusal
from headway.batch.journal import Journal, OutputFiles, Receipt, Terms
from headway.core.answering import AnswerDecider, Answers
from headway.core.batch import ROW, ArrowColumn, Chunk, Format, Refusal, Scan, ScoringOptions
from headway.core.contracts import Decider
from headway.core.errors import DataError, EngineError
from headway.core.label_sets import decide_labels, name_labels
from headway.core.release import Release
from headway.core.variant import MULTILABEL
from headway.data.refusals import RefusalCheck
from headway.evaluation.calibration.apply import CalibrationFunction, calibration_function

if TYPE_CHECKING:
    from headway.core.arrays import Bools, Floats, Ints
    from headway.core.contracts import Engine

BATCH_ROWS = 8192
_MAX_PARTS = 4
"""Encoded parts that wait for the disk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Progress of a run: finished rows, and those of this process in `seconds`; `share` of the file in [0, 1]."""

    rows: int
    refused: int
    share: float
    run_rows: int
    seconds: float


Callback = Callable[[Progress], object]
_Encoded = tuple[bytes, list[Refusal]]
"""A part of the output, and its refusals."""


def score_file(
    scorer: Scorer,
    scan: Scan,
    writer: Format,
    files: OutputFiles,
    *,
    describe: Callable[[], Terms],
    terms: Terms,
    options: ScoringOptions,
    threads: int,
    digest: str,
    wait_s: float = 0.0,
    callback: Callback = lambda _: None,
) -> Receipt:
    """Score the rest of an opened file by the release of a digest, and return the receipt.

    `describe` returns the terms again: DataError if the file changed while it was read. `wait_s` is how long to wait
    for another process that writes the same output.
    """
    empty, metadata = scorer.empty(scan.passthrough), _output_metadata(scorer.release, digest)
    with journal.open_scoring_journal(files, terms, wait_s=wait_s) as parts_journal:
        _Run(scorer, writer, parts_journal, options, callback).go(scan, threads)
        expect_unchanged(terms, describe())
        return parts_journal.finish(lambda parts, joined: writer.join(parts, joined, empty, metadata))


class _Run:
    """One run over the rest of a file: this thread reads, others run the engine, encode the parts and write them."""

    def __init__(
        self, scorer: Scorer, writer: Format, journal: Journal, options: ScoringOptions, callback: Callback
    ) -> None:
        self._scorer, self._writer, self._journal, self._callback = scorer, writer, journal, callback
        self._escapes = options.spreadsheet_safe
        self._began, self._from_row = time.monotonic(), journal.end

    def go(self, scan: Scan, threads: int) -> None:
        """Score every row that is in no part yet, with a few chunks in memory at a time."""
        with _pool(1) as journal_pool, _pool(1) as encoder_pool, _pool(threads) as engine_pool:
            waiting, parts = deque[tuple[int, Future[_Encoded]]](), deque[Future[None]]()
            for chunk in scan.chunks(self._journal.end, self._journal.position):
                futures = [engine_pool.submit(self._scorer.score_batch, chunk, *batch) for batch in _batches(chunk)]
                if futures:
                    encoded = encoder_pool.submit(self._encode, chunk, futures)
                    waiting.append((chunk.end - chunk.start, encoded))
                    parts.append(journal_pool.submit(self._add, encoded, chunk.end, chunk.position, chunk.share))
                while waiting and sum(rows for rows, _ in waiting) - waiting[0][0] >= 2 * threads * BATCH_ROWS:
                    waiting.popleft()[1].result()
                while len(parts) > _MAX_PARTS:
                    parts.popleft().result()
            for part in parts:
                part.result()

    def _encode(self, chunk: Chunk, futures: Sequence[Future[BatchScores]]) -> _Encoded:
        """Return the part of a chunk, and its refusals, once the engine has returned its scores."""
        results = [item.result() for item in futures]
        answered, refusals = _answered(self._scorer, chunk, results, escape=self._escapes)
        return self._writer.encode(answered), refusals

    def _add(self, encoded: Future[_Encoded], end: int, position: int, share: float) -> None:
        """Write the part of a chunk to disk; its rows are not in memory any more."""
        content, refusals = encoded.result()
        self._journal.add(content, refusals, end=end, position=position)
        done = Progress(
            rows=self._journal.end,
            refused=self._journal.refused,
            share=share,
            run_rows=end - self._from_row,
            seconds=time.monotonic() - self._began,
        )
        self._callback(done)


def _answered(
    scorer: Scorer, chunk: Chunk, results: Sequence[BatchScores], *, escape: bool
) -> tuple[dict[str, ArrowColumn], list[Refusal]]:
    """Return the output columns of a chunk, and its refusals, from the scores of its batches."""
    refusals, answers = list(chunk.refusals), []
    refusals += [refusal for result in results for refusal in result.infinities]
    refused, start = {refusal.row for refusal in refusals}, chunk.start
    for _, scores, faults in results:
        new = [new_refusal(start + index, "", "", why) for index, why in faults.items() if start + index not in refused]
        refusals += new
        refused |= {refusal.row for refusal in new}
        answers.append(scores)
        start += len(scores)
    if escape:
        chunk, refusals = _escaped(chunk, refusals)
    return scorer.answer(chunk, np.concatenate(answers), refused), refusals


def score_chunk(scorer: Scorer, chunk: Chunk, options: ScoringOptions) -> dict[str, ArrowColumn]:
    """Return the output columns of a chunk, scored on this thread."""
    results = [scorer.score_batch(chunk, *batch) for batch in _batches(chunk)]
    return _answered(scorer, chunk, results, escape=options.spreadsheet_safe)[0]


def _escaped(chunk: Chunk, refusals: Sequence[Refusal]) -> tuple[Chunk, list[Refusal]]:
    """Return what is copied from the file with its formulas escaped."""
    held = {name: columns.escape_column(column) for name, column in chunk.passthrough.items()}
    values = [replace(refusal, value=columns.escape_formulas(refusal.value)) for refusal in refusals]
    return replace(chunk, passthrough=held), values


def batch_bounds(rows: int, width: int) -> Iterator[tuple[int, int]]:
    """Yield the first row, and the row after the last, of each batch of a file of parquet with that many columns."""
    at_once = columns.chunk_rows(width)
    for begin in range(0, rows, at_once):
        end = min(begin + at_once, rows)
        yield from ((start, min(start + BATCH_ROWS, end)) for start in range(begin, end, BATCH_ROWS))


@contextmanager
def _pool(threads: int) -> Iterator[ThreadPoolExecutor]:
    """Provide a pool whose waiting tasks are cancelled on an error."""
    pool = ThreadPoolExecutor(threads)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _batches(chunk: Chunk) -> Iterator[tuple[int, int]]:
    """Yield the first row, and the row after the last, of each batch."""
    return ((start, min(start + BATCH_ROWS, chunk.end)) for start in range(chunk.start, chunk.end, BATCH_ROWS))


def expect_unchanged(before: Terms, now: Terms) -> None:
    if now != before:
        raise DataError(
            f"'{now.file}' changed while it was read: {'; '.join(now.differences(before))}",
            hint="start again once the file no longer changes",
        )


def _output_metadata(release: Release, digest: str) -> dict[str, str]:
    return {
        "headway.name": release.name,
        "headway.registry": digest,
        "headway.threshold": repr(release.threshold),
        "headway.version": headway.__version__,
    }


_DECISION, _PREDICTION = "decision", "prediction"

RowErrors = Mapping[int, str]
"""Error of each row without a prediction, by its index among the scored rows."""


class BatchScores(NamedTuple):
    """Result of a batch: a refusal for each infinity, the scores (n, k), and the errors."""

    infinities: list[Refusal]
    scores: Floats
    faults: RowErrors


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scorer:
    """Opened release that scores rows; threads may share it. It does not answer the classes in `withdrawn`."""

    release: Release
    engine: Engine
    withdrawn: tuple[str, ...] = ()
    _calibrated: CalibrationFunction = field(init=False)
    _refusals: RefusalCheck = field(init=False)
    _decide: AnswerDecider | None = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_refusals", RefusalCheck(self.release.variant.signature))
        object.__setattr__(self, "_calibrated", calibration_function(self.release.calibrator))
        object.__setattr__(self, "_decide", self._decider())

    def _decider(self) -> AnswerDecider | None:
        release = self.release
        if release.answers is None:
            return None
        classes = release.class_names
        return AnswerDecider(release.answers, classes, threshold=release.threshold, withdrawn=self.withdrawn)

    def score_batch(self, chunk: Chunk, start: int, end: int) -> BatchScores:
        """Return the result of `scores` for the rows [start, end) of a file; an infinity is NaN to the engine.

        The thread that scores copies them, in the order that its engine reads, and looks for infinities in its cache.
        """
        rows = chunk.rows(start, end, order="F" if getattr(self.engine, "reads_columns", False) else "C")
        infinities = columns.refuse_infinities(rows, self.release.variant.signature.names, start)
        return BatchScores(infinities, *self.scores(rows))

    def scores(self, rows: Floats) -> tuple[Floats, RowErrors]:
        """Return the calibrated scores (n, k) of rows (n, d), and the error of each row without one.

        Such a row is NaN: the model's library refuses it, the engine fails on it alone, or returns a number that is not
        finite.
        """
        refused = self._refusals.refused_rows(rows)
        scores, faults = self._predict_accepted(rows, refused) if refused.any() else self._predict(rows)
        scores = self._calibrated(scores)
        for index in np.flatnonzero(~np.isfinite(scores).all(axis=1)).tolist():
            faults.setdefault(index, f"the answer is {scores[index].tolist()}")
        return scores, faults

    def _predict_accepted(self, rows: Floats, refused: Bools) -> tuple[Floats, dict[int, str]]:
        """Run the engine on the rows that the model's library accepts; the others are NaN, each with its reason."""
        accepted = np.flatnonzero(~refused)
        some, faults = self._predict(rows[accepted])
        scores = np.full((len(rows), some.shape[1]), np.nan)
        scores[accepted] = some
        reasons = {index: self._refusals.reason(rows[index]) for index in np.flatnonzero(refused).tolist()}
        return scores, reasons | {int(accepted[index]): why for index, why in faults.items()}

    def _predict(self, rows: Floats) -> tuple[Floats, dict[int, str]]:
        """Run the engine; a batch that it fails on is halved until the bad row is alone."""
        try:
            return self.engine.predict(rows), {}
        except EngineError as error:
            if len(rows) < 2:
                return np.full((len(rows), self.engine.predict(rows[:0]).shape[1]), np.nan), {0: error.what}
        half = len(rows) // 2
        (head, faults), (right, others) = self._predict(rows[:half]), self._predict(rows[half:])
        return np.concatenate([head, right]), faults | {half + index: why for index, why in others.items()}

    def answer(self, chunk: Chunk, scores: Floats, refused: set[int]) -> dict[str, ArrowColumn]:
        """Return the output columns of a chunk; refused rows, by their number in the file, are null."""
        missing = None
        if refused:
            missing = np.zeros(len(scores), dtype=np.bool_)
            missing[[row - chunk.start for row in refused]] = True
        numbers = ArrowColumn(type=nanoarrow.int64(), values=np.arange(chunk.start, chunk.end, dtype=np.int64))
        decided = self._decided(chunk, missing)
        found = _answers(self.release, scores, decided, missing)
        if self._decide is not None:
            found |= _selective(self.release, self._decide(scores), missing)
        return {ROW: numbers, **chunk.passthrough, **found}

    def _decided(self, chunk: Chunk, missing: Bools | None) -> Ints | None:
        """Return the classes that the library of a multiclass model predicts, int64 (n,); None if the scores decide.

        Of several labels a row it is the indicator matrix (n, k).
        """
        release = self.release
        follows = release.threshold_rule == "library" and not release.calibrator
        several = release.variant.task in ("multiclass", MULTILABEL)
        if not several or not follows or not isinstance(self.engine, Decider):
            return None
        rows = chunk.rows()
        if missing is None:
            return self.engine.decide(rows)
        some = self.engine.decide(rows[~missing])
        shape = (len(rows),) if some is None else (len(rows), *some.shape[1:])
        decided = np.zeros(shape, dtype=np.int64)
        if some is not None:
            decided[~missing] = some
        return decided

    def empty(self, copied: Mapping[str, ArrowColumn]) -> dict[str, ArrowColumn]:
        """Return the output columns without rows; raise DataError if a copied column has the name of one."""
        width = len(self.release.variant.signature.inputs)
        scores, _ = self._predict(np.empty((0, width)))
        none = Chunk(start=0, end=0, columns=[[]] * width, passthrough={}, position=0, share=0.0)
        own = self.answer(none, scores, set())
        for name in copied:
            if name in own:
                raise DataError(
                    f"column '{name}' cannot be copied: the output has a column of that name", hint="rename the column"
                )
        names = [ROW, *copied, *(name for name in own if name != ROW)]
        return {name: copied[name] if name in copied else own[name] for name in names}


def _answers(release: Release, scores: Floats, decided: Ints | None, missing: Bools | None) -> dict[str, ArrowColumn]:
    """Return the prediction columns: probability and decision of a classifier, or the prediction.

    The decision of several labels a row is one string, such as `billing|delivery`.
    """
    variant, width = release.variant, scores.shape[1]
    if variant.task == "binary":
        yes = ArrowColumn(
            type=nanoarrow.int8(), values=(scores[:, 0] >= release.threshold).astype(np.int8), missing=missing
        )
        return {variant.signature.output: _floats(scores[:, 0], missing), _DECISION: yes}
    if variant.task not in ("multiclass", MULTILABEL):
        names = [_PREDICTION] if width == 1 else [f"{_PREDICTION}.{index}" for index in range(width)]
        return {name: _floats(scores[:, index], missing) for index, name in enumerate(names)}
    classes = variant.signature.classes or tuple(str(index) for index in range(width))
    chosen: list[str | None]
    if variant.task == MULTILABEL:
        chosen = [*name_labels(decide_labels(scores) if decided is None else decided, classes)]
    else:
        best = np.where(np.isnan(scores), -np.inf, scores).argmax(axis=1) if decided is None else decided
        chosen = [classes[index] for index in best.tolist()]
    if missing is not None:
        chosen = [None if none else text for text, none in zip(chosen, missing.tolist(), strict=True)]
    found = {
        f"{variant.signature.output}.{name}": _floats(scores[:, index], missing) for index, name in enumerate(classes)
    }
    return {**found, _DECISION: columns.string_column(chosen)}


def _floats(values: Floats, missing: Bools | None) -> ArrowColumn:
    return ArrowColumn(type=nanoarrow.float64(), values=np.ascontiguousarray(values), missing=missing)


def _selective(release: Release, answers: Answers, missing: Bools | None) -> dict[str, ArrowColumn]:
    """Return who answers each row of a release with an answer plan; rows that were refused have none."""
    classes = release.class_names
    stage = next(iter(release.answers.stages), "") if release.answers else ""
    is_answered, index = answers.is_answered.tolist(), answers.answer.tolist()
    strings: dict[str, list[str | None]] = {
        "answer": [classes[best] if done else "" for best, done in zip(index, is_answered, strict=True)],
        "answered_by": ["model" if done else stage for done in is_answered],
        "reason": answers.reason.tolist(),
    }
    if missing is not None:
        strings = {
            name: [None if none else text for text, none in zip(texts, missing.tolist(), strict=True)]
            for name, texts in strings.items()
        }
    found = {name: columns.string_column(texts) for name, texts in strings.items()}
    confidence = {"confidence": _floats(answers.confidence, missing)}
    return {"answer": found["answer"], **confidence, "answered_by": found["answered_by"], "reason": found["reason"]}
