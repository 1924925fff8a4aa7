"""Configuration in headway.toml: one record per section; each setting has a type, a default and a help text.

Precedence: flag > environment (`HEADWAY_SECTION_FIELD`) > file > default. Unknown keys are errors.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, get_args

import msgspec
from msgspec import Meta

from headway.core.errors import ConfigError
from headway.core.record import FormerValues, Record, about
from headway.core.renamed import current_form, warn_renamed
from headway.core.sections.attack import AttackSection
from headway.core.sections.personal import PersonalSection
from headway.core.sections.provenance import ProvenanceSection
from headway.core.sections.retrain import RetrainSection
from headway.core.sections.rollout import RolloutSection
from headway.core.sections.serve import ServeSection
from headway.core.verdict import Rule

FILE = "headway.toml"


class ProjectSection(Record, frozen=True, kw_only=True):
    """Name and state folder of the project."""

    name: Annotated[str, about("Model name, used by releases and pointers.")] = "model"
    state: Annotated[str, about("Folder of releases, records and logs, relative to the project.")] = ".headway"


class DataSection(Record, frozen=True, kw_only=True):
    """Source of the data, and the role of each column."""

    former_names: ClassVar[Mapping[str, str]] = {
        "lists": "query_id",
        "people": "sensitive_features",
        "weight": "sample_weight",
    }

    source: Annotated[
        str,
        about("Parquet, CSV or Arrow file, a folder of them, a database URL, or module:function that returns a table."),
    ] = ""
    query: Annotated[str, about("SQL query that returns the table, for a database source.")] = ""
    missing: Annotated[tuple[str, ...], about("Strings that mean a missing value, such as NA.")] = ()
    contract: Annotated[
        str, about("File of the data contract: types, ranges and categories of the columns; optional.")
    ] = "contract.toml"
    task: Annotated[str, about("Task: binary, multiclass, regression, ranking or embedding.")] = "binary"
    target: Annotated[str, about("Column to predict; in a binary task, 1 is the positive class.")] = ""
    positive: Annotated[str, about("Value of the positive class of a binary target; empty: 1.")] = ""
    classes: Annotated[tuple[str, ...], about("Classes of a multiclass target, in order; empty: numbered from 0.")] = ()
    time: Annotated[str, about("Time column; the split into periods uses it.")] = ""
    decision: Annotated[
        str, about("Time of the prediction, such as `2h before departure`; empty: the time column.")
    ] = ""
    groups: Annotated[
        str, about("Column of groups of dependent rows, such as days; confidence intervals resample groups.")
    ] = ""
    query_id: Annotated[str, about("Column of the query whose rows are ranked together; empty: the groups column.")] = (
        ""
    )
    slices: Annotated[tuple[str, ...], about("Columns whose values are slices, each evaluated separately.")] = ()
    sensitive_features: Annotated[
        tuple[str, ...], about("Columns of groups of people, between which fairness gaps are measured.")
    ] = ()
    sample_weight: Annotated[str, about("Column of sample weights.")] = ""
    ignore: Annotated[tuple[str, ...], about("Columns that are not used.")] = ()
    key: Annotated[str, about("Column that identifies a row in the table and in its snapshot; not a feature.")] = ""
    snapshot: Annotated[
        str,
        about("Table as it was at the time of the decisions, a file or module:function; check D033 compares it."),
    ] = ""
    label_delay: Annotated[str, about("Delay between a row and its label: 1d, 12h, 30m; empty: none.")] = ""
    known: Annotated[
        dict[str, str], about("Time at which each column is known: request, outcome, or the name of a time column.")
    ] = {}

    @property
    def name(self) -> str:
        """Source without its password."""
        return without_password(self.source)


class SplitSection(Record, frozen=True, kw_only=True):
    """Periods of the time column, each [from, to): train for the model, validation for the search, test for the winner."""

    former_names: ClassVar[Mapping[str, str]] = {"choose": "validation"}

    train: Annotated[tuple[str, ...], about("Training period.")] = ()
    validation: Annotated[tuple[str, ...], about("Period on which the search evaluates variants, without limit.")] = ()
    test: Annotated[
        tuple[str, ...], about("Period on which the winner is evaluated; every evaluation is counted.")
    ] = ()
    live: Annotated[tuple[str, ...], about("Period after the release, replayed as traffic.")] = ()
    shares: Annotated[
        tuple[float, float, float],
        about(
            "Without periods: shares of the rows for train, validation and test, in order of time, without splitting groups."
        ),
    ] = (0.6, 0.2, 0.2)


class Costs(Record, frozen=True, kw_only=True):
    """Costs of a false positive and of a false negative, in the same unit."""

    former_names: ClassVar[Mapping[str, str]] = {"false_alarm": "false_positive", "miss": "false_negative"}

    false_positive: float = 1.0
    false_negative: float = 1.0


class ModelSection(Record, frozen=True, kw_only=True):
    """The baseline model."""

    former_names: ClassVar[Mapping[str, str]] = {"class_weights": "class_weight"}
    former_values: ClassVar[Mapping[str, FormerValues]] = {
        "class_weight": {"alike": "balanced", "as_they_come": "none"}
    }

    train: Annotated[str, about("module:function that takes the training table and returns a fitted model.")] = ""
    file: Annotated[str, about("Model file instead of a training function: .txt (LightGBM) or .onnx.")] = ""
    class_weight: Annotated[
        str,
        Meta(
            description="Class weights in training: none, or balanced (inversely proportional to class frequency).",
            pattern="^(none|balanced)$",
        ),
    ] = "none"
    costs: Annotated[
        Costs,
        about("Costs of a false positive and a false negative; the decision threshold minimizes the expected cost."),
    ] = Costs()


class OptimizeSection(Record, frozen=True, kw_only=True):
    """The search for a faster variant."""

    objective: Annotated[str, about("Measure to minimize among feasible variants.")] = "latency.one_row"
    transforms: Annotated[tuple[str, ...], about("Transforms to combine, in this order; empty: all.")] = ()
    families: Annotated[
        tuple[str, ...], about("Model families to train as further candidates: forest, histgb, lightgbm, logistic.")
    ] = ()
    budget_s: Annotated[float, about("Time limit of the search on the validation period, seconds; 0: no limit.")] = 0.0


class EvaluateSection(Record, frozen=True, kw_only=True):
    """Full evaluation of the winner of a search."""

    budget_s: Annotated[float, Meta(description="Time limit of one audit, seconds.", gt=0)] = 60.0
    rate_per_s: Annotated[
        float, Meta(description="Mean request rate of the open-loop test in the audit `load`, requests/s.", gt=0)
    ] = 200.0
    together: Annotated[
        tuple[tuple[str, ...], ...], about("Sets of features that the audit `ablation` removes together.")
    ] = ()


class CostSection(Record, frozen=True, kw_only=True):
    """Cost of the serving machine."""

    core_hour: Annotated[
        float,
        Meta(description="Price of one core for an hour (machine price / cores); 0: unknown.", ge=0),
    ] = 0.0
    currency: Annotated[str, about("Currency of `core_hour`.")] = "USD"


class SloSection(Record, frozen=True, kw_only=True):
    """Service-level objectives."""

    p99_ms: Annotated[float, about("Objective for the 99th percentile of request latency, ms.")] = 50.0
    availability: Annotated[
        float, about("Objective for the share of requests neither refused nor failed by a server error, in (0, 1).")
    ] = 0.999


class PolicySection(Record, frozen=True, kw_only=True):
    """Rules for releases, rollouts, monitoring and retraining, and the minimum sizes of slices."""

    release: Annotated[tuple[Rule, ...], about("Rules that a variant must pass to be released.")] = ()
    canary: Annotated[
        tuple[Rule, ...],
        about("Rules that a canary must pass against live; empty: from the release's verdict and [slo]."),
    ] = ()
    watch: Annotated[
        tuple[Rule, ...],
        about(
            "Rules on live in each period: on its quality, on its change since the evaluation (`.change`), or on cost."
        ),
    ] = ()
    retrain: Annotated[
        tuple[Rule, ...],
        about(
            "Rules that a retrained model must pass against live; empty: `brier.drop` at most 0, relative release rules."
        ),
    ] = ()
    contract_margin: Annotated[
        float, Meta(description="Tolerance beyond the observed range of a column, as a share of that range.", ge=0)
    ] = 0.1
    slice_rows: Annotated[int, about("Minimum rows of a slice to be judged.")] = 1000
    slice_groups: Annotated[int, about("Minimum groups of a slice to be judged, and of any confidence interval.")] = 20


class TrustSection(Record, frozen=True, kw_only=True):
    """Signing key of the publisher, and public keys that a server trusts; both files lie outside the store."""

    publisher_key: Annotated[str, about("File of the private key that signs releases; keep it off servers.")] = (
        "~/.config/headway/publisher.pem"
    )
    trusted_keys: Annotated[
        str, about("File of trusted public keys, one per line; only releases that they signed are loaded.")
    ] = "trusted_keys.txt"


class Config(Record, frozen=True, kw_only=True):
    """All sections of headway.toml; relative paths start at `folder`, the folder of the file."""

    project: ProjectSection = ProjectSection()
    data: DataSection = DataSection()
    personal: PersonalSection = PersonalSection()
    provenance: ProvenanceSection = ProvenanceSection()
    split: SplitSection = SplitSection()
    model: ModelSection = ModelSection()
    optimize: OptimizeSection = OptimizeSection()
    evaluate: EvaluateSection = EvaluateSection()
    attack: AttackSection = AttackSection()
    cost: CostSection = CostSection()
    slo: SloSection = SloSection()
    policy: PolicySection = PolicySection()
    trust: TrustSection = TrustSection()
    serve: ServeSection = ServeSection()
    rollout: RolloutSection = RolloutSection()
    retrain: RetrainSection = RetrainSection()
    folder: str = "."

    def path(self, name: str) -> Path:
        """Resolve a path of the configuration: absolute, from the home folder, or relative to the project."""
        path = Path(name).expanduser()
        return path if path.is_absolute() else Path(self.folder) / path

    @property
    def state(self) -> Path:
        """Folder of the store."""
        return self.path(self.project.state)


SECTIONS: dict[str, type[Record]] = {
    name: field.type for name, field in ((f.name, f) for f in msgspec.structs.fields(Config)) if name != "folder"
}


def load(
    folder: Path = Path("."), *, environment: Mapping[str, str] = os.environ, flags: Mapping[str, str] | None = None
) -> Config:
    """Load the configuration of the project in `folder`; flags map `section.field` to text.

    Raises ConfigError, which names the file, the unknown setting and the nearest known one.
    """
    return resolve(folder, environment=environment, flags=flags)[0]


def resolve(
    folder: Path = Path("."), *, environment: Mapping[str, str] = os.environ, flags: Mapping[str, str] | None = None
) -> tuple[Config, dict[str, str]]:
    """Load the configuration, with the source of every field that is not a default: `file`, `environment` or `flag`."""
    file = folder / FILE
    values, origin = _read(file)
    for source, texts in (("environment", _from_environment(environment)), ("flag", _split(flags or {}))):
        for section, fields in _parsed(source, texts).items():
            for name, value in fields.items():
                values.setdefault(section, {})[name] = value
                origin[f"{section}.{name}"] = source
    try:
        return msgspec.convert({**values, "folder": str(folder)}, Config, strict=False), origin
    except msgspec.ValidationError as error:
        raise ConfigError(str(error), where=_setter(str(error), origin, file), hint="headway config") from error


def sources(
    setting: str,
    folder: Path = Path("."),
    *,
    environment: Mapping[str, str] = os.environ,
    flags: Mapping[str, str] | None = None,
) -> dict[str, object]:
    """Return the value that each source gives to a setting (`section.field`), strongest first.

    Sources are `flag`, `environment`, `file` and `default`; one without a value is left out. Raises ConfigError for an
    unknown setting.
    """
    section, name = _current_setting(*setting.partition(".")[::2], where="setting")
    expect(section, name, where=setting)
    found: dict[str, object] = {}
    for source, texts in (("flag", _split(flags or {})), ("environment", _from_environment(environment))):
        values = _parsed(source, texts)
        if name in values.get(section, {}):
            found[source] = values[section][name]
    values, _ = _read(folder / FILE)
    if name in values.get(section, {}):
        found["file"] = values[section][name]
    return {**found, "default": getattr(SECTIONS[section](), name)}


def described(setting: str) -> str:
    """Return the help text of a setting (`section.field`)."""
    section, _, name = setting.partition(".")
    kind = {field.name: field.type for field in msgspec.structs.fields(SECTIONS[section])}[name]
    help: str = get_args(kind)[1].description
    return help


def variable(setting: str) -> str:
    """Return the environment variable of a setting (`section.field`)."""
    return f"HEADWAY_{setting.replace('.', '_').upper()}"


def _setter(message: str, origin: Mapping[str, str], file: Path) -> str:
    """Return the source of the field that a message of msgspec (`... at `$.serve.port``) names."""
    field = re.search(r"\$\.(\w+\.\w+)", message)
    source = origin.get(field[1], "file") if field else "file"
    return str(file) if field is None or source == "file" else f"{source} {field[1]}"


def _read(file: Path) -> tuple[dict[str, Any], dict[str, str]]:
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        hint = "go to the project's folder, or name it: --project FOLDER"
        raise ConfigError(f"no {FILE} here", where=str(file.parent.resolve()), hint=hint) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{FILE} is not TOML: {error}", where=str(file)) from error
    except OSError as error:
        raise ConfigError(f"{FILE} cannot be read: {error.strerror}", where=str(file)) from error
    for section, fields in values.items():
        if not isinstance(fields, dict):
            raise ConfigError(f"key '{section}' stands outside a section", where=str(file))
    values = _current(values, str(file))
    for section, fields in values.items():
        for name in fields:
            expect(section, name, where=str(file))
    return values, {f"{section}.{name}": "file" for section, fields in values.items() for name in fields}


def without_password(text: str) -> str:
    """Replace the password of every URL in a text.

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
            f"unknown setting '{section}.{name}'", where=where, hint=f"nearest: {near[0]}" if near else "headway config"
        )


def _from_environment(environment: Mapping[str, str]) -> dict[tuple[str, str], str]:
    """Return `HEADWAY_SECTION_FIELD` of known sections; other HEADWAY_ variables are not settings."""
    found = {}
    for key, text in environment.items():
        parts = key.lower().split("_", 2)
        if len(parts) == 3 and parts[0] == "headway" and parts[1] in SECTIONS:
            found[parts[1], parts[2]] = text
    return found


def _current(values: dict[str, Any], source: str) -> dict[str, Any]:
    """Convert old names and values of settings to current ones, each with a warning; `source` is where they were set."""

    def notice(where: str, old: str, new: str) -> None:
        warn_renamed(f"{source}, {where}" if where else source, old, new)

    current: dict[str, Any] = current_form(values, Config, notice)
    return current


def _current_setting(section: str, name: str, *, where: str) -> tuple[str, str]:
    """Return the current section and name of a setting."""
    fields = _current({section: {name: None}}, where)
    section = next(iter(fields))
    return section, next(iter(fields[section]))


def _parsed(source: str, texts: Mapping[tuple[str, str], str]) -> dict[str, dict[str, Any]]:
    """Parse the settings of flags or environment variables, under their current names."""
    settings: dict[str, dict[str, Any]] = {}
    for (section, name), text in texts.items():
        settings.setdefault(section, {})[name] = text
    settings = _current(settings, source)
    for section, fields in settings.items():
        for name, text in fields.items():
            expect(section, name, where=f"{source} {section}.{name}")
            fields[name] = _parse(section, name, text)
    return _current(settings, source)


def _split(flags: Mapping[str, str]) -> dict[tuple[str, str], str]:
    return {(section, name): text for key, text in flags.items() for section, _, name in [key.partition(".")]}


def _parse(section: str, name: str, text: str) -> object:
    """Parse the text of a flag or variable as a TOML value, or return it unchanged."""
    kind = {field.name: field.type for field in msgspec.structs.fields(SECTIONS[section])}[name]
    if get_args(kind)[0] is str:
        return text
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
