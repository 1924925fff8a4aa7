"""The rate limit of a key holds over all workers of a server."""

from __future__ import annotations

from collections import Counter

import pytest
from fleets import fleet
from running import project

from headway.serving.auth.keys import create_key
from headway.serving.settings.serve import ServeSection

pytestmark = pytest.mark.slow
ROW = {"inputs": [{"name": name, "shape": [1], "datatype": "FP64", "data": [1.0]} for name in "abc"]}


@pytest.mark.parametrize("workers", [2, 3])
def test_a_key_has_its_burst_once_over_all_workers_then_gets_a_retry_time(tmp_path, workers):
    settings = project(tmp_path)
    key = create_key(settings.path(settings[ServeSection].keys), "shop", ["predict"], per_s=0.001, burst=5)
    with fleet(tmp_path, workers=workers) as served:
        answers = [served.ask("/v2/models/flights/infer", ROW, key=key) for _ in range(60)]
    assert Counter(answer.status for answer in answers) == {200: 5, 429: 55}
    assert all(float(answer.headers["Retry-After"]) > 900 for answer in answers if answer.status == 429)
