"""Configuration in headway.toml, environment variables and flags.

Precedence: flag > environment (`HEADWAY_SECTION_FIELD`) > file > default. Unknown keys are errors.
"""

from __future__ import annotations

import difflib
import functools
import os
import re
import tomllib
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, get_args

import msgspec

from headway.core.errors import ConfigError
from headway.core.record import Record
from headway.core.renamed import current_form, warn_renamed
from headway.core.sections import (
    AlertSection,
    AnswerSection,
    AttackSection,
    ComputeSection,
    CostSection,
    DataSection,
    EvaluateSection,
    FeaturesSection,
    FleetSection,
    ModelSection,
    OidcSection,
    OptimizeSection,
    PersonalSection,
    PolicySection,
    ProjectSection,
    ProvenanceSection,
    RecordSection,
    RetrainSection,
    RolloutSection,
    ScheduleSection,
    ServeSection,
    SloSection,
    SplitSection,
    StoreSection,
    SupportSection,
    ThreatsSection,
    TrustSection,
    UiSection,
    without_password,
)

FILE = "headway.toml"
_ALERT, _ALERT_RULES = "alert", "alert.rules"
SECRET_VARIABLES = re.compile(
    r"HEADWAY_STORE_(FEED|ONLINE)_PASSWORD(_FILE)?"
    r"|HEADWAY_ALERT_[A-Z0-9_]+_(URL|TOKEN|PASSWORD)(_FILE)?"
    r"|HEADWAY_ANSWER_REMOTE_KEY(_FILE)?"
    r"|HEADWAY_SUPPORT_(IMAP_PASSWORD|SMTP_PASSWORD|WEBHOOK_SECRET|API_KEY)(_FILE)?"
)
"""Variables with secrets, which have no setting: a secret is never written in a file or a flag."""


class Config(Record, frozen=True, kw_only=True):
    """All sections of headway.toml; relative paths start at `folder`, the folder of the file."""

    project: ProjectSection = ProjectSection()
    store: StoreSection = StoreSection()
    compute: ComputeSection = ComputeSection()
    data: DataSection = DataSection()
    features: FeaturesSection = FeaturesSection()
    personal: PersonalSection = PersonalSection()
    provenance: ProvenanceSection = ProvenanceSection()
    record: RecordSection = RecordSection()
    split: SplitSection = SplitSection()
    model: ModelSection = ModelSection()
    optimize: OptimizeSection = OptimizeSection()
    evaluate: EvaluateSection = EvaluateSection()
    attack: AttackSection = AttackSection()
    cost: CostSection = CostSection()
    slo: SloSection = SloSection()
    policy: PolicySection = PolicySection()
    trust: TrustSection = TrustSection()
    threats: ThreatsSection = ThreatsSection()
    fleet: FleetSection = FleetSection()
    answer: AnswerSection = AnswerSection()
    support: SupportSection = SupportSection()
    serve: ServeSection = ServeSection()
    oidc: OidcSection = OidcSection()
    rollout: RolloutSection = RolloutSection()
    retrain: RetrainSection = RetrainSection()
    ui: UiSection = UiSection()
    schedule: ScheduleSection = ScheduleSection()
    alert: AlertSection = AlertSection()
    folder: str = "."

    def path(self, name: str) -> Path:
        """Resolve a path of the configuration: absolute, from the home folder, or relative to the project."""
        path = Path(name).expanduser()
        return path if path.is_absolute() else Path(self.folder) / path

    @property
    def max_log_age(self) -> timedelta | None:
        """Age at which log, labels and quarantine are deleted; None without a retention, and during a legal hold."""
        retention = self.personal.retention
        return parse_age(retention) if retention and not self.record.legal_hold else None

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
        config = msgspec.convert({**values, "folder": str(folder)}, Config, strict=False)
    except msgspec.ValidationError as error:
        raise _invalid_value(_with_key(str(error), values), origin, file) from error
    for role in StoreSection.secrets:
        setting = f"store.{role}"
        source = origin.get(setting, "file")
        where = file_and_line(file, setting) if source == "file" else f"{source} {setting}"
        expect_no_password(getattr(config.store, role), role, where=where)
    return config, origin


def expect_no_password(address: str, role: str, *, where: str) -> None:
    """Raise ConfigError if the address of a store holds a password; the hint names where it belongs."""
    if without_password(address) != address:
        raise ConfigError(
            f"the address of the store for {role} holds a password, which others would read: "
            f"{without_password(address)}",
            where=where,
            hint=f"remove it from the address; it is read from {StoreSection.secrets[role]}",
        )


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


def effective(folder: Path = Path(".")) -> dict[str, tuple[object, str]]:
    """Return every setting (`section.field`) of a project as plain data without passwords, and its source."""
    found, origin = resolve(folder)
    return {
        f"{section}.{name}": (masked(value), origin.get(f"{section}.{name}", "default"))
        for section in SECTIONS
        for name, value in msgspec.to_builtins(getattr(found, section)).items()
    }


def masked(value: object) -> object:
    """Return plain data with the passwords of its addresses replaced, and the path of a `url`: a webhook's is a secret.

    >>> masked({"urls": ["redis://:secret@cache.example"], "url": "https://hooks.example/T0/secret"})
    {'urls': ['redis://:***@cache.example'], 'url': 'https://hooks.example/***'}
    """
    if isinstance(value, str):
        return without_password(value)
    if isinstance(value, dict):
        shown = {key: masked(part) for key, part in value.items()}
        return shown | {"url": re.sub(r"(://[^/]*/).+", r"\1***", str(shown["url"]))} if "url" in shown else shown
    return [masked(part) for part in value] if isinstance(value, list | tuple) else value


def described(setting: str) -> str:
    """Return the help text of a setting (`section.field`)."""
    section, _, name = setting.partition(".")
    help: str = get_args(_types_of(SECTIONS[section])[name])[1].description
    return help


@functools.cache
def _types_of(section: type[Record]) -> dict[str, Any]:
    """Return the type of each field of a section; finding them takes milliseconds."""
    return {field.name: field.type for field in msgspec.structs.fields(section)}


def variable(setting: str) -> str:
    """Return the environment variable of a setting (`section.field`)."""
    return f"HEADWAY_{setting.replace('.', '_').upper()}"


def _with_key(message: str, values: Mapping[str, Any]) -> str:
    """Return a message of msgspec with the key of the wrong value, where it says `[...]` of a table."""
    section, _, name = message.partition("$.")[2].partition("[...]")[0].partition(".")
    entries = values.get(section, {}).get(name)
    for key, value in entries.items() if "[...]" in message and isinstance(entries, dict) else ():
        try:
            msgspec.convert({section: {name: {key: value}}}, Config, strict=False)
        except msgspec.ValidationError:
            return message.replace("[...]", f".{key}", 1)
    return message


def _invalid_value(message: str, origin: Mapping[str, str], file: Path) -> ConfigError:
    """Return the error of a value that has the wrong type or range; msgspec names it (`... - at `$.serve.port``)."""
    what, _, path = message.partition(" - at `$.")
    path = path.rstrip("`")
    setting = ".".join(path.partition("[")[0].split(".")[:2])
    unknown = re.search(r"unknown field `(\w+)`", what)
    source = origin.get(setting, "file")
    path = path.replace(_ALERT_RULES, _ALERT, 1)
    written = file_and_line(file, f"{path}.{unknown[1]}" if unknown else path)
    hint = f"headway config --why {setting}" if "." in setting else "headway config"
    if unknown and (near := _nearest_field(setting, unknown[1])):
        hint = f"nearest: {near}"
    where = written if source == "file" else f"{source} {setting}"
    return ConfigError(f"{path or FILE}: {what[:1].lower()}{what[1:]}", where=where, hint=hint)


def _nearest_field(setting: str, unknown: str) -> str:
    """Return the field of the tables within a setting, such as the rules of a policy, that is nearest to a name."""
    section, _, name = setting.partition(".")
    kinds = (
        {field.name: field.type for field in msgspec.structs.fields(SECTIONS[section])} if section in SECTIONS else {}
    )
    pending = [kinds.get(name)]
    while pending:
        kind = pending.pop()
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
            fields = [field.encode_name for field in msgspec.structs.fields(kind)]
            return (difflib.get_close_matches(unknown, fields, 1, cutoff=0.5) or [""])[0]
        pending += get_args(kind)
    return ""


_NAME = r"""(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')"""
_DOTTED = rf"({_NAME}(?:\s*\.\s*{_NAME})*)"
_TABLE = re.compile(rf"\s*(\[{{1,2}})\s*{_DOTTED}\s*\]{{1,2}}\s*(?:#.*)?$")
_KEY = re.compile(rf"\s*{_DOTTED}\s*=")


def line_of(text: str, path: str) -> int:
    """Return the line, from 1, of a TOML text that sets `path`, else that of the nearest table around it; 0 for none.

    >>> line_of('[serve]\\nport = 1\\n[[policy.release]]\\nmost = 1', "policy.release[0].most")
    4
    """
    lines: dict[str, int] = {}
    counts: dict[str, int] = {}
    table = ""
    for number, line in enumerate(text.splitlines(), 1):
        if header := _TABLE.match(line):
            table = _plain_key(header[2])
            if header[1] == "[[":
                counts[table] = counts.get(table, -1) + 1
                table = f"{table}.{counts[table]}"
            lines.setdefault(table, number)
        elif key := _KEY.match(line):
            lines.setdefault(f"{table}.{_plain_key(key[1])}".lstrip("."), number)
    wanted = re.sub(r"\[(\d+|\.\.\.)\]", r".\1", path)
    while wanted not in lines and "." in wanted:
        wanted = wanted.rpartition(".")[0]
    return lines.get(wanted, 0)


def _plain_key(key: str) -> str:
    """Return a TOML key without quotes and spaces."""
    return ".".join(part.strip().strip("\"'") for part in key.split("."))


def file_and_line(file: Path, path: str) -> str:
    """Return the file with the line on which a setting is written, if that is found."""
    try:
        line = line_of(file.read_text(encoding="utf-8"), path)
    except (OSError, UnicodeDecodeError):
        line = 0
    return f"{file}:{line}" if line else str(file)


def read_toml(file: Path) -> dict[str, Any]:
    """Return the tables of a TOML file.

    Raises ConfigError if it is not TOML in UTF-8, or more than Python reads: thousands of digits or of levels. An
    OSError is left to the caller.
    """
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file.name} is not UTF-8", where=str(file), hint="save it as UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        raise _syntax_error(file, error) from error
    except (ValueError, RecursionError) as error:
        why = "it is nested too deeply" if isinstance(error, RecursionError) else "a number has too many digits"
        raise ConfigError(f"{file.name} cannot be read: {why}", where=str(file)) from error


def _syntax_error(file: Path, error: tomllib.TOMLDecodeError) -> ConfigError:
    """Return the error of a text that is not TOML, with its line and the key on that line."""
    message, _, at = str(error).rpartition(" (at ")
    found = re.search(r"line (\d+), column (\d+)", at)
    lines = file.read_text(encoding="utf-8").splitlines()
    number = int(found[1]) if found else len(lines)
    line = lines[number - 1] if number <= len(lines) else ""
    key = _KEY.match(line)
    subject = f" in the value of '{_plain_key(key[1])}'" if key else f" at {line.strip()!r}" if line.strip() else ""
    column = f", column {found[2]}" if found else ""
    hint = f'strings are quoted: {_plain_key(key[1])} = "..."' if key and message == "Invalid value" else ""
    return ConfigError(
        f"{file.name} is not TOML: {message or error}{subject}, line {number}{column}",
        where=f"{file}:{number}",
        hint=hint,
    )


def _read(file: Path) -> tuple[dict[str, Any], dict[str, str]]:
    try:
        values = read_toml(file)
    except (FileNotFoundError, NotADirectoryError) as error:
        hint = "go to the project's folder, or name it: --project FOLDER"
        raise ConfigError(f"no {FILE} here", where=str(file.parent.resolve()), hint=hint) from error
    except OSError as error:
        raise ConfigError(f"{FILE} cannot be read: {error.strerror}", where=str(file)) from error
    if isinstance(values.get(_ALERT), list):  # [[alert]]
        values[_ALERT] = {"rules": values[_ALERT]}
    for section, fields in values.items():
        if not isinstance(fields, dict):
            raise ConfigError(f"key '{section}' stands outside a section", where=file_and_line(file, section))
    values = _current(values, str(file))
    for section, fields in values.items():
        for name in fields:
            if not is_setting(section, name):
                expect(section, name, where=file_and_line(file, f"{section}.{name}"))
    return values, {f"{section}.{name}": "file" for section, fields in values.items() for name in fields}


def is_setting(section: str, name: str) -> bool:
    """Return whether `section.name` is a known setting."""
    return section in SECTIONS and any(field.name == name for field in msgspec.structs.fields(SECTIONS[section]))


def expect(section: str, name: str, *, where: str) -> None:
    """Raise ConfigError, with the nearest known setting, unless `section.name` is one."""
    if not is_setting(section, name):
        known = [f"{s}.{field.name}" for s, kind in SECTIONS.items() for field in msgspec.structs.fields(kind)]
        near = difflib.get_close_matches(f"{section}.{name}", known, 1, cutoff=0.5)
        raise ConfigError(
            f"unknown setting '{section}.{name}'", where=where, hint=f"nearest: {near[0]}" if near else "headway config"
        )


def _from_environment(environment: Mapping[str, str]) -> dict[tuple[str, str], str]:
    """Return `HEADWAY_SECTION_FIELD` of known sections; other HEADWAY_ variables are not settings."""
    found = {}
    for key, text in environment.items():
        if SECRET_VARIABLES.fullmatch(key):
            continue
        parts = key.lower().split("_", 2)
        if len(parts) == 3 and parts[0] == "headway" and parts[1] in SECTIONS:
            found[parts[1], parts[2]] = text
    return found


def _current(values: dict[str, Any], source: str) -> dict[str, Any]:
    """Convert old names and values of settings to current ones, each with a warning.

    `source` is where they were set.
    """

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
    except (ValueError, RecursionError):
        return text


_AGE = re.compile(r"([1-9]\d*)([mhd])")
_AGE_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


def parse_age(text: str, *, where: str = "[personal] retention") -> timedelta:
    """Parse an age such as `90d`, `12h` or `30m`; raise ConfigError if it is invalid.

    >>> parse_age("12h")
    datetime.timedelta(seconds=43200)
    """
    found = _AGE.fullmatch(text)
    if not found:
        raise ConfigError(f"{text!r} is not a duration", where=where, hint="90d, 12h or 30m")
    try:
        return timedelta(**{_AGE_UNITS[found[2]]: int(found[1])})
    except OverflowError as error:
        raise ConfigError(f"{text!r} is too long a duration", where=where, hint="90d") from error
