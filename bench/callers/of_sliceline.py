"""Find the best slice of two columns with the library sliceline.

usage: of_sliceline.py FILE

FILE is an npz of `codes` int [n, d] and `errors` float64 [n]; it prints the best slice of two columns.
"""

from __future__ import annotations

import json
import sys

if __name__ == "__main__" and "--help" in sys.argv[1:]:  # before the imports of libraries that may be absent
    print(__doc__)
    sys.exit()

import numpy as np
from sliceline.slicefinder import Slicefinder

SUPPORT, MOST = 0.01, 100


def main(file: str) -> None:
    """Find the best slice, and print its columns, levels and score as JSON."""
    arrays = np.load(file)
    codes, errors = arrays["codes"], arrays["errors"]
    found = Slicefinder(alpha=0.95, k=MOST, max_l=2, min_sup=int(SUPPORT * len(codes)), verbose=False)
    found.fit(codes, errors)
    for levels, statistics in zip(found.top_slices_, found.top_slices_statistics_, strict=True):
        chosen = {at: int(level) for at, level in enumerate(levels) if level is not None}
        if len(chosen) == 2:
            print(json.dumps({"levels": chosen, "score": float(statistics["slice_score"])}))
            return


if __name__ == "__main__":
    main(sys.argv[1])
