"""Globals that pickles of fitted models really refer to, and what a call of each may do.

A name that is not listed here is never safe. Classes of a library are listed by name, wherever its versions keep them.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from typing import Any

_SKLEARN = """
ARDRegression AdaBoostClassifier AdaBoostRegressor AdamOptimizer AdditiveChi2Sampler AffinityPropagation
AgglomerationTransform AgglomerativeClustering BLAS_Order BLAS_Trans BaggingClassifier BaggingRegressor BallTree
BaseEstimator BayesianGaussianMixture BayesianRidge BernoulliNB BernoulliRBM Binarizer BinaryTree
BinomialDeviance Birch BisectingKMeans BrayCurtisDistance Bunch CCA CalibratedClassifierCV CanberraDistance
CategoricalNB ChebyshevDistance ClassicalMDS Classification ClassificationCriterion ClassifierChain
ColumnTransformer ComplementNB CompoundKernel ConstantKernel CountVectorizer Criterion CyExponentialLoss
CyHalfBinomialLoss CyHalfGammaLoss CyHalfMultinomialLoss CyHalfPoissonLoss CyHalfTweedieLoss
CyHalfTweedieLossIdentity CyHuberLoss CyLossFunction CyPinballLoss DBSCAN DecisionTreeClassifier
DecisionTreeRegressor DiceDistance DictVectorizer DictionaryLearning DistanceMetric DotProduct DummyClassifier
DummyRegressor ElasticNet ElasticNetCV EllipticEnvelope EmpiricalCovariance Entropy EpsilonInsensitive
EuclideanDistance ExpSineSquared ExponentialLoss Exponentiation ExtraTreeClassifier ExtraTreeRegressor
ExtraTreesClassifier ExtraTreesRegressor FactorAnalysis FastICA FeatureAgglomeration FeatureHasher FeatureUnion
FixedThresholdClassifier ForestClassifier ForestRegressor FrozenEstimator FunctionTransformer GammaRegressor
GaussianMixture GaussianNB GaussianProcessClassifier GaussianProcessRegressor GaussianRandomProjection
GenericUnivariateSelect Gini GradientBoostingClassifier GradientBoostingRegressor GraphicalLasso
GraphicalLassoCV GridSearchCV GroupKFold GroupShuffleSplit HDBSCAN HalfBinomialLoss HalfGammaLoss HalfLogitLink
HalfMultinomialLoss HalfPoissonLoss HalfTweedieLoss HalfTweedieLossIdentity HalvingGridSearchCV
HalvingRandomSearchCV HammingDistance HashingVectorizer HaversineDistance HalfSquaredError AbsoluteError
CyHalfSquaredError CyAbsoluteError Hinge HistGradientBoostingClassifier
HistGradientBoostingRegressor HuberLoss HuberLossFunction HuberRegressor Hyperparameter IdentityLink Imputer
IncrementalPCA IntFloatDict Interval IsolationForest Isomap IsotonicRegression IterativeImputer JaccardDistance
KBinsDiscretizer KDTree KFold KMeans KNNImputer KNeighborsClassifier KNeighborsRegressor KNeighborsTransformer
Kernel KernelCenterer KernelDensity KernelOperator KernelPCA KernelRidge KeyValTuple KeyValTupleParam
KulsinskiDistance LabelBinarizer LabelEncoder LabelPropagation LabelSpreading Lars LarsCV Lasso LassoCV
LassoLars LassoLarsCV LassoLarsIC LatentDirichletAllocation LeastAbsoluteError LeastSquaresError
LeaveOneGroupOut LeaveOneOut LeavePGroupsOut LeavePOut LedoitWolf LinearDiscriminantAnalysis LinearModel
LinearModelCV LinearModelLoss LinearRegression LinearSVC LinearSVR LocalOutlierFactor LocallyLinearEmbedding Log
LogLink LogOddsEstimator LogisticRegression LogisticRegressionCV LogitLink MAE MDS MLPClassifier MLPRegressor
MSE MahalanobisDistance ManhattanDistance MatchingDistance Matern MaxAbsScaler MeanEstimator MeanShift
MethodMapping MethodPair MinCovDet MinMaxScaler MiniBatchDictionaryLearning MiniBatchKMeans MiniBatchNMF
MiniBatchSparsePCA MinkowskiDistance MissingIndicator ModifiedHuber MonotonicConstraint MultiLabelBinarizer
MultiOutputClassifier MultiOutputLinearModel MultiOutputRegressor MultiTaskElasticNet MultiTaskElasticNetCV
MultiTaskLasso MultiTaskLassoCV MultinomialDeviance MultinomialLogit MultinomialNB NMF NearestCentroid
NearestNeighbors NeighborhoodComponentsAnalysis NeighborsBase NeighborsHeap NodeHeap Normalizer NuSVC NuSVR
Nystroem OAS OPTICS OneClassSVM OneHotEncoder OneVsOneClassifier OneVsRestClassifier OrdinalEncoder
OrthogonalMatchingPursuit OrthogonalMatchingPursuitCV OutputCodeClassifier PCA PLSCanonical PLSRegression PLSSVD
PairwiseKernel ParameterGrid ParameterSampler PassiveAggressiveClassifier PassiveAggressiveRegressor
PatchExtractor Perceptron PinballLoss Pipeline Poisson PoissonRegressor PolynomialCountSketch PolynomialFeatures
PowerTransformer PredefinedSplit PriorProbabilityEstimator Product QuadraticDiscriminantAnalysis
QuantileEstimator QuantileRegressor QuantileTransformer RANSACRegressor RBF RBFSampler RFE RFECV RadiusNeighbors
RadiusNeighborsClassMode RadiusNeighborsClassifier RadiusNeighborsRegressor RadiusNeighborsTransformer
RandomForestClassifier RandomForestRegressor RandomTreesEmbedding RandomizedSearchCV RationalQuadratic
Regression RegressionCriterion RegressorChain RepeatedKFold RepeatedStratifiedKFold Ridge RidgeCV
RidgeClassifier RidgeClassifierCV RobustScaler RogersTanimotoDistance RussellRaoDistance SEuclideanDistance
SGDClassifier SGDOneClassSVM SGDOptimizer SGDRegressor SVC SVR ScaledLogOddsEstimator SelectFdr SelectFpr
SelectFromModel SelectFwe SelectKBest SelectPercentile SelfTrainingClassifier SequentialFeatureSelector
ShrunkCovariance ShuffleSplit SimpleImputer SkewedChi2Sampler SokalMichenerDistance SokalSneathDistance
SparseCoder SparsePCA SparseRandomProjection SpectralBiclustering SpectralClustering SpectralCoclustering
SpectralEmbedding SplineTransformer SplitInfo SquaredEpsilonInsensitive SquaredHinge SquaredLoss
StackingClassifier StackingRegressor StandardScaler StratifiedGroupKFold StratifiedKFold StratifiedShuffleSplit
Sum TSNE TargetEncoder TfidfTransformer TfidfVectorizer TheilSenRegressor TimeSeriesSplit
TransformedTargetRegressor Tree TreeGrower TreeNode TreePredictor TreeUnionFind TruncatedSVD
TunedThresholdClassifierCV TweedieRegressor UnionFind VarianceThreshold VotingClassifier VotingRegressor
WeightVector WeightedEdge WeightedFenwickTree WhiteKernel ZeroEstimator _BinMapper
_BinaryGaussianProcessClassifierLaplace _BisectingTree _CFNode _CFSubcluster _CalibratedClassifier
_ConstantPredictor _IdentityClassifier _IdentityRegressor _PassthroughScorer _PredictScorer _ProbaScorer
_QuadTree _RidgeGCV _Scorer _SigmoidCalibration _TemperatureScaling _ThresholdScorer _nandict
make_column_selector
"""
_SCIPY = """
coo_matrix csc_matrix csr_matrix dok_matrix lil_matrix dia_matrix bsr_matrix coo_array csc_array csr_array dok_array
lil_array dia_array bsr_array interp1d PPoly BSpline CubicSpline PchipInterpolator UnivariateSpline
InterpolatedUnivariateSpline Akima1DInterpolator Rotation KDTree cKDTree OptimizeResult
"""
_PANDAS = """
DataFrame Series Index RangeIndex MultiIndex CategoricalIndex DatetimeIndex TimedeltaIndex PeriodIndex IntervalIndex
Int64Index UInt64Index Float64Index NumericIndex BlockManager SingleBlockManager Categorical CategoricalDtype
DatetimeTZDtype PeriodDtype IntervalDtype StringDtype Int8Dtype Int16Dtype Int32Dtype Int64Dtype UInt8Dtype UInt16Dtype
UInt32Dtype UInt64Dtype Float32Dtype Float64Dtype BooleanDtype NumpyEADtype NumpyDtype FrozenList Flags IntegerArray
FloatingArray BooleanArray StringArray DatetimeArray TimedeltaArray PeriodArray IntervalArray NumpyExtensionArray
PandasArray ArrowStringArray Timedelta Timestamp Period NaTType slice BlockPlacement
"""
_TORCH_MODULES = """
Linear Bilinear Identity Conv1d Conv2d Conv3d ConvTranspose1d ConvTranspose2d BatchNorm1d BatchNorm2d BatchNorm3d
LayerNorm GroupNorm InstanceNorm1d InstanceNorm2d Embedding EmbeddingBag Dropout Dropout1d Dropout2d ReLU ReLU6
LeakyReLU PReLU ELU SELU CELU GELU SiLU Mish Sigmoid Tanh Softmax LogSoftmax Softplus Softsign Hardswish Hardsigmoid
Hardtanh Sequential ModuleList ModuleDict ParameterList ParameterDict Flatten Unflatten MaxPool1d MaxPool2d
AvgPool1d AvgPool2d
AdaptiveAvgPool1d AdaptiveAvgPool2d AdaptiveMaxPool2d RNN LSTM GRU MultiheadAttention TransformerEncoder
TransformerEncoderLayer NonDynamicallyQuantizableLinear Upsample ZeroPad2d
"""
_METRICS = """
accuracy_score balanced_accuracy_score brier_score_loss cohen_kappa_score f1_score fbeta_score hamming_loss hinge_loss
jaccard_score log_loss matthews_corrcoef precision_score recall_score zero_one_loss d2_log_loss_score
average_precision_score coverage_error dcg_score label_ranking_average_precision_score label_ranking_loss ndcg_score
roc_auc_score top_k_accuracy_score d2_absolute_error_score d2_pinball_score d2_tweedie_score explained_variance_score
max_error mean_absolute_error mean_absolute_percentage_error mean_gamma_deviance mean_pinball_loss mean_poisson_deviance
mean_squared_error mean_squared_log_error mean_tweedie_deviance median_absolute_error r2_score root_mean_squared_error
root_mean_squared_log_error positive_likelihood_ratio negative_likelihood_ratio
"""
_NUMPY_DTYPES = """
bool bool_ int8 int16 int32 int64 int_ intc intp uint8 uint16 uint32 uint64 uint uintc uintp float16 float32 float64
float_ longdouble complex64 complex128 str_ bytes_ void object_ datetime64 timedelta64
"""
_NUMPY_FUNCTIONS = """
log log1p log2 log10 exp expm1 sqrt square cbrt abs absolute sin cos tan arcsin arccos arctan sinh cosh tanh arcsinh
add subtract multiply divide true_divide power maximum minimum sign reciprocal negative isnan isfinite mean median sum
std var clip nan_to_num ravel
"""
# Packages whose listed classes may be made wherever the version at hand keeps them.
_CLASSES: dict[str, frozenset[str]] = {
    "sklearn": frozenset(_SKLEARN.split()),
    "scipy": frozenset(_SCIPY.split()),
    "pandas": frozenset(_PANDAS.split()),
    "lightgbm": frozenset(("Booster", "LGBMClassifier", "LGBMRegressor", "LGBMRanker", "LGBMModel")),
    "xgboost": frozenset(
        ("Booster", "XGBClassifier", "XGBRegressor", "XGBRanker", "XGBModel", "XGBRFClassifier", "XGBRFRegressor")
    ),
    "catboost": frozenset(("CatBoost", "CatBoostClassifier", "CatBoostRegressor", "CatBoostRanker")),
    "polars": frozenset(("DataFrame", "Series", "PySeries")),
}

_METRIC_MODULES = (
    *("sklearn.metrics", "sklearn.metrics._classification", "sklearn.metrics._ranking", "sklearn.metrics._regression"),
    *("sklearn.metrics._scorer", "sklearn.metrics.classification", "sklearn.metrics.ranking"),
    "sklearn.metrics.regression",
)
# Functions and classes by their exact name.
_EXACT: dict[str, frozenset[str]] = {
    module: frozenset(names.split())
    for modules, names in {
        ("builtins", "__builtin__"): "set frozenset bytearray list dict tuple int long float bool str unicode bytes "
        "complex object slice range xrange",
        ("collections",): "OrderedDict defaultdict deque Counter",
        ("copyreg", "copy_reg"): "_reconstructor __newobj__ __newobj_ex__",
        ("_codecs",): "encode",
        ("functools",): "partial",
        ("operator", "_operator"): "itemgetter",
        ("datetime",): "datetime date time timedelta timezone",
        ("zoneinfo",): "ZoneInfo ZoneInfo._unpickle",
        ("pytz",): "_p _UTC",
        ("decimal", "_decimal", "_pydecimal"): "Decimal",
        ("fractions",): "Fraction",
        ("uuid",): "UUID",
        ("pathlib", "pathlib._local"): "PosixPath WindowsPath PurePosixPath PureWindowsPath Path",
        ("re",): "_compile",
        ("types",): "SimpleNamespace",
        ("numpy.core.multiarray", "numpy._core.multiarray"): "_reconstruct scalar",
        ("numpy.core._internal",): "_reconstruct",
        ("numpy.core.numeric", "numpy._core.numeric"): "_frombuffer",
        ("numpy.core", "numpy._core"): "_ufunc_reconstruct",
        ("numpy.ma.core", "numpy.ma"): "_mareconstruct MaskedArray",
        ("numpy",): f"ndarray dtype {_NUMPY_DTYPES} {_NUMPY_FUNCTIONS}",
        (
            "numpy.dtypes",
        ): "Float16DType Float32DType Float64DType Int8DType Int16DType Int32DType Int64DType BoolDType "
        "UInt8DType UInt16DType UInt32DType UInt64DType ObjectDType StrDType BytesDType StringDType",
        ("numpy.random._pickle",): "__randomstate_ctor __generator_ctor __bit_generator_ctor",
        ("numpy.random", "numpy.random.mtrand"): "RandomState __RandomState_ctor",
        ("numpy.random._generator",): "Generator",
        ("numpy.random.bit_generator",): "SeedSequence __pyx_unpickle_SeedSequence",
        ("numpy.random._mt19937",): "MT19937",
        ("numpy.random._pcg64",): "PCG64 PCG64DXSM",
        ("numpy.random._philox",): "Philox",
        ("numpy.random._sfc64",): "SFC64",
        ("joblib.numpy_pickle", "sklearn.externals.joblib.numpy_pickle"): "NumpyArrayWrapper",
        ("scipy.special", "scipy.special._ufuncs"): "expit logit boxcox inv_boxcox erf log1p expm1 xlogy",
        ("sklearn.neighbors._kd_tree", "sklearn.neighbors._ball_tree"): "newObj",
        ("sklearn.metrics._dist_metrics", "sklearn.neighbors._dist_metrics"): "newObj",
        (
            "sklearn.feature_selection._univariate_selection",
            "sklearn.feature_selection.univariate_selection",
        ): "f_classif f_regression chi2 f_oneway",
        _METRIC_MODULES: _METRICS,
        ("sklearn.cluster._kmeans",): "_kmeans_single_lloyd _kmeans_single_elkan",
        ("sklearn.feature_selection._mutual_info",): "mutual_info_classif mutual_info_regression",
        ("sklearn._loss._loss", "sklearn._loss"): "__pyx_unpickle_CyHalfBinomialLoss __pyx_unpickle_CyHalfSquaredError "
        "__pyx_unpickle_CyHalfMultinomialLoss",
        ("pandas.core.indexes.base",): "_new_Index",
        ("pandas.core.indexes.datetimes",): "_new_DatetimeIndex",
        ("pandas.core.indexes.period",): "_new_PeriodIndex",
        ("pandas._libs.internals",): "_unpickle_block",
        ("pandas._libs.arrays",): "__pyx_unpickle_NDArrayBacked",
        ("pandas._libs.tslibs.timestamps",): "_unpickle_timestamp",
        ("pandas._libs.tslibs.timedeltas",): "_timedelta_unpickle",
        ("pandas._libs.tslibs.nattype",): "_nat_unpickle",
        ("scipy._lib.array_api_compat.numpy._aliases",): "asarray",
        ("polars.series.series",): "Series",
        ("torch._utils",): "_rebuild_tensor_v2 _rebuild_tensor _rebuild_parameter _rebuild_parameter_with_state",
        ("torch._tensor",): "_rebuild_from_type_v2",
        ("torch.nn.parameter",): "Parameter",
        ("torch.serialization",): "_get_layout",
        ("torch",): "FloatStorage DoubleStorage HalfStorage BFloat16Storage LongStorage IntStorage ShortStorage "
        "CharStorage ByteStorage BoolStorage ComplexFloatStorage ComplexDoubleStorage Size device "
        "float32 float64 float16 bfloat16 int64 int32 int16 int8 uint8 bool Tensor",
        ("torch.storage",): "UntypedStorage TypedStorage",
        ("torch.nn.functional",): "relu gelu silu elu leaky_relu",
    }.items()
    for module in modules
}

UNVERIFIED = re.compile(
    r"pyarrow\.lib\.(type_for_alias|py_buffer|_restore_array|\w+Type|\w+Array|schema|_reconstruct_\w+)"
)
"""Functions that run no code of the file but trust its lengths."""

_OLD_NAMES = """
__builtin__ copy_reg cPickle cStringIO commands httplib urllib2 urlparse imp distutils lib2to3 asyncore asynchat smtpd
telnetlib pipes crypt nntplib cgi cgitb imghdr sndhdr xdrlib uu msilib nis ossaudiodev spwd aifc audioop chunk mailcap
popen2 os2 posixfile exceptions new Queue SocketServer thread dummy_thread md5 sha sets rexec Bastion idlelib test
_aix_support _osx_support _pyrepl nturl2path dircache fpformat turtledemo
"""
_OLD_STANDARD = frozenset(_OLD_NAMES.split())
_DANGEROUS = re.compile(
    # Packages that run code, start programs or reach a network by a call.
    r"(pip|setuptools|pkg_resources|requests|aiohttp|httpx|httplib2|urllib3|paramiko|fabric|invoke|dill|cloudpickle"
    r"|IPython|ipykernel|jupyter\w*|psutil|boto3|botocore|twisted|tornado|flask|django|jinja2|mako|yaml|sh|plumbum"
    r"|pexpect|celery|nltk|joblib|PyInstaller|cffi|pycparser|cython|Cython"
    r"|numpy\.(testing|f2py|distutils|lib|ctypeslib|compat|core\.memmap|_core\.memmap|rec)"
    r"|torch\.(hub|jit|fx|utils|_dynamo|_inductor|distributed|multiprocessing|serialization|_ops|ops|package|cuda"
    r"|testing|storage|_lobpcg|export|onnx|classes|library|_C)"
    r"|sklearn\.(datasets|externals|utils\._testing)|pandas\.(io|eval|core\.computation)|scipy\.(io|weave|_lib))"
    r"(\.|$)"
)
_WIDTH = re.compile(r"(32|64)$")
"""Compiled classes of scikit-learn exist for float32 and float64."""

_DTYPE = re.compile(r"[<>|=]?([?bBhHiIuclLqQefdgFDGOSUVMm]|bool|float|int|uint|complex|object|str)\d*(\[[\w/]+\])?")
_LIBRARIES = frozenset((*_CLASSES, "numpy", "torch", "joblib"))
MAX_LENGTH = 1 << 24
"""Elements that a call may ask for in one number, such as bytearray(n)."""


MAKERS = frozenset(
    (
        *("_ufunc_reconstruct", "__generator_ctor", "__randomstate_ctor", "_rebuild_from_type_v2"),
        *("_reconstructor", "__newobj__", "__newobj_ex__", "_compile", "encode", "getattr"),
    )
)
"""Functions that import or call what they are given: a pickle calls them, and keeps none of them."""

SIZED = frozenset(("bytearray", "bytes", "range", "xrange"))
"""Calls whose integers are lengths."""

COMPUTED = frozenset(
    (
        *("int", "long", "float", "complex", "bool", "str", "unicode", "Decimal", "Fraction", "list", "tuple"),
        *("set", "frozenset", "dict", "deque", "Counter", "OrderedDict", "SimpleNamespace"),
    )
)
"""Calls that work through their arguments, which are plain values in real pickles."""

_NAMED: frozenset[str] = frozenset(
    (
        *("numpy.ndarray", "numpy.ma.core.MaskedArray", "numpy.ma.MaskedArray", "numpy.random._generator.Generator"),
        "zoneinfo.ZoneInfo",
        *(f"numpy.{name}" for name in (_NUMPY_DTYPES + _NUMPY_FUNCTIONS).split()),
    )
)
_NAMED_MODULES = frozenset(
    (
        *("scipy.special", "scipy.special._ufuncs", "scipy._lib.array_api_compat.numpy._aliases"),
        *("sklearn.feature_selection._univariate_selection", "sklearn.feature_selection.univariate_selection"),
        *(
            "sklearn.cluster._kmeans",
            "sklearn.feature_selection._mutual_info",
            "torch.storage",
            "torch.nn.functional",
            *_METRIC_MODULES,
        ),
    )
)


def is_exact(module: str, name: str) -> bool:
    """Return whether a global is listed by its exact name, with the calls that its pickles make."""
    return name in _EXACT.get(module, ())


def is_only_named(module: str, name: str) -> bool:
    """Return whether pickles refer to a global, and never call it."""
    if not is_exact(module, name):
        return False
    if f"{module}.{name}" in _NAMED or module in _NAMED_MODULES:
        return True
    return module == "torch" and name not in ("Size", "device")


def is_listed(module: str, name: str) -> bool:
    """Return whether a pickle may refer to a global."""
    if name in _EXACT.get(module, ()):
        return True
    root = module.partition(".")[0]
    if root == "torch":
        return module.startswith("torch.nn.modules.") and name in _TORCH_NAMES
    if module.startswith("scipy.stats"):
        return False
    classes = _CLASSES.get(root, ())
    return (name in classes or _WIDTH.sub("", name) in classes) and not _is_private(module)


_TORCH_NAMES = frozenset(_TORCH_MODULES.split())


def _is_private(module: str) -> bool:
    """Return whether a module of a library holds tests or code of others."""
    return bool({"tests", "externals", "conftest", "_testing", "datasets"} & set(module.split(".")))


def is_dangerous(module: str, name: str) -> bool:
    """Return whether a reference to an unlisted global is a reason in itself, whatever is done with it.

    These are the standard library, packages that run code or reach a network, and names that walk through attributes.
    """
    root = module.partition(".")[0]
    if root in sys.stdlib_module_names or root in _OLD_STANDARD or not module:
        return True
    if "__" in module and module not in ("__main__", "__mp_main__"):
        return True
    if _DANGEROUS.match(module + "."):
        return True
    walks = "." in name or (name.startswith("__") and not name.startswith("__pyx_unpickle_"))
    return walks or (root in _LIBRARIES and not name[:1].isupper() and not name.startswith("_"))


def judge_call(module: str, name: str, args: Any) -> str:
    """Return why a call of a listed global with these arguments is not harmless; empty if it is.

    Parameters
    ----------
    args : tuple or None
        What is known of the arguments; None stands for data that was not kept.
    """
    check = _CALLS.get(name)
    return check(module, args if type(args) is tuple else None) if check else ""


def object_bytes(module: str, name: str) -> int:
    """Return about how many bytes a reader needs for an object of a class, or for the result of a call."""
    if name in ("ZoneInfo", "ZoneInfo._unpickle", "_p"):
        return 1 << 15
    return 1 << 13 if module.startswith("numpy.random") or name in ("_mareconstruct", "_compile", "newObj") else 128


def _bounded(_module: str, args: Any) -> str:
    large = [value for value in args or () if type(value) is int and abs(value) > MAX_LENGTH]
    return f"asks for {large[0]:,} elements" if large else ""


def _fraction(_module: str, args: Any) -> str:
    texts = [value for value in args or () if type(value) is str and not _FRACTION.fullmatch(value)]
    return f"computes {texts[0][:40]!r}" if texts else ""


_FRACTION = re.compile(r"[+-]?\d+(/\d+)?")


def _zone(_module: str, args: Any) -> str:
    name = args[0] if args else None
    return "" if type(name) is str and _ZONE.fullmatch(name) else "names no time zone"


_ZONE = re.compile(r"[\w+-]+(/[\w+-]+)*")


def _namespace(_module: str, args: Any) -> str:
    return "" if args == () else "sets attributes"


def _encode(module: str, args: Any) -> str:
    if module != "_codecs" or (args and len(args) == 2 and args[1] in ("latin1", "latin-1", "utf-8", "utf8", "ascii")):
        return ""
    return "encodes with another codec than latin1"


def _ufunc(_module: str, args: Any) -> str:
    """Judge the function that imports the module named by its argument."""
    if args and len(args) == 2 and all(type(value) is str for value in args) and is_listed(*args):
        return ""
    return "imports a function that its arguments name"


def _reconstruct(module: str, args: Any) -> str:
    if not module.startswith("numpy"):
        return ""
    shape = args[1] if args and len(args) > 1 else None
    if type(shape) is tuple and 0 in shape:
        return ""  # what real pickles ask for: the state brings the elements
    return _shape(shape) or "asks for an array before its elements are there"


def _mareconstruct(_module: str, args: Any) -> str:
    shape = args[2] if args and len(args) > 2 else None
    return "" if type(shape) is tuple and 0 in shape else "asks for an array before its elements are there"


def _shape(shape: Any) -> str:
    sizes = shape if type(shape) is tuple else (shape,)
    if any(type(size) is not int for size in sizes):
        return "asks for an array whose shape is not known"
    total = 1
    for size in sizes:
        total *= size if type(size) is int else 1
    return f"asks for {total:,} elements" if total > MAX_LENGTH or any(type(n) is int and n < 0 for n in sizes) else ""


def _ndarray(_module: str, args: Any) -> str:
    return _shape(args[0]) if args else ""


def _dtype(_module: str, args: Any) -> str:
    first = args[0] if args else None
    if type(first) is str and not _DTYPE.fullmatch(first):
        return f"names the dtype {first[:40]!r}"
    digits = re.search(r"\d+", first) if type(first) is str else None
    return "asks for an element of that many bytes" if digits and int(digits[0]) > MAX_LENGTH else ""


def _compile(_module: str, args: Any) -> str:
    pattern = args[0] if args else None
    return "compiles a pattern of nested repetitions" if type(pattern) is str and NESTED.search(pattern) else ""


NESTED = re.compile(r"\([^()]*[+*][^()]*\)[+*{]")
"""A repeated group that repeats inside: matching can take exponential time."""

_CALLS: dict[str, Callable[[str, Any], str]] = {
    **dict.fromkeys(("bytearray", "bytes", "list", "tuple", "set", "frozenset", "range", "xrange", "str"), _bounded),
    "Fraction": _fraction,
    "SimpleNamespace": _namespace,
    "ZoneInfo._unpickle": _zone,
    "_p": _zone,
    "encode": _encode,
    "_ufunc_reconstruct": _ufunc,
    "_reconstruct": _reconstruct,
    "_mareconstruct": _mareconstruct,
    "ndarray": _ndarray,
    "dtype": _dtype,
    "_compile": _compile,
}
