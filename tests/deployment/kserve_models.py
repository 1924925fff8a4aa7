"""Read manifests with KServe's own models, in its environment; fails for a field that they do not know.

usage: kserve_models.py FILE
"""

from __future__ import annotations

import sys
from pathlib import Path

import yaml
from kserve import models
from kubernetes import client

KINDS = {"ServingRuntime": "V1alpha1ServingRuntime", "InferenceService": "V1beta1InferenceService"}


def read(value: object, kind: str, path: str) -> object:
    """Return a value as the model of its kind; exit where it has a field that the model does not have."""
    if kind.startswith("list["):
        return [read(item, kind[5:-1], f"{path}[{index}]") for index, item in enumerate(value)]
    model = getattr(models, kind, None) or getattr(client, kind, None)
    if model is None:
        return value
    fields = {name: attribute for attribute, name in model.attribute_map.items()}
    if unknown := sorted(value.keys() - fields.keys()):
        sys.exit(f"{path}.{unknown[0]} is not a field of {kind}, which has {', '.join(sorted(fields))}")
    kinds = {name: model.openapi_types[fields[name]] for name in value}
    return model(**{fields[name]: read(item, kinds[name], f"{path}.{name}") for name, item in value.items()})


for document in yaml.safe_load_all(Path(sys.argv[1]).read_text("utf-8")):
    sys.stdout.write(f"{type(read(document, KINDS[document['kind']], document['kind'])).__name__}\n")
