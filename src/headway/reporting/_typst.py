"""A compliance record as PDF, typeset by typst; the same record gives the same bytes."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import typst

from headway.core.compliance import ComplianceRecord, Fact, Figure, Gap
from headway.reporting import compliance
from headway.reporting.text import formatting, words

_TEMPLATE = Path(__file__).with_name("compliance.typ")


def render_pdf(found: ComplianceRecord) -> bytes:
    """Return the record as PDF: what is missing first, then each document, then the sources.

    Texts reach the template as data, so that no text of a project is read as markup. System fonts are not used, because
    other machines have other ones.
    """
    document = {
        "title": f"Compliance record of {found.name}",
        "lead": compliance.LEAD,
        "about": list(compliance.record_facts(found).items()),
        "missing": [{"section": "; ".join(sections), "text": _gap(gap)} for gap, sections in found.gaps.items()],
        "documents": [
            {
                "title": document.title,
                "points": [
                    {
                        "section": point.section,
                        "title": point.title,
                        "gaps": [_gap(gap) for gap in point.gaps],
                        "statements": point.statements,
                        "facts": [_fact(fact) for fact in point.facts],
                        "figures": [_figure(figure) for figure in point.figures],
                    }
                    for point in document.points
                ],
            }
            for document in found.documents
        ],
        "sources": [[source.kind.replace("_", " "), source.file, source.digest] for source in found.sources],
    }
    made: bytes = typst.compile(
        _TEMPLATE.read_bytes(),
        sys_inputs={"record": json.dumps(document, ensure_ascii=False)},
        ignore_system_fonts=True,
        timestamp=datetime.fromisoformat(found.at).replace(microsecond=0),
    )
    return made


def _gap(gap: Gap) -> str:
    why = f" {gap.fact.text}" if gap.fact else ""
    return f"{gap.what}{f' ({gap.subject})' if gap.subject else ''}.{why}{f' Next: {gap.hint}' if gap.hint else ''}"


def _fact(fact: Fact) -> list[str]:
    return [fact.label, fact.text]


def _figure(figure: Figure) -> list[str]:
    interval = ""
    if compliance.shows_interval(figure):
        interval = f"{compliance.shown(figure, 'low')} to {compliance.shown(figure, 'high')}"
    rows = "" if figure.n_rows is None else f"{figure.n_rows:,}"
    value = f"{compliance.shown(figure, 'value')} {figure.unit}".rstrip()
    source = f"{formatting.short_digest(figure.source)}{figure.pointer}"
    return [words.measure_title(figure.name), figure.slice, value, interval, rows, source]
