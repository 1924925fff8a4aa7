"""Rows that a release really answered, read from the prediction log, with the labels that came for their keys."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from headway.core.dataset import ASKED_AT
from headway.core.errors import DataError
from headway.core.variant import Field
from headway.monitoring.answered import WEEK, Answered, days_of
from headway.monitoring.post import Post
from headway.monitoring.rollout.log import Labels, predictions
from headway.registry.project import Project

KEY = "key"
_TOLD = "told_us"


def served(state: Path, post: Post) -> Answered:
    """What callers were answered by the release at its post, in order of time (UTC), the rows of a day as one group.

    Answers that it gave beside another release, and calls that ended in an error, are left out. A row whose key has no
    label, or that has no key, stays without. Raises DataError where it has answered nobody yet.
    """
    name = post.release.name
    logged = predictions(state, name, [post.digest])
    rows = logged if logged.is_empty() else logged.filter((pl.col("answered") == 1) & (pl.col("status") == 0))
    if rows.is_empty():
        raise DataError(
            f"the log has no answer of the live release of {name!r}",
            where=str(state),
            hint=f"headway serve {name}@live",
        )
    labels = Labels(state, name).read().select(KEY, "label", pl.col("at_us").alias(_TOLD))
    known = rows.join(labels, on=KEY, how="left", maintain_order="left")
    times = known["at_us"].to_numpy().astype("datetime64[us]")
    inputs = [f"in.{field}" for field in post.release.variant.signature.names]
    return Answered(
        name="log",
        table=known.select("at_us", KEY, "label", *inputs),
        times=times,
        rows=known.select(inputs).cast(pl.Float64).to_numpy(),
        scores=known["out.0"].to_numpy(),
        labels=known["label"].fill_null(float("nan")).to_numpy(),
        told=known[_TOLD].cast(pl.Datetime("us")).to_numpy(),
        groups=days_of(times),
        run=WEEK,
    )


def requests(project: Project) -> pl.DataFrame | None:
    """What callers asked the live release, a column a feature, its texts as texts, and when (ASKED_AT, UTC).

    None where nobody asked it yet.
    """
    if project.state.last(project.name, "live") is None:
        return None
    bundle = project.register.resolve(f"{project.name}@live")
    logged = predictions(project.config.state, project.name, [bundle.digest])
    features = [_told(each) for each in bundle.release.variant.signature.inputs]
    when = pl.col("at_us").cast(pl.Datetime("us")).alias(ASKED_AT)
    return None if logged.is_empty() else logged.select(*features, when)


def _told(field: Field) -> pl.Expr:
    """A feature as it was in the request: the log keeps the rank of a text, and an unseen one as no number."""
    column = pl.col(f"in.{field.name}")
    if field.datatype != "BYTES":
        return column.alias(field.name)
    ranks = column.fill_nan(None).cast(pl.Int64)
    texts = dict(enumerate(field.categories))
    return ranks.replace_strict(texts, default=None, return_dtype=pl.String).alias(field.name)


def keyless(rows: Answered) -> int:
    """How many rows of the log have no key by which a label could come."""
    return int((rows.table[KEY] == "").sum())
