from __future__ import annotations

import numpy as np
import pytest
from tests.monitoring import rollouts

from headway.data.settings.data import DataSection
from headway.monitoring.labeling.agreement import labeling_records
from headway.monitoring.labeling.delays import kaplan_meier_quantile, label_delays
from headway.storage import segments, traffic

DAY_US, START_US = 86_400_000_000, 1_580_000_000_000_000


@pytest.fixture
def project(tmp_path):
    """A project whose release is live, whose labels are declared to take a day."""
    opened = rollouts.project(tmp_path)
    rollouts.live(opened, rollouts.release())
    yield opened
    opened.state.close()
    opened.registry.state.close()


def log(project, days: int, waits_us: list[int | None]) -> None:
    """So many requests a day, each with a label after its wait, or none."""
    keys = [f"{day}-{index}" for day in range(days) for index in range(len(waits_us))]
    at = np.array([START_US + day * DAY_US for day in range(days) for _ in waits_us])
    digest = project.registry.resolve("flights@live").digest
    count = len(keys)
    one = np.ones(count, dtype=np.int64)
    columns = dict.fromkeys(("request", "stage", "answered"), one)
    columns |= dict.fromkeys(("paired", "status", "latency_us"), one * 0)
    segments.save(traffic.log_folder(project.config.state, "flights", digest), {**columns, "key": keys, "at_us": at})
    waits = waits_us * days
    known = [index for index in range(count) if waits[index] is not None]
    labels = {
        "key": [keys[index] for index in known],
        "label": np.ones(len(known)),
        "at_us": np.array([at[index] + waits[index] for index in known]),
        "who": ["ada"] * len(known),
    }
    segments.save(traffic.labels_folder(project.config.state, "flights"), labels)


def declared(project, delay: str):
    config = config_of(project.config, delay)
    return type(project)(config=config, blobs=project.blobs, state=project.state, registry=project.registry)


def config_of(config, delay):
    section = DataSection(target="late", label_delay=delay)
    return config.having(section)


def test_quantiles_count_requests_without_a_label(project):
    log(project, 40, [3_600_000_000] * 8 + [2 * DAY_US, None])
    found = label_delays(declared(project, "1d"), now_us=START_US + 60 * DAY_US)
    assert (found.n_requests, found.n_labeled) == (400, 360)
    assert [quantile.value for quantile in found.quantiles[:2]] == [3600.0, 2 * 86400.0]
    assert found.quantiles[2].value > 1e12


def test_the_late_share_has_an_interval_over_days(project):
    log(project, 40, [3_600_000_000] * 8 + [2 * DAY_US, None])
    late = labeling_records(declared(project, "1d")).delays().late
    assert late.value == pytest.approx(0.2)
    assert (late.n_rows, late.n_groups) == (400, 40)


@pytest.mark.slow
def test_a_request_younger_than_the_delay_is_not_late(project):
    log(project, 2, [None])
    found = label_delays(declared(project, "1d"), now_us=START_US + DAY_US // 2)
    assert found.late is None


def test_delays_are_none_without_requests(project):
    assert label_delays(project) is None


def test_delays_are_none_without_a_live_release(tmp_path):
    opened = rollouts.project(tmp_path)
    assert label_delays(opened) is None
    opened.state.close()
    opened.registry.state.close()


def test_the_median_is_reached_although_some_labels_are_missing():
    waited = np.array([1.0, 2.0, 5.0, 5.0])
    assert kaplan_meier_quantile(waited, np.array([True, True, False, False]), 0.5) == 2.0
    assert kaplan_meier_quantile(waited, np.array([True, True, False, False]), 0.9) == np.inf
