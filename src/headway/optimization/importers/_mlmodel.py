"""Parse the YAML of an MLmodel file with PyYAML, which comes with MLflow; tags that make objects are refused."""

from __future__ import annotations

import yaml

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def parse(text: str) -> object:
    """Parse YAML into mappings, lists, strings and numbers; raise ValueError if it is invalid."""
    try:
        return yaml.load(text, Loader=_LOADER)
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(" ".join(str(error).split())) from error
