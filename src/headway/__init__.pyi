from headway.api.calls import compare, evaluate, load, optimize

__version__: str
__all__ = ["__version__", "compare", "evaluate", "load", "optimize"]
