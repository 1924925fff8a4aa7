"""Parse the YAML of DVC with PyYAML; every scalar stays a string, so that a hash is never read as a number."""

from __future__ import annotations

import yaml

_LOADER = getattr(yaml, "CBaseLoader", yaml.BaseLoader)


def parse_yaml(text: str) -> object:
    """Parse YAML into mappings, lists and strings; raise ValueError if it is invalid."""
    try:
        return yaml.load(text, Loader=_LOADER)
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(" ".join(str(error).split())) from error
