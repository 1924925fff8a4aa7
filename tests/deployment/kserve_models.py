"""Read manifests with KServe's own models, in its environment; print for each file its classes, or what is wrong.

usage: kserve_models.py FILE ...
"""

from __future__ import annotations

import sys
from pathlib import Path

import yaml
from kserve import models
from kubernetes import client

KINDS = {"ServingRuntime": "V1alpha1ServingRuntime", "InferenceService": "V1beta1InferenceService"}
PLAIN = {"str": str, "int": int, "bool": bool, "float": float}


class Wrong(Exception):
    """A field that a model does not have, or a value that it does not take, with its path."""


def read(value: object, kind: str, path: str) -> object:
    """Return a value as the model of its kind; raise Wrong where they differ."""
    if kind.startswith("list["):
        expect(value, list, path)
        return [read(item, kind[5:-1], f"{path}[{index}]") for index, item in enumerate(value)]
    if kind in PLAIN:
        expect(value, PLAIN[kind], path)
        return value
    model = getattr(models, kind, None) or getattr(client, kind, None)
    if model is None:
        return value
    expect(value, dict, path)
    fields = {name: attribute for attribute, name in model.attribute_map.items()}
    if unknown := sorted(value.keys() - fields.keys()):
        raise Wrong(f"{path}.{unknown[0]}: not a field of {kind}, which has {', '.join(sorted(fields))}")
    kinds = {name: model.openapi_types[fields[name]] for name in value}
    inner = {fields[name]: read(item, kinds[name], f"{path}.{name}") for name, item in value.items()}
    try:
        return model(**inner)
    except ValueError as error:  # a required field is missing
        raise Wrong(f"{path}: {error}") from error


def expect(value: object, kind: type, path: str) -> None:
    """Raise Wrong unless a value has exactly this type."""
    if type(value) is not kind:
        raise Wrong(f"{path}: {value!r} is not of type {kind.__name__}")


def read_file(file: str) -> str:
    """Return the classes that read the documents of a file, or what is wrong."""
    try:
        documents = list(yaml.safe_load_all(Path(file).read_text("utf-8")))
        return " ".join(type(read(each, KINDS[each["kind"]], each["kind"])).__name__ for each in documents)
    except Wrong as wrong:
        return " ".join(str(wrong).split())


for file in sys.argv[1:]:
    sys.stdout.write(f"{read_file(file)}\n")
