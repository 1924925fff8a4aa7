/* The walking form: any forest, on any machine. All steps are the same: a leaf reads a value below every threshold, and
   leads to itself. */
#ifndef HEADWAY_WALK_H
#define HEADWAY_WALK_H

#include "forest.h"
#include "slim.h"

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

#define NARROW_STEP(tree, i, x) narrow_step(f, 0, tree, i, x)
#define NARROW_SET_STEP(tree, i, x) narrow_step(f, 1, tree, i, x)
#define WIDE_STEP(tree, i, x) wide_step(f, 1, tree, i, x)
#define LEADS_TO_ITSELF(tree, from, to) ((from) == (to))

WALKS(narrow, , Narrow, NARROW_STEP, LEADS_TO_ITSELF)
WALKS(narrow_set, , Narrow, NARROW_SET_STEP, LEADS_TO_ITSELF)
WALKS(wide, , Wide, WIDE_STEP, LEADS_TO_ITSELF)
NEAR_WALK(narrow, , Narrow, 8, NARROW_STEP, LEADS_TO_ITSELF)
NEAR_WALK(narrow_set, , Narrow, 8, NARROW_SET_STEP, LEADS_TO_ITSELF)

/* Keys of n <= TOGETHER rows as nodes read them; the last of a row is that of leaves. */
static void walk_keys(const Forest *f, const double *rows, int64_t n, int32_t *x) {
  int32_t keys[TOGETHER];
  for (int64_t c = 0; c < f->columns; c++) {
    keys_of(f, c, rows + f->column[c], f->width, n, keys);
    for (int side = 0; side < 2; side++) {
      const int32_t place = f->walk_place[2 * c + side];
      for (int64_t r = 0; place >= 0 && r < n; r++) x[r * f->walk_columns + place] = keys[r] == MISSING ? f->walk_missing[place] : keys[r];
    }
  }
  for (int64_t r = 0; r < n; r++) x[(r + 1) * f->walk_columns - 1] = INT32_MIN;
}

static inline uint32_t leaf_at(const Forest *f, int64_t t, uint32_t place) {
  return (uint32_t)(f->wide ? f->wide[f->root[t] + place].key : f->narrow[f->root[t] + place].key);
}

/* Add the leaves that n rows reached in a tree to their sums [n][outputs]. */
static void add_leaves(const Forest *f, int64_t t, const uint32_t *found, int64_t n, double *sums) {
  const int64_t first = f->output_start[t], count = f->output_start[t + 1] - first, k = f->outputs;
  const double *value = f->leaf + f->value_start[t] - f->leaf_start[t] * count;
  for (int64_t r = 0; r < n; r++) {
    const double *reached = value + leaf_at(f, t, found[r]) * count;
    for (int64_t o = 0; o < count; o++) sums[r * k + f->output[first + o]] = added(f, sums[r * k + f->output[first + o]], reached[o]);
  }
}

/* Leaves of one row in trees that are not all in the near caches. */
static void walk_far(const Forest *f, const int32_t *x, uint32_t *found) {
  if (f->slim) slim_row(f, x, found);
  else if (f->wide) wide_row(f, f->wide, x, found);
  else if (f->sets) narrow_set_row(f, f->narrow, x, found);
  else narrow_row(f, f->narrow, x, found);
}

static inline void add_tree(const Forest *f, int64_t t, const uint32_t *found, double *sums) {
  if (f->slim) add_values(f, t, found, 1, sums);
  else add_leaves(f, t, found, 1, sums);
}

/* Sums of one row; `found` receives the leaf in each tree. */
static void walk_row(const Forest *f, const int32_t *x, uint32_t *found, double *sums) {
  if (!f->is_near || f->slim || f->wide) walk_far(f, x, found);
  else (f->sets ? narrow_set_near : narrow_near)(f, f->narrow, x, found);
  for (int64_t t = 0; t < f->trees; t++) add_tree(f, t, found + t, sums);
}

/* Sums of at most TOGETHER rows, tree by tree, so that a tree stays in the cache for all rows. */
static void walk_block(const Forest *f, const int32_t *x, int64_t n, double *sums) {
  uint32_t found[TOGETHER];
  for (int64_t t = 0; t < f->trees; t++) {
    if (f->slim) slim_tree(f, t, x, n, found);
    else if (f->wide) wide_tree(f, f->wide, t, x, n, found);
    else if (f->sets) narrow_set_tree(f, f->narrow, t, x, n, found);
    else narrow_tree(f, f->narrow, t, x, n, found);
    if (f->slim) add_values(f, t, found, n, sums);
    else add_leaves(f, t, found, n, sums);
  }
}

#endif
