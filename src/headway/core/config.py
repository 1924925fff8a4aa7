"""Configuration in headway.toml, environment variables and flags.

Precedence: flag > environment (`HEADWAY_SECTION_FIELD`) > file > default. Unknown keys are errors.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import msgspec

from headway.core.errors import ConfigError
from headway.core.record import Record
from headway.core.renamed import current_form, warn_renamed
from headway.core.sections import (
    AttackSection,
    CostSection,
    DataSection,
    EvaluateSection,
    ModelSection,
    OptimizeSection,
    PersonalSection,
    PolicySection,
    ProjectSection,
    ProvenanceSection,
    RetrainSection,
    RolloutSection,
    ServeSection,
    SloSection,
    SplitSection,
    TrustSection,
)

FILE = "headway.toml"


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
    except tomllib.TOMLDecodeError:
        return text
