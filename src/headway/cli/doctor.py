"""Diagnose the machine, the installed plug-ins and extras, and the project."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from rich.table import Table
from rich.text import Text

import headway
from headway.cli.loading import Diagnosis, Health, is_installed, load_plugins
from headway.core import config as configuration
from headway.core import plugins
from headway.core.config import Config
from headway.core.errors import HeadwayError, NotApplicable
from headway.core.feature_view import FeatureView
from headway.core.record import read
from headway.core.release import PointerUpdate, Release
from headway.core.settings.project import ProjectSection
from headway.core.settings.store import StoreSection
from headway.core.threads import memory_limit, read_text, this_machine
from headway.evaluation.energy import EnergyMeter
from headway.registry.settings.trust import TrustSection
from headway.registry.sign import load_publisher, load_trusted
from headway.storage.addresses import no_table_error, online_folder, open_state

# A command needs the libraries of what it calls, which are diagnosed there.
NOT_DIAGNOSED = ("command",)
FOR_WORK_ON_HEADWAY = ("dev", "test")


def diagnose_plugins() -> list[Diagnosis]:
    """Return, for each kind, one diagnosis of the working plug-ins and one per reason why others do not work.

    The extras follow.
    """
    found = load_plugins(
        [f"{kind}:{name}" for kind, names in plugins.all_names().items() if kind not in NOT_DIAGNOSED for name in names]
    )
    by_reason: dict[tuple[str, Health, str, str], list[str]] = {}
    for diagnosis in found:
        kind, _, name = diagnosis.what.partition(":")
        by_reason.setdefault((kind, diagnosis.health, diagnosis.message, diagnosis.hint), []).append(name)
    kinds = [
        Diagnosis(what=f"plug-ins {kind}", health=health, message=f"{', '.join(names)} {why}".strip(), hint=hint)
        for (kind, health, why, hint), names in by_reason.items()
    ]
    return [*kinds, *_extras()]


def _extras() -> list[Diagnosis]:
    """Return each extra of headway with what it requires on this system, except those for development."""
    required = [Requirement(line) for line in importlib.metadata.requires("headway") or []]
    named = importlib.metadata.metadata("headway").get_all("Provides-Extra") or []
    return [_extra(extra, _packages_of(extra, required)) for extra in named if extra not in FOR_WORK_ON_HEADWAY]


def _packages_of(extra: str, required: Sequence[Requirement]) -> list[str]:
    """Return the packages that only this extra brings on this system, with those of the extras that it is made of."""
    own = [
        requirement
        for requirement in required
        if requirement.marker
        and not requirement.marker.evaluate({"extra": ""})
        and requirement.marker.evaluate({"extra": extra})
    ]
    parts = [part for requirement in own if requirement.name == "headway" for part in sorted(requirement.extras)]
    names = [requirement.name for requirement in own if requirement.name != "headway"]
    return list(dict.fromkeys([*names, *(name for part in parts for name in _packages_of(part, required))]))


def _extra(extra: str, names: Sequence[str]) -> Diagnosis:
    missing = [name for name in names if not is_installed(name)]
    if not missing:
        return Diagnosis(what=f"extra {extra}", health="well", message=", ".join(names))
    hint = f"pip install 'headway[{extra}]'"
    return Diagnosis(what=f"extra {extra}", health="absent", message=f"lacks {', '.join(missing)}", hint=hint)


# The engines and table libraries choose their code by these.
FEATURES = ("avx2", "fma", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_int8", "amx_bf16", "asimd", "sve")
NEEDED = ("avx2", "asimd")
MIN_OPEN_FILES = 1024
BUILT = 2026
GIB = 2**30


def diagnose_machine(root: Path = Path("/")) -> list[Diagnosis]:
    """Diagnose Python, processor, cores, memory, files, clock and energy; `root` is the root of the system's files."""
    return [
        _python(),
        _processor(root),
        _cores(root),
        _memory(root),
        _open_files(),
        diagnose_clock(root, datetime.now(UTC)),
        _energy(root),
    ]


def _python() -> Diagnosis:
    required = importlib.metadata.metadata("headway")["Requires-Python"] or ""
    message = f"{platform.python_version()} at {sys.prefix}, headway {headway.__version__}"
    # The bare numbers: a build may call itself 3.13.0+, which is not a valid version.
    if SpecifierSet(required).contains(".".join(map(str, sys.version_info[:3]))):
        return Diagnosis(what="python", health="well", message=message)
    return Diagnosis(
        what="python",
        health="broken",
        message=f"{message}, which needs Python {required}",
        hint="make a new environment",
    )


def _processor(root: Path) -> Diagnosis:
    text = read_text(root / "proc/cpuinfo")
    listed = re.search(r"^(?:flags|Features)\s*:(.*)$", text, re.MULTILINE)
    found = [name for name in FEATURES if name in (listed[1].split() if listed else ())]
    message = f"{this_machine(root).cpu}: {', '.join(found) or 'features not known'}"
    if listed and not set(found) & set(NEEDED):
        hint = "pip install 'polars[rtcompat]'; speeds measured elsewhere do not hold here"
        return Diagnosis(what="processor", health="note", message=f"{message}; it lacks avx2", hint=hint)
    return Diagnosis(what="processor", health="well", message=message)


def _cores(root: Path) -> Diagnosis:
    all_cores, usable = os.cpu_count() or 1, this_machine(root).cores
    if usable == all_cores:
        return Diagnosis(what="cores", health="well", message=f"{all_cores}, all usable")
    message = f"{usable} of {all_cores} usable: CPU affinity or the container's quota limits them"
    return Diagnosis(
        what="cores", health="note", message=message, hint="set threads to match: [optimize] transforms tries them"
    )


def _memory(root: Path) -> Diagnosis:
    sizes = {
        name: int(size) * 1024
        for name, size in re.findall(r"^(\w+):\s+(\d+) kB", read_text(root / "proc/meminfo"), re.M)
    }
    limit, total = memory_limit(root), sizes.get("MemTotal", 0)
    if not total:
        return Diagnosis(what="memory", health="note", message="not known on this system")
    message = f"{total / GIB:.1f} GiB, {sizes.get('MemAvailable', 0) / GIB:.1f} GiB free"
    if limit is not None and limit < total:
        return Diagnosis(
            what="memory", health="note", message=f"{message}; the container may use {limit / GIB:.1f} GiB"
        )
    return Diagnosis(what="memory", health="well", message=message)


def _open_files() -> Diagnosis:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    message = f"limit {soft:,} (can be raised to {hard:,})"
    if soft < MIN_OPEN_FILES:
        message += ": a server needs one for each connection"
        return Diagnosis(what="open files", health="note", message=message, hint=f"ulimit -n {min(hard, 65536)}")
    return Diagnosis(what="open files", health="well", message=message)


def diagnose_clock(root: Path, now: datetime) -> Diagnosis:
    """Diagnose the time that pointer updates carry and the clock source; broken if it is years behind."""
    source = read_text(root / "sys/devices/system/clocksource/clocksource0/current_clocksource").strip() or "not known"
    step_ns = time.get_clock_info("perf_counter").resolution * 1e9
    message = f"{now:%Y-%m-%d %H:%M:%S} UTC, source {source}, steps of {step_ns:.0f} ns"
    if now.year < BUILT:
        return Diagnosis(
            what="clock",
            health="broken",
            message=f"{message}: it is wrong",
            hint="set the clock: pointer updates are stamped with it",
        )
    if source in ("hpet", "acpi_pm"):
        hint = "this clock is too slow to measure latencies below 10 us: set the clock source to tsc or kvm-clock"
        return Diagnosis(what="clock", health="note", message=message, hint=hint)
    return Diagnosis(what="clock", health="well", message=message)


def _energy(root: Path) -> Diagnosis:
    try:
        count = len(EnergyMeter(root).counters)
    except NotApplicable as error:
        message = f"no energy is measured: {error.what}"
        return Diagnosis(what="energy", health="note", message=message, hint=error.hint)
    return Diagnosis(
        what="energy", health="well", message=f"RAPL counters of {count} package{'s' if count > 1 else ''} can be read"
    )


MIN_FREE = 2**30


def diagnose_project(folder: Path) -> list[Diagnosis]:
    """Diagnose settings, keys and state of a project; a note where the folder has none."""
    if not (folder / configuration.FILE).exists():
        message = f"no {configuration.FILE} in {folder.resolve()}: keys and state were not checked"
        return [Diagnosis(what="project", health="note", message=message, hint="headway init, or --project FOLDER")]
    try:
        config = configuration.load(folder)
    except HeadwayError as error:
        return [_broken("project", error)]
    project = Diagnosis(what="project", health="well", message=f"{config[ProjectSection].name} in {folder.resolve()}")
    return [project, *_keys(config), _state(config), *_views(config)]


def _keys(config: Config) -> list[Diagnosis]:
    return [*_publisher_keys(config), _operator_keys(config.path(config[TrustSection].operator_keys))]


def _operator_keys(file: Path) -> Diagnosis:
    try:
        listed = load_trusted(file).keys
    except HeadwayError as error:
        return _broken("operator keys", error)
    if listed:
        return Diagnosis(what="operator keys", health="well", message=f"{len(listed)} in {file}")
    hint = "headway ui makes one, for roll back and approvals in the dashboard"
    return Diagnosis(what="operator keys", health="note", message=f"none in {file}", hint=hint)


def _publisher_keys(config: Config) -> list[Diagnosis]:
    private, trusted = config.path(config[TrustSection].publisher_key), config.path(config[TrustSection].trusted_keys)
    try:
        listed = load_trusted(trusted).keys
    except HeadwayError as error:
        return [_broken("trusted keys", error)]
    trust = Diagnosis(what="trusted keys", health="well", message=f"{len(listed)} in {trusted}")
    if not listed:
        trust = Diagnosis(
            what="trusted keys", health="note", message=f"none in {trusted}", hint="the first release pins its own key"
        )
    if not private.exists():
        message = f"none at {private}: nothing can be published here"
        return [
            trust,
            Diagnosis(what="publisher key", health="note", message=message, hint="the first release creates one"),
        ]
    try:
        key = load_publisher(private).key
    except HeadwayError as error:
        return [trust, _broken("publisher key", error)]
    if listed and key not in listed:
        message, hint = f"{key} is not trusted here", f"ask the owner of {trusted} to add it"
        return [trust, Diagnosis(what="publisher key", health="note", message=message, hint=hint)]
    return [trust, Diagnosis(what="publisher key", health="well", message=f"{key} at {private}")]


def _state(config: Config) -> Diagnosis:
    """Check that files can be created and linked where the state is or will be, and that the state can be read."""
    there = next(path for path in (config.state, *config.state.parents) if path.exists())
    try:
        with tempfile.TemporaryDirectory(prefix=".headway-doctor-", dir=there) as name:
            (Path(name) / "a").write_bytes(b"")
            os.link(Path(name) / "a", Path(name) / "b")
        updates = _count_updates(config)
    except OSError as error:
        hint = f"chmod u+w {there}; or [project] state on a disk of this machine"
        return Diagnosis(what="state", health="broken", message=f"{there}: {error.strerror or error}", hint=hint)
    except HeadwayError as error:
        return _broken("state", error)
    free = shutil.disk_usage(there).free
    message = f"{config.state}: {updates}, {free / 2**30:,.1f} GiB free"
    return Diagnosis(what="state", health="note" if free < MIN_FREE else "well", message=message)


def _count_updates(config: Config) -> str:
    if not config[StoreSection].state and not (config.state / "state.sqlite").exists():
        return "empty"
    opened = open_state(config)
    try:
        where = f" at {config[StoreSection].state}" if config[StoreSection].state else ""
        return f"{len(opened.updates())} pointer updates{where}"
    finally:
        opened.close()


def _views(config: Config) -> list[Diagnosis]:
    """Check that the views of the live release have their tables in the online store; nothing without such a release.

    The stores are those of this machine, which are read without a numerical library. What else is wrong with a release
    is found by `headway verify`.
    """
    if config[StoreSection].online or not (config.state / "state.sqlite").exists():
        return []
    views = _views_of_live(config)
    folder = online_folder(config.state)
    absent = [view for view in views if not all((folder / f"{name}.sqlite").exists() for name in view.online_tables)]
    if views and not absent:
        names = ", ".join(view.reference for view in views)
        return [Diagnosis(what="feature views", health="well", message=f"{names} in the online store")]
    return [_broken("feature views", no_table_error(view, str(folder))) for view in absent]


def _views_of_live(config: Config) -> list[FeatureView]:
    """Return the views of the live release that have tables; empty if this machine has none."""
    name = config[ProjectSection].name
    try:
        state = open_state(config)
        try:
            signed = state.last(name, "live")
        finally:
            state.close()
        digest = read(PointerUpdate, signed.content).release.removeprefix("sha256:") if signed else ""
        release = read(Release, (config.state / "releases" / name / digest / "release.json").read_bytes())
    except (HeadwayError, OSError):
        return []
    return [view for view in release.views if not view.is_on_demand]


def _broken(what: str, error: HeadwayError) -> Diagnosis:
    where = f" at {error.where}" if error.where else ""
    return Diagnosis(what=what, health="broken", message=f"{error.what}{where}", hint=error.hint)


STYLES: dict[Health, str] = {"well": "green", "note": "yellow", "absent": "dim", "broken": "red"}


def diagnose(folder: Path) -> list[Diagnosis]:
    """Return every diagnosis: machine, plug-ins and extras, project."""
    return [*diagnose_machine(), *diagnose_plugins(), *diagnose_project(folder)]


def is_healthy(diagnoses: Sequence[Diagnosis]) -> bool:
    """Return whether nothing that is needed is broken."""
    return all(diagnosis.health != "broken" for diagnosis in diagnoses)


def diagnosis_table(diagnoses: Sequence[Diagnosis]) -> Table:
    """Return one row per diagnosis, with the hint below the message."""
    rows = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    for diagnosis in diagnoses:
        hint = f"\n  try: {diagnosis.hint}" if diagnosis.hint else ""
        health = Text(diagnosis.health, style=STYLES[diagnosis.health])
        rows.add_row(health, Text(diagnosis.what), Text(f"{diagnosis.message}{hint}"))
    return rows
