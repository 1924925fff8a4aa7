"""Rankers and embeddings in Python: what their libraries fit, judged by the order of lists and by who is near whom."""

from __future__ import annotations

import catboost
import lightgbm
import numpy as np
import pytest
import xgboost
from onnx import TensorProto, helper, numpy_helper

import headway as hw
from headway.core.errors import ConfigError

pytestmark = pytest.mark.slow

LISTS, ROWS = 120, 12


def lists(seed: int):
    """Return queries of 12 rows with relevance 0 to 3, which depends on the first two columns."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(LISTS * ROWS, 4))
    utility = rows[:, 0] + rows[:, 1] + 0.5 * rng.normal(size=len(rows))
    return rows, np.digitize(utility, [0, 1, 2]).astype(int), np.repeat(np.arange(LISTS), ROWS)


def of_lightgbm(rows, relevance, query):
    ranker = lightgbm.LGBMRanker(n_estimators=20, num_leaves=6, n_jobs=1, verbose=-1)
    return ranker.fit(rows, relevance, group=[ROWS] * LISTS)


def of_xgboost(rows, relevance, query):
    return xgboost.XGBRanker(n_estimators=20, max_depth=3, n_jobs=1).fit(rows, relevance, qid=query)


def of_catboost(rows, relevance, query):
    ranker = catboost.CatBoostRanker(iterations=20, depth=3, thread_count=1, verbose=False, allow_writing_files=False)
    return ranker.fit(rows, relevance, group_id=query)


@pytest.mark.parametrize("fit", [of_lightgbm, of_xgboost, of_catboost])
def test_a_ranker_is_judged_by_the_order_within_queries(fit):
    rows, relevance, query = lists(1)
    found = hw.evaluate(fit(*lists(0)), rows, relevance, query_id=query)
    assert found["ndcg10"].n_groups == LISTS and found["ndcg10"].low > 0.7


@pytest.mark.long
def test_a_ranker_is_made_faster_and_orders_as_before():
    rows, relevance, query = lists(1)
    best = hw.optimize(of_lightgbm(*lists(0)), rows, relevance, query_id=query, transforms=["trees"])
    evidence = best.search.winner.evidence
    assert best.variant.task == "ranking" and best.verdict.answer == "pass"
    assert evidence.find("ndcg10.drop").high == evidence.find("decision_churn").value == 0


def test_a_truncated_ranker_ranks_worse():
    rows, relevance, query = lists(1)
    full = of_lightgbm(*lists(0))
    short = lightgbm.LGBMRanker(n_estimators=1, num_leaves=3, n_jobs=1, verbose=-1)
    found = hw.compare(full, short.fit(*lists(0)[:2], group=[ROWS] * LISTS), rows, relevance, query_id=query)
    assert found.verdict.answer == "fail" and found.evidence.find("ndcg10.drop").low > 0


def test_a_ranking_without_query_ids_is_rejected():
    rows, relevance, _ = lists(1)
    with pytest.raises(ConfigError, match="no query is declared for a ranking"):
        hw.optimize(of_lightgbm(*lists(0)), rows, relevance)


def test_an_embedding_is_judged_by_its_nearest_neighbors(tmp_path):
    rows, kind, query = lists(2)
    layer = numpy_helper.from_array(np.eye(4, 3, dtype=np.float32), "layer")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["rows", "layer"], ["vectors"])],
        "embedding",
        [helper.make_tensor_value_info("rows", TensorProto.FLOAT, [None, 4])],
        [helper.make_tensor_value_info("vectors", TensorProto.FLOAT, [None, 3])],
        [layer],
    )
    file = tmp_path / "model.onnx"
    file.write_bytes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9).SerializeToString()
    )
    found = hw.evaluate(str(file), rows, kind, groups=query, task="embedding")
    assert found["recall1"].n_groups == LISTS and 0 < found["recall1"].low < found["recall10"].value
