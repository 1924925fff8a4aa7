"""headway.toml: one record per section, each field with its type, default, unit and a line of help.

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
    """The project itself."""

    name: Annotated[str, about("Name of the model; releases and pointers carry it.")] = "model"
    state: Annotated[str, about("Folder of the store, relative to the project.")] = ".headway"


class DataSection(Record, frozen=True, kw_only=True):
    """Source of the table, and the role of each column."""

    former_names: ClassVar[Mapping[str, str]] = {
        "lists": "query_id",
        "people": "sensitive_features",
        "weight": "sample_weight",
    }

    source: Annotated[
        str, about("A parquet, csv or arrow file, a folder of them, a database URL, or module:function giving a table.")
    ] = ""
    query: Annotated[str, about("What a database is asked, in SQL: it gives the table.")] = ""
    missing: Annotated[tuple[str, ...], about("Texts that mean a missing value, such as NA.")] = ()
    contract: Annotated[str, about("File of what each column may be, if there is one.")] = "contract.toml"
    task: Annotated[str, about("binary, multiclass, regression, ranking or embedding.")] = "binary"
    target: Annotated[str, about("The column to predict; for binary, 1 is the positive class.")] = ""
    positive: Annotated[str, about("The value of a binary target that is the positive class, where it is not 1.")] = ""
    classes: Annotated[
        tuple[str, ...], about("The classes of a multiclass target in order, where they are not numbered from 0.")
    ] = ()
    time: Annotated[str, about("The column that orders rows in time; periods are cut by it.")] = ""
    decision: Annotated[str, about("When the prediction is needed, in words; what is known later is no feature.")] = ""
    groups: Annotated[str, about("Rows with one value of this column share fate; every interval resamples by it.")] = ""
    query_id: Annotated[str, about("Rows with one value of it are what a ranking puts in order; empty: groups.")] = ""
    slices: Annotated[tuple[str, ...], about("Columns whose values are judged one by one.")] = ()
    sensitive_features: Annotated[
        tuple[str, ...], about("Columns whose values are groups of people, between whom gaps are measured.")
    ] = ()
    sample_weight: Annotated[str, about("Column of row weights.")] = ""
    ignore: Annotated[tuple[str, ...], about("Columns that are neither a role nor a feature.")] = ()
    key: Annotated[str, about("Column that names a row, the same in the table and in its snapshot; no feature.")] = ""
    snapshot: Annotated[
        str,
        about("The table as it was when decisions were due: a file or module:function; D033 compares it."),
    ] = ""
    label_delay: Annotated[str, about("How long after the row its label arrives: 1d, 12h, 30m.")] = ""
    known: Annotated[
        dict[str, str], about("When each column is known: request, outcome, or the name of a time column.")
    ] = {}

    @property
    def name(self) -> str:
        """The source without its password."""
        return without_password(self.source)


class SplitSection(Record, frozen=True, kw_only=True):
    """Periods of the time column, each [from, to): train for the model, validation for the search, test for the winner."""

    former_names: ClassVar[Mapping[str, str]] = {"choose": "validation"}

    train: Annotated[tuple[str, ...], about("Period the model is trained on.")] = ()
    validation: Annotated[tuple[str, ...], about("Period the search may look at as often as it likes.")] = ()
    test: Annotated[tuple[str, ...], about("Period on which the winner is judged; every look is counted.")] = ()
    live: Annotated[tuple[str, ...], about("Period after release, replayed as traffic.")] = ()
    shares: Annotated[
        tuple[float, float, float],
        about(
            "Without periods: shares of the rows for train, validation and test, in order of time, groups kept whole."
        ),
    ] = (0.6, 0.2, 0.2)


class Costs(Record, frozen=True, kw_only=True):
    """Costs of the two kinds of wrong decision, in any one unit."""

    former_names: ClassVar[Mapping[str, str]] = {"false_alarm": "false_positive", "miss": "false_negative"}

    false_positive: float = 1.0
    false_negative: float = 1.0


class ModelSection(Record, frozen=True, kw_only=True):
    """The baseline model."""

    former_names: ClassVar[Mapping[str, str]] = {"class_weights": "class_weight"}
    former_values: ClassVar[Mapping[str, FormerValues]] = {
        "class_weight": {"alike": "balanced", "as_they_come": "none"}
    }

    train: Annotated[str, about("module:function that takes a training table and gives a fitted model.")] = ""
    file: Annotated[str, about("A model file instead: .txt (LightGBM) or .onnx.")] = ""
    class_weight: Annotated[
        str,
        Meta(
            description="none, or balanced: classes count alike in training, however rare one is.",
            pattern="^(none|balanced)$",
        ),
    ] = "none"
    costs: Annotated[
        Costs, about("What a false_positive and a miss cost; the decision threshold is chosen from them.")
    ] = Costs()


class OptimizeSection(Record, frozen=True, kw_only=True):
    """The search for a faster variant."""

    objective: Annotated[str, about("Measurement to minimise among feasible variants.")] = "latency.one_row"
    transforms: Annotated[tuple[str, ...], about("Transforms to combine, in this order; empty means all.")] = ()
    families: Annotated[
        tuple[str, ...], about("Families of models to train beside the model: forest, histgb, lightgbm, logistic.")
    ] = ()
    budget_s: Annotated[
        float, about("Longest time that the search may look at the validation period, seconds; 0 sets no end.")
    ] = 0.0


class EvaluateSection(Record, frozen=True, kw_only=True):
    """The full evaluation of what is to be released."""

    budget_s: Annotated[float, Meta(description="Longest time that one audit may take, seconds.", gt=0)] = 60.0
    rate_per_s: Annotated[
        float, Meta(description="Requests a second, on average, of the open loops of the audit `load`.", gt=0)
    ] = 200.0
    together: Annotated[
        tuple[tuple[str, ...], ...], about("Features that the audit `ablation` leaves out as one, a list each.")
    ] = ()


class CostSection(Record, frozen=True, kw_only=True):
    """Cost of the serving machine."""

    core_hour: Annotated[
        float,
        Meta(description="What an hour of one core costs: the price of a machine over its cores; 0: unknown.", ge=0),
    ] = 0.0
    currency: Annotated[str, about("The currency of that price.")] = "USD"


class SloSection(Record, frozen=True, kw_only=True):
    """Service-level objectives."""

    p99_ms: Annotated[float, about("99th percentile of the latency of a request, ms.")] = 50.0
    availability: Annotated[float, about("Share of requests answered right, in (0, 1).")] = 0.999


class PolicySection(Record, frozen=True, kw_only=True):
    """Rules of the judge."""

    release: Annotated[tuple[Rule, ...], about("Rules a variant must meet to be released.")] = ()
    canary: Annotated[
        tuple[Rule, ...], about("Rules a release must meet beside live; empty takes those of the release and the slo.")
    ] = ()
    watch: Annotated[
        tuple[Rule, ...],
        about(
            "Rules that live must meet in each period, on its quality, on `.change` since it was judged, or on cost."
        ),
    ] = ()
    retrain: Annotated[
        tuple[Rule, ...],
        about("Rules that a retrained release must meet against live; empty: relative ones of release, brier.drop 0."),
    ] = ()
    contract_margin: Annotated[
        float, Meta(description="Share of a column's range by which a value may be beyond what was seen.", ge=0)
    ] = 0.1
    slice_rows: Annotated[int, about("Rows that a slice needs to be judged.")] = 1000
    slice_groups: Annotated[int, about("Groups that a slice needs to be judged; also the least for any interval.")] = 20


class TrustSection(Record, frozen=True, kw_only=True):
    """Keys: who may publish, and whom a server trusts; both files lie outside the store."""

    publisher_key: Annotated[str, about("File of the private key that signs releases; never on a server.")] = (
        "~/.config/headway/publisher.pem"
    )
    trusted_keys: Annotated[str, about("File of public keys whose releases are loaded, a line each.")] = (
        "trusted_keys.txt"
    )


class Config(Record, frozen=True, kw_only=True):
    """All sections of headway.toml; `folder` is where the file lies, and relative paths start there."""

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
        """The folder of the store."""
        return self.path(self.project.state)


SECTIONS: dict[str, type[Record]] = {
    name: field.type for name, field in ((f.name, f) for f in msgspec.structs.fields(Config)) if name != "folder"
}


def load(
    folder: Path = Path("."), *, environment: Mapping[str, str] = os.environ, flags: Mapping[str, str] | None = None
) -> Config:
    """Load the configuration of the project in `folder`; flags map `section.field` to text.

    Raises ConfigError, which names the file, the key and the nearest known one.
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
    said: dict[str, object] = {}
    for source, texts in (("flag", _split(flags or {})), ("environment", _from_environment(environment))):
        values = _parsed(source, texts)
        if name in values.get(section, {}):
            said[source] = values[section][name]
    values, _ = _read(folder / FILE)
    if name in values.get(section, {}):
        said["file"] = values[section][name]
    return {**said, "default": getattr(SECTIONS[section](), name)}


def described(setting: str) -> str:
    """Return the line of help of a setting (`section.field`)."""
    section, _, name = setting.partition(".")
    kind = {field.name: field.type for field in msgspec.structs.fields(SECTIONS[section])}[name]
    help: str = get_args(kind)[1].description
    return help


def variable(setting: str) -> str:
    """Return the environment variable of a setting (`section.field`)."""
    return f"HEADWAY_{setting.replace('.', '_').upper()}"


def _setter(message: str, origin: Mapping[str, str], file: Path) -> str:
    """Return who set the field that a message of msgspec (`... at `$.serve.port``) is about."""
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
    """Bring settings to today's names and values, with a warning for each old one; `source` is who set them."""

    def notice(where: str, old: str, new: str) -> None:
        warn_renamed(f"{source}, {where}" if where else source, old, new)

    current: dict[str, Any] = current_form(values, Config, notice)
    return current


def _current_setting(section: str, name: str, *, where: str) -> tuple[str, str]:
    """Return today's section and name of a setting."""
    fields = _current({section: {name: None}}, where)
    section = next(iter(fields))
    return section, next(iter(fields[section]))


def _parsed(source: str, texts: Mapping[tuple[str, str], str]) -> dict[str, dict[str, Any]]:
    """Parse what flags or variables set, under today's names."""
    given: dict[str, dict[str, Any]] = {}
    for (section, name), text in texts.items():
        given.setdefault(section, {})[name] = text
    given = _current(given, source)
    for section, fields in given.items():
        for name, text in fields.items():
            expect(section, name, where=f"{source} {section}.{name}")
            fields[name] = _parse(section, name, text)
    return _current(given, source)


def _split(flags: Mapping[str, str]) -> dict[tuple[str, str], str]:
    return {(section, name): text for key, text in flags.items() for section, _, name in [key.partition(".")]}


def _parse(section: str, name: str, text: str) -> object:
    """Parse the text of a flag or variable as a TOML value, or return it as it is."""
    kind = {field.name: field.type for field in msgspec.structs.fields(SECTIONS[section])}[name]
    if get_args(kind)[0] is str:
        return text
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
