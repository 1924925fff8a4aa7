"""A compliance record as a machine-learning bill of materials, CycloneDX 1.6 in JSON.

cyclonedx-python-lib writes no model cards, so the document is built here; the tests validate it by its schemas.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from typing import Any

from headway.core.compliance import ComplianceRecord, Fact, Figure
from headway.security.record.sources import EvidenceFile, value_at

FILE = "bom.cdx.json"


def cyclonedx_document(found: ComplianceRecord, sources: Sequence[EvidenceFile]) -> bytes:
    """Return the bill of materials: the model with its card, and the data that it was trained and judged on."""
    (release,) = (source.document["record"] for source in sources if source.listed.kind == "release")
    datasets = sorted(release["data"].items())
    model = {
        "type": "machine-learning-model",
        "bom-ref": f"release:{found.release}",
        "name": found.name,
        "version": found.release,
        "hashes": [_hash(found.release)],
        "modelCard": _card(found, release, datasets),
        "properties": [
            *(_property("headway:missing", line) for line in _missing(found)),
            *(_property(f"headway:file:{name}", digest) for name, digest in sorted(release["files"].items())),
        ],
    }  # fmt: skip
    components = [
        {
            "type": "data",
            "bom-ref": f"data:{name}",
            "name": name,
            "version": digest,
            "hashes": [_hash(digest)],
            "data": [{"type": "dataset", "name": name}],
        }
        for name, digest in datasets
    ]
    document = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, f'{found.release} {found.at}')}",
        "version": 1,
        "metadata": {"timestamp": found.at, "component": model},
        "components": components,
        "dependencies": [
            {"ref": model["bom-ref"], "dependsOn": [component["bom-ref"] for component in components]},
            *({"ref": component["bom-ref"]} for component in components),
        ],
    }
    return json.dumps(document, indent=1, ensure_ascii=False).encode()


def _card(found: ComplianceRecord, release: dict[str, Any], datasets: Sequence[tuple[str, str]]) -> dict[str, Any]:
    measured = [figure for figure in found.figures if figure.kind == "measurement"]
    others = [figure for figure in found.figures if figure.kind != "measurement"]
    variant, inputs = release["variant"], release["variant"]["signature"]["inputs"]
    return {
        "modelParameters": {
            "approach": {"type": "supervised"},
            "task": _at(release, "/record/variant/task"),
            "modelArchitecture": variant["artifact"]["format"],
            "datasets": [{"ref": f"data:{name}"} for name, _ in datasets],
            "inputs": [{"format": f"{one['name']}: {one.get('datatype', 'FP64')}"} for one in inputs],
            "outputs": [{"format": _at(release, "/record/variant/signature/output")}],
        },
        "quantitativeAnalysis": {"performanceMetrics": [_metric(figure) for figure in measured]},
        "considerations": {
            "technicalLimitations": _missing(found)
        },
        "properties": [
            *(_property("headway:trace", f"{figure.name}|{figure.slice}|{_where(figure)}") for figure in measured),
            *(_property(f"headway:{figure.name}", f"{figure.value!r}|{_where(figure)}") for figure in others),
            *(_property(f"headway:{fact.label}", f"{fact.text}|{_where(fact)}") for fact in found.facts),
        ],
    }  # fmt: skip


def _at(release: dict[str, Any], pointer: str) -> str:
    return str(value_at({"record": release}, pointer))


def _metric(figure: Figure) -> dict[str, Any]:
    metric: dict[str, Any] = {"type": figure.name, "value": repr(figure.value)}
    if figure.slice:
        metric["slice"] = figure.slice
    metric["confidenceInterval"] = {"lowerBound": repr(figure.low), "upperBound": repr(figure.high)}
    return metric


def _where(one: Figure | Fact) -> str:
    return f"{one.source}#{one.pointer}"


def _missing(found: ComplianceRecord) -> list[str]:
    """Return a line for each gap, with the sections that ask for it."""
    return [
        f"{gap.what}{f' ({gap.subject})' if gap.subject else ''}: {'; '.join(sections)}"
        for gap, sections in found.gaps.items()
    ]


def _hash(digest: str) -> dict[str, str]:
    return {"alg": "SHA-256", "content": digest.removeprefix("sha256:")}


def _property(name: str, value: str) -> dict[str, str]:
    return {"name": name, "value": value}
