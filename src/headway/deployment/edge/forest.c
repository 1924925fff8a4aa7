/* A forest: a value is replaced by the number of thresholds of its column below it, and nodes compare integers. */

#define NO_CODE 0xffffu
#define ZERO 1.0000000180025095e-35 /* float32(1e-35): values within are zero to LightGBM */
#define FIELD ((1u << FIELD_BITS) - 1)
#define LEAF_BIT (1u << (FIELD_BITS - 1))

enum { IS_CATEGORICAL = 1, ZERO_IS_MISSING = 2, IS_FINITE = 4, IS_PRESENT = 8 };

/* Count how many of the n ascending values of a table are below v. */
#define RANK_OF(NAME, TYPE, VALUE) \
  static unsigned NAME(const TYPE *table, unsigned n, VALUE v) { \
    const TYPE *p = table; \
    if (!n) return 0; \
    while (n > 1) { \
      const unsigned half = n >> 1; \
      p += p[half - 1] < v ? half : 0; \
      n -= half; \
    } \
    return (unsigned)(p - table) + (*p < v); \
  }
RANK_OF(rank_of_number, threshold, input)
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
  return rank_of_number(thresholds + start, n, v);
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
      codes[column_codes[2 * c]] = (code)(kind & IS_CATEGORICAL ? rank : rank > n ? FIELD : rank);
    if (column_codes[2 * c + 1] != NO_CODE) codes[column_codes[2 * c + 1]] = (code)(rank > n ? 0 : rank); /* left */
  }
  return 1;
}

/* The reference after i: the index of a node of the tree, or LEAF_BIT and the number of a leaf, which stays. */
#define KEY(n) ((unsigned)(n) & FIELD)
#define CODE_OF(n) (codes[(unsigned)((n) >> FIELD_BITS) & FIELD])
#if HAS_SETS
#define GOES_RIGHT(n) (((unsigned)((n) >> FIELD_BITS) & FIELD) >= SET_CODES \
  ? !((sets[set_start[KEY(n)] + (CODE_OF(n) >> 3)] >> (CODE_OF(n) & 7)) & 1) : CODE_OF(n) > KEY(n))
#else
#define GOES_RIGHT(n) (CODE_OF(n) > KEY(n))
#endif

static unsigned step(const node *tree, unsigned i, const code *codes) {
  const node n = tree[i & (i / LEAF_BIT - 1)];
  const unsigned next = (unsigned)(n >> (GOES_RIGHT(n) ? 3 * FIELD_BITS : 2 * FIELD_BITS)) & FIELD;
  return i & LEAF_BIT ? i : next;
}

static void add_leaf(unsigned t, unsigned leaf, sum *sums) {
  const leaf_value *value = leaves + (size_t)(tree_start[t] + t + (leaf & (LEAF_BIT - 1))) * LEAF_SIZE;
#if LEAF_SIZE == 1
  sum *to = sums + OUTPUT_OF(t);
  *to = ROUNDED(*to + *value);
#else
  int o;
  for (o = 0; o < LEAF_SIZE; o++) sums[OUTPUT_OF(o)] = ROUNDED(sums[OUTPUT_OF(o)] + value[o]);
#endif
}

#define BEGIN(t) (tree_start[t] == tree_start[(t) + 1] ? LEAF_BIT : 0)

/* Six trees at a time: their steps do not wait for each other. Leaves are added in the order of the trees. */
static void walk(const code *codes, sum *sums) {
  unsigned t = 0;
  for (; t + 6 <= TREES; t += 6) {
    const node *a = nodes + tree_start[t], *b = nodes + tree_start[t + 1], *c = nodes + tree_start[t + 2];
    const node *d = nodes + tree_start[t + 3], *e = nodes + tree_start[t + 4], *f = nodes + tree_start[t + 5];
    unsigned i = BEGIN(t), j = BEGIN(t + 1), k = BEGIN(t + 2), l = BEGIN(t + 3), m = BEGIN(t + 4), n = BEGIN(t + 5);
    while (!(i & j & k & l & m & n & LEAF_BIT)) {
      i = step(a, i, codes); j = step(b, j, codes); k = step(c, k, codes);
      l = step(d, l, codes); m = step(e, m, codes); n = step(f, n, codes);
    }
    add_leaf(t, i, sums); add_leaf(t + 1, j, sums); add_leaf(t + 2, k, sums);
    add_leaf(t + 3, l, sums); add_leaf(t + 4, m, sums); add_leaf(t + 5, n, sums);
  }
  for (; t < TREES; t++) {
    unsigned i = BEGIN(t);
    while (!(i & LEAF_BIT)) i = step(nodes + tree_start[t], i, codes);
    add_leaf(t, i, sums);
  }
}

/* Compute the scores of a row; return 0 if the model rejects it. */
static int run_model(const double *row, double *scores) {
  code codes[CODES] = {0};
  sum sums[MODEL_OUTPUTS];
  int o;
  if (!encode(row, codes)) return 0;
  for (o = 0; o < MODEL_OUTPUTS; o++) sums[o] = base[o];
  walk(codes, sums);
  for (o = 0; o < MODEL_OUTPUTS; o++) scores[o] = sums[o];
  link_scores(scores);
  return 1;
}
