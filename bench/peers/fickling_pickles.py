"""Write the pickles that fickling's own tests build: `fickling_pickles.py TESTS FOLDER`, in fickling's environment.

Its tests assemble opcodes and ask fickling for a verdict; each pickle that it calls unsafe is written.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import unittest
from pathlib import Path

FILES = ("test_bypasses", "test_scanner_deactivation_analysis")


def main(tests: str, folder: str) -> None:
    """Run the tests with a check that keeps what it is given."""
    analysis = importlib.import_module("fickling.analysis")

    original, count = analysis.check_safety, 0

    def keep(pickled: object, *arguments: object, **options: object) -> object:
        nonlocal count
        result = original(pickled, *arguments, **options)
        if result.severity > analysis.Severity.SUSPICIOUS:
            name = f"fickling-{count:03d}.pkl"
            Path(folder, name).write_bytes(pickled.dumps())  # type: ignore[attr-defined]
            count += 1
        return result

    analysis.check_safety = keep
    for name in FILES:
        spec = importlib.util.spec_from_file_location(name, Path(tests, f"{name}.py"))
        if spec is None or spec.loader is None:
            continue
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        suite = unittest.defaultTestLoader.loadTestsFromModule(module)
        unittest.TextTestRunner(stream=sys.stderr, verbosity=0).run(suite)


main(sys.argv[1], sys.argv[2])
