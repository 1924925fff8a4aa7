"""What heavy work returns to pages: tables, pictures and sentences, without the libraries that made them."""

from __future__ import annotations

from dataclasses import dataclass

from headway.core.record import Record
from headway.core.search_result import SearchResult
from headway.reporting.text import tables
from headway.reporting.text.tables import Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A chart: its finding as title, how to read it, and an SVG for each width.

    The specifications are those of `RenderedChart`, for a browser that runs scripts.
    """

    title: str
    alt: str
    reading: tuple[str, ...]
    wide: str
    narrow: str
    wide_spec: str = ""
    narrow_spec: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchShown:
    """A search: its variants with why each lost, and what was left out.

    `left_out` are variants that were not evaluated, with the reason; `names` are those of all variants by digest.
    """

    at: str
    winner: str
    answer: str
    variants: Table
    gain: Table
    privacy: Table
    rules: Table
    left_out: tuple[tuple[str, str], ...]
    refusals: Table
    names: dict[str, str]
    seconds: float
    budget_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonShown:
    """Two models on the same rows; slices with fewer than `min_rows` rows are left out."""

    first: str
    second: str
    n_rows: int
    n_groups: int
    measures: Table
    flips: Table
    slices: Table
    speeds: Table
    privacy: Table
    bins: Table
    calibration: Picture | None
    times: Picture | None
    busy: str
    examples: Table
    cautions: tuple[str, ...]
    missing: tuple[str, ...]
    min_rows: int


class CheckView(Record, frozen=True, kw_only=True):
    """The last check of the data, and those before it, the newest first."""

    conclusion: str
    style: str
    changes: tuple[str, ...]
    findings: Table
    n_findings: int
    not_run: Table
    n_not_run: int
    n_checks: int
    history: Table


class ContractView(Record, frozen=True, kw_only=True):
    """The contract of a project: where it came from, its columns, keys and relations."""

    file: str
    about: tuple[str, ...]
    columns: Table
    keys: tuple[str, ...]
    relations: tuple[str, ...]
    n_hidden: int


class DataUseView(Record, frozen=True, kw_only=True):
    """How each column is used, the personal data in it, and what was erased."""

    lead: str
    conclusions: tuple[str, ...]
    columns: Table
    is_live: bool


def search_shown(found: SearchResult) -> SearchShown:
    """Return what the page of a search shows next to its chart."""
    evaluated = {row.variant.name for row in found.evaluated}
    return SearchShown(
        at=found.at,
        winner=found.winner.variant.name,
        answer=found.winner.verdict.answer,
        variants=tables.tabulate_variants(found.evaluated, winner=found.winner, reasons=found.reasons),
        gain=tables.tabulate_gain(found.evaluated_baseline, found.row(found.winner.variant.digest), found.winner),
        privacy=tables.tabulate_privacy(found.evaluated, found.winner),
        rules=tables.tabulate_rules(found.winner.verdict),
        left_out=tuple((name, why) for name, why in found.reasons.items() if name not in evaluated),
        refusals=tables.tabulate_findings(found.refusals),
        names={row.variant.digest: row.variant.name for row in (*found.evaluated, *found.screened_out)},
        seconds=found.seconds,
        budget_s=found.budget_s,
    )
