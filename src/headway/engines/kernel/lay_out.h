/* Trees laid out for walking: which node stands where in memory decides how often a way down waits for it. */
#ifndef HEADWAY_LAY_OUT_H
#define HEADWAY_LAY_OUT_H

#include "memory.h"

/* Columns as walking nodes ask for them: [columns][side] -> place, where a missing value goes left or right. */
static const char *make_walk_columns(Forest *f, int32_t *place) {
  MAKE(f->walk_column, 2 * f->columns + 1);
  for (int64_t i = 0; i < 2 * f->columns; i++) place[i] = -1;
  for (int64_t n = 0; n < f->nodes; n++) {
    const int64_t c = f->feature[n];
    const int categorical = f->flag[n] & NODE_CATEGORICAL, side = !categorical && (f->flag[n] & NODE_MISSING_LEFT);
    if (place[2 * c + side] >= 0) continue;
    const int32_t other = (int32_t)(f->table_start[c + 1] - f->table_start[c]);
    f->walk_column[f->walk_columns] = (Plane){(int32_t)c, categorical ? other + 1 : side ? INT32_MIN : MISSING, 0, 0};
    place[2 * c + side] = f->walk_columns++;
  }
  f->walk_columns++;
  return NULL;
}

/* Numbers the nodes of a tree from `next` on, so that up to `together` of them that belong together share a line of the
   cache: a way down waits for memory once for several steps. Gives the number after the last. `number`, `stack` [m]. */
static int64_t fill_lines(const Forest *f, int64_t t, int together, int64_t next, int32_t *number, int32_t *stack) {
  const int64_t start = f->tree_start[t], m = f->tree_start[t + 1] - start;
  int64_t waiting = 0;
  if (m) stack[waiting++] = 0;
  while (waiting) {
    int32_t line[SLIM_OF_A_LINE];
    int count = 0;
    line[count++] = stack[--waiting];
    for (int h = 0; h < count; h++) {
      const int32_t ends[2] = {f->left[start + line[h]], f->right[start + line[h]]};
      for (int s = 0; s < 2; s++) {
        if (ends[s] < 0) continue;
        if (count < together) line[count++] = ends[s];
        else stack[waiting++] = ends[s];
      }
    }
    if (count > together - next % together) next += together - next % together;
    for (int h = 0; h < count; h++) number[line[h]] = (int32_t)next++;
  }
  return next;
}

/* Where the two children of each node stand: the first pair of places is the root's. */
static int64_t place_pairs(const Forest *f, int64_t t, int32_t *at, int32_t *stack) {
  const int64_t m = f->tree_start[t + 1] - f->tree_start[t], pairs = fill_lines(f, t, PAIRS_OF_A_LINE, 1, at, stack);
  for (int64_t i = 0; i < m; i++) at[i] *= 2;
  return 2 * pairs;
}

static void put(Forest *f, int64_t where, Wide w) {
  if (f->wide) f->wide[where] = w;
  else f->narrow[where] = (Narrow){w.key, w.left << COLUMN_BITS | (w.asks_set ? SET_COLUMN : 0) | w.column};
}

static void lay_out(Forest *f, int64_t t, const int32_t *column, const int32_t *at, int32_t *place) {
  const int64_t start = f->tree_start[t], m = f->tree_start[t + 1] - start, root = f->root[t];
  const uint32_t leaves = (uint32_t)f->walk_columns - 1;
  if (!m) put(f, root, (Wide){(int32_t)f->leaf_start[t], leaves, 0, 0});
  else place[0] = 0;
  for (int64_t i = 0; i < m; i++) {
    const int64_t n = start + i;
    const int32_t ends[2] = {f->left[n], f->right[n]};
    const int categorical = f->flag[n] & NODE_CATEGORICAL, side = !categorical && (f->flag[n] & NODE_MISSING_LEFT);
    put(f, root + place[i], (Wide){f->key[n], (uint32_t)column[2 * (int64_t)f->feature[n] + side], (uint32_t)at[i], (uint32_t)categorical});
    for (int s = 0; s < 2; s++) {
      if (ends[s] >= 0) place[ends[s]] = at[i] + s;
      else put(f, root + at[i] + s, (Wide){(int32_t)(f->leaf_start[t] + ~(int64_t)ends[s]), leaves, (uint32_t)(at[i] + s), 0});
    }
  }
}

static int32_t depth_of(const Forest *f, int64_t t, int32_t *depth) {
  const int64_t start = f->tree_start[t], m = f->tree_start[t + 1] - start;
  int32_t deepest = 0;
  depth[0] = 0;
  for (int64_t i = 0; i < m; i++) {
    const int32_t ends[2] = {f->left[start + i], f->right[start + i]};
    for (int s = 0; s < 2; s++) if (ends[s] >= 0) depth[ends[s]] = depth[i] + 1;
    deepest = depth[i] + 1 > deepest ? depth[i] + 1 : deepest;
  }
  return deepest;
}

/* The different values of all leaves, and of each leaf the place of its own; 0 where there are too many. */
static int64_t distinct(const Forest *f, double *values, int32_t *place) {
  const uint64_t slots = 4 * (uint64_t)LEAF;
  int32_t *slot = calloc(slots, sizeof *slot);
  int64_t count = 0;
  for (int64_t i = 0; slot && i < f->value_start[f->trees]; i++) {
    uint64_t bits, at;
    memcpy(&bits, f->leaf + i, 8);
    at = (bits * 0x9e3779b97f4a7c15u) >> 44;
    while (slot[at] && memcmp(values + slot[at] - 1, f->leaf + i, 8)) at = (at + 1) & (slots - 1);
    if (!slot[at]) {
      if (count == LEAF) { count = 0; break; }
      values[count++] = f->leaf[i];
      slot[at] = (int32_t)count;
    }
    place[i] = slot[at] - 1;
  }
  free(slot);
  return count;
}

/* Whether the slim form can say this forest: one number a leaf, no sets, ranks of 16 bits. */
static int is_slim(const Forest *f, int64_t largest) {
  if (f->ordered || f->sets || f->outputs != 1 || f->output_start[f->trees] != f->trees) return 0;
  for (int64_t c = 0; c < f->columns; c++) if (f->table_start[c + 1] - f->table_start[c] > MOST_SLIM_THRESHOLDS) return 0;
  return f->walk_columns <= MOST_SLIM_COLUMNS && 8 * largest < LEAF;
}

static void lay_out_slim(Forest *f, int64_t t, const int32_t *column, const int32_t *at, const int32_t *value) {
  const int64_t start = f->tree_start[t], m = f->tree_start[t + 1] - start;
  const int32_t *own = value + f->leaf_start[t];
  f->slim_start[t] = m ? 0 : LEAF | (uint32_t)own[0];
  for (int64_t i = 0; i < m; i++) {
    const int64_t n = start + i;
    const int32_t ends[2] = {f->left[n], f->right[n]};
    uint64_t on[2];
    for (int s = 0; s < 2; s++) on[s] = ends[s] < 0 ? LEAF | (uint32_t)own[~ends[s]] : (uint32_t)at[ends[s]];
    const uint64_t asked = (uint64_t)column[2 * (int64_t)f->feature[n] + ((f->flag[n] & NODE_MISSING_LEFT) ? 1 : 0)];
    f->slim[f->root[t] + at[i]] = (uint64_t)(f->key[n] & 0xffff) | asked << 16 | on[0] << SLIM_LEFT | on[1] << SLIM_RIGHT;
  }
}

static const char *make_slim(Forest *f, const int32_t *column, int32_t *at, int32_t *stack, int32_t *value) {
  MAKE(f->slim_start, f->trees);
  MAKE(f->slim_base, f->trees);
  double *values = make(f, LEAF, sizeof *values);
  if (!values) return "no memory is left";
  f->slim_values = values;
  if (!distinct(f, values, value)) {
    f->slim_values = f->leaf;
    for (int64_t t = 0; t < f->trees; t++) {
      f->slim_base[t] = f->value_start[t];
      for (int64_t i = f->value_start[t]; i < f->value_start[t + 1]; i++) value[i] = (int32_t)(i - f->value_start[t]);
    }
  }
  for (int64_t t = 0; t < f->trees; t++) {
    const int64_t size = fill_lines(f, t, SLIM_OF_A_LINE, 0, at, stack);
    f->root[t + 1] = f->root[t] + (size + SLIM_OF_A_LINE - 1) / SLIM_OF_A_LINE * SLIM_OF_A_LINE;
  }
  MAKE(f->slim, f->root[f->trees] + 1);
  for (int64_t t = 0; t < f->trees; t++) {
    fill_lines(f, t, SLIM_OF_A_LINE, 0, at, stack);
    lay_out_slim(f, t, column, at, value);
  }
  return NULL;
}

static const char *make_pairs(Forest *f, const int32_t *column, int32_t *at, int32_t *place) {
  int64_t most = 0;
  for (int64_t t = 0; t < f->trees; t++) {
    const int64_t size = (place_pairs(f, t, at, place) + NODES_OF_A_LINE - 1) / NODES_OF_A_LINE * NODES_OF_A_LINE;
    most = size > most ? size : most;
    f->root[t + 1] = f->root[t] + size;
  }
  if (most <= NARROW_NODES && f->walk_columns <= (int32_t)SET_COLUMN) MAKE(f->narrow, f->root[f->trees]);
  else MAKE(f->wide, f->root[f->trees]);
  for (int64_t t = 0; t < f->trees; t++) {
    place_pairs(f, t, at, place);
    lay_out(f, t, column, at, place);
  }
  return NULL;
}

static const char *make_walks(Forest *f, int64_t largest) {
  int32_t *at = make(f, largest + 1, sizeof *at), *place = make(f, largest + 1, sizeof *place);
  int32_t *column = make(f, 2 * f->columns + 1, sizeof *column);
  Entry *entries = make(f, f->trees, sizeof *entries);
  if (!at || !place || !column || !entries) return "no memory is left";
  TRY(make_walk_columns(f, column));
  MAKE(f->by_depth, f->trees);
  MAKE(f->root, f->trees + 1);
  for (int64_t t = 0; t < f->trees; t++) entries[t] = (Entry){(int32_t)t, 0, depth_of(f, t, place)};
  qsort(entries, (size_t)f->trees, sizeof *entries, by_rank);
  for (int64_t t = 0; t < f->trees; t++) f->by_depth[t] = entries[t].node;
  if (!is_slim(f, largest)) return make_pairs(f, column, at, place);
  int32_t *value = malloc((size_t)(f->value_start[f->trees] + 1) * sizeof *value);
  const char *fault = value ? make_slim(f, column, at, place, value) : "no memory is left";
  free(value);
  return fault;
}

#endif
