"""For GitHub Actions: the summary of the step, and outputs that later steps can ask for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from headway.reporting.gates import case as cases
from headway.reporting.gates import markdown
from headway.reporting.gates.case import GateResult
from headway.reporting.text.one_line import one_line

SUMMARY, OUTPUT = "GITHUB_STEP_SUMMARY", "GITHUB_OUTPUT"


def gate_summary(case: GateResult) -> str:
    """What the summary of the step shows."""
    return markdown.gate_markdown(case)


def gate_outputs(case: GateResult) -> dict[str, str]:
    """`verdict`, `reason`, `variant` and `looks_at_test` of the gate."""
    return {
        "verdict": case.verdict.answer,
        "reason": cases.verdict_reason(case.verdict),
        "variant": case.variant,
        "looks_at_test": str(case.verdict.test_evaluations),
    }


def format_outputs(found: Mapping[str, str]) -> str:
    """The outputs of a step, a line each; no text of the evidence can add a line."""
    return "".join(f"{name}={one_line(value)}\n" for name, value in found.items())


def publish_to_github(summary: str, found: Mapping[str, str], environment: Mapping[str, str]) -> bool:
    """Append summary and outputs to the files that GitHub names in the environment; False where it names none."""
    texts = [(environment.get(SUMMARY), summary), (environment.get(OUTPUT), format_outputs(found))]
    files = [(Path(path), text) for path, text in texts if path]
    for path, text in files:
        with path.open("a", encoding="utf-8", newline="\n") as file:
            file.write(text)
    return bool(files)
