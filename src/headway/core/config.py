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
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar, get_args

import msgspec

from headway.core import plugins
from headway.core.errors import ConfigError, HeadwayError, PluginError
from headway.core.renamed import Notice, current_form, warn_renamed
from headway.core.settings.project import ProjectSection
from headway.core.settings.store import StoreSection
from headway.core.settings_section import SettingsSection
from headway.core.urls import without_password

FILE = "headway.toml"
_ALERT, _ALERT_RULES = "alert", "alert.rules"
Section = TypeVar("Section", bound=SettingsSection)


class Config:
    """What headway.toml, variables and flags set: `config[ServeSection]` is one section, with defaults if it is absent.

    Parameters
    ----------
    *sections : SettingsSection
        The sections that do not have their defaults.
    folder : str
        Folder of the file, at which relative paths start.
    """

    __slots__ = ("_sections", "folder")

    def __init__(self, *sections: SettingsSection, folder: str = ".") -> None:
        self.folder = folder
        self._sections = {section.table: section for section in sections}

    def __getitem__(self, kind: type[Section]) -> Section:
        found = self._sections.get(kind.table)
        return found if isinstance(found, kind) else kind()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Config) and (self.folder, self._sections) == (other.folder, other._sections)

    def having(self, *sections: SettingsSection) -> Config:
        """Return this configuration with other sections in place of its own."""
        return Config(
            *{**self._sections, **{section.table: section for section in sections}}.values(), folder=self.folder
        )

    def plain(self) -> dict[str, Any]:
        """Return the folder and the sections as plain data, for another process."""
        return {"folder": self.folder, "sections": msgspec.to_builtins(self._sections)}

    @classmethod
    def from_plain(cls, data: Mapping[str, Any]) -> Config:
        """Return the configuration of plain data, as `plain` returns it."""
        sections = (_converted(table, fields) for table, fields in data["sections"].items())
        return cls(*sections, folder=data["folder"])

    def path(self, name: str) -> Path:
        """Resolve a path of the configuration: absolute, from the home folder, or relative to the project."""
        path = Path(name).expanduser()
        return path if path.is_absolute() else Path(self.folder) / path

    @property
    def state(self) -> Path:
        """Folder of the store."""
        return self.path(self[ProjectSection].state)


def sections() -> dict[str, type[SettingsSection]]:
    """Return every section by its table; one of another package that cannot be imported is left out."""
    usable = dict[str, type[SettingsSection]]()
    for table in _tables():
        with suppress(HeadwayError):
            usable[table] = section_of(table)
    return usable


def _tables() -> list[str]:
    return plugins.names("settings")


def section_of(table: str) -> type[SettingsSection]:
    """Return the class of a section; raises PluginError if no installed package has it, or if it cannot be used."""
    with plugins.guarded("settings", table):
        section = plugins.load("settings", table)
    if not (isinstance(section, type) and issubclass(section, SettingsSection)):
        raise PluginError(f"the plug-in settings {table!r} is not a subclass of SettingsSection")
    return section


def _is_table(name: str) -> bool:
    """Return whether there is a section of that name; other packages are looked at only if it is not headway's own."""
    return name in plugins.own("settings") or name in _tables()


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
    converted = []
    for table, fields in values.items():
        try:
            converted.append(_converted(table, fields))
        except msgspec.ValidationError as error:
            raise _invalid_value(_with_key(str(error), values), origin, file) from error
    config = Config(*converted, folder=str(folder))
    for role in StoreSection.secrets:
        setting = f"store.{role}"
        source = origin.get(setting, "file")
        where = file_and_line(file, setting) if source == "file" else f"{source} {setting}"
        expect_no_password(getattr(config[StoreSection], role), role, where=where)
    return config, origin


def _converted(table: str, fields: object) -> SettingsSection:
    """Return a section from its fields; raises ValidationError with the path from the file's root."""
    try:
        section: SettingsSection = msgspec.convert(fields, section_of(table), strict=False)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `$")
        raise msgspec.ValidationError(f"{message} - at `$.{table}{path or '`'}") from error
    return section


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
    return {**found, "default": getattr(section_of(section)(), name)}


def effective(folder: Path = Path(".")) -> dict[str, tuple[object, str]]:
    """Return every setting (`section.field`) of a project as plain data without passwords, and its source."""
    found, origin = resolve(folder)
    return {
        f"{table}.{name}": (masked(value), origin.get(f"{table}.{name}", "default"))
        for table, section in sections().items()
        for name, value in msgspec.to_builtins(found[section]).items()
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
    help: str = get_args(_types_of(section_of(section))[name])[1].description
    return help


@functools.cache
def _types_of(section: type[SettingsSection]) -> dict[str, Any]:
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
            _converted(section, {name: {key: value}})
        except msgspec.ValidationError:
            return message.replace("[...]", f".{key}", 1)
    return message


def _invalid_value(message: str, origin: Mapping[str, str], file: Path) -> ConfigError:
    """Return the error of a value that has the wrong type or range; msgspec names it (`... - at `$.serve.port``)."""
    what, _, path = message.partition(" - at `$.")
    path = path.rstrip("`")
    if field := re.match(r"(\w+): ", what):  # a check of the section itself, which names the field
        path, what = f"{path}.{field[1]}", what[field.end() :]
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
    kinds = _types_of(section_of(section)) if _is_table(section) else {}
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
    return _is_table(section) and name in _types_of(section_of(section))


def expect(section: str, name: str, *, where: str) -> None:
    """Raise ConfigError, with the nearest known setting, unless `section.name` is one."""
    if not is_setting(section, name):
        known = [f"{table}.{field}" for table, kind in sections().items() for field in _types_of(kind)]
        near = difflib.get_close_matches(f"{section}.{name}", known, 1, cutoff=0.5)
        raise ConfigError(
            f"unknown setting '{section}.{name}'", where=where, hint=f"nearest: {near[0]}" if near else "headway config"
        )


def _from_environment(environment: Mapping[str, str]) -> dict[tuple[str, str], str]:
    """Return `HEADWAY_SECTION_FIELD` of known sections; other HEADWAY_ variables are not settings."""
    found = {}
    for key, text in environment.items():
        parts = key.lower().split("_", 2)
        if len(parts) == 3 and parts[0] == "headway" and _is_table(parts[1]) and not _is_secret(key, parts[1]):
            found[parts[1], parts[2]] = text
    return found


def _is_secret(variable: str, table: str) -> bool:
    """Return whether an environment variable holds a secret of a section, directly or as the name of a file."""
    name = variable.removesuffix("_FILE")
    return any(re.fullmatch(pattern, name) for pattern in section_of(table).secret_variables)


def _current(values: dict[str, Any], source: str) -> dict[str, Any]:
    """Convert old names and values of settings to current ones, each with a warning.

    `source` is where they were set.
    """

    def notice(where: str, old: str, new: str) -> None:
        warn_renamed(f"{source}, {where}" if where else source, old, new)

    return current_settings(values, notice)


def current_settings(values: Mapping[str, Any], notice: Notice | None = None) -> dict[str, Any]:
    """Return the fields of sections under the names and values that the sections have today."""
    return {
        table: current_form(fields, section_of(table), notice, where=table) if _is_table(table) else fields
        for table, fields in values.items()
    }


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
    kind = _types_of(section_of(section))[name]
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
