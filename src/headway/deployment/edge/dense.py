"""C of a program of engine `dense`: its steps and weights, in front of the code of `dense.c`."""

from __future__ import annotations

import numpy as np

from headway.core.errors import NotApplicable
from headway.deployment.edge.c_source import structures, table, template
from headway.engines.compiled.artifact import OPERATIONS, read_program

MAX_BUFFER = 1 << 14
"""Largest buffer of a row in numbers, since it is on the stack."""
_CASES = {
    "add": "EACH(x + y)",
    "sub": "EACH(x - y)",
    "mul": "EACH(x * y)",
    "div": "EACH(x / y)",
    "min": "EACH(y < x ? y : x)",
    "max": "EACH(y > x ? y : x)",
    "less": "EACH(x < y ? 1.0f : 0.0f)",
    "less_equal": "EACH(x <= y ? 1.0f : 0.0f)",
    "equal": "EACH(x == y ? 1.0f : 0.0f)",
    "where": "{ const int third = s->m >> 4 & 3, c_moves = third == SCALAR ? 0 : -1; "
    "const float *c = (third == IN_BUFFER ? file : pool) + s->c; EACH(x != 0 ? y : c[i & c_moves]) }",
    "trunc": "EACH(trunc_to(x, y))",
    "abs": "EACH(fabsf(x))",
    "floor": "EACH(floor_of(x))",
    "round": "EACH(round_of(x))",
    "is_nan": "EACH(x != x ? 1.0f : 0.0f)",
    "sqrt": "EACH(sqrtf(x))",
    "log": "EACH(logf(x))",
    "exp": "EACH(exp_of(x))",
    "sigmoid": "EACH(sigmoid_of(x))",
    "tanh": "EACH(tanh_of(x))",
    "erf": "EACH(erf_of(x))",
    "copy": "for (i = 0; i < n; i++) out[i] = a[i & a_moves]; return 1;",
    "take": "for (i = 0; i < n; i++) out[i] = a[indices[s->b + i]]; return 1;",
    "lookup": "return look_up(s, file);",
    "softmax": "for (i = 0; i < n; i += s->m) softmax_of(a + i, out + i, s->m); return 1;",
    "sum": "for (i = 0; i < n; i++) { double total = 0; int j; "
    "for (j = 0; j < s->m; j++) total += a[i * s->m + j]; out[i] = (float)(total / s->k); } return 1;",
    "dense_few": "dense_few(s, a, out); return 1;",
    "dense_many": "dense_many(s, a, out); return 1;",
}
_FEW = 4
"""Outputs of a dense step up to which the kernel spreads the inputs over four sums."""
_NAMES = {"min": "OP_MIN", "max": "OP_MAX"}


def dense_source(content: bytes) -> str:
    """Return the C of a program.

    Raises NotApplicable if a row of it does not fit on the stack of a small device, or if it has convolutions.

    Scores have the bits of engine `dense` at level `portable`, compiled without contraction, for one row.
    """
    numbers, steps, pool, indices = read_program(content)
    width, _, output, size = numbers.tolist()
    if size > MAX_BUFFER:
        raise NotApplicable(f"a row needs {size:,} numbers on the stack, more than {MAX_BUFFER:,}")
    code = OPERATIONS.index("dense")
    names = [*OPERATIONS[:code], "dense_few", "dense_many"]
    rows = steps.reshape(-1, 8).copy()
    if np.any(rows[:, 0] > code):
        raise NotApplicable("it has convolutions or pooling, which edge packages do not compute")
    dense = rows[:, 0] == code
    rows[dense & (rows[:, 2] > _FEW), 0] += 1
    used = [names[code] for code in np.unique(rows[:, 0]).tolist()]
    settings = {
        **{f"USES_{_NAMES.get(name, name.upper())}": int(name in used) for name in names},
        "WIDTH": width,
        "OUTPUT": output,
        "BUFFER": size,
        "STEPS": len(rows),
        "MAX_OUTPUTS": int(rows[dense, 2].max(initial=1)),
    }
    cases = "".join(f"    case {_NAMES.get(name, name.upper())}: {_CASES[name]}\n" for name in used)
    return "".join(
        [
            *(f"#define {name} {value}\n" for name, value in settings.items()),
            "typedef struct { int32_t op, out, n, a, b, c, m, k; } step;\n",
            structures("step", "steps", rows),
            table("float", "pool", pool.astype(np.float64)),
            *([table("int32_t", "indices", indices)] if "take" in used else []),
            template("dense.c").replace("@cases@", cases),
        ]
    )
