"""Look at the machine, at what is installed and at the project; tell it in a table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.table import Table
from rich.text import Text

from headway.cli.doctor import installed, machine, place
from headway.cli.doctor.sign import Diagnosis, Health

STYLES: dict[Health, str] = {"well": "green", "note": "yellow", "absent": "dim", "broken": "red"}


def diagnose(folder: Path) -> list[Diagnosis]:
    """Every sign, in the order in which a person would look."""
    return [*machine.diagnose_machine(), *installed.diagnose_plugins(), *place.diagnose_project(folder)]


def is_healthy(signs: Sequence[Diagnosis]) -> bool:
    """Whether nothing that is needed is broken."""
    return all(sign.health != "broken" for sign in signs)


def diagnosis_table(signs: Sequence[Diagnosis]) -> Table:
    """A row a sign, the mend under what it says."""
    rows = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    for sign in signs:
        message = f"{sign.message}\n  try: {sign.hint}" if sign.hint else sign.message
        rows.add_row(Text(sign.health, style=STYLES[sign.health]), Text(sign.what), Text(message))
    return rows
