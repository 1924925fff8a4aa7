"""Score a file: rows read, asked and written at once, in order, in parts that survive a kill."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import headway
from headway.batch import journal
from headway.batch.cells import new_refusal
from headway.batch.journal import Journal, Receipt
from headway.batch.score import RowErrors, Scorer
from headway.batch.terms import Terms, describe_terms
from headway.core.batch import Chunk, Format, Scan, Wanted
from headway.core.config import Config
from headway.core.errors import ConfigError, DataError
from headway.core.plugins import load_engine, load_format, names
from headway.core.release import Release
from headway.core.threads import cores
from headway.registry.bundle import Bundle
from headway.registry.open import open_release
from headway.registry.register import Register

if TYPE_CHECKING:
    from headway.core.batch import Floats

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
    register = Register.from_config(config)
    try:
        return register.resolve(reference)
    finally:
        register.state.close()


def _scoring_options(release: Release, config: Config, order: Order) -> Wanted:
    views = {column: view.name for view in release.views for column in view.columns}
    signature, missing = release.variant.signature, tuple(config.data.missing)
    return Wanted(signature=signature, keep=tuple(dict.fromkeys(order.keep)), missing=missing, views=views)


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
