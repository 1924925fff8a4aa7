"""Versions of the data: what was kept, how two differ, the Croissant card, and lineage as OpenLineage events."""

from __future__ import annotations

from pathlib import Path

from headway.cli.actions.origins import Asked, Word, carry_out
from headway.cli.output import put, show


def plugin(
    action: Word = "list",
    versions: tuple[str, ...] = (),
    *,
    project: Path = Path("."),
    out: Path = Path("croissant.json"),
    json: bool = False,
) -> int:
    """List what was kept of the data, tell how two versions differ, write a data card, or print or send its lineage.

    Exit 1 where lineage was not taken, else 0.

    Example: headway data diff old.parquet new.csv
    Example: headway data diff choose test --project headway-demo
    Example: headway data card --out croissant.json --project headway-demo
    Example: headway data send --project headway-demo

    Parameters
    ----------
    action
        list, diff (two versions), card (Croissant metadata, a file), or lineage (OpenLineage events, a line each); send
        gives the receiver of [provenance] lineage_to, or of OPENLINEAGE_URL, the events that it does not have.
    versions
        For diff, two: a file, the first digits of a digest that was kept, or train, choose, test, live or all of today.
    project
        Folder with headway.toml; two files are compared without one.
    out
        For card: the file to write; one that is there is replaced.
    json
        Print one JSON object.
    """
    done = carry_out(project, action, Asked(versions=versions, out=out))
    if isinstance(done.text, str) and not json:
        put(f"{done.text}\n")
    else:
        show(done.value, done.text, json=json)
    return done.code
