"""Read a schema of another tool, by a file or by `module:name`, as a contract."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from headway.core.errors import ConfigError
from headway.core.plugins import load_object
from headway.data.contract.file import validate_contract
from headway.data.schemas import dataframely, frictionless, pandera
from headway.data.schemas.said import ImportedSchema

MEND = "a table schema (JSON), a schema of pandera (module:name, JSON or YAML), or one of dataframely (module:name)"


def import_schema(reference: str, folder: Path) -> ImportedSchema:
    """The contract that a schema says, with what of it a contract cannot say.

    `module:name` is a schema, a class, or a function that gives one: it runs the project's own code. Raises ConfigError
    for what is no schema, and PluginError where its library is absent.
    """
    path = folder / reference
    if path.suffix == ".json":
        said = _of_json(_json(path))
    elif path.suffix in (".yaml", ".yml"):
        said = pandera.contract_of(load_object("pandera.polars:DataFrameSchema", folder).from_yaml(_text(path)))
    elif ":" in reference:
        said = _of_object(load_object(reference, folder), reference)
    else:
        raise ConfigError(f"'{reference}' is no schema that is known", where=reference, hint=MEND)
    validate_contract(said.contract)
    return said


def _of_json(content: Any) -> ImportedSchema:
    if isinstance(content, dict) and content.get("resources"):
        content = content["resources"][0].get("schema")
    if isinstance(content, dict) and isinstance(content.get("fields"), list):
        return frictionless.contract_of(content)
    if isinstance(content, dict) and isinstance(content.get("columns"), dict):
        return pandera.contract_of_json(content)
    raise ConfigError("the JSON has neither fields nor columns", hint=MEND)


def _of_object(schema: Any, reference: str) -> ImportedSchema:
    if dataframely.is_schema(schema):
        return dataframely.contract_of(schema)
    if pandera.is_schema(schema):
        return pandera.contract_of(schema)
    if callable(schema) and not isinstance(schema, type):
        return _of_object(schema(), reference)
    raise ConfigError(f"'{reference}' is a {type(schema).__name__}, and no schema", where=reference, hint=MEND)


def _json(path: Path) -> Any:
    try:
        return json.loads(_text(path))
    except ValueError as error:
        raise ConfigError(f"'{path.name}' is not JSON: {error}", where=str(path)) from error


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"'{path.name}' cannot be read: {error.strerror}", where=str(path)) from error
