"""C of a forest: the tables of its trees in as few bytes as they need, in front of the code of `forest.c`."""

from __future__ import annotations

import dataclasses
import itertools
from dataclasses import dataclass
from typing import get_args

import numpy as np

from headway.core.arrays import Bools, Floats, Ints
from headway.core.errors import NotApplicable
from headway.deployment.edge.c_source import number, structures, table, template
from headway.engines.compiled.forest import CATEGORICAL, MISSING_LEFT, read_forest
from headway.engines.formats.trees import Link

NO_CODE = 0xFFFF
_BITS = (8, 16)
"""Bits of the key of a node, and of the code that it reads; its children take twice as many."""
_CASTS = ("trunc(v)", "floor(v)", "(v)")
_LINKS: dict[str, str] = {
    "sigmoid": "s[o] = 1 / (1 + exp(-s[o]));",
    "exp": "s[o] = exp(s[o]);",
    "softplus": "s[o] = s[o] > 700 ? s[o] : log1p(exp(s[o]));",
    "signed square": "s[o] *= fabs(s[o]);",
    "positive": "s[o] = s[o] > 0;",
    "isolation": "s[o] = -exp2(-s[o]);",
}
_SOFTMAX = """\
  double highest = -INFINITY, total = 0;
  int o;
  for (o = 0; o < MODEL_OUTPUTS; o++) highest = s[o] > highest ? s[o] : highest;
  for (o = 0; o < MODEL_OUTPUTS; o++) total += s[o] = exp(s[o] - highest);
  for (o = 0; o < MODEL_OUTPUTS; o++) s[o] /= total;
"""
_LANES = 64
"""Trees that are walked at once with vector registers."""
_NO_LANES = "#define USES_LANES 0\n#if !USES_LANES\n"
# A step of 64 trees takes as long as one or two steps of a walk with AVX-512, and as five with narrower registers.
_LANES_BEGIN = """\
#if defined(__AVX512VBMI__) && 2 * LANE_GROUPS * LANE_STEPS <= WALK_STEPS
#define USES_LANES 1
#elif CODES > 64 || 5 * LANE_GROUPS * LANE_STEPS > WALK_STEPS
#define USES_LANES 0
#elif defined(__AVX2__) || (defined(__aarch64__) && defined(__ARM_NEON))
#define USES_LANES 1
#else
#define USES_LANES 0
#endif
#if USES_LANES
#ifdef __aarch64__
#include <arm_neon.h>
#else
#include <immintrin.h>
#endif
#ifdef __GNUC__
#define ALIGNED __attribute__((aligned(64)))
#else
#define ALIGNED
#endif
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Nodes:
    """Nodes of all trees, their children [n, 2] by number in the tree, a leaf as ~number."""

    tree_start: Ints
    code: Ints
    key: Ints
    children: Ints

    @property
    def trees(self) -> Ints:
        """The tree of each node."""
        return np.repeat(np.arange(len(self.tree_start) - 1), np.diff(self.tree_start))

    def depths(self) -> Ints:
        """Return the number of steps to the deepest leaf of each tree."""
        depths, tree = np.zeros(len(self.tree_start) - 1, np.int64), self.trees
        level = self.tree_start[:-1][np.diff(self.tree_start) > 0]
        while len(level):
            depths[tree[level]] += 1
            below = self.children[level] + np.where(self.children[level] < 0, 0, self.tree_start[tree[level]][:, None])
            level = below[self.children[level] >= 0]
        return depths


@dataclass(frozen=True, slots=True, kw_only=True)
class _Codes:
    """What nodes read: `of_column` [columns, 2] is the code of a column by the side of a missing value, or NO_CODE.

    The code that leaves read follows those of numbers; those of categories are the last.
    """

    of_column: Ints
    count: int
    leaf: int


def forest_source(content: bytes) -> str:
    """Return the C of a compiled forest; raise NotApplicable, with the reason, if the form cannot express it.

    Leaves are added in the order of the trees, as the level `portable` of engine `trees` does, so that one row has
    the same scores to the bit.
    """
    numbers, limits, base, index, kind, table_start, tables, *rest = read_forest(content)
    tree_start, _, output_start, output, feature, key, *children, flag, leaf, set_start, member = rest
    _, float32, float32_sums, cast, ordered, link, _ = numbers.tolist()
    if ordered:
        raise NotApplicable("a column has more than 65,535 thresholds")
    categorical = (flag & CATEGORICAL) != 0
    sets, key = _sets(feature, categorical, flag, key, np.diff(table_start), set_start, member)
    missing_left = np.where(categorical, 0, (flag & MISSING_LEFT) != 0).astype(np.int64)
    codes = _codes(feature, categorical, missing_left, len(index))
    nodes = _Nodes(
        tree_start=tree_start,
        code=codes.of_column[feature, missing_left],
        key=key,
        children=np.column_stack(children).astype(np.int64),
    )
    bits = _field_bits(nodes, codes, np.diff(table_start), (kind & CATEGORICAL) != 0)
    depths = nodes.depths()
    by_depth = np.argsort(depths, kind="stable")
    slots = 2 * np.diff(tree_start) + 1
    is_category = np.repeat((kind & CATEGORICAL) != 0, np.diff(table_start))
    thresholds, threshold_type = _thresholds(np.where(is_category, 0, tables), bool(float32))
    outputs = _outputs(output, np.diff(output_start), len(base))
    lane_tables = _NO_LANES
    if bits == 8 and not (kind & CATEGORICAL).any():
        nodes, leaf, lane_tables = _lanes(
            nodes, leaf, thresholds, table_start, kind="float" if float32 else "double", walk=int(depths.sum())
        )
    sums_in_float = bool(float32_sums) and _is_float32(base) and _is_float32(leaf)
    sum_type = "float" if sums_in_float else "double"
    leaf_type = "float" if _is_float32(leaf) else "double"
    return "".join(
        [
            _types(
                {
                    "input": "float" if float32 else "double",
                    "threshold": threshold_type,
                    "code": f"uint{bits}_t",
                    "node": f"struct {{ code key, code; uint{2 * bits}_t next; }}",
                    "sum": sum_type,
                    "leaf_value": leaf_type,
                }
            ),
            _settings(
                {
                    "COLUMNS": str(len(index)),
                    "CODES": str(codes.count),
                    "LEAF_CODE": str(codes.leaf),
                    "HAS_SETS": str(int(categorical.any())),
                    "TREES": str(len(tree_start) - 1),
                    "MAX_MAGNITUDE": number(float(limits[1])),
                    "MODEL_OUTPUTS": str(len(base)),
                    "WHOLE(v)": _CASTS[cast],
                    "ROUNDED(x)": "(double)(float)(x)" if float32_sums and not sums_in_float else "(x)",
                    **({} if np.isnan(limits[0]) else {"MISSING_VALUE": number(float(limits[0]))}),
                    **outputs,
                }
            ),
            table("uint16_t" if index.max(initial=0) < 1 << 16 else "uint32_t", "column_input", index),
            table("uint8_t", "column_kind", kind),
            table("uint32_t", "column_start", table_start),
            table("uint16_t", "column_codes", codes.of_column),
            lane_tables,
            table(threshold_type, "thresholds", thresholds),
            *([table("double", "categories", np.where(is_category, tables, 0))] if categorical.any() else []),
            *sets,
            table("uint32_t", "tree_start", np.cumsum([0, *slots[by_depth]])[:-1]),
            table("uint16_t", "tree_depth", depths[by_depth]),
            table("uint16_t" if len(slots) < 1 << 16 else "uint32_t", "tree_number", by_depth),
            structures("node", "nodes", _placed(nodes, by_depth, leaf_code=codes.leaf)),
            "#endif\n",
            table("uint32_t", "leaf_start", tree_start[:-1] + np.arange(len(slots))),
            table(leaf_type, "leaves", leaf),
            table(sum_type, "base", base),
            *([table("uint16_t", "tree_output", output)] if "tree_output[t]" in outputs.values() else []),
            _link(get_args(Link)[link]),
            "" if lane_tables is _NO_LANES else f"#if USES_LANES\n{template('lanes.c')}#endif\n",
            template("forest.c"),
        ]
    )


def _is_float32(values: Floats) -> bool:
    with np.errstate(over="ignore"):
        return bool(np.array_equal(values.astype(np.float32).astype(np.float64), values))


def _thresholds(values: Floats, float32_rows: bool) -> tuple[Floats, str]:
    """Return thresholds in the smallest type that compares alike.

    A float32 is above a threshold if it is above the largest float32 that does not exceed the threshold.
    """
    if float32_rows:
        with np.errstate(over="ignore"):
            near = values.astype(np.float32)
        near = np.where(near > values, np.nextafter(near, np.float32(-np.inf)), near)
        return near.astype(np.float64), "float"
    return values, "float" if _is_float32(values) else "double"


def _codes(feature: Ints, categorical: Bools, missing_left: Ints, n_columns: int) -> _Codes:
    """Number what nodes read: the numeric columns, once per side of their missing values, then the categories."""
    found = np.unique(np.column_stack([categorical.astype(np.int64), feature.astype(np.int64), missing_left]), axis=0)
    of_column = np.full((n_columns, 2), NO_CODE, np.int64)
    of_column[found[:, 1], found[:, 2]] = np.arange(len(found)) + found[:, 0]
    return _Codes(of_column=of_column, count=len(found) + 1, leaf=int((found[:, 0] == 0).sum()))


def _sets(
    feature: Ints, categorical: Bools, flag: Ints, key: Ints, sizes: Ints, set_start: Ints, member: Ints
) -> tuple[list[str], Ints]:
    """Return the tables of the sets, a bit for each category, the unknown one and a missing value; and the keys."""
    keys = key.astype(np.int64)
    numbers: dict[bytes, int] = {}
    for node in np.flatnonzero(categorical).tolist():
        size = int(sizes[feature[node]])
        bits = np.zeros(-(-(size + 2) // 8) * 8, np.uint8)
        bits[member[set_start[key[node]] : set_start[key[node] + 1]]] = 1
        bits[size + 1] = (flag[node] & MISSING_LEFT) != 0
        keys[node] = numbers.setdefault(np.packbits(bits, bitorder="little").tobytes(), len(numbers))
    if not numbers:
        return [], keys
    packed = np.frombuffer(b"".join(numbers), np.uint8)
    starts = np.cumsum([0, *(len(content) for content in numbers)])[:-1]
    return [table("uint32_t", "set_start", starts), table("uint8_t", "sets", packed)], keys


def _field_bits(nodes: _Nodes, codes: _Codes, sizes: Ints, categorical: Bools) -> int:
    """Return the bits of a field of a node; raise NotApplicable if 16 are too few."""
    leaves = int(np.diff(nodes.tree_start).max(initial=0)) + 1
    longest = int((sizes + 2 * categorical).max(initial=0))
    needed = {
        f"a tree has {leaves:,} leaves": leaves,
        f"its nodes read {codes.count:,} columns": codes.count + 1,
        f"a column has {longest:,} thresholds or categories": longest + 1,
        "it has too many sets of categories": int(nodes.key.max(initial=0)) + 1,
    }
    for bits in _BITS:
        if max(needed.values()) <= 1 << bits:
            return bits
    raise NotApplicable(max(needed, key=lambda reason: needed[reason]) + ", more than 16 bits can number")


def _placed(nodes: _Nodes, by_depth: Ints, *, leaf_code: int) -> Ints:
    """Return the nodes and leaves of the trees in this order, siblings in pairs: int64 [n, 3].

    They are the key or the number of the leaf, the code, and the place of the left child in the tree. The children of
    node i are at 2 i + 1 and 2 i + 2.
    """
    slots = 2 * np.diff(nodes.tree_start) + 1
    starts = np.zeros(len(slots), np.int64)
    starts[by_depth] = np.cumsum([0, *slots[by_depth]])[:-1]
    tree = nodes.trees
    pair = 2 * (np.arange(len(tree)) - nodes.tree_start[tree]) + 1
    key, code, following = np.zeros((3, slots.sum()), np.int64)
    code[starts] = leaf_code  # of trees without nodes
    offset = np.zeros(len(tree), np.int64)
    for which in range(2):
        child, own = nodes.children[:, which], pair + which
        inner = child >= 0
        offset[(nodes.tree_start[tree] + child)[inner]] = own[inner]
        leaf = (starts[tree] + own)[~inner]
        key[leaf], code[leaf], following[leaf] = ~child[~inner], leaf_code, own[~inner]
    at = starts[tree] + offset
    key[at], code[at], following[at] = nodes.key, nodes.code, pair
    return np.column_stack([key, code, following])


def _lanes(
    nodes: _Nodes, leaf: Floats, thresholds: Floats, table_start: Ints, *, kind: str, walk: int
) -> tuple[_Nodes, Floats, str]:
    """Number leaves from left to right, and return the tables of the form of vector registers.

    Everything stays, with `_NO_LANES`, if the form is not faster than a walk of so many steps.
    """
    sizes, tree = np.diff(nodes.tree_start), nodes.trees
    groups, steps = -(-len(sizes) // _LANES), int(sizes.max(initial=0))
    if not steps or 2 * groups * steps > walk:
        return nodes, leaf, _NO_LANES
    first, right, numbers = _from_left_to_right(nodes)
    leaf_start = nodes.tree_start[:-1] + np.arange(len(sizes))
    at = numbers + np.repeat(leaf_start, sizes + 1)
    ordered = np.empty_like(leaf).reshape(len(at), -1)
    ordered[at] = leaf.reshape(len(at), -1)
    inner = nodes.children >= 0
    leaves = ~numbers[leaf_start[tree][:, None] + np.where(inner, 0, ~nodes.children)]
    of_steps = np.zeros((groups, steps, 3, _LANES), np.uint8)
    of_steps[:, :, 1] = 255  # no code is above it
    of_steps[tree // _LANES, right - 1, :, tree % _LANES] = np.column_stack([nodes.code, nodes.key, first])
    settings = {"LANE_GROUPS": groups, "LANE_STEPS": steps, "WALK_STEPS": walk, "INPUT_IS_FLOAT": int(kind == "float")}
    text = _settings({name: str(value) for name, value in settings.items()}) + _LANES_BEGIN
    text += table("uint8_t", "lane_steps", of_steps, is_aligned=True) + _runs(thresholds, table_start, kind) + "#else\n"
    return dataclasses.replace(nodes, children=np.where(inner, nodes.children, leaves)), ordered.ravel(), text


def _runs(thresholds: Floats, table_start: Ints, kind: str) -> str:
    """Return the thresholds of columns in runs of 16 that end with infinity, and the last ones of the runs of each."""
    sizes = np.diff(table_start)
    padded = 16 * (sizes // 16 + 1)
    start = np.cumsum([0, *padded])
    runs, ends = np.full(start[-1], np.inf), np.full((len(sizes), 16), np.inf)
    runs[np.repeat(start[:-1] - table_start[:-1], sizes) + np.arange(len(thresholds))] = thresholds
    for column, (begin, end) in enumerate(itertools.pairwise(start.tolist())):
        ends[column, : (end - begin) // 16] = runs[begin + 15 : end : 16]
    return (
        table(kind, "run_ends", ends, is_aligned=True)
        + table(kind, "runs", runs, is_aligned=True)
        + table("uint32_t", "run_start", start[:-1])
    )


def _from_left_to_right(nodes: _Nodes) -> tuple[Ints, Ints, Ints]:
    """Return the first leaf of each node and of its right subtree, and the number of each leaf in its tree."""
    first, right = np.zeros((2, len(nodes.key)), np.int64)
    numbers = np.zeros(len(nodes.key) + len(nodes.tree_start) - 1, np.int64)
    children = nodes.children.tolist()
    for tree, (start, end) in enumerate(itertools.pairwise(nodes.tree_start.tolist())):
        count, pending = 0, [(0, False)] if end > start else []
        while pending:
            node, is_left_done = pending.pop()
            if node < 0:
                numbers[start + tree + ~node] = count
                count += 1
            elif is_left_done:
                right[start + node] = count
                pending.append((children[start + node][1], False))
            else:
                first[start + node] = count
                pending += [(node, True), (children[start + node][0], False)]
    return first, right, numbers


def _outputs(output: Ints, counts: Ints, n_outputs: int) -> dict[str, str]:
    """Return how many values a leaf has, and to which output each is added."""
    different = set(counts.tolist()) or {1}
    if len(different) > 1:
        raise NotApplicable("its trees add to different numbers of outputs")
    (size,) = different
    if size > 1:
        if not np.array_equal(output, np.tile(np.arange(size), len(counts))):
            raise NotApplicable("its trees add to outputs in different orders")
        return {"LEAF_SIZE": str(size), "OUTPUT_OF(o)": "(o)"}
    if n_outputs == 1:
        return {"LEAF_SIZE": "1", "OUTPUT_OF(t)": "0"}
    in_turn = np.array_equal(output, np.arange(len(output)) % n_outputs)
    return {"LEAF_SIZE": "1", "OUTPUT_OF(t)": f"((t) % {n_outputs}u)" if in_turn else "tree_output[t]"}


def _types(kinds: dict[str, str]) -> str:
    return "".join(f"typedef {kind} {name};\n" for name, kind in kinds.items())


def _settings(values: dict[str, str]) -> str:
    return "".join(f"#define {name} {value}\n" for name, value in values.items())


def _link(link: str) -> str:
    if link == "softmax":
        body = _SOFTMAX
    elif link == "identity":
        body = "  (void)s;\n"
    else:
        body = f"  int o;\n  for (o = 0; o < MODEL_OUTPUTS; o++) {_LINKS[link]}\n"
    return f"\nstatic void link_scores(double *s) {{\n{body}}}\n"
