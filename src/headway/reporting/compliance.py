"""A compliance record as documents: HTML and PDF for people, OSCAL and CycloneDX for programs."""

from __future__ import annotations

import re
from collections.abc import Sequence

from headway.core.compliance import ComplianceRecord, Figure
from headway.core.plugins import load_sibling
from headway.monitoring.erasure.proofs import signed_erasures
from headway.registry.project import LIVE_POINTER, Project
from headway.reporting.template import render_page
from headway.reporting.text import formatting, words
from headway.security.record import cyclonedx, oscal
from headway.security.record.build import build_record
from headway.security.record.sources import EvidenceFile, read_sources

HTML, PDF = "record.html", "record.pdf"
LEAD = (
    "Computed from the stored evidence of one release. It shows evidence and gaps. It does not declare conformity: "
    "a person judges and signs."
)
_DIGIT = re.compile(r"\d")


def read_record(project: Project, reference: str = "") -> tuple[ComplianceRecord, tuple[EvidenceFile, ...]]:
    """Build the compliance record of a release from stored evidence, and return it with its sources.

    Parameters
    ----------
    reference : str
        NAME@POINTER or NAME@DIGEST; empty: what is live.
    """
    bundle = project.registry.resolve(reference or f"{project.name}@{LIVE_POINTER}")
    sources = read_sources(project, bundle, erasures=signed_erasures(project))
    return build_record(project.config, sources), sources


def render_documents(found: ComplianceRecord, sources: Sequence[EvidenceFile], *, pdf: bool) -> dict[str, bytes]:
    """Return the documents of a record by the name of their file; the same record gives the same bytes.

    Parameters
    ----------
    pdf : bool
        Whether to make the PDF, which needs typst; raises PluginError if it is absent.
    """
    documents = {
        HTML: render_html(found).encode(),
        oscal.FILE: oscal.oscal_document(found, sources),
        cyclonedx.FILE: cyclonedx.cyclonedx_document(found, sources),
    }
    if pdf:
        documents[PDF] = load_sibling(__name__, "typst", reads="the PDF of a record").render_pdf(found)
    return documents


def render_html(found: ComplianceRecord) -> str:
    """Return the record as a page without scripts: what is missing first, each number with its source."""
    return render_page(
        "compliance.html",
        written=found.at,
        kind="compliance record",
        title=f"Compliance record of {found.name}",
        lead=(LEAD,),
        about=record_facts(found),
        replies=(),
        footing="No text of a law or standard is repeated here.",
        record=found,
        exact=_exact,
        shown=shown,
        shows_interval=shows_interval,
        has_digit=_DIGIT.search,
        measure_title=words.measure_title,
    )


def record_facts(found: ComplianceRecord) -> dict[str, str]:
    """Return what a record is about, by name."""
    return {
        "Release": found.release,
        "Latest evidence": found.at,
        "Kept until": found.keep_until or "not declared",
        "Legal hold": found.legal_hold or "none",
    }


def shown(figure: Figure, key: str) -> str:
    """Return a number of a figure with the digits that its interval supports."""
    value = getattr(figure, key)
    if key in ("n_rows", "n_groups") or figure.kind == "length":
        return f"{value:,.0f}"
    width = (
        figure.high - figure.low
        if shows_interval(figure) and figure.high is not None and figure.low is not None
        else 0.0
    )
    return formatting.format_number(value, width=width)


def shows_interval(figure: Figure) -> bool:
    """Return whether a figure has an interval; a fact about its rows has none."""
    ends = (figure.low, figure.high)
    return (
        None not in ends and figure.low != figure.high and all(abs(end) < UNBOUNDED for end in ends if end is not None)
    )


UNBOUNDED = 1e300


def _exact(figure: Figure, key: str) -> str:
    value = getattr(figure, key)
    return repr(int(value) if float(value).is_integer() and abs(value) < 2**53 else value)
