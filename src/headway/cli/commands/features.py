"""Feature views of a project: apply and list them, write their rows, what each feature is worth, value replay."""

from __future__ import annotations

from collections.abc import Sequence
from getpass import getuser
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from rich.console import Group

from headway import pipeline
from headway.cli.exit_codes import FAIL, PASS, UNDECIDED
from headway.cli.feature_rows import describe_run, join_file, materialize_project, push_file, read_time
from headway.cli.main import AsJson, ProjectFolder
from headway.core.errors import ConfigError
from headway.core.feature_view import Feature, FeatureView, FeatureViewVersion
from headway.core.record import Record
from headway.core.value_replay import ReplayStatus
from headway.features import catalog
from headway.features.catalog import ViewChange, compare_views
from headway.features.definitions import FILE, read_views
from headway.features.expressions import to_sql
from headway.registry.feature_usage import FeatureUse, changes_for, uses_of
from headway.registry.project import Project, open_project
from headway.reporting.console import print_result, print_status
from headway.reporting.text import formatting
from headway.reporting.text.feature_tables import (
    describe_features,
    describe_value_replay,
    tabulate_features,
    tabulate_skews,
)
from headway.reporting.text.tables import make_table, text_cell
from headway.reporting.text.terminal import TerminalTable

_EXIT_CODES: dict[ReplayStatus, int] = {"equal": PASS, "differs": FAIL, "unknown": UNDECIDED}
FeaturesAction = Literal["apply", "list", "show", "materialize", "push", "worth", "replay", "join"]
_EFFECTS = {
    "breaks": "breaks models that read it",
    "values": "other values: materialize and retrain",
    "serving": "other answers to missing values",
    "none": "nothing",
}


class AppliedView(Record, frozen=True, kw_only=True):
    """A view of a project: its version, whether it is new, and what changed from the version before."""

    view: str
    is_new: bool
    changes: tuple[ViewChange, ...] = ()


class ListedView(Record, frozen=True, kw_only=True):
    """The newest version of a view, and the pointers of the releases that use any version."""

    view: str
    entities: tuple[str, ...]
    features: tuple[str, ...]
    used_by: tuple[str, ...]
    who: str
    at: str


class VersionChanges(Record, frozen=True, kw_only=True):
    """What changed from one version of a view to the next; `after` is empty for the declaration of the project."""

    before: str
    after: str = ""
    changes: tuple[ViewChange, ...]


class AffectedUse(Record, frozen=True, kw_only=True):
    """A release, and what its next training meets if the declared change is applied."""

    use: FeatureUse
    changes: tuple[ViewChange, ...]


class ShownView(Record, frozen=True, kw_only=True):
    """A view with all versions, their differences, and its users; `declared` is what the project would apply."""

    versions: tuple[FeatureViewVersion, ...]
    differences: tuple[VersionChanges, ...]
    declared: VersionChanges | None
    uses: tuple[AffectedUse, ...]


def plugin(
    action: FeaturesAction = "list",
    views: tuple[str, ...] = (),
    *,
    who: str = "",
    full: bool = False,
    since: Annotated[str, Parameter(name="--from")] = "",
    until: Annotated[str, Parameter(name="--to")] = "",
    refused: str = "",
    rows: Path | None = None,
    time: str = "",
    out: Path | None = None,
    memory_mb: int = 1_000,
    max_lag: str = "",
    project: ProjectFolder = Path("."),
    json: AsJson = False,
) -> int:
    """Apply the views of features.toml, list or show views, materialise, push or join rows. Exit 1: rows were refused.

    Example: headway features list --project headway-demo

    Parameters
    ----------
    action
        apply (save each view whose definition changed as its next version; others get none), list (the newest version
        of each view, and who uses it), show VIEW (definition, versions with their differences, the releases behind
        pointers that use it, and what the declaration in features.toml would change for them), materialize (write the
        newest row of each entity to the online store; by default of all views, and only what is new since the last
        run), push VIEW FILE (store rows of the source, JSON lines or parquet; without FILE, lines of the standard
        input), worth (what each feature of a release costs, is worth, how old it is and how it drifts), replay
        (recompute what logged requests should have seen, and compare value by value: exit 1 if values differ, 3 if a
        view could not be replayed), or join (write rows with the features that were known at their time).
    views
        To show, materialise or join, views as `weather` or `weather@v2`; to apply, only these; to push, VIEW and FILE.
        For worth and replay, the release; by default the live one.
    who
        Who applies; by default the user of the system.
    full
        To materialise: write all rows, and put the table in place in one step.
    since
        To materialise a range: event times from here, such as 2026-01-31 or 2026-01-31T12:00:00Z. For replay: requests
        from here on.
    until
        To materialise a range: event times before this.
    refused
        To push: file to which refused lines are written, as JSON lines with number, reason and line.
    rows
        To join: a file, folder or pattern of rows with the entities of the views, of any size.
    time
        To join: the column with the time of a row; without a zone it is in UTC.
    out
        To join: the parquet file to write.
    memory_mb
        To join: about what the tables may take in memory besides the program, MB.
    max_lag
        For replay: how long a value may be known before the online store has it, such as 1h; default: [features]
        max_lag.
    """
    opened = open_project(project)
    if action == "apply":
        _apply(opened, views, who=who or getuser(), json=json)
    elif action == "list":
        _list(opened, json=json)
    elif action == "materialize":
        done = materialize_project(opened, views, full=full, since=since, until=until, callback=print_status)
        print_result(done, "\n".join(map(describe_run, done)) or "no view has rows", json=json)
    elif action == "push":
        return _push(opened, views, refused=refused, json=json)
    elif action == "join":
        _join(opened, views, rows=rows, time=time, out=out, memory_mb=memory_mb, json=json)
    elif action == "worth":
        report = pipeline.report_features(opened, *views[:1])
        shown = Group(TerminalTable(tabulate_features(report)), describe_features(report))
        print_result(report, shown, json=json)
    elif action == "replay":
        return _replay(opened, views[0] if views else "", since=since, max_lag=max_lag, json=json)
    else:
        if len(views) != 1:
            raise ConfigError(f"{len(views)} views to show", hint="headway features show weather")
        _show(opened, views[0], json=json)
    return PASS


def _join(
    project: Project,
    views: Sequence[str],
    *,
    rows: Path | None,
    time: str,
    out: Path | None,
    memory_mb: int,
    json: bool,
) -> None:
    if rows is None or out is None or not time:
        hint = "headway features join weather --rows rows.parquet --time at --out joined.parquet"
        raise ConfigError("a join needs --rows, --time and --out", hint=hint)
    joined = join_file(project, views, rows=rows, time=time, out=out, memory_mb=memory_mb)
    text = f"{joined.rows:,} rows with the features of {', '.join(joined.views)}: {joined.file}"
    print_result(joined, text, json=json)


def _push(project: Project, views: Sequence[str], *, refused: str, json: bool) -> int:
    if len(views) not in (1, 2):
        raise ConfigError("a push needs a view and a file", hint="headway features push weather rows.jsonl")
    pushed = push_file(project, *views, refused=refused, callback=print_status)
    text = f"{pushed.view}: {pushed.rows:,} rows, {pushed.stored:,} stored, {pushed.refused:,} refused"
    print_result(pushed, text, json=json)
    return FAIL if pushed.refused else PASS


def _replay(project: Project, reference: str, *, since: str, max_lag: str, json: bool) -> int:
    lag_s = formatting.parse_duration(max_lag) if max_lag else None
    replay = pipeline.replay_features(project, reference, since=read_time(since, "--from"), max_lag_s=lag_s)
    answer = describe_value_replay(replay)
    text = Group(TerminalTable(tabulate_skews(replay)), answer) if replay.skews else answer
    print_result(replay, text, json=json)
    return _EXIT_CODES[replay.status]


def _apply(project: Project, names: Sequence[str], *, who: str, json: bool) -> None:
    declared = read_views(Path(project.config.folder))
    if unknown := sorted(set(names) - {view.name for view in declared}):
        where = f"{FILE} declares: {', '.join(view.name for view in declared)}"
        raise ConfigError(f"no view '{unknown[0]}' is declared", where=where, hint="headway features apply")
    wanted = [view for view in declared if not names or view.name in names]
    before = {view.name: catalog.versions(project.state, view.name) for view in wanted}
    new = {version.name: version.view for version in catalog.apply(project.state, wanted, who=who)}
    done = []
    for view in wanted:
        known = before[view.name]
        changes = tuple(compare_views(known[-1].view, view)) if known and view.name in new else ()
        reference = new[view.name].reference if view.name in new else known[-1].view.reference
        done.append(AppliedView(view=reference, is_new=view.name in new, changes=changes))
    lines = [line for applied in done for line in _applied_lines(applied)]
    if new:
        lines.append(f"next: headway features materialize {' '.join(new)}")
    print_result(done, "\n".join(lines), json=json)


def _applied_lines(applied: AppliedView) -> list[str]:
    lines = [f"{applied.view}: {'new version' if applied.is_new else 'unchanged'}"]
    return lines + [f"  {_sentence(change)}" for change in applied.changes]


def _list(project: Project, *, json: bool) -> None:
    users: dict[str, list[str]] = {}
    for use in uses_of(project.registry):
        users.setdefault(use.view.partition("@")[0], []).append(f"{use.address} ({use.view.partition('@')[2]})")
    found = []
    for view in catalog.newest_views(project.state):
        version = catalog.versions(project.state, view.name)[-1]
        found.append(
            ListedView(
                view=view.reference,
                entities=view.entities,
                features=view.feature_names,
                used_by=tuple(users.get(view.name, ())),
                who=version.who,
                at=version.at,
            )
        )
    rows = [
        tuple(
            map(
                text_cell,
                (
                    listed.view,
                    ", ".join(listed.entities) or "request",
                    ", ".join(listed.features),
                    ", ".join(listed.used_by) or "no release",
                    f"{formatting.format_time(listed.at)} {listed.who}",
                ),
            )
        )
        for listed in found
    ]
    titles = ("View", "Entities", "Features", "Used by", "Applied")
    text = TerminalTable(make_table(titles, rows, folds=("Features", "Used by"))) if rows else _NO_VIEW
    print_result(found, text, json=json)


_NO_VIEW = f"no view was applied; declare one in {FILE}, then: headway features apply"


def _show(project: Project, reference: str, *, json: bool) -> None:
    shown = catalog.resolve_view(project.state, reference)
    versions = catalog.versions(project.state, shown.name)
    differences = tuple(
        VersionChanges(
            before=older.view.reference,
            after=newer.view.reference,
            changes=tuple(compare_views(older.view, newer.view)),
        )
        for older, newer in pairwise(versions)
    )
    declared = _declared(project, versions[-1].view)
    changes = declared.changes if declared else ()
    uses = tuple(
        AffectedUse(use=use, changes=tuple(changes_for(use, changes))) for use in uses_of(project.registry, shown.name)
    )
    result = ShownView(versions=tuple(versions), differences=differences, declared=declared, uses=uses)
    print_result(result, "\n".join(_shown_lines(shown, result)), json=json)


def _declared(project: Project, newest: FeatureView) -> VersionChanges | None:
    """Return what the project's declaration would change, if it declares the view."""
    folder = Path(project.config.folder)
    views = read_views(folder) if (folder / FILE).is_file() else []
    found = next((view for view in views if view.name == newest.name), None)
    if found is None:
        return None
    return VersionChanges(before=newest.reference, changes=tuple(compare_views(newest, found)))


def _shown_lines(view: FeatureView, result: ShownView) -> list[str]:
    lines = [f"{view.reference}{f'  {view.description}' if view.description else ''}"]
    if view.source:
        lines.append(f"  entities {', '.join(view.entities)}; source {view.source.location}")
    times = [f"ttl {view.ttl_s:g} s"] if view.ttl_s else []
    if view.source and view.source.event_time:
        times.insert(0, f"event time {view.source.event_time}")
    lines += [f"  {'; '.join(times)}"] if times else []
    lines += [f"  sql {view.sql}"] if view.sql else []
    lines += [f"  {feature.name}: {_definition(feature)}" for feature in view.features]
    lines.append("versions")
    lines += [
        f"  {version.view.reference}  {formatting.format_time(version.at)}  {version.who}"
        for version in result.versions
    ]
    for step in result.differences:
        lines += [f"  {step.before} -> {step.after}", *(f"    {_sentence(change)}" for change in step.changes)]
    lines.append("used by")
    lines += [line for affected in result.uses for line in _use_lines(affected)] or ["  no release behind a pointer"]
    if result.declared and result.declared.changes:
        lines += [f"{FILE} would change", *(f"  {_sentence(change)}" for change in result.declared.changes)]
        lines.append("a release goes on with the version that it has; next: headway features apply")
    return lines


def _use_lines(affected: AffectedUse) -> list[str]:
    use = affected.use
    if use.problem:
        return [f"  {use.address}: its views are not known: {use.problem}"]
    lines = [f"  {use.address}  {use.view}  reads {', '.join(use.features)}"]
    return lines + [f"    at its next training: {_sentence(change)}" for change in affected.changes]


def _definition(feature: Feature) -> str:
    if feature.aggregation:
        aggregation = feature.aggregation
        text = f"{aggregation.function}({aggregation.column}) over {aggregation.window_s // 3600}h"
    else:
        text = to_sql(feature.expression) if feature.expression is not None else "column"
    missing = f"default {feature.default}" if feature.when_missing == "default" else feature.when_missing
    return f"{text} ({feature.dtype}; missing: {missing})"


def _sentence(change: ViewChange) -> str:
    subject = f"{change.feature} {change.field}" if change.feature and change.field != "features" else change.field
    if change.field == "features":
        subject = f"feature {change.feature} {'removed' if change.before else 'added'}"
        return f"{subject}: {_EFFECTS[change.effect]}"
    return f"{subject}: {change.before or 'none'} -> {change.after or 'none'}: {_EFFECTS[change.effect]}"
