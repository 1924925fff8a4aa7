from headway.api.calls import compare, evaluate, learning_curve, load, load_encoder, optimize
from headway.api.feature_store import FeatureStore
from headway.api.gateway import GatewayClassifier
from headway.features.definitions import feature_view

__version__: str
__all__ = [
    "FeatureStore",
    "GatewayClassifier",
    "__version__",
    "compare",
    "evaluate",
    "feature_view",
    "learning_curve",
    "load",
    "load_encoder",
    "optimize",
]
