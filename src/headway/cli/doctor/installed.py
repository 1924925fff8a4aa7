"""What is installed: each plug-in, loaded in a process apart, and each extra with the packages it lacks."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from collections.abc import Sequence

import msgspec
from packaging.requirements import Requirement

from headway.cli.doctor.sign import Diagnosis, Health
from headway.core import plugins

# Commands need what they call, which is told of that.
KINDS = tuple(kind for kind in plugins.FOLDERS if kind != "command")
FOR_WORK_ON_HEADWAY = ("dev", "test")
MEND_OPENMP = "apt-get install libgomp1"


def diagnose_plugins() -> list[Diagnosis]:
    """For each kind, a sign for the plug-ins that are well and one for each reason why others are not; then extras."""
    found = load_plugins([f"{kind}:{name}" for kind in KINDS for name in plugins.names(kind)])
    alike: dict[tuple[str, Health, str, str], list[str]] = {}
    for sign in found:
        kind, _, name = sign.what.partition(":")
        alike.setdefault((kind, sign.health, sign.message, sign.hint), []).append(name)
    kinds = [
        Diagnosis(what=f"plug-ins {kind}", health=health, message=f"{', '.join(names)} {why}".strip(), hint=hint)
        for (kind, health, why, hint), names in alike.items()
    ]
    return [*kinds, *_extras()]


def load_plugins(names: Sequence[str]) -> list[Diagnosis]:
    """How each plug-in (`KIND:NAME`) loads; one that ends the process is broken, and the next is tried."""
    found: list[Diagnosis] = []
    while len(found) < len(names):
        rest = names[len(found) :]
        child = [sys.executable, "-m", "headway.cli.doctor.load", *rest]
        ended = subprocess.run(child, check=False, capture_output=True, text=True)
        told = [msgspec.json.decode(line, type=Diagnosis) for line in ended.stdout.splitlines() if line.startswith("{")]
        found += told
        if len(told) < len(rest):
            last = (ended.stderr.strip() or f"it ended the process ({ended.returncode})").splitlines()[-1]
            found.append(Diagnosis(what=rest[len(told)], health="broken", message=f"cannot be loaded: {last}"))
    return [_with_mend(sign) for sign in found]


def _with_mend(sign: Diagnosis) -> Diagnosis:
    """OpenMP is the one library of the system that the engines of trees look for."""
    lacks_openmp = sign.health == "broken" and "libgomp" in sign.message
    return Diagnosis(what=sign.what, health="broken", message=sign.message, hint=MEND_OPENMP) if lacks_openmp else sign


def _extras() -> list[Diagnosis]:
    """Each extra of headway with what it asks for on this system, but those for the work on headway itself."""
    asked = [Requirement(line) for line in importlib.metadata.requires("headway") or []]
    named = importlib.metadata.metadata("headway").get_all("Provides-Extra") or []
    return [_extra(extra, _of(extra, asked)) for extra in named if extra not in FOR_WORK_ON_HEADWAY]


def _of(extra: str, asked: Sequence[Requirement]) -> list[str]:
    """The packages that an extra alone brings, on this system."""
    own = (
        requirement
        for requirement in asked
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}) and requirement.name != "headway"
    )
    return [
        requirement.name for requirement in own if requirement.marker and requirement.marker.evaluate({"extra": extra})
    ]


def _extra(extra: str, names: Sequence[str]) -> Diagnosis:
    missing = [name for name in names if not _there(name)]
    if not missing:
        return Diagnosis(what=f"extra {extra}", health="well", message=", ".join(names))
    hint = f"pip install 'headway[{extra}]'"
    return Diagnosis(what=f"extra {extra}", health="absent", message=f"lacks {', '.join(missing)}", hint=hint)


def _there(package: str) -> bool:
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
