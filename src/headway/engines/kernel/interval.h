/* The interval form for batches, without walking. Leaves are numbered from left to right, e is the leftmost leaf that a row
   can still reach, and every node is evaluated for all rows at once, parents before children: a row at the node (e == l)
   that goes right gets e = r. QuickScorer (Lucchese et al., SIGIR 2015) with one byte instead of the bit vector.

   Included once per width: NAME, WIDTH in bytes, and the macros that evaluate one node. Each step depends on the one
   before, so four run interleaved: four vectors of rows in one tree, or one vector in four trees. */

#define ASK_NODE(n, P, e, VECTORS) { \
  const uint8_t *x = (P) + ((n)->plane & ~SET_PLANE); \
  const BYTES l = SPLAT((n)->l4), r = SPLAT((n)->r4); \
  if ((n)->plane & SET_PLANE) { \
    SET_TABLES(f->byte_sets + 32 * (int64_t)(n)->k4) \
    _Pragma("GCC unroll 4") for (int v = 0; v < VECTORS; v++) (e)[v] = ASK_SET((e)[v], LOAD(x + v * WIDTH), l, r); \
  } else { \
    const BYTES k = SPLAT((n)->k4); \
    _Pragma("GCC unroll 4") for (int v = 0; v < VECTORS; v++) (e)[v] = ASK((e)[v], LOAD(x + v * WIDTH), k, l, r); \
  } }

/* Leaves that 4 x WIDTH rows reach in tree t, from planes P [plane][BLOCK]. */
TARGET static void NAME(wide)(const Forest *f, int64_t t, const uint8_t *P, uint8_t *reached) {
  BYTES e[4] = {NOTHING, NOTHING, NOTHING, NOTHING};
  const Interval *end = f->intervals + f->tree_start[t + 1];
  for (const Interval *n = f->intervals + f->tree_start[t]; n < end; n++) ASK_NODE(n, P, e, 4)
  _Pragma("GCC unroll 4") for (int v = 0; v < 4; v++) STORE(reached + v * WIDTH, e[v]);
}

/* Leaves that WIDTH rows reach in trees t to t + 3, BLOCK bytes per tree. */
TARGET static void NAME(narrow)(const Forest *f, int64_t t, const uint8_t *P, uint8_t *reached) {
  BYTES e[4] = {NOTHING, NOTHING, NOTHING, NOTHING};
  const Interval *n[4], *end[4];
  int64_t common = INT64_MAX;
  for (int j = 0; j < 4; j++) {
    n[j] = f->intervals + f->tree_start[t + j < f->trees ? t + j : t];
    end[j] = t + j < f->trees ? f->intervals + f->tree_start[t + j + 1] : n[j];
    common = t + j < f->trees && end[j] - n[j] < common ? end[j] - n[j] : common;
  }
  for (int64_t i = 0; i < common; i++) { _Pragma("GCC unroll 4") for (int j = 0; j < 4; j++) ASK_NODE(n[j] + i, P, e + j, 1) }
  _Pragma("GCC unroll 4") for (int j = 0; j < 4; j++) {
    for (const Interval *rest = n[j] + common; rest < end[j]; rest++) ASK_NODE(rest, P, e + j, 1)
    STORE(reached + j * BLOCK, e[j]);
  }
}

#undef ASK_NODE
