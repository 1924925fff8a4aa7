"""headway.toml: one record a section, each field with its type, default, unit and a line of help.

Order: flag > environment (`HEADWAY_SECTION_FIELD`) > file > default. Unknown keys are errors.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, get_args

import msgspec
from msgspec import Meta

from headway.core.errors import ConfigError
from headway.core.personal_section import PersonalSection
from headway.core.record import Record
from headway.core.serve_section import ServeSection
from headway.core.verdict import Rule

FILE = "headway.toml"


def _help(text: str) -> Meta:
    return Meta(description=text)


class ProjectSection(Record, frozen=True, kw_only=True):
    """The project itself."""

    name: Annotated[str, _help("Name of the model; releases and pointers carry it.")] = "model"
    state: Annotated[str, _help("Folder of the store, relative to the project.")] = ".headway"


class DataSection(Record, frozen=True, kw_only=True):
    """Where the table comes from, and what each column is for."""

    source: Annotated[
        str, _help("A parquet, csv or arrow file, a folder of them, a database URL, or module:function giving a table.")
    ] = ""
    query: Annotated[str, _help("What a database is asked, in SQL: it gives the table.")] = ""
    missing: Annotated[tuple[str, ...], _help("Texts that mean a missing value, such as NA.")] = ()
    task: Annotated[str, _help("binary, multiclass, regression, ranking or embedding.")] = "binary"
    target: Annotated[str, _help("The column to predict; for binary, 1 is the positive class.")] = ""
    positive: Annotated[str, _help("The value of a binary target that is the positive class, where it is not 1.")] = ""
    classes: Annotated[
        tuple[str, ...], _help("The classes of a multiclass target in order, where they are not numbered from 0.")
    ] = ()
    time: Annotated[str, _help("The column that orders rows in time; periods are cut by it.")] = ""
    decision: Annotated[str, _help("When the prediction is needed, in words; what is known later is no feature.")] = ""
    groups: Annotated[str, _help("Rows with one value of this column share fate; every interval resamples by it.")] = ""
    lists: Annotated[str, _help("Rows with one value of it are what a ranking puts in order; empty: groups.")] = ""
    slices: Annotated[tuple[str, ...], _help("Columns whose values are judged one by one.")] = ()
    people: Annotated[
        tuple[str, ...], _help("Columns whose values are groups of people, between whom gaps are measured.")
    ] = ()
    weight: Annotated[str, _help("Column of row weights.")] = ""
    ignore: Annotated[tuple[str, ...], _help("Columns that are neither a role nor a feature.")] = ()
    label_delay: Annotated[str, _help("How long after the row its label arrives: 1d, 12h, 30m.")] = ""
    known: Annotated[
        dict[str, str], _help("When each column is known: request, outcome, or the name of a time column.")
    ] = {}

    @property
    def name(self) -> str:
        """The source as it may be shown: a URL without its password."""
        return without_password(self.source)


class SplitSection(Record, frozen=True, kw_only=True):
    """Periods of the time column, each [from, to): the model learns on train, the search looks at choose."""

    train: Annotated[tuple[str, ...], _help("Period the model is trained on.")] = ()
    choose: Annotated[tuple[str, ...], _help("Period the search may look at as often as it likes.")] = ()
    test: Annotated[tuple[str, ...], _help("Period on which the winner is judged; every look is counted.")] = ()
    live: Annotated[tuple[str, ...], _help("Period after release, replayed as traffic.")] = ()
    shares: Annotated[
        tuple[float, float, float],
        _help("Without periods: shares of the rows for train, choose and test, in order of time, groups kept whole."),
    ] = (0.6, 0.2, 0.2)


class Costs(Record, frozen=True, kw_only=True):
    """What a wrong decision costs, in any one unit."""

    false_alarm: float = 1.0
    miss: float = 1.0


class ModelSection(Record, frozen=True, kw_only=True):
    """The model as it came."""

    train: Annotated[str, _help("module:function that takes a training table and gives a fitted model.")] = ""
    file: Annotated[str, _help("A model file instead: .txt (LightGBM) or .onnx.")] = ""
    costs: Annotated[
        Costs, _help("What a false_alarm and a miss cost; the decision threshold is chosen from them.")
    ] = Costs()


class OptimizeSection(Record, frozen=True, kw_only=True):
    """The search for a faster variant."""

    objective: Annotated[str, _help("Measurement to minimise among feasible variants.")] = "latency.one_row"
    transforms: Annotated[tuple[str, ...], _help("Transforms to combine, in this order; empty means all.")] = ()
    families: Annotated[
        tuple[str, ...], _help("Families of models to train beside the model: forest, histgb, lightgbm, logistic.")
    ] = ()
    budget_s: Annotated[
        float, _help("Longest time that the search may look at the choose period, seconds; 0 sets no end.")
    ] = 0.0


class EvaluateSection(Record, frozen=True, kw_only=True):
    """The whole examination of what is to be released."""

    budget_s: Annotated[float, Meta(description="Longest time that one audit may take, seconds.", gt=0)] = 60.0
    rate_per_s: Annotated[
        float, Meta(description="Requests a second, on average, of the open loops of the audit `load`.", gt=0)
    ] = 200.0
    together: Annotated[
        tuple[tuple[str, ...], ...], _help("Features that the audit `ablation` leaves out as one, a list each.")
    ] = ()


class CostSection(Record, frozen=True, kw_only=True):
    """What the machine costs that answers."""

    core_hour: Annotated[
        float,
        Meta(description="What an hour of one core costs: the price of a machine over its cores; 0: unknown.", ge=0),
    ] = 0.0
    currency: Annotated[str, _help("The currency of that price.")] = "USD"


class SloSection(Record, frozen=True, kw_only=True):
    """Service-level objectives."""

    p99_ms: Annotated[float, _help("99th percentile of the latency of a request, ms.")] = 50.0
    availability: Annotated[float, _help("Share of requests answered right, in (0, 1).")] = 0.999


class PolicySection(Record, frozen=True, kw_only=True):
    """What the judge demands."""

    release: Annotated[tuple[Rule, ...], _help("Rules a variant must meet to be released.")] = ()
    canary: Annotated[
        tuple[Rule, ...], _help("Rules a release must meet beside live; empty takes those of the release and the slo.")
    ] = ()
    watch: Annotated[
        tuple[Rule, ...],
        _help(
            "Rules that live must meet in each period, on its quality, on `.change` since it was judged, or on cost."
        ),
    ] = ()
    retrain: Annotated[
        tuple[Rule, ...],
        _help("Rules that a retrained release must meet against live; empty: relative ones of release, brier.loss 0."),
    ] = ()
    contract_margin: Annotated[
        float, Meta(description="Share of a column's range by which a value may be beyond what was seen.", ge=0)
    ] = 0.1
    slice_rows: Annotated[int, _help("Rows that a slice needs to be judged.")] = 1000
    slice_groups: Annotated[int, _help("Groups that a slice needs to be judged; also the least for any interval.")] = 20


class TrustSection(Record, frozen=True, kw_only=True):
    """Who may publish, and whom a server believes; both are kept apart from the store."""

    publisher_key: Annotated[str, _help("File of the private key that signs releases; never on a server.")] = (
        "~/.config/headway/publisher.pem"
    )
    trusted_keys: Annotated[str, _help("File of public keys whose releases are loaded, a line each.")] = (
        "trusted_keys.txt"
    )


class RolloutSection(Record, frozen=True, kw_only=True):
    """How a release takes the place of live: stage by stage, each step forward by the judge."""

    shares: Annotated[
        tuple[Annotated[float, Meta(ge=0, lt=1)], ...],
        Meta(
            description="Shares of the keys that it answers, a stage each; at 0 it answers beside live, unheard.",
            min_length=1,
        ),
    ] = (0.0, 0.05, 0.25, 0.5)
    min_requests: Annotated[
        int, Meta(description="Requests that it answers at a stage before it may go forward.", ge=0)
    ] = 0
    at_most_hours: Annotated[
        float, Meta(description="A stage that decides nothing in so many hours ends the rollout inconclusive.", gt=0)
    ] = 24.0
    quiet_s: Annotated[
        float, Meta(description="Seconds without a request after which whoever follows is told that nobody asks.", gt=0)
    ] = 300.0


class RetrainSection(Record, frozen=True, kw_only=True):
    """When the live release is trained anew, and how its probabilities are held right in between."""

    mode: Annotated[
        str, Meta(description="suggest opens a ticket and waits for a person; auto acts.", pattern="^(suggest|auto)$")
    ] = "suggest"
    through: Annotated[
        str,
        Meta(
            description="How one that passed takes the place of live: canary, by a rollout beside it; live, at once.",
            pattern="^(canary|live)$",
        ),
    ] = "canary"
    rows_grown: Annotated[float, _help("Train anew once labelled rows have grown by this share since training.")] = 0.5
    ece_at_most: Annotated[float, _help("Train anew once the calibration error is shown to be above this.")] = 0.05
    recalibrate_days: Annotated[
        int, _help("Last labelled groups from which probabilities are set right; 0: never.")
    ] = 28
    recalibrate_by: Annotated[
        str,
        Meta(
            description="Repair of probabilities: shift, platt, temperature, beta, isotonic, venn_abers; best chooses.",
            pattern="^(shift|platt|temperature|beta|isotonic|venn_abers|best)$",
        ),
    ] = "shift"
    seeds: Annotated[int, _help("Trainings that differ by chance alone, for the variance that a seed brings.")] = 3
    judged_days: Annotated[int, _help("Last labelled days, kept out of training, on which it is judged.")] = 28
    hour_costs: Annotated[float, _help("What an hour of training costs, in the unit of [model] costs.")] = 0.0


class Config(Record, frozen=True, kw_only=True):
    """All sections of headway.toml; `folder` is where the file lies and relative paths start."""

    project: ProjectSection = ProjectSection()
    data: DataSection = DataSection()
    personal: PersonalSection = PersonalSection()
    split: SplitSection = SplitSection()
    model: ModelSection = ModelSection()
    optimize: OptimizeSection = OptimizeSection()
    evaluate: EvaluateSection = EvaluateSection()
    cost: CostSection = CostSection()
    slo: SloSection = SloSection()
    policy: PolicySection = PolicySection()
    trust: TrustSection = TrustSection()
    serve: ServeSection = ServeSection()
    rollout: RolloutSection = RolloutSection()
    retrain: RetrainSection = RetrainSection()
    folder: str = "."

    def path(self, name: str) -> Path:
        """A path of the configuration: absolute, from the home folder, or relative to the project."""
        path = Path(name).expanduser()
        return path if path.is_absolute() else Path(self.folder) / path

    @property
    def state(self) -> Path:
        """The folder of the store."""
        return self.path(self.project.state)


SECTIONS: dict[str, type[Record]] = {
    name: field.type for name, field in ((f.name, f) for f in msgspec.structs.fields(Config)) if name != "folder"
}


def load(
    folder: Path = Path("."), *, environment: Mapping[str, str] = os.environ, flags: Mapping[str, str] | None = None
) -> Config:
    """The configuration of the project in `folder`; flags are `section.field` -> text.

    Raises ConfigError that names the file, the key and the nearest known one.
    """
    return resolve(folder, environment=environment, flags=flags)[0]


def resolve(
    folder: Path = Path("."), *, environment: Mapping[str, str] = os.environ, flags: Mapping[str, str] | None = None
) -> tuple[Config, dict[str, str]]:
    """The configuration, and for every field that is not a default, who set it: `file`, `environment` or `flag`."""
    file = folder / FILE
    values, origin = _read(file)
    for source, texts in (("environment", _from_environment(environment)), ("flag", _split(flags or {}))):
        for (section, name), text in texts.items():
            expect(section, name, where=f"{source} {section}.{name}")
            values.setdefault(section, {})[name] = _parse(section, name, text)
            origin[f"{section}.{name}"] = source
    try:
        return msgspec.convert({**values, "folder": str(folder)}, Config, strict=False), origin
    except msgspec.ValidationError as error:
        raise ConfigError(str(error), where=_setter(str(error), origin, file), mend="headway config") from error


def sources(
    setting: str,
    folder: Path = Path("."),
    *,
    environment: Mapping[str, str] = os.environ,
    flags: Mapping[str, str] | None = None,
) -> dict[str, object]:
    """What each source says of one setting (`section.field`), strongest first; one that says nothing is left out.

    Sources are `flag`, `environment`, `file` and `default`. Raises ConfigError for a setting that there is not.
    """
    section, _, name = setting.partition(".")
    expect(section, name, where=setting)
    said: dict[str, object] = {}
    for source, texts in (("flag", _split(flags or {})), ("environment", _from_environment(environment))):
        if (section, name) in texts:
            said[source] = _parse(section, name, texts[section, name])
    values, _ = _read(folder / FILE)
    if name in values.get(section, {}):
        said["file"] = values[section][name]
    return {**said, "default": getattr(SECTIONS[section](), name)}


def described(setting: str) -> str:
    """The line of help of a setting (`section.field`)."""
    section, _, name = setting.partition(".")
    kind = {field.name: field.type for field in msgspec.structs.fields(SECTIONS[section])}[name]
    help: str = get_args(kind)[1].description
    return help


def variable(setting: str) -> str:
    """The environment variable of a setting (`section.field`)."""
    return f"HEADWAY_{setting.replace('.', '_').upper()}"


def _setter(says: str, origin: Mapping[str, str], file: Path) -> str:
    """Who set the field that a message of msgspec (`... at `$.serve.port``) is about."""
    field = re.search(r"\$\.(\w+\.\w+)", says)
    source = origin.get(field[1], "file") if field else "file"
    return str(file) if field is None or source == "file" else f"{source} {field[1]}"


def _read(file: Path) -> tuple[dict[str, Any], dict[str, str]]:
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        mend = "go to the project's folder, or name it: --project FOLDER"
        raise ConfigError(f"no {FILE} here", where=str(file.parent.resolve()), mend=mend) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{FILE} is not TOML: {error}", where=str(file)) from error
    except OSError as error:
        raise ConfigError(f"{FILE} cannot be read: {error.strerror}", where=str(file)) from error
    for section, fields in values.items():
        if not isinstance(fields, dict):
            raise ConfigError(f"key '{section}' stands outside a section", where=str(file))
        for name in fields:
            expect(section, name, where=str(file))
    return values, {f"{section}.{name}": "file" for section, fields in values.items() for name in fields}


def without_password(text: str) -> str:
    """A text in which no URL shows its password.

    >>> without_password("postgresql://ada:secret@db.example/flights?password=secret")
    'postgresql://ada:***@db.example/flights?password=***'
    """
    text = re.sub(r"(://[^:@]*):.*@", r"\1:***@", text, flags=re.DOTALL)
    return re.sub(r"(?i)(password=)[^&\s]+", r"\1***", text)


def expect(section: str, name: str, *, where: str) -> None:
    """Raise ConfigError, with the nearest known setting, unless `section.name` is one."""
    known = [f"{s}.{field.name}" for s, kind in SECTIONS.items() for field in msgspec.structs.fields(kind)]
    if f"{section}.{name}" not in known:
        near = difflib.get_close_matches(f"{section}.{name}", known, 1, cutoff=0.5)
        raise ConfigError(
            f"unknown setting '{section}.{name}'", where=where, mend=f"nearest: {near[0]}" if near else "headway config"
        )


def _from_environment(environment: Mapping[str, str]) -> dict[tuple[str, str], str]:
    """`HEADWAY_SECTION_FIELD` of known sections; other HEADWAY_ variables are not settings."""
    found = {}
    for key, text in environment.items():
        parts = key.lower().split("_", 2)
        if len(parts) == 3 and parts[0] == "headway" and parts[1] in SECTIONS:
            found[parts[1], parts[2]] = text
    return found


def _split(flags: Mapping[str, str]) -> dict[tuple[str, str], str]:
    return {(section, name): text for key, text in flags.items() for section, _, name in [key.partition(".")]}


def _parse(section: str, name: str, text: str) -> object:
    """Text of a flag or variable: a TOML value where it is one, else itself."""
    kind = {field.name: field.type for field in msgspec.structs.fields(SECTIONS[section])}[name]
    if get_args(kind)[0] is str:
        return text
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
