from __future__ import annotations

import tomllib

import pytest

from headway.data.roles import known_line


@pytest.mark.parametrize("name", ["hour", "mean area", 'said "so"', "größe", "a.b", ""])
def test_the_line_is_toml_for_any_name(name):
    assert tomllib.loads(known_line(name, "request").replace("] ", "]\n", 1)) == {"data": {"known": {name: "request"}}}
