"""Write the compliance record of a release: the part of `headway export` that needs the libraries of reports."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from headway.core.compliance import WrittenRecord
from headway.registry.project import Project
from headway.registry.sign import load_publisher
from headway.reporting import compliance
from headway.reporting.console import print_result
from headway.security.record.build import write_record


def export_record(project: Project, folder: Path, *, reference: str, pdf: bool, json: bool) -> None:
    """Build, sign and write the record, and print where it is and what is missing."""
    publisher = load_publisher(project.registry.publisher_key)
    found, sources = compliance.read_record(project, reference)
    documents = compliance.render_documents(found, sources, pdf=pdf)
    digest = write_record(found, sources, documents, folder=folder, publisher=publisher)
    at = datetime.now(UTC).isoformat(timespec="seconds")
    project.save(WrittenRecord(name=project.name, record=digest, release=found.release, at=at))
    result = {
        "folder": str(folder),
        "record": digest,
        "release": found.release,
        "documents": sorted(documents),
        "numbers": len(found.figures),
        "missing": [
            {"what": gap.what, "subject": gap.subject, "for": sections} for gap, sections in found.gaps.items()
        ],
    }
    text = (
        f"{folder} is the record {digest}\n"
        f"of the release {found.release}: {len(found.figures):,} numbers, each with its source\n"
        f"missing: {len(found.gaps):,} gaps in {len(found.missing):,} of {len(found.points):,} points; "
        f"{folder / compliance.HTML} lists them first\nnext: headway verify {folder}"
    )
    print_result(result, text, json=json)
