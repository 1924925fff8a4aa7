"""Rows `record.*`: every number of a compliance record is that of a source, its forms are valid, and its bytes repeat.

The project is that of `threats`: checked, trained, audited, released and watched. The page is read by a parser of its
own: a digit in its text counts as traced if it is in a <data> or <q> element whose source and pointer give it. Numbers
of OSCAL and CycloneDX are looked up in the sources by name. The seconds are those of a process with the PDF.
"""

from __future__ import annotations

import json
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

import cache
import tiny
from harness import Result, Row, shown
from security_rows import threats

RUNS = 5
TINY = {"RUNS": 2}
TRESTLE = "compliance-trestle==5.2.0"
READ_OSCAL = """
import sys
from pathlib import Path
from trestle.oscal.assessment_results import Model
Model.model_validate_json(Path(sys.argv[1]).read_text())
"""
NAMED = {"code", "cite", "time"}
"""Elements with names, digests, sections and times, whose digits are not counted."""


def rows() -> Result:
    """Write records of a released project, and check numbers, forms, seconds and bytes."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        threats.released(folder).state.close()
        timed = [export_seconds(folder, folder / f"record{run}") for run in range(RUNS)]
        first, *others = [read_files(folder / f"record{run}") for run in range(RUNS)]
        traced, untraced = count_numbers(folder / "record0")
        valid = {
            "CycloneDX": JsonStrictValidator(SchemaVersion.V1_6).validate_str(first["bom.cdx.json"].decode()) is None,
            **({} if tiny.is_tiny() else {"OSCAL": oscal_is_valid(folder / "record0")}),
            "headway verify": verified(folder, folder / "record0"),
        }
    same = sum(other == first for other in others)
    share = traced / (traced + len(untraced))
    seconds, cpu_s = (min(column) for column in zip(*timed, strict=True))
    short = [
        *(f"untraced: {text}" for text in untraced[:5]),
        *(f"not valid: {form}" for form, ok in valid.items() if not ok),
    ]
    return [
        Row(
            name="record.traced",
            measured=share,
            unit="share",
            target=">= 1",
            ok=share >= 1,
            against=f"{traced + len(untraced)} numbers",
        ),
        Row(
            name="record.schema_valid",
            measured=sum(valid.values()) / len(valid),
            unit="share",
            target=">= 1",
            ok=all(valid.values()),
            against=", ".join(valid),
        ),
        Row(name="record.seconds", measured=seconds, unit="s", target="<= 3", ok=seconds <= 3, against="a process"),
        Row(
            name="record.same_bytes",
            measured=same / len(others),
            unit="share",
            target=">= 1",
            ok=same == len(others),
            against=f"{len(first)} files",
        ),
        shown("record.cpu_seconds", cpu_s, "s"),
    ], short


def export_seconds(project: Path, to: Path) -> tuple[float, float]:
    """Return how long a process of `headway export record` takes, and its CPU time."""
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "headway.cli", "export", "record", str(to), "--project", str(project)]
    subprocess.run(command, capture_output=True, check=True)
    seconds, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def verified(project: Path, record: Path) -> bool:
    """Return whether `headway verify` accepts a record."""
    command = [sys.executable, "-m", "headway.cli", "verify", str(record), "--project", str(project)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def read_files(folder: Path) -> dict[str, bytes]:
    """Return the bytes of every file of a record."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def oscal_is_valid(record: Path) -> bool:
    """Return whether compliance-trestle, in an environment of its own, reads the assessment results."""
    python = cache.environment("trestle", [TRESTLE])
    command = [python, "-c", READ_OSCAL, record / "assessment-results.oscal.json"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def count_numbers(record: Path) -> tuple[int, list[str]]:
    """Return how many numbers of the three readable forms are those of a source, and the others."""
    listed = json.loads((record / "record.json").read_text())["record"]["sources"]
    sources = {one["digest"]: json.loads((record / one["file"]).read_text()) for one in listed}
    traced, untraced = 0, list[str]()
    for text, is_traced in (*of_page(record, sources), *of_cyclonedx(record, sources), *of_oscal(record, sources)):
        traced += is_traced
        untraced += [] if is_traced else [text]
    return traced, untraced


def of_page(record: Path, sources: dict[str, Any]) -> Iterator[tuple[str, bool]]:
    """Yield the numbers of the page."""
    page = PageNumbers()
    page.feed((record / "record.html").read_text())
    for text in page.stray:
        yield text, False
    for value, source, pointer in page.numbers:
        at, _, length = pointer.partition("#")
        found = value_at(sources.get(source), at)
        yield f"{value} at {pointer}", float(value) == (len(found) if length else found)


def of_cyclonedx(record: Path, sources: dict[str, Any]) -> Iterator[tuple[str, bool]]:
    """Yield the numbers of the bill of materials, each with the property that says where it comes from."""
    card = json.loads((record / "bom.cdx.json").read_text())["metadata"]["component"]["modelCard"]
    traces = [one["value"].rpartition("|")[2] for one in card["properties"] if one["name"] == "headway:trace"]
    metrics = card["quantitativeAnalysis"]["performanceMetrics"]
    for metric, trace in zip(metrics, traces, strict=True):
        source, _, pointer = trace.partition("#")
        found = value_at(sources.get(source), pointer)
        interval = metric["confidenceInterval"]
        for key, text in (
            ("value", metric["value"]),
            ("low", interval["lowerBound"]),
            ("high", interval["upperBound"]),
        ):
            yield f"{metric['type']} {key}", found[key] == float(text)


def of_oscal(record: Path, sources: dict[str, Any]) -> Iterator[tuple[str, bool]]:
    """Yield the numbers of the observations."""
    document = json.loads((record / "assessment-results.oscal.json").read_text())["assessment-results"]
    digests = {
        one["uuid"]: f"sha256:{one['rlinks'][0]['hashes'][0]['value']}"
        for one in document["back-matter"]["resources"]
        if "rlinks" in one
    }
    for seen in document["results"][0]["observations"]:
        evidence = seen["relevant-evidence"][0]
        found = value_at(sources.get(digests[evidence["href"][1:]]), evidence["props"][0]["value"])
        for prop in seen["props"]:
            key = {"n-rows": "n_rows", "n-groups": "n_groups"}.get(prop["name"], prop["name"])
            if key in ("value", "low", "high", "n_rows", "n_groups"):
                there = found.get(key) if isinstance(found, dict) and "method" in found else found
                number = len(there) if isinstance(there, list | dict) else there
                yield f"{seen['title']} {key}", number == float(prop["value"])


def value_at(document: Any, pointer: str) -> Any:
    """Return the value at a JSON pointer, None if there is none."""
    for part in pointer.split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        try:
            document = document[int(key)] if isinstance(document, list) else document[key]
        except (KeyError, IndexError, ValueError, TypeError):
            return None
    return document


class PageNumbers(HTMLParser):
    """The numbers of a page with their sources, and digits in its header and main part that have none."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.numbers: list[tuple[str, str, str]] = []
        self.stray: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "link"):
            self.open.append(tag)
        values = {name: value or "" for name, value in attrs}
        if tag == "data":
            self.numbers.append((values["value"], values["data-source"], values["data-pointer"]))

    def handle_endtag(self, tag: str) -> None:
        while self.open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        inside = set(self.open)
        if re.search(r"\d", data) and not inside & {*NAMED, "data", "q"} and inside & {"main", "header"}:
            self.stray.append(data.strip())
