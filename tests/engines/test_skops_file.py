"""A skops file is data: its classes are compared with a list, and its trees are checked before use."""

from __future__ import annotations

import io
import json
import re
import sys
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import sklearn
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix
from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC, NuSVC
from sklearn.tree import DecisionTreeClassifier
from skops import io as skops
from tests.engines.boosters import table, targets
from tests.engines.estimators import dataset, frame, logistic

from headway.core.contracts import ModelFile
from headway.core.errors import EngineError, NotApplicable
from headway.data.matrix import dataset_signature
from headway.engines.estimators import skops_file
from headway.engines.sklearn import Sklearn, version_hint

ROWS = np.nan_to_num(table()[:, :3])
LABELS = targets(table(), "binary").astype(int)


def changed(content: bytes, change: Callable[[dict[str, bytes]], None]) -> bytes:
    """A skops file with its entries changed in place."""
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        entries = {name: file.read(name) for name in file.namelist()}
    change(entries)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, entry in entries.items():
            file.writestr(name, entry)
    return buffer.getvalue()


def with_nodes(field: str, value: int) -> Callable[[dict[str, bytes]], None]:
    """Set a field of the first node in every array that has it."""

    def change(entries: dict[str, bytes]) -> None:
        for name in entries:
            array = np.load(io.BytesIO(entries[name])) if name.endswith(".npy") else np.zeros(1)
            if field in (array.dtype.names or ()):
                array[0][field] = value
                buffer = io.BytesIO()
                np.save(buffer, array)
                entries[name] = buffer.getvalue()

    return change


TREES = [
    DecisionTreeClassifier(max_depth=3),
    RandomForestClassifier(2, max_depth=3),
    GradientBoostingClassifier(n_estimators=2),
]


@pytest.mark.slow
@pytest.mark.parametrize("model", TREES, ids=lambda model: type(model).__name__)
@pytest.mark.parametrize(
    ("field", "value"), [("left_child", 10**6), ("right_child", 0), ("left_child", -7), ("feature", 3), ("feature", -9)]
)
def test_a_tree_with_a_node_or_column_out_of_range_is_refused(model: object, field: str, value: int) -> None:
    content = skops_file.write_skops(model.fit(ROWS, LABELS))
    with pytest.raises(EngineError, match="a tree"):
        Sklearn(changed(content, with_nodes(field, value)), {})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("field", "value"), [("left", 10**6), ("right", 0), ("feature_idx", 3), ("feature_idx", -1), ("bitset_idx", 10**6)]
)
def test_a_histogram_tree_with_an_index_out_of_range_is_refused(field: str, value: int) -> None:
    model = HistGradientBoostingClassifier(max_iter=2, categorical_features=[0]).fit(ROWS, LABELS)
    both = [with_nodes(field, value), with_nodes("is_categorical", 1)]

    def change(entries: dict[str, bytes]) -> None:
        for alter in both[: 1 + (field == "bitset_idx")]:
            alter(entries)

    with pytest.raises(EngineError, match="a tree"):
        Sklearn(changed(skops_file.write_skops(model), change), {})


def test_a_tree_of_another_width_than_its_forest_is_refused() -> None:
    forest = RandomForestClassifier(2, max_depth=3).fit(ROWS, LABELS)
    forest.estimators_[0] = DecisionTreeClassifier(max_depth=3).fit(table()[:, [0, 2, 3, 3]], LABELS)
    with pytest.raises(EngineError, match=r"a tree of \d+ nodes and 4 columns does not fit its model"):
        Sklearn(skops_file.write_skops(forest), {})


@pytest.mark.parametrize("algorithm", ["kd_tree", "ball_tree"])
def test_a_neighbour_tree_with_an_index_out_of_range_is_refused(algorithm: str) -> None:
    content = skops_file.write_skops(KNeighborsClassifier(algorithm=algorithm).fit(ROWS, LABELS))
    assert len(Sklearn(content, {}).predict(ROWS)) == len(ROWS)
    with pytest.raises(EngineError, match="a neighbour tree"):
        Sklearn(changed(content, with_nodes("idx_end", 10**6)), {})


@pytest.mark.parametrize("model", [KNeighborsClassifier(2), SVC(), NuSVC(nu=0.2)])
def test_a_model_that_holds_a_sparse_matrix_is_stored(model: Any) -> None:
    fitted = model.fit(csr_matrix(ROWS), LABELS)
    content = skops_file.write_skops(fitted)
    assert content == skops_file.write_skops(fitted)
    assert np.array_equal(skops_file.read_skops(content).model.predict(csr_matrix(ROWS)), fitted.predict(ROWS))


def test_a_sparse_matrix_with_an_index_out_of_range_is_refused() -> None:
    model = KNeighborsClassifier(2).fit(csr_matrix(ROWS), LABELS)
    model._fit_X.indices[0] = 10**6
    with pytest.raises(EngineError, match="a sparse matrix that points outside its data"):
        skops_file.read_skops(skops_file.write_skops(model))


def asking_for(module: str, name: str) -> Callable[[dict[str, bytes]], None]:
    """A file that requests another class instead of its own."""

    def change(entries: dict[str, bytes]) -> None:
        schema = json.loads(entries["schema.json"])
        entries["schema.json"] = json.dumps({**schema, "__module__": module, "__class__": name}).encode()

    return change


@pytest.mark.parametrize(
    ("module", "name"), [("os", "system"), ("subprocess", "Popen"), ("sklearn.utils._testing", "os"), ("a.b", "C")]
)
def test_a_file_with_an_unlisted_class_is_refused_by_name(module: str, name: str) -> None:
    content = changed(skops_file.write_skops(logistic()), asking_for(module, name))
    with pytest.raises(EngineError, match=f"the model holds {module}.{name}, which a data-only file cannot hold"):
        Sklearn(content, {})


def test_a_file_written_by_skops_is_imported() -> None:
    model = LogisticRegression().fit(ROWS, LABELS)
    adopted = Sklearn.import_model(ModelFile(content=skops.dumps(model), suffix=".skops"))
    assert np.array_equal(Sklearn(adopted.content, {}).predict(ROWS)[:, 0], model.predict_proba(ROWS)[:, 1])
    assert skops.loads(adopted.content).coef_.tolist() == model.coef_.tolist()


@pytest.mark.parametrize(
    "file", [ModelFile(content=b"PK", suffix=".zip"), ModelFile(content=b"no zip", suffix=".skops")]
)
def test_a_file_of_another_kind_does_not_apply(file: ModelFile) -> None:
    with pytest.raises(NotApplicable):
        Sklearn.import_model(file)


def of_release(release: str) -> bytes:
    def change(entries: dict[str, bytes]) -> None:
        here = json.dumps(sklearn.__version__).encode()
        text = entries["schema.json"].replace(json.dumps(here.decode()).encode(), json.dumps(f'"{release}"').encode())
        assert text != entries["schema.json"]
        entries["schema.json"] = text

    return changed(skops_file.write_skops(LogisticRegression().fit(ROWS, LABELS)), change)


def test_a_model_of_another_version_is_refused_with_both_versions_and_a_hint() -> None:
    with pytest.raises(EngineError, match=r"made by scikit-learn 1\.2\.1, and \d") as refusal:
        Sklearn.import_model(ModelFile(content=of_release("1.2.1"), suffix=".skops"))
    assert "pip install" not in refusal.value.hint or sys.version_info.minor <= 11
    assert refusal.value.hint.startswith(("pip install scikit-learn==1.2.1", "scikit-learn 1.2.1 has no wheel"))


@pytest.mark.parametrize(
    ("made_by", "python", "hint"),
    [
        ("1.1.1", 13, r"1\.1\.1 has no wheel for Python 3\.13: fit the model again here, or open it with Python 3\.10"),
        ("0.22", 11, r"open it with Python 3\.9"),
        ("1.5.0", 12, r"^pip install scikit-learn==1\.5\.0$"),
        ("9.0.1", 14, r"^pip install scikit-learn==9\.0\.1$"),
    ],
)
def test_the_hint_for_another_version_can_be_followed_on_this_python(made_by: str, python: int, hint: str) -> None:
    assert re.search(hint, version_hint(made_by, python=python))


def test_a_release_of_another_version_opens_without_a_warning() -> None:
    assert len(Sklearn(of_release("1.2.1"), {}).predict(ROWS)) == len(ROWS)


def test_a_model_of_another_patch_version_is_imported() -> None:
    near = ".".join([*sklearn.__version__.split(".")[:2], "999"])
    assert Sklearn.import_model(ModelFile(content=of_release(near), suffix=".skops")).task == "binary"


TOKENS = [b"", b"null", b"true", b"-1", b"0", b"99999999", b"1e999", b'"x"', b"[]", b"{}", b"\xff\xff", b"builtins"]
CHANGE = st.tuples(st.integers(0, 99), st.floats(0, 1, exclude_max=True), st.integers(0, 9), st.sampled_from(TOKENS))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # numbers that no training gives overflow
@settings(max_examples=600, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(which=st.integers(0, 3), changes=st.lists(CHANGE, min_size=1, max_size=3))
def test_altered_entries_are_refused_or_answer(
    capfd: pytest.CaptureFixture[str], which: int, changes: list[tuple[int, float, int, bytes]]
) -> None:
    def change(entries: dict[str, bytes]) -> None:
        for number, share, length, new in changes:
            name = sorted(entries)[-1 if number < 50 else number % len(entries)]
            at = int(share * len(entries[name]))
            entries[name] = entries[name][:at] + new + entries[name][at + length :]

    try:
        engine = Sklearn(changed(CONTENTS[which], change), {})
        assert len(engine.predict(np.zeros((2, engine._width)))) == 2
    except EngineError as refusal:
        assert refusal.what
    assert capfd.readouterr() == ("", "")


CONTENTS = [
    skops_file.write_skops(LogisticRegression().fit(ROWS, LABELS)),
    skops_file.write_skops(RandomForestClassifier(2, max_depth=2).fit(ROWS, LABELS)),
    skops_file.write_skops(HistGradientBoostingClassifier(max_iter=2, categorical_features=[0]).fit(ROWS, LABELS)),
    Sklearn.bind(skops_file.write_skops(logistic()), dataset_signature(dataset(frame())))[0],
]
