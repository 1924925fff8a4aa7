"""A compliance record as OSCAL assessment results, in JSON.

OSCAL knows two states of a control. A point with gaps is a finding `not-satisfied`; for a point without gaps there are
observations only, because whether they suffice is for a person to judge.
"""

from __future__ import annotations

import base64
import json
import re
import uuid
from collections.abc import Sequence
from typing import Any

from headway.core.compliance import ComplianceRecord, Fact, Figure, Point
from headway.security.record.sources import EvidenceFile

FILE = "assessment-results.oscal.json"
VERSION = "1.2.1"
NAMESPACE = "urn:headway:oscal"
_NOT_IN_TOKEN = re.compile(r"[^A-Za-z0-9._-]")
_NO_PLAN = "This assessment has no plan: the evidence was made by the commands of headway, at the times given."


def oscal_document(found: ComplianceRecord, sources: Sequence[EvidenceFile]) -> bytes:
    """Return the assessment results: an observation for each number and text, and a finding for each point with gaps.

    The release that is the subject is in the back matter; the other sources are there by digest.
    """
    names = _Names(found)
    observations = _observations(found, names)
    result: dict[str, Any] = {
        "uuid": names.uuid("result"),
        "title": f"Evidence on the release {found.release}",
        "description": "What the stored, signed evidence shows of each point, and what is missing.",
        "start": found.at,
        "reviewed-controls": {
            "control-selections": [{"include-controls": [{"control-id": _token(point.id)} for point in found.points]}]
        },
    }
    if observations:
        result["observations"] = observations
    findings = [_finding(point, names) for point in found.missing]
    if findings:
        result["findings"] = findings
    document = {
        "assessment-results": {
            "uuid": names.uuid("document"),
            "metadata": {
                "title": f"Compliance record of {found.name}",
                "last-modified": found.at,
                "version": found.release,
                "oscal-version": VERSION,
                "props": [_prop("headway-version", found.headway)],
            },
            "import-ap": {"href": f"#{names.uuid('no plan')}", "remarks": _NO_PLAN},
            "results": [result],
            "back-matter": {
                "resources": [
                    {"uuid": names.uuid("no plan"), "title": "No assessment plan", "description": _NO_PLAN},
                    *(_resource(source, names) for source in sources),
                ]
            },
        }
    }
    return json.dumps(document, indent=1, ensure_ascii=False).encode()


class _Names:
    """UUIDs of version 5, which the same record always gives again."""

    def __init__(self, found: ComplianceRecord) -> None:
        self.space = uuid.uuid5(uuid.NAMESPACE_URL, f"{found.release} {found.at}")
        self.at = found.at
        self.times = {source.digest: source.at or found.at for source in found.sources}

    def uuid(self, of: str) -> str:
        return str(uuid.uuid5(self.space, of))


def _observations(found: ComplianceRecord, names: _Names) -> list[dict[str, Any]]:
    """Return an observation for each number and text, with the points that it belongs to."""
    points: dict[Figure | Fact, list[str]] = {}
    for point in found.points:
        for one in _evidence(point):
            points.setdefault(one, []).append(_token(point.id))
    return [
        {
            "uuid": names.uuid(_key(one)),
            "title": _one_line(one.name if isinstance(one, Figure) else one.label),
            "description": _describe(one),
            "props": [*_props(one), *(_prop("point", point) for point in dict.fromkeys(belongs))],
            "methods": ["TEST" if isinstance(one, Figure) and one.kind == "measurement" else "EXAMINE"],
            "relevant-evidence": [
                {
                    "href": f"#{names.uuid(one.source)}",
                    "description": "Where it was read.",
                    "props": [_prop("pointer", one.pointer)],
                }
            ],
            "collected": names.times[one.source],
        }
        for one, belongs in points.items()
    ]


def _evidence(point: Point) -> list[Figure | Fact]:
    return [*point.figures, *point.facts]


def _key(one: Figure | Fact) -> str:
    label = one.name if isinstance(one, Figure) else one.label
    return f"{type(one).__name__} {label} {one.source} {one.pointer}"


def _describe(one: Figure | Fact) -> str:
    if isinstance(one, Fact):
        return f"{one.label}: {one.text}"
    of = f" of {one.slice}" if one.slice else ""
    interval = "" if one.low is None else f" [{one.low!r}, {one.high!r}]"
    return f"{one.name}{of}: {one.value!r}{interval}{f' {one.unit}' if one.unit else ''}"


def _props(one: Figure | Fact) -> list[dict[str, str]]:
    if isinstance(one, Fact):
        return [_prop("text", one.text)] if _one_line(one.text) else []
    values = {
        "value": one.value,
        "low": one.low,
        "high": one.high,
        "n-rows": one.n_rows,
        "n-groups": one.n_groups,
    }
    numbers = [_prop(name, repr(value)) for name, value in values.items() if value is not None]
    return [
        *numbers,
        *([_prop("slice", one.slice)] if one.slice else []),
        *([_prop("unit", one.unit)] if one.unit else []),
    ]


def _finding(point: Point, names: _Names) -> dict[str, Any]:
    lines = [f"{gap.what}{f' ({gap.subject})' if gap.subject else ''}" for gap in point.gaps]
    related = [{"observation-uuid": names.uuid(_key(one))} for one in _evidence(point)]
    return {
        "uuid": names.uuid(f"finding {point.id}"),
        "title": f"{point.section}: {point.title}",
        "description": "Missing: " + "; ".join(lines) + ".",
        "target": {
            "type": "objective-id",
            "target-id": _token(point.id),
            "status": {"state": "not-satisfied", "reason": "other", "remarks": "The evidence is incomplete."},
        },
        **({"related-observations": related} if related else {}),
    }


def _resource(source: EvidenceFile, names: _Names) -> dict[str, Any]:
    listed = source.listed
    props = [_prop("kind", listed.kind)]
    if listed.signature:
        props.append(_prop("signature", base64.b64encode(source.signature).decode()))
    return {
        "uuid": names.uuid(listed.digest),
        "title": listed.file,
        "props": props,
        "rlinks": [
            {
                "href": listed.file,
                "media-type": "application/json",
                "hashes": [{"algorithm": "SHA-256", "value": listed.digest.removeprefix("sha256:")}],
            }
        ],
    }


def _prop(name: str, value: str) -> dict[str, str]:
    return {"name": name, "ns": NAMESPACE, "value": _one_line(value)}


def _one_line(text: str) -> str:
    """Return a text without line ends and outer spaces, as OSCAL asks of strings."""
    return " ".join(text.split())


def _token(text: str) -> str:
    return _NOT_IN_TOKEN.sub("-", text)
