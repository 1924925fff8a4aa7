"""YAML as DVC writes it, by PyYAML: every scalar stays the text that it is, so that no hash is taken for a number."""

from __future__ import annotations

import yaml

_LOADER = getattr(yaml, "CBaseLoader", yaml.BaseLoader)


def parse_yaml(text: str) -> object:
    """Mappings, lists and texts; raises ValueError where the text is no YAML."""
    try:
        return yaml.load(text, Loader=_LOADER)
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(" ".join(str(error).split())) from error
