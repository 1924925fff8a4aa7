/* The walking form: any forest, on any machine. Several trees, or rows, are on their way at once: what one waits for in
   memory does not hold up the others. A step is the same everywhere: a leaf reads a value that is below everything, and
   leads to itself. */
#ifndef HEADWAY_WALK_H
#define HEADWAY_WALK_H

#include "forest.h"
#include "slim.h"

#define ABREAST 8
#define WALK_BLOCK 512

static inline uint32_t goes_right(const Forest *f, int sets, uint32_t column, int32_t key, const int32_t *x) {
  if (sets && (column & SET_COLUMN)) return !in_set(f, key, x[column & ~SET_COLUMN]);
  return x[column] > key;
}

static inline uint32_t narrow_step(const Forest *f, int sets, const Narrow *tree, uint32_t i, const int32_t *x) {
  const Narrow n = tree[i];
  return (n.packed >> COLUMN_BITS) + goes_right(f, sets, n.packed & (SET_COLUMN * 2 - 1), n.key, x);
}

static inline uint32_t wide_step(const Forest *f, int sets, const Wide *tree, uint32_t i, const int32_t *x) {
  const Wide n = tree[i];
  if (sets && n.asks_set) return n.left + !in_set(f, n.key, x[n.column]);
  return n.left + (x[n.column] > n.key);
}

#define WALKS(NAME, NODE, STEP) \
  /* Leaves that a row reaches, by tree; x are its keys. */ \
  static inline void NAME##_row(const Forest *f, const NODE *nodes, const int sets, const int32_t *x, int32_t *found) { \
    for (int64_t t = 0; t < f->trees; t += ABREAST) { \
      const NODE *tree[ABREAST]; uint32_t i[ABREAST] = {0}, moved = 1; \
      for (int j = 0; j < ABREAST; j++) tree[j] = nodes + f->root[f->by_depth[t + j < f->trees ? t + j : t]]; \
      while (moved) { \
        moved = 0; \
        _Pragma("GCC unroll 8") for (int j = 0; j < ABREAST; j++) { const uint32_t to = STEP(f, sets, tree[j], i[j], x); moved |= to ^ i[j]; i[j] = to; } \
      } \
      for (int j = 0; j < ABREAST && t + j < f->trees; j++) found[f->by_depth[t + j]] = tree[j][i[j]].key; \
    } \
  } \
  /* The leaf that each of n rows reaches in one tree. */ \
  static inline void NAME##_tree(const Forest *f, const NODE *tree, const int sets, const int32_t *x, int64_t n, int32_t *found) { \
    for (int64_t r = 0; r < n; r += ABREAST) { \
      const int32_t *row[ABREAST]; uint32_t i[ABREAST] = {0}, moved = 1; \
      for (int j = 0; j < ABREAST; j++) row[j] = x + (r + j < n ? r + j : r) * f->walk_columns; \
      while (moved) { \
        moved = 0; \
        _Pragma("GCC unroll 8") for (int j = 0; j < ABREAST; j++) { const uint32_t to = STEP(f, sets, tree, i[j], row[j]); moved |= to ^ i[j]; i[j] = to; } \
      } \
      for (int j = 0; j < ABREAST && r + j < n; j++) found[r + j] = tree[i[j]].key; \
    } \
  }

WALKS(narrow, Narrow, narrow_step)
WALKS(wide, Wide, wide_step)

/* Keys of a row as nodes ask for them; the last is that of leaves. */
static void walk_keys(const Forest *f, const double *row, int32_t *x) {
  for (int32_t w = 0; w < f->walk_columns - 1; w++) {
    const Plane *asked = f->walk_column + w;
    const int32_t key = key_of(f, asked->column, row[f->column[asked->column]]);
    x[w] = key == MISSING ? asked->first : key;
  }
  x[f->walk_columns - 1] = INT32_MIN;
}

/* The leaves that n rows reached in a tree join their sums [n][outputs]. */
static void add_leaves(const Forest *f, int64_t t, const int32_t *found, int64_t n, double *sums) {
  const int64_t first = f->output_start[t], count = f->output_start[t + 1] - first, k = f->outputs;
  const double *value = f->leaf + f->value_start[t] - f->leaf_start[t] * count;
  for (int64_t o = 0; o < count; o++) {
    double *sum = sums + f->output[first + o];
    if (f->sums_float32) for (int64_t r = 0; r < n; r++) sum[r * k] = (double)(float)(sum[r * k] + value[found[r] * count + o]);
    else for (int64_t r = 0; r < n; r++) sum[r * k] += value[found[r] * count + o];
  }
}

/* Sums of one row; `found` has room for a leaf of each tree. */
static void walk_row(const Forest *f, const int32_t *x, int32_t *found, double *sums) {
  if (f->slim) {
    slim_row(f, x, (uint32_t *)found);
    for (int64_t t = 0; t < f->trees; t++) add_values(f, t, (uint32_t *)found + t, 1, sums);
    return;
  }
  if (f->narrow && f->sets) narrow_row(f, f->narrow, 1, x, found);
  else if (f->narrow) narrow_row(f, f->narrow, 0, x, found);
  else wide_row(f, f->wide, 1, x, found);
  for (int64_t t = 0; t < f->trees; t++) add_leaves(f, t, found + t, 1, sums);
}

/* Sums of at most WALK_BLOCK rows: tree by tree, so that a tree stays near while all rows pass. */
static void walk_block(const Forest *f, const int32_t *x, int64_t n, double *sums) {
  int32_t found[WALK_BLOCK];
  for (int64_t t = 0; f->slim && t < f->trees; t++) {
    slim_tree(f, t, x, n, (uint32_t *)found);
    add_values(f, t, (uint32_t *)found, n, sums);
  }
  for (int64_t t = 0; !f->slim && t < f->trees; t++) {
    if (f->narrow && f->sets) narrow_tree(f, f->narrow + f->root[t], 1, x, n, found);
    else if (f->narrow) narrow_tree(f, f->narrow + f->root[t], 0, x, n, found);
    else wide_tree(f, f->wide + f->root[t], 1, x, n, found);
    add_leaves(f, t, found, n, sums);
  }
}

#endif
