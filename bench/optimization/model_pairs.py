"""Pairs of a model and real rows for benchmarks of the search: tables, texts and sparse rows, small, with fixed seeds.

Texts are paragraphs of the documentation in scikit-learn's code, labeled by their package; sparse rows count their
words.
"""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import sklearn
from catboost import CatBoostClassifier, CatBoostRegressor
from lightgbm import LGBMClassifier, LGBMRegressor
from numpy.typing import NDArray
from sklearn import datasets
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer, TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, PoissonRegressor, Ridge, SGDClassifier, TweedieRegressor
from sklearn.naive_bayes import GaussianNB, MultinomialNB
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, SplineTransformer, StandardScaler
from sklearn.svm import SVC, LinearSVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from sklearn.utils.multiclass import type_of_target
from xgboost import XGBClassifier, XGBRegressor

from optimization.datasets import rows as flights

MAX_ROWS, SEED = 6_000, 3
PACKAGES = ("cluster", "datasets", "decomposition", "ensemble", "linear_model", "metrics", "model_selection", "svm")
LEAST_WORDS, MOST_TEXTS, LEAST_TEXTS = 8, 2_500, 5
Values = NDArray[Any]
Rows = tuple[Any, Values, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A fitted model with rows that it was not trained on: `search` for headway, `check` for the winner."""

    name: str
    model: Any
    search: tuple[Any, Values]
    check: tuple[Any, Values]


def pairs(only: str = "", *, one_of_each: bool = False) -> Iterator[Pair]:
    """Yield every table with each of its families; with `only`, those whose names contain it.

    With `one_of_each` a family comes once for regression, two classes, several classes and several outputs, of rows of
    a table, texts and sparse rows.
    """
    kinds = set[tuple[str, ...]]()
    for table, (load, families) in TABLES.items():
        chosen = [family for family in families if only in _name(family, table)]
        if not chosen:
            continue
        raw, target, task = load()
        if one_of_each:
            kind = type(raw).__name__, type_of_target(target) if task == "classes" else f"{target.ndim} {task}"
            chosen = [family for family in chosen if (family, *kind) not in kinds]
            kinds |= {(family, *kind) for family in chosen}
        mixed = np.random.default_rng(SEED).permutation(len(target))[:MAX_ROWS]
        train, search, check = np.split(mixed, [int(0.4 * len(mixed)), int(0.8 * len(mixed))])
        for family in chosen:
            rows = numbers(raw) if isinstance(raw, pd.DataFrame) and family not in READ_TABLES else raw
            rows = _with_categories(raw) if family in READ_CATEGORIES else rows
            model = FAMILIES[family](task).fit(_part(rows, train), target[train])
            yield Pair(
                name=_name(family, table),
                model=model,
                search=(_part(rows, search), target[search]),
                check=(_part(rows, check), target[check]),
            )


def _name(family: str, table: str) -> str:
    return f"{family} on {table}"


def _part(rows: Any, chosen: NDArray[np.int64]) -> Any:
    if isinstance(rows, list):
        return [rows[index] for index in chosen]
    return rows.iloc[chosen].reset_index(drop=True) if isinstance(rows, pd.DataFrame) else rows[chosen]


def numbers(raw: pd.DataFrame) -> Values:
    """Return float64 [n, d] with categories as codes."""
    columns = [
        pd.Series(raw[name]).astype(float)
        if pd.api.types.is_numeric_dtype(raw[name])
        else pd.Series(pd.factorize(raw[name], sort=True)[0]).astype(float)
        for name in raw.columns
    ]
    return np.ascontiguousarray(np.column_stack([column.to_numpy() for column in columns]))


def _with_categories(raw: pd.DataFrame) -> pd.DataFrame:
    """Return the table with its strings as categories."""
    names = [name for name in raw.columns if not pd.api.types.is_numeric_dtype(raw[name])]
    return raw.astype(dict.fromkeys(names, "category"))


def _flights() -> Rows:
    test = flights("test")
    return test.raw, test.late, "classes"


def _bundled(load: Callable[..., Any], task: str) -> Callable[[], Rows]:
    def loaded() -> Rows:
        frame, target = load(return_X_y=True, as_frame=True)
        return frame, target.to_numpy(), task

    return loaded


def _islp(name: str, target: str | list[str], task: str, *without: str) -> Callable[[], Rows]:
    """Return the loader of a table of ISLP; rows without a target are left out."""

    def loaded() -> Rows:
        table = pd.read_csv(_islp_folder() / f"{name}.csv").dropna(subset=target).reset_index(drop=True)
        wanted = table[target]
        values = pd.factorize(wanted, sort=True)[0] if task == "classes" else wanted.to_numpy(dtype=float)
        return table.drop(columns=[*([target] if isinstance(target, str) else target), *without]), values, task

    return loaded


def _genes() -> Rows:
    """Return 83 rows of 2,308 columns with four classes."""
    folder = _islp_folder()
    tables = [pd.read_csv(folder / f"Khan_x{part}.csv") for part in ("train", "test")]
    labels = [pd.read_csv(folder / f"Khan_y{part}.csv")["x"] for part in ("train", "test")]
    return pd.concat(tables, ignore_index=True), pd.concat(labels).to_numpy() - 1, "classes"


def _islp_folder() -> Path:
    spec = importlib.util.find_spec("ISLP")  # its import needs torch, its tables do not
    if spec is None or spec.origin is None:
        raise SystemExit("the tables of ISLP are not installed; try: make .venv/.installed-dev")
    return Path(spec.origin).with_name("data")


@cache
def _texts() -> Rows:
    """Return paragraphs of the docstrings of PACKAGES, in a random order, each once."""
    found: dict[str, str] = {}
    for package in PACKAGES:
        for file in sorted((Path(sklearn.__file__).parent / package).glob("*.py")):
            nodes = ast.walk(ast.parse(file.read_text("utf-8")))
            kinds = (ast.Module, ast.ClassDef, ast.FunctionDef)
            documented = [ast.get_docstring(node) or "" for node in nodes if isinstance(node, kinds)]
            paragraphs = [" ".join(text.split()) for doc in documented for text in doc.split("\n\n")]
            found |= {text: package for text in paragraphs if len(text.split()) >= LEAST_WORDS and text not in found}
    texts = np.array(sorted(found), dtype=object)
    chosen = texts[np.random.default_rng(SEED).permutation(len(texts))[:MOST_TEXTS]].tolist()
    return chosen, np.array([found[text] for text in chosen]), "classes"


def _words() -> Rows:
    texts, packages, task = _texts()
    counts = CountVectorizer(min_df=LEAST_TEXTS, dtype=np.float64).fit_transform(texts)
    return counts, pd.factorize(packages, sort=True)[0], task


def _pipeline(task: str) -> Any:
    return _of_columns(LogisticRegression(max_iter=300) if task == "classes" else Ridge())


def _of_columns(model: Any) -> Any:
    numbers = (make_pipeline(SimpleImputer(), StandardScaler()), make_column_selector(dtype_include="number"))
    texts = (OneHotEncoder(handle_unknown="ignore"), make_column_selector(dtype_exclude="number"))
    return make_pipeline(make_column_transformer(numbers, texts), model)


def _mlp(task: str) -> Any:
    kind = MLPClassifier if task == "classes" else MLPRegressor
    return _of_columns(kind(hidden_layer_sizes=(32, 16), max_iter=200, random_state=SEED))


class _CatBoost:
    """CatBoost with the columns of strings as its categories."""

    def __init__(self, task: str) -> None:
        self._kind = CatBoostClassifier if task == "classes" else CatBoostRegressor

    def fit(self, rows: pd.DataFrame, target: Values) -> Any:
        categories = [name for name in rows.columns if not pd.api.types.is_numeric_dtype(rows[name])]
        settings = {"iterations": 60, "random_seed": SEED, "verbose": False, "allow_writing_files": False}
        return self._kind(cat_features=categories, **settings).fit(rows, target)


def _either(classifier: Any, regressor: Any, **settings: Any) -> Callable[[str], Any]:
    return lambda task: (classifier if task == "classes" else regressor)(random_state=SEED, **settings)


def _made(model: Callable[[], Any]) -> Callable[[str], Any]:
    return lambda _: model()


FAMILIES: dict[str, Callable[[str], Any]] = {
    "lightgbm": _either(LGBMClassifier, LGBMRegressor, n_estimators=60, verbose=-1),
    "xgboost": _either(XGBClassifier, XGBRegressor, n_estimators=60),
    "histgb": _either(HistGradientBoostingClassifier, HistGradientBoostingRegressor, max_iter=60),
    "forest": _either(RandomForestClassifier, RandomForestRegressor, n_estimators=60, min_samples_leaf=3),
    "tree": _either(DecisionTreeClassifier, DecisionTreeRegressor, max_depth=8),
    "pipeline": _pipeline,
    "catboost": _CatBoost,
    "mlp": _mlp,
    "boosting": _either(GradientBoostingClassifier, GradientBoostingRegressor, n_estimators=60),
    "extra trees": _either(ExtraTreesClassifier, ExtraTreesRegressor, n_estimators=60, min_samples_leaf=3),
    "svm": _made(lambda: make_pipeline(StandardScaler(), SVC(random_state=SEED))),
    "balanced forest": _made(
        lambda: RandomForestClassifier(60, min_samples_leaf=3, class_weight="balanced", random_state=SEED)
    ),
    "balanced logistic": _made(lambda: _of_columns(LogisticRegression(max_iter=300, class_weight="balanced"))),
    "lightgbm poisson": _made(
        lambda: LGBMRegressor(objective="poisson", n_estimators=60, random_state=SEED, verbose=-1)
    ),
    "xgboost poisson": _made(lambda: XGBRegressor(objective="count:poisson", n_estimators=60, random_state=SEED)),
    "histgb poisson": _made(lambda: HistGradientBoostingRegressor(loss="poisson", max_iter=60, random_state=SEED)),
    "linear poisson": _made(lambda: _of_columns(PoissonRegressor(max_iter=300))),
    "lightgbm linear trees": _either(LGBMClassifier, LGBMRegressor, n_estimators=30, linear_tree=True, verbose=-1),
    "lightgbm tweedie": _made(
        lambda: LGBMRegressor(objective="tweedie", n_estimators=60, random_state=SEED, verbose=-1)
    ),
    "xgboost categories": _either(XGBClassifier, XGBRegressor, n_estimators=60, enable_categorical=True),
    "linear tweedie": _made(lambda: _of_columns(TweedieRegressor(power=1.5, link="log", max_iter=300))),
    "naive Bayes": _made(GaussianNB),
    "discriminant": _made(LinearDiscriminantAnalysis),
    "calibrated tree": _made(
        lambda: CalibratedClassifierCV(DecisionTreeClassifier(max_depth=6, random_state=SEED), cv=3)
    ),
    "splines": lambda task: make_pipeline(
        StandardScaler(), SplineTransformer(), LogisticRegression(max_iter=300) if task == "classes" else Ridge()
    ),
    "logistic": _made(lambda: LogisticRegression(max_iter=300)),
    "tf-idf and logistic": _made(lambda: make_pipeline(TfidfVectorizer(), LogisticRegression(C=10))),
    "characters and logistic": _made(
        lambda: make_pipeline(TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 3)), LogisticRegression(C=10))
    ),
    "hashing and linear": _made(
        lambda: make_pipeline(HashingVectorizer(n_features=2**14), SGDClassifier(loss="log_loss", random_state=SEED))
    ),
    "tf-idf and linear svm": _made(lambda: make_pipeline(TfidfVectorizer(), LinearSVC(random_state=SEED))),
    "tf-idf and calibrated svm": _made(
        lambda: make_pipeline(TfidfVectorizer(), CalibratedClassifierCV(LinearSVC(random_state=SEED), cv=3))
    ),
    "counts and naive Bayes": _made(lambda: make_pipeline(CountVectorizer(), MultinomialNB())),
    "tf-idf and lightgbm": _made(
        lambda: make_pipeline(
            TfidfVectorizer(min_df=LEAST_TEXTS), LGBMClassifier(n_estimators=10, random_state=SEED, verbose=-1)
        )
    ),
    "tf-idf and forest": _made(
        lambda: make_pipeline(TfidfVectorizer(), RandomForestClassifier(30, min_samples_leaf=3, random_state=SEED))
    ),
}
READ_TABLES = ("pipeline", "catboost", "mlp", "balanced logistic", "linear poisson", "linear tweedie")
"""Families that read a table with its strings; the others get numbers."""
READ_CATEGORIES = ("xgboost categories",)
SIX = ("lightgbm", "xgboost", "histgb", "forest", "tree", "pipeline")
CLASSIFIERS = ("naive Bayes", "discriminant", "calibrated tree", "splines")
OBJECTIVES = (
    *("lightgbm poisson", "xgboost poisson", "histgb poisson", "linear poisson"),
    *("lightgbm linear trees", "lightgbm tweedie", "linear tweedie", "xgboost categories"),
)
WORDS = (
    *("tf-idf and logistic", "characters and logistic", "hashing and linear", "tf-idf and linear svm"),
    "tf-idf and calibrated svm",
    *("counts and naive Bayes", "tf-idf and lightgbm", "tf-idf and forest"),
)
BIKES = ("Bikeshare", "bikers", "numbers", "casual", "registered")
TABLES: dict[str, tuple[Callable[[], Rows], tuple[str, ...]]] = {
    "flights": (_flights, (*SIX, "catboost")),
    "breast cancer": (_bundled(datasets.load_breast_cancer, "classes"), (*SIX, "svm", *CLASSIFIERS)),
    "digits": (_bundled(datasets.load_digits, "classes"), (*SIX, "mlp", "extra trees", *CLASSIFIERS)),
    "diabetes": (_bundled(datasets.load_diabetes, "numbers"), (*SIX, "mlp", "splines")),
    "Default": (_islp("Default", "default", "classes"), SIX),
    "Bikeshare": (_islp(*BIKES), (*SIX, *OBJECTIVES)),
    "Bikeshare, two outputs": (
        _islp("Bikeshare", ["casual", "registered"], "numbers", "bikers"),
        ("forest", "xgboost", "pipeline", "mlp"),
    ),
    "wine": (_bundled(datasets.load_wine, "classes"), (*SIX, "boosting", "svm")),
    "iris": (_bundled(datasets.load_iris, "classes"), SIX),
    "Caravan": (
        _islp("Caravan", "Purchase", "classes"),
        ("lightgbm", "histgb", "balanced forest", "balanced logistic"),
    ),
    "OJ": (_islp("OJ", "Purchase", "classes"), ("catboost", "mlp", "boosting", "xgboost categories")),
    "Wage": (_islp("Wage", "wage", "numbers", "logwage"), ("catboost", "extra trees")),
    "Carseats": (_islp("Carseats", "Sales", "numbers"), ("catboost", "pipeline", "boosting")),
    "Hitters": (_islp("Hitters", "Salary", "numbers"), ("xgboost", "histgb", "pipeline")),
    "Publication": (_islp("Publication", "posres", "classes"), ("lightgbm", "tree", "pipeline")),
    "BrainCancer": (_islp("BrainCancer", "status", "classes"), ("forest", "pipeline")),
    "Khan": (_genes, ("forest", "pipeline")),
    "texts": (_texts, WORDS),
    "sparse words": (_words, ("lightgbm", "xgboost", "forest", "logistic")),
}
TINY = {"MAX_ROWS": 500, "TABLES": {"digits": (TABLES["digits"][0], ("lightgbm",))}}
