from __future__ import annotations

import numpy as np
import pytest
from tests.monitoring import rollouts

from headway.core.errors import DataError
from headway.monitoring.labeling.selection import next_to_label
from headway.storage import segments, traffic
from headway.storage.traffic import Label, save_labels

START_US = 1_580_000_000_000_000


@pytest.fixture
def project(tmp_path):
    """A project whose release is live."""
    opened = rollouts.project(tmp_path)
    rollouts.live(opened, rollouts.release())
    yield opened
    opened.state.close()
    opened.registry.state.close()


def log(project, scores: list[float], keys: list[str] | None = None) -> None:
    """Requests a minute apart, answered with these scores."""
    bundle = project.registry.resolve(f"{project.name}@live")
    count = len(scores)
    one = np.ones(count, dtype=np.int64)
    columns = dict.fromkeys(("request", "stage", "answered"), one)
    columns |= dict.fromkeys(("paired", "status", "latency_us"), one * 0)
    columns |= {f"in.{name}": np.linspace(0, 1, count) for name in bundle.release.variant.signature.names}
    answers = {"out.0": np.array(scores), "at_us": START_US + np.arange(count) * 60_000_000}
    named = {"key": keys or [f"k{index}" for index in range(count)]}
    segments.save(
        traffic.log_folder(project.config.state, project.name, bundle.digest), {**columns, **named, **answers}
    )


def test_the_most_uncertain_request_comes_first(project):
    log(project, [*[0.95] * 20, 0.5, *[0.9] * 20])
    first, *_ = next_to_label(project, 3)
    assert (first.key, first.doubt, first.at_us) == ("k20", 1.0, START_US + 20 * 60_000_000)


def test_requests_with_a_label_or_without_a_key_are_not_selected(project):
    log(project, [0.5] * 10, keys=["", *[f"k{index}" for index in range(1, 10)]])
    save_labels(project.config.state, "flights", [Label("k1", 1.0), Label("k2", 0.0)], who="ada")
    assert {request.key for request in next_to_label(project, 50)} <= {f"k{index}" for index in range(3, 10)}


def test_without_candidates_the_error_names_the_command_to_serve(project):
    with pytest.raises(DataError, match=r"no request with a key[\s\S]*headway serve flights@live"):
        next_to_label(project, 5)
