"""What a cell of a file says: a number, or why it is none; and whether the columns are there that are asked for."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from headway.core.batch import Refusal, Wanted
from headway.core.errors import DataError
from headway.core.variant import Field
from headway.serving.protocol.tensors import CategoryCodes

MISSING = float("nan")
UNKNOWN = "a text that the model does not know"
_TRUTH = {"true": 1.0, "false": 0.0}
_SHOWN = 200


def parse_number(text: str) -> float | None:
    """The number that a text is, with true as 1 and false as 0; None where it is none.

    >>> number(" 1e3"), number("True"), number("1_000"), number("n/a")
    (1000.0, 1.0, None, None)
    """
    try:
        return None if "_" in text else float(text)
    except ValueError:
        return _TRUTH.get(text.strip().lower())


def rank_categories(
    field: Field, ranks: CategoryCodes, texts: Sequence[str | None], start: int, refusals: list[Refusal]
) -> list[float]:
    """The ranks of a column's texts, of which the first is of row `start`; what its field refuses is added to them."""
    if field.unseen != "refused":
        return [ranks[text] for text in texts]
    for place, text in enumerate(texts):
        if text is not None and text not in ranks:
            refusals.append(new_refusal(start + place, field.name, text, UNKNOWN))
    return [ranks.get(text, MISSING) for text in texts]


def new_refusal(row: int, column: str, value: str, reason: str) -> Refusal:
    """Why a row gets no answer; of a long value its beginning."""
    value = value.encode("utf-8", "backslashreplace").decode()
    return Refusal(
        row=row, column=column, value=value if len(value) <= _SHOWN else f"{value[:_SHOWN]}...", reason=reason
    )


def check_columns(names: Sequence[str], wanted: Wanted, where: str) -> None:
    """Raise DataError where a column is not among the names of a file, or is there twice."""
    for name in wanted.names:
        if names.count(name) > 1:
            raise DataError(f"column '{name}' is there {names.count(name)} times", where=where, hint="rename one")
        if name not in names:
            raise DataError(
                f"column '{name}' is not there",
                where=f"{where}: {_listed(names)}",
                hint=_column_hint(name, names, wanted),
            )


def _column_hint(name: str, names: Sequence[str], wanted: Wanted) -> str:
    if name in wanted.views:
        return f"join it to the file: it is of view '{wanted.views[name]}', and what is looked up is as of now"
    near = difflib.get_close_matches(name, names, 1)
    return f"nearest: {near[0]}" if near else "a file holds every column that the model reads, null where it is missing"


def _listed(names: Sequence[str]) -> str:
    return f"{', '.join(names[:20])}{', ...' if len(names) > 20 else ''}"
