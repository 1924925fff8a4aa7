"""A rule on a measure that nothing measures is refused before a search begins, with the nearest name."""

from __future__ import annotations

import pytest

from headway.api.in_memory_project import require_known_measures
from headway.core import plugins
from headway.core.errors import ConfigError


def test_a_misspelled_measure_is_refused_with_the_nearest_name():
    with pytest.raises(
        ConfigError, match=r"no measure is called 'acuracy\.drop'\n  at: policy\n  try: nearest: accuracy"
    ):
        require_known_measures(["roc_auc.drop", "acuracy.drop"], where="policy")
    with pytest.raises(ConfigError, match="no measure is called 'qqq'\n  at: policy\n  try: headway evaluate"):
        require_known_measures(["qqq"], where="policy")


def test_a_measure_of_another_package_is_accepted(monkeypatch):
    monkeypatch.setattr(plugins, "names", lambda kind: [*plugins.own(kind), "pinball"])
    require_known_measures(["pinball.p90", "qqq"], where="policy")
    with pytest.raises(ConfigError, match="nearest: roc_auc"):
        require_known_measures(["roc_acu"], where="policy")
