"""Run probes on a subject and write down what they measured: one evidence a variant, period and machine.

E001: a probe or an audit that could not judge this variant, or a part of it, and why.
E002: the machine was busy with other work while it was timed.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from headway.core.contracts import AuditContext, Comparison
from headway.core.errors import NotApplicable
from headway.core.evidence import Evidence, Finding, Machine, Measurement
from headway.core.plugins import load_audit, load_probe
from headway.core.threads import cores
from headway.core.variant import Variant
from headway.evaluation.naming import findings_of
from headway.evaluation.weighing import findings_of_weights

NOT_RUN = "E001"
BUSY = "E002"
TIMED = "latency."


@dataclass(frozen=True, slots=True, kw_only=True)
class Audits:
    """Audits by name, the ground they work on, and who is told what is measured now."""

    names: Sequence[str]
    ground: AuditContext
    callback: Callable[[str], object] = lambda _: None


def measure(
    subject: Comparison, probes: Sequence[str], *, dataset_digest: str, period: str, audits: Audits | None = None
) -> Evidence:
    """The evidence of these probes, by name, in that order, and of these audits after them.

    What cannot judge leaves a finding E001 that says so, `undecided`: what was not measured never passes.
    Raises PluginError for one that there is not.
    """
    asked = [("probe", name, partial(load_probe(name), subject)) for name in probes]
    if audits is not None:
        asked += [("audit", name, partial(load_audit(name), subject, audits.ground)) for name in audits.names]
    measurements: list[Measurement] = []
    findings: list[Finding] = []
    for kind, name, ask in asked:
        if audits is not None:
            audits.callback(f"{kind} {name}")
        try:
            found = ask()
        except NotApplicable as error:
            findings.append(_not_run(f"{kind} '{name}' did not run", error))
        else:
            measurements += (each for each in found if isinstance(each, Measurement))
            left = (each for each in found if isinstance(each, NotApplicable))
            findings += (_not_run(f"{kind} '{name}' did not measure all", each) for each in left)
    findings += [*findings_of(measurements), *findings_of_weights(measurements)]
    return written(subject.variant, measurements, findings, dataset_digest=dataset_digest, period=period)


def written(
    variant: Variant,
    measurements: Sequence[Measurement],
    findings: Sequence[Finding] = (),
    *,
    dataset_digest: str,
    period: str,
) -> Evidence:
    """The evidence of these measurements, with E002 where speed was measured on a busy machine."""
    machine = this_machine()
    timed = any(each.name.startswith(TIMED) for each in measurements)
    return Evidence(
        subject=variant.digest,
        dataset=dataset_digest,
        period=period,
        machine=machine,
        measurements=tuple(measurements),
        findings=(*findings, *(_busy(machine) if timed else ())),
        at=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _not_run(what: str, why: NotApplicable) -> Finding:
    return Finding(code=NOT_RUN, severity="undecided", message=f"{what}: {why.what}", where=why.where, hint=why.hint)


def _busy(machine: Machine) -> list[Finding]:
    """A note where more processes wanted to run in the last minute than there are cores, ours taken off."""
    others = os.getloadavg()[0] - 1 if hasattr(os, "getloadavg") else 0.0
    if others < machine.cores:
        return []
    message = f"the machine was busy while it was timed: {others:.1f} other processes ran on {machine.cores} cores"
    hint = "time it on a quiet machine; a model that uses several threads suffers most"
    return [
        Finding(code=BUSY, severity="note", message=message, measured=others, limit=float(machine.cores), hint=hint)
    ]


def this_machine(root: Path = Path("/")) -> Machine:
    """The machine we run on; `cores` is what the process may use: its affinity, or less by a container's CPU quota."""
    return Machine(
        cpu=_cpu(root),
        cores=cores(root),
        system=f"{platform.system()} {platform.machine()}",
        python=platform.python_version(),
    )


def _cpu(root: Path) -> str:
    lines = _lines(root / "proc/cpuinfo")
    named = (value.strip() for key, _, value in (line.partition(":") for line in lines) if key.strip() == "model name")
    return next(named, platform.processor() or platform.machine())


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
