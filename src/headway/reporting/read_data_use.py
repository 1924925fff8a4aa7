"""What data of a project is used for, read from its settings, its last assessment and its proofs of erasure."""

from __future__ import annotations

from collections.abc import Collection

from headway.core.assessment import Assessment
from headway.core.config import Config
from headway.core.dataset import OUTCOME, Roles
from headway.data.roles import parse_roles
from headway.monitoring.erasure.erase import load_erasures
from headway.registry.project import Project
from headway.reporting.read_year import read_records
from headway.reporting.story import ColumnUse, DataUse

PERSONAL = ("D050", "D051", "D052", "D054")
NOT_READ = "nothing: it is opened, and not read"
_ROLES = {
    "target": "what is predicted",
    "time": "the order of rows in time, and the periods",
    "groups": "rows that share fate, for intervals",
    "lists": "rows that a ranking puts in order",
    "weight": "how much a row counts",
    "slices": "parts that are judged one by one",
    "people": "groups of people, between whom gaps are measured",
}


def read_data_use(project: Project, read: Collection[str]) -> DataUse | None:
    """Every column that was there when the checks last looked, or that settings and model name, and its use.

    `read` are the columns that the model reads. None where the project declares no target.
    """
    config = project.config
    if not config.data.target:
        return None
    seen = [record for record in read_records(project, Assessment) if record.name == project.name][-1:]
    roles, told = parse_roles(config.data), _told(seen[-1]) if seen else {}
    opened = list(seen[-1].columns) if seen else []
    names = dict.fromkeys([*opened, *read, *_named(roles), *config.personal.drop, *told])
    columns = (_used(name, roles, read, told) for name in names if name in opened or _is_column(name, config, told))
    return DataUse(
        source=config.data.source,
        columns=tuple(columns),
        n_read=len(read),
        looked_at=seen[-1].at if seen else "",
        retention=config.personal.retention,
        erasures=tuple(load_erasures(project)),
    )


def _told(seen: Assessment) -> dict[str, str]:
    """What was found of people in each column, and what was done about it, in the words of the checks."""
    told: dict[str, list[str]] = {}
    for finding in seen.findings:
        column = finding.where.removeprefix("column ")
        if finding.code in PERSONAL and column != finding.where:
            told.setdefault(column, []).append(finding.message.removeprefix(f"'{column}' "))
    return {column: "; ".join(message) for column, message in told.items()}


def _named(roles: Roles) -> list[str]:
    single = (roles.target, roles.time, roles.groups, roles.lists, roles.weight)
    return [name for name in (*single, *roles.slices, *roles.people, *roles.known, *roles.ignore) if name]


def _is_column(name: str, config: Config, told: Collection[str]) -> bool:
    """Whether a name that no opened table has is a column all the same: `[personal] drop` may name a kind."""
    return name in told or name not in config.personal.drop


def _used(name: str, roles: Roles, read: Collection[str], told: dict[str, str]) -> ColumnUse:
    uses = ["read by the model"] if name in read else []
    for role, message in _ROLES.items():
        value = getattr(roles, role)
        if name == value or (isinstance(value, tuple) and name in value):
            uses.append(message)
    if roles.known.get(name) == OUTCOME:
        uses.append("nothing: it is known only after the outcome")
    elif name in roles.ignore:
        uses.append("nothing: it is ignored")
    return ColumnUse(name=name, purpose=", ".join(uses) or NOT_READ, personal=told.get(name, ""))
