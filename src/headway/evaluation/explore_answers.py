"""Make the tables of `explore`: each variant answers the usual rows, those without a feature, and single months."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
from msgspec.structs import replace as replaced

from headway.core.arrays import Floats
from headway.core.contracts import Blobs, Engine
from headway.core.errors import EngineError
from headway.core.evidence import Measurement
from headway.core.search_result import SearchResult
from headway.core.variant import Variant
from headway.evaluation.audits.robustness import replace_columns
from headway.evaluation.comparison import EvaluationSet, open_on_rows, subsample
from headway.evaluation.context import Comparison, EvaluatedRows
from headway.evaluation.explore import (
    MAX_ROWS,
    MISSING,
    MONTH,
    USUAL,
    ExploreIndex,
    Form,
    describe_rows,
    grid,
    traits_of,
    write_tables,
)
from headway.evaluation.measure import measure
from headway.evaluation.point_comparison import TIMED
from headway.optimization.screening import answer_changing_steps
from headway.storage import atomic

METRICS = ("quality", "calibration")
Callback = Callable[[str], object]


def make_tables(
    path: Path,
    search: SearchResult,
    digest: str,
    usual: EvaluationSet,
    *,
    months: Mapping[str, EvaluationSet],
    together: Sequence[Sequence[str]],
    blobs: Blobs,
    callback: Callback = lambda _: None,
) -> ExploreIndex:
    """Let every variant that a search evaluated answer the rows of all conditions, and write their tables to a file.

    Parameters
    ----------
    digest : str
        That of the search.
    usual : EvaluationSet
        Rows of `validation`.
    months : mapping of str to EvaluationSet
        Labeled rows of single months, by name.
    together : sequence of sequence of str
        Features that go missing together; each other one goes missing alone.
    callback : callable
        Called with a line of text for each variant.
    """
    baseline = search.baseline
    variants = [row.variant for row in search.evaluated]
    variants.sort(key=lambda variant: variant.digest != baseline.model.digest)
    rows = {USUAL: _of_baseline(usual, baseline.model)}
    rows |= {f"{MONTH}{name}": _of_baseline(found, baseline.model) for name, found in months.items()}
    parts = _parts(baseline.model, together)
    of_usual = describe_rows(USUAL, rows[USUAL])
    index = ExploreIndex(
        search=digest,
        task=baseline.model.task,
        threshold=baseline.threshold,
        costs=baseline.costs,
        thresholds=grid(baseline.threshold, rows[USUAL].scores[:, 0]) if baseline.model.task == "binary" else (),
        variants=tuple(variant.digest for variant in variants),
        forms=_forms(search),
        conditions=(
            of_usual,
            *(replaced(of_usual, key=f"{MISSING}{name}") for name in parts),
            *(describe_rows(key, found) for key, found in rows.items() if key != USUAL),
        ),
    )
    refused: dict[str, str] = {}

    def answers() -> Iterator[tuple[str, str, Comparison]]:
        for variant in variants:
            callback(f"explore: {variant.name}")
            model = open_on_rows(variant, baseline.model.signature.names, blobs)
            for key, altered in _altered(rows, parts, baseline.model):
                subject = rows.get(key, rows[USUAL])
                found = _predict(model, altered)
                if isinstance(found, str):
                    refused[f"{variant.digest}/{key}"] = found
                else:
                    yield variant.digest, key, replace(subject, variant=variant, model=model, scores=found)

    return write_tables(path, index, answers(), _measure, refused=refused, write=atomic.write)


def _forms(search: SearchResult) -> tuple[Form, ...]:
    """Return the variants whose answers are known: those evaluated, and those that differ from them in speed alone."""
    answers = {_changes(row.variant): row.variant.digest for row in reversed(search.evaluated)}
    own = {row.variant.digest: row.variant.digest for row in search.evaluated}
    found = []
    for row in (*search.evaluated, *search.screened_out):
        digest = row.variant.digest
        of = own.get(digest) or answers.get(_changes(row.variant))
        if of:
            timings = [one for one in row.evidence.measurements if one.name.startswith(TIMED) and not one.slice]
            found.append(
                Form(
                    digest=digest,
                    name=row.variant.name,
                    answers=of,
                    traits=traits_of(row.variant),
                    timings=tuple(timings),
                )
            )
    return tuple(sorted(found, key=lambda form: form.digest != search.baseline.model.digest))


def _changes(variant: Variant) -> tuple[str, ...]:
    return tuple(map(str, answer_changing_steps(variant)))


def _altered(
    rows: Mapping[str, Comparison], parts: Mapping[str, Sequence[str]], variant: Variant
) -> Iterator[tuple[str, Floats]]:
    """Yield the rows of each condition."""
    names = variant.signature.names
    for key, subject in rows.items():
        yield key, subject.rows
    for name, columns in parts.items():
        which = [names.index(column) for column in columns]
        yield f"{MISSING}{name}", replace_columns(rows[USUAL].rows, which, np.nan)


def _predict(model: Engine, rows: Floats) -> Floats | str:
    """Return the answers of a model, or why it has none."""
    try:
        scores = model.predict(rows)
    except EngineError as error:
        return error.what
    return scores if np.isfinite(scores).all() else "some of its answers are not numbers"


def _parts(model: Variant, together: Sequence[Sequence[str]]) -> dict[str, Sequence[str]]:
    alone = [[name] for name in model.signature.names if not any(name in names for names in together)]
    return {" + ".join(names): names for names in (*together, *alone)}


def _measure(subject: Comparison) -> Sequence[Measurement]:
    """Return the quality and calibration of answers."""
    return measure(subject, METRICS, dataset_digest="", period="").measurements


def _of_baseline(rows: EvaluationSet, model: Variant) -> Comparison:
    """Return at most `MAX_ROWS` rows, with the baseline compared with itself."""
    shared = {one.name: getattr(rows, one.name) for one in fields(EvaluatedRows)} | {"findings": ()}
    compared = Comparison(
        variant=model, model=rows.reference, scores=rows.reference_scores, inputs=rows.fields, **shared
    )
    return subsample(compared, MAX_ROWS)
