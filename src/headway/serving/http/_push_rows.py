"""Store the rows of one request in the online store; it loads polars."""

from __future__ import annotations

from collections.abc import Sequence

from headway.core.contracts import OnlineStore, State
from headway.features.catalog import resolve_view
from headway.features.push import RefusedLine, push_lines
from headway.serving.protocol.schemas import FeaturesPushed, RefusedRow

_REASON_CHARACTERS = 256  # of a reason, which may quote the row


def push_rows(state: State, store: OnlineStore, reference: str, lines: Sequence[bytes]) -> tuple[str, FeaturesPushed]:
    """Store rows of a view, and return its name and what was stored; see `headway.features.push.push_lines`.

    Raises
    ------
    ConfigError
        If the view is unknown.
    DataError
        If its rows are not pushed.
    StoreError
        If the state or the online store does not answer.
    """
    view, refused = resolve_view(state, reference), list[RefusedRow]()

    def refuse(line: RefusedLine) -> None:
        refused.append(RefusedRow(line.number, line.reason[:_REASON_CHARACTERS]))

    done = push_lines(store, view, lines, refuse=refuse)
    refused.sort(key=lambda row: row.number)
    return view.name, FeaturesPushed(view=done.view, rows=done.rows, stored=done.stored, refused=tuple(refused))
