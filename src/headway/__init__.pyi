from headway.api.calls import compare, evaluate, learning_curve, load, optimize

__version__: str
__all__ = ["__version__", "compare", "evaluate", "learning_curve", "load", "optimize"]
