/* A forest: a value is replaced by the number of thresholds of its column below it, and nodes compare integers. */

#define NO_CODE 0xffffu
#define ZERO 1.0000000180025095e-35 /* float32(1e-35): values within are zero to LightGBM */
#define MISSING_CODE ((1u << 8 * sizeof(code)) - 1)

enum { IS_CATEGORICAL = 1, ZERO_IS_MISSING = 2, IS_FINITE = 4, IS_PRESENT = 8 };

/* Count how many of the n ascending values of a table are below v. */
#define RANK_OF(NAME, TYPE, VALUE) \
  static unsigned NAME(const TYPE *table, unsigned n, VALUE v) { \
    const TYPE *p = table; \
    if (!n) return 0; \
    while (n > 1) { \
      const unsigned half = n >> 1; \
      p += (p[half - 1] < v) * half; /* without a branch, which would be mispredicted */ \
      n -= half; \
    } \
    return (unsigned)(p - table) + (*p < v); \
  }
#if !USES_LANES
RANK_OF(rank_of_number, threshold, input)
#endif
#if HAS_SETS
RANK_OF(rank_of_category, double, double)
#endif

static int is_absent(input v) {
#ifdef MISSING_VALUE
  return v != v || (double)v == MISSING_VALUE;
#else
  return v != v;
#endif
}

/* The rank of a value of column c, or `n_of_column + 1` of a missing one. */
static unsigned rank_of_column(int c, input v) {
  const unsigned start = column_start[c], n = column_start[c + 1] - start;
  if (is_absent(v) || ((column_kind[c] & ZERO_IS_MISSING) && fabs((double)v) <= ZERO)) return n + 1;
#if HAS_SETS
  if (column_kind[c] & IS_CATEGORICAL) {
    const double category = WHOLE((double)v);
    const unsigned rank = rank_of_category(categories + start, n, category);
    return rank < n && categories[start + rank] == category ? rank : n;
  }
#endif
#if USES_LANES
  return rank_in_runs(run_ends + 16 * c, runs + run_start[c], v);
#else
  return rank_of_number(thresholds + start, n, v);
#endif
}

/* Codes of a row, as nodes read them; return 0 if the model rejects the row. */
static int encode(const double *row, code *codes) {
  int c;
  for (c = 0; c < COLUMNS; c++) {
    const input v = (input)row[column_input[c]];
    const unsigned n = column_start[c + 1] - column_start[c], kind = column_kind[c], rank = rank_of_column(c, v);
    if ((kind & IS_FINITE) && fabs((double)v) >= MAX_MAGNITUDE) return 0;
    if ((kind & IS_PRESENT) && is_absent(v)) return 0;
    if (column_codes[2 * c] != NO_CODE)  /* a missing value goes right; it is in or out of a set like any other */
      codes[column_codes[2 * c]] = (code)(kind & IS_CATEGORICAL ? rank : rank > n ? MISSING_CODE : rank);
    if (column_codes[2 * c + 1] != NO_CODE) codes[column_codes[2 * c + 1]] = (code)(rank > n ? 0 : rank); /* left */
  }
  return 1;
}

#if !USES_LANES
/* A node is its key, the code that it reads, and the place of its left child, which its right child follows. A leaf leads
   to itself, since the code that it reads is 0, and its key is its number: all steps are the same. */
#if HAS_SETS
#define IN_SET(n) ((sets[set_start[(n).key] + (codes[(n).code] >> 3)] >> (codes[(n).code] & 7)) & 1)
#define GOES_RIGHT(n) ((n).code > LEAF_CODE ? !IN_SET(n) : codes[(n).code] > (n).key)
#else
#define GOES_RIGHT(n) (codes[(n).code] > (n).key)
#endif
#define STEP(tree, i) i = (unsigned)(tree)[i].next + (unsigned)GOES_RIGHT((tree)[i]);

/* The leaves that a row reaches. Trees are stored by depth, eight take as many steps as the deepest of them, and their
   steps do not wait for each other. */
static void walk(const code *codes, code *reached) {
  int t = 0, steps;
  for (; t + 8 <= TREES; t += 8) {
    const node *a = nodes + tree_start[t], *b = nodes + tree_start[t + 1], *c = nodes + tree_start[t + 2], *d = nodes + tree_start[t + 3];
    const node *e = nodes + tree_start[t + 4], *f = nodes + tree_start[t + 5], *g = nodes + tree_start[t + 6], *h = nodes + tree_start[t + 7];
    unsigned i = 0, j = 0, k = 0, l = 0, m = 0, o = 0, p = 0, q = 0;
    for (steps = tree_depth[t + 7]; steps; steps--) {
      STEP(a, i) STEP(b, j) STEP(c, k) STEP(d, l) STEP(e, m) STEP(f, o) STEP(g, p) STEP(h, q)
    }
    reached[tree_number[t]] = a[i].key; reached[tree_number[t + 1]] = b[j].key;
    reached[tree_number[t + 2]] = c[k].key; reached[tree_number[t + 3]] = d[l].key;
    reached[tree_number[t + 4]] = e[m].key; reached[tree_number[t + 5]] = f[o].key;
    reached[tree_number[t + 6]] = g[p].key; reached[tree_number[t + 7]] = h[q].key;
  }
  for (; t < TREES; t++) {
    unsigned i = 0;
    for (steps = tree_depth[t]; steps; steps--) STEP((nodes + tree_start[t]), i)
    reached[tree_number[t]] = nodes[tree_start[t] + i].key;
  }
}

#endif

#if !USES_LANES || MODEL_OUTPUTS > 1
/* Add the leaves in the order of the trees. */
static void add_leaves(const code *reached, sum *sums) {
  int t;
  for (t = 0; t < TREES; t++) {
    const leaf_value *value = leaves + (size_t)(leaf_start[t] + reached[t]) * LEAF_SIZE;
#if LEAF_SIZE == 1
    sums[OUTPUT_OF(t)] = ROUNDED(sums[OUTPUT_OF(t)] + *value);
#else
    int o;
    for (o = 0; o < LEAF_SIZE; o++) sums[OUTPUT_OF(o)] = ROUNDED(sums[OUTPUT_OF(o)] + value[o]);
#endif
  }
}

#endif

/* Compute the scores of a row; return 0 if the model rejects it. */
static int run_model(const double *row, double *scores) {
#if USES_LANES
  code codes[CODES <= 64 ? 64 : CODES <= 128 ? 128 : 256] = {0}, reached[64 * LANE_GROUPS];
#else
  code codes[CODES], reached[TREES + 1];
#endif
  sum sums[MODEL_OUTPUTS];
  int o;
  if (!encode(row, codes)) return 0;
  for (o = 0; o < MODEL_OUTPUTS; o++) sums[o] = base[o];
#if USES_LANES
  sums[0] = walk_lanes(codes, reached, sums[0]);
#else
  codes[LEAF_CODE] = 0;
  walk(codes, reached);
#endif
#if !USES_LANES || MODEL_OUTPUTS > 1
  add_leaves(reached, sums);
#endif
  for (o = 0; o < MODEL_OUTPUTS; o++) scores[o] = sums[o];
  link_scores(scores);
  return 1;
}
