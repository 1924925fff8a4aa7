"""What each action of `headway labels` does and shows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from getpass import getuser
from pathlib import Path
from typing import Any, Literal, NamedTuple

from headway.core.errors import ConfigError, DataError
from headway.core.evidence import Measurement
from headway.core.labelling import Suspect, Suspects
from headway.data.labels.agreement import Level
from headway.data.labels.corrections import Claim, correct
from headway.data.open import open_dataset
from headway.monitoring.labeling.agree import agree, of_file, of_store
from headway.monitoring.labeling.ask import wanted
from headway.monitoring.labeling.delay import delays
from headway.monitoring.labeling.suspects import suspects
from headway.registry.project import Project
from headway.reporting.text import numbers

Word = Literal["suspects", "correct", "agree", "delay", "next"]
SHOWN = 20
MOST_S = 1e12


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What an action works on, and who acts."""

    row: int = 0
    "For correct: the number of the row, as suspects tells it."
    to: str = ""
    "For correct: the label that is right, written as the target is."
    why: str = ""
    "For correct: why, for whoever reads it later."
    who: str = ""
    "For correct: who says so; the name of the user where it is not given."
    level: Level = "nominal"
    "For agree: what alpha knows of labels: nominal (names), ordinal (in order), or interval (numbers)."
    top: int = SHOWN
    "For suspects and next: how many rows are told; of suspects --json tells 1,000."


class Done(NamedTuple):
    """What an action gave, and the same for a person."""

    value: Any
    message: str


def carry_out(project: Project, word: Word, file: Path | None, given: Given) -> Done:
    """Do one action on the labels of a project; raises HeadwayError with the mend where it cannot be done."""
    acts: dict[Word, Callable[[], Done]] = {
        "suspects": lambda: _suspects(project, given),
        "correct": lambda: _correct(project, given),
        "agree": lambda: _agree(project, file, given),
        "delay": lambda: _delay(project),
        "next": lambda: _next(project, given),
    }
    return acts[word]()


def _suspects(project: Project, given: Given) -> Done:
    found = suspects(open_dataset(project.config), name=project.name)
    project.keep(found)
    return Done(found, "\n".join([*_counted(found), *_ranked(found.rows[: given.top])]))


def _counted(found: Suspects) -> list[str]:
    lines = [f"about {_number(found.count)} labels of {found.count.n_rows:,} look wrong"]
    for measurement in found.by_class:
        share = measurement.value / max(1, measurement.n_rows)
        named = measurement.slice.partition("=")[2]
        lines.append(f"  labelled {named}: {_number(measurement)} of {measurement.n_rows:,} ({share:.1%})")
    return lines


def _number(count: Measurement) -> str:
    interval = f" [{count.low:,.0f}, {count.high:,.0f}]" if numbers.has_interval(count) else " (no interval)"
    return f"{count.value:,.0f}{interval}"


def _ranked(rows: tuple[Suspect, ...]) -> list[str]:
    lines = [
        f"  row {each.row:>9,}  is {each.given}, likelier {each.likely}  {each.chance:.0%}  {each.group}"
        for each in rows
    ]
    last = f"set one right: headway labels correct --row {rows[0].row} --to {rows[0].likely} --why ..." if rows else ""
    return [*lines, last]


def _correct(project: Project, given: Given) -> Done:
    if not given.row or not given.to:
        raise ConfigError(
            "a correction names a row and its label", hint='headway labels correct --row 17 --to 1 --why "..."'
        )
    claim = Claim(row=given.row, to=given.to, who=given.who or getuser(), why=given.why)
    kept = correct(project.config, project.state, claim)
    return Done(kept, f"row {kept.place:,}: {_shown(kept.old)} is {_shown(kept.new)} from now on, by {kept.who}")


def _agree(project: Project, file: Path | None, given: Given) -> Done:
    table = of_file(file) if file else of_store(project.config.state, project.name)
    found = agree(table, name=project.name, source=str(file or "labels that were kept"), level=given.level)
    project.keep(found)
    first = found.measurements[0]
    head = f"{len(found.annotators)} annotators on {first.n_rows:,} items, {first.n_groups:,} groups, beyond chance:"
    lines = [
        f"  {each.slice or each.name.partition('.')[2]:24} {numbers.measured(each)}" for each in found.measurements
    ]
    return Done(found, "\n".join([head, *lines]))


def _delay(project: Project) -> Done:
    found = delays(project)
    if found is None:
        raise DataError(
            "the live release answered nobody whose label could come",
            where=str(project.config.state),
            hint=f"headway serve {project.name}@live, and requests with a key",
        )
    lines = [f"{found.n_labelled:,} of {found.n_requests:,} requests have a label"]
    lines += [f"  {_share(each.name)} of labels come within {_within(each.value)}" for each in found.quantiles]
    if found.late is not None:
        due = numbers.seconds(found.declared_s)
        lines.append(f"  not there after {due}, as declared: {numbers.measured(found.late)} of {found.late.n_rows:,}")
    return Done(found, "\n".join(lines))


def _next(project: Project, given: Given) -> Done:
    found = wanted(project, given.top)
    lines = [
        f"  {each.key:24} {datetime.fromtimestamp(each.at_us / 1e6, UTC):%F %T}  {each.doubt:.0%}" for each in found
    ]
    head = f"{len(found)} requests whose labels would teach most: key, when it came, how torn the model is"
    return Done(found, "\n".join([head, *lines, "then: headway label labels.csv"]))


def _share(name: str) -> str:
    return f"{name.rpartition('.p')[2]} %"


def _within(seconds: float) -> str:
    return "a time not reached yet" if seconds > MOST_S else numbers.seconds(seconds)


def _shown(label: float | None) -> str:
    return "no label" if label is None else f"{label:g}"
