"""A row that fails does not affect the other rows of its batch."""

from __future__ import annotations

import numpy as np
import pytest
from headway_echo import Echo
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from msgspec.structs import replace
from tests.batch.scoring import answer_plan
from tests.registry.releases import release

from headway.batch.columns import refuse_infinities
from headway.batch.scorer import Scorer
from headway.core.batch import Chunk
from headway.core.errors import EngineError
from headway.core.variant import Field, Signature

VALUES = [0.5, 1.0, -1.0, 1e160, np.inf, -np.inf, np.nan]


class Choosy(Echo):
    """Fails on a batch with a negative number, without the row at fault."""

    calls = 0

    def predict(self, rows: np.ndarray) -> np.ndarray:
        """The mean of each row."""
        self.calls += 1
        if (rows < 0).any():
            raise EngineError("a negative number")
        return super().predict(rows)


@pytest.mark.parametrize("bad", [[], [0], [5, 6], [99], list(range(100))])
def test_rows_that_fail_in_the_engine_have_errors_and_the_others_have_scores(bad):
    rows = np.arange(300.0).reshape(100, 3)
    rows[bad] = -1
    scores, faults = Scorer(release=release(), engine=Choosy(b"echo", {})).scores(rows)
    assert faults == dict.fromkeys(bad, "a negative number")
    assert np.array_equal(np.flatnonzero(np.isnan(scores[:, 0])), bad)
    assert np.array_equal(np.delete(scores[:, 0], bad), np.delete(rows.mean(axis=1), bad))


def test_a_row_that_the_models_library_refuses_has_an_error_and_the_others_are_one_call():
    engine, rows = Choosy(b"echo", {}), np.ones((100, 1))
    rows[[3, 99], 0] = np.nan, np.inf
    made = release()
    field = Field(name="x", refuses=("missing", "infinite"))
    refusing = replace(made, variant=replace(made.variant, signature=Signature(inputs=(field,))))
    scores, faults = Scorer(release=refusing, engine=engine).scores(rows)
    assert faults == {
        3: "column 'x' is missing (NaN): the model was fitted to refuse that",
        99: "column 'x' is inf, which is infinite: the model was fitted to refuse that",
    }
    assert np.array_equal(np.flatnonzero(np.isnan(scores[:, 0])), [3, 99]) and engine.calls == 1


class Voter(Echo):
    """Decides for the last class, whatever the scores are."""

    thresholds = ()

    def predict(self, rows: np.ndarray) -> np.ndarray:
        """The first class is always the most probable."""
        return np.tile([0.6, 0.3, 0.1], (len(rows), 1))

    def decide(self, rows: np.ndarray) -> np.ndarray:
        """The last class."""
        return np.full(len(rows), 2)


@pytest.mark.parametrize(("rule", "expected"), [("library", "c"), ("costs", "a")])
@pytest.mark.parametrize("refused", [set(), {1}])
def test_the_class_of_several_is_that_of_the_library(rule, expected, refused):
    variant = replace(
        release().variant, task="multiclass", signature=Signature(inputs=(Field(name="x"),), classes=("a", "b", "c"))
    )
    scorer = Scorer(release=replace(release(), variant=variant, threshold_rule=rule), engine=Voter(b"echo", {}))
    chunk = Chunk(start=0, end=3, columns=[[np.ones(3)]], passthrough={}, position=3, share=1.0)
    scores, _ = scorer.scores(chunk.rows())
    decided = scorer.answer(chunk, scores, refused)["decision"]
    assert decided.values == [None if row in refused else expected for row in range(3)]


class Tagger(Voter):
    """An engine with three labels a row, whose library gives others than the probabilities say."""

    def decide(self, rows: np.ndarray) -> np.ndarray:
        return np.tile([0, 1, 1], (len(rows), 1))


@pytest.mark.parametrize(("rule", "expected"), [("library", "b|c"), ("costs", "a")])
@pytest.mark.parametrize("refused", [set(), {1}])
def test_several_labels_of_a_row_are_one_string(rule, expected, refused):
    variant = replace(
        release().variant, task="multilabel", signature=Signature(inputs=(Field(name="x"),), classes=("a", "b", "c"))
    )
    scorer = Scorer(release=replace(release(), variant=variant, threshold_rule=rule), engine=Tagger(b"echo", {}))
    chunk = Chunk(start=0, end=3, columns=[[np.ones(3)]], passthrough={}, position=3, share=1.0)
    found = scorer.answer(chunk, scorer.scores(chunk.rows())[0], refused)
    assert found["decision"].values == [None if row in refused else expected for row in range(3)]
    assert found["probability.b"].values.tolist() == [0.3] * 3


class Column(Choosy):
    """The same engine, which reads rows in Fortran order."""

    reads_columns = True
    read_columns = False

    def predict(self, rows: np.ndarray) -> np.ndarray:
        """The mean of each row."""
        self.read_columns |= rows.flags.f_contiguous and not rows.flags.c_contiguous
        return super().predict(rows)


@given(
    st.integers(2, 40).flatmap(lambda n: arrays(np.float64, (3, n), elements=st.sampled_from(VALUES))),
    st.integers(0, 39),
    st.booleans(),
)
def test_an_engine_of_columns_gives_the_scores_refusals_and_errors_of_one_of_rows(cells, start, refuses):
    made, first = release(), start % cells.shape[1]
    fields = tuple(Field(name=name, refuses=("missing",) if refuses else ()) for name in "abc")
    made = replace(made, variant=replace(made.variant, signature=Signature(inputs=fields)))
    columns = [np.split(column, sorted({1, start, index})) for index, column in enumerate(cells)]
    chunk = Chunk(start=7, end=7 + cells.shape[1], columns=columns, passthrough={}, position=0, share=1.0)
    found = []
    for engine in (Choosy(b"echo", {}), by_column := Column(b"echo", {})):
        infinities, scores, faults = Scorer(release=made, engine=engine).score_batch(chunk, 7 + first, chunk.end)
        found.append((infinities, scores.tobytes(), dict(faults)))
    assert found[0] == found[1] and (by_column.read_columns or refuses or chunk.end - 7 - first == 1)
    expected = {(7 + row, "abc"[column]) for column, row in np.argwhere(np.isinf(cells)).tolist() if row >= first}
    assert {(refusal.row, refusal.column) for refusal in found[0][0]} == expected
    assert np.array_equal(chunk.rows(order="F"), cells.T, equal_nan=True) and chunk.rows().flags.c_contiguous


def test_rows_of_a_chunk_are_copied_whole_or_in_part_in_either_order():
    cells = np.arange(30_000.0).reshape(3, 10_000)
    columns = [np.split(column, cut) for column, cut in zip(cells, ([], [4_090], [1, 1, 5_000]), strict=True)]
    chunk = Chunk(start=50, end=10_050, columns=columns, passthrough={}, position=0, share=1.0)
    for start, stop in ((50, 10_050), (51, 4_200), (4_000, 9_000), (77, 77)):
        for order in ("C", "F"):
            rows = chunk.rows(start, stop, order=order)
            assert np.array_equal(rows, cells[:, start - 50 : stop - 50].T) and rows.flags[f"{order}_CONTIGUOUS"]
    assert np.array_equal(chunk.rows(), cells.T)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("others", [1.0, np.nan, -np.inf, 1e308])
def test_an_infinity_is_refused_whatever_the_other_values_are(others, order):
    rows = np.full((4, 3), others, order=order)
    rows[2, 1] = np.inf
    found = {(refusal.row, refusal.column) for refusal in refuse_infinities(rows, "abc", 10)}
    assert (12, "b") in found and len(found) == (12 if others == -np.inf else 1)
    assert not np.isinf(rows).any() and np.isnan(rows[2, 1])


@pytest.mark.parametrize("order", ["C", "F"])
def test_large_numbers_whose_sum_is_infinite_are_not_refused(order):
    rows = np.full((4, 3), 1e308, order=order)
    assert refuse_infinities(rows, "abc", 0) == [] and (rows == 1e308).all()


def test_a_batch_without_a_fault_is_one_call_of_the_engine():
    engine = Choosy(b"echo", {})
    Scorer(release=release(), engine=engine).scores(np.ones((1000, 3)))
    assert engine.calls == 1


@pytest.mark.parametrize("refused", [set(), {0}])
def test_a_release_with_an_answer_plan_names_who_answers_each_row(refused):
    plan = replace(answer_plan(), thresholds={"0": 0.9, "1": 0.8})
    scorer = Scorer(release=replace(release(), answers=plan, threshold=0.5), engine=Choosy(b"echo", {}))
    chunk = Chunk(start=0, end=3, columns=[[np.array([0.6, 0.9, 0.0])]] * 3, passthrough={}, position=3, share=1.0)
    found = scorer.answer(chunk, scorer.scores(chunk.rows())[0], refused)
    hidden = bool(refused)
    assert found["answer"].values == [None if hidden else "", "1", "0"]
    assert found["answered_by"].values == [None if hidden else "people", "model", "model"]
    assert found["reason"].values == [None if hidden else "low_confidence", "", ""]
    assert found["confidence"].values == pytest.approx([0.6, 0.9, 1.0])
    assert (found["confidence"].missing is not None) == hidden
