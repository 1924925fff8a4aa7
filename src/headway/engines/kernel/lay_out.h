/* Memory layout of trees for walking: the order of nodes decides how often a walk waits for memory. */
#ifndef HEADWAY_LAY_OUT_H
#define HEADWAY_LAY_OUT_H

#include "memory.h"

/* Where a node sends a missing value: 1 is left. Sets contain the missing value themselves. */
static inline int side_of(const Forest *f, int64_t n) {
  return !(f->flag[n] & NODE_CATEGORICAL) && (f->flag[n] & NODE_MISSING_LEFT);
}

static inline int32_t asked_by(const Forest *f, int64_t n) { return f->walk_place[2 * (int64_t)f->feature[n] + side_of(f, n)]; }

/* Columns as walking nodes read them: [columns][side] -> index; the side is where a missing value goes. */
static const char *make_walk_columns(Forest *f) {
  MAKE(f->walk_place, 2 * f->columns + 1);
  MAKE(f->walk_missing, 2 * f->columns + 1);
  for (int64_t i = 0; i < 2 * f->columns; i++) f->walk_place[i] = -1;
  for (int64_t n = 0; n < f->nodes; n++) {
    const int64_t c = f->feature[n];
    const int categorical = f->flag[n] & NODE_CATEGORICAL, side = side_of(f, n);
    if (f->walk_place[2 * c + side] >= 0) continue;
    const int32_t other = (int32_t)(f->table_start[c + 1] - f->table_start[c]);
    f->walk_missing[f->walk_columns] = categorical ? other + 1 : side ? INT32_MIN : MISSING;
    f->walk_place[2 * c + side] = f->walk_columns++;
  }
  f->walk_columns++;
  return NULL;
}

/* Workspace of a layout, one item per node: indices, nodes that wait for one, and the number of leaves below. */
typedef struct { int32_t *at, *stack, *below; } Room;

/* Count the leaves below each node, from the last to the first, since children come after their parents. */
static void count_leaves(const Forest *f, int64_t t, int32_t *below) {
  const int64_t start = f->tree_start[t];
  for (int64_t i = f->tree_start[t + 1] - start - 1; i >= 0; i--) {
    const int32_t l = f->left[start + i], r = f->right[start + i];
    below[i] = (l < 0 ? 1 : below[l]) + (r < 0 ? 1 : below[r]);
  }
}

/* Number the nodes of a tree from `next` on, so that up to `together` related ones share a cache line: a walk waits for
   memory once per several steps. The first node of a line is followed by the descendants that most rows visit, estimated
   by the number of leaves. Return the number after the last. */
static int64_t fill_lines(const Forest *f, int64_t t, int together, int64_t next, Room room) {
  const int64_t start = f->tree_start[t], m = f->tree_start[t + 1] - start;
  int32_t *stack = room.stack, *below = room.below;
  int64_t waiting = 0;
  count_leaves(f, t, below);
  if (m) stack[waiting++] = 0;
  while (waiting) {
    const int64_t first = waiting - 1;
    int32_t line[SLIM_OF_A_LINE];
    int count = 0;
    while (count < together && waiting > first) {
      int64_t most = first;
      for (int64_t w = first + 1; w < waiting; w++) if (below[stack[w]] > below[stack[most]]) most = w;
      const int32_t node = stack[most], ends[2] = {f->left[start + node], f->right[start + node]};
      stack[most] = stack[--waiting];
      line[count++] = node;
      for (int s = 0; s < 2; s++) if (ends[s] >= 0) stack[waiting++] = ends[s];
    }
    if (count > together - next % together) next += together - next % together;
    for (int h = 0; h < count; h++) room.at[line[h]] = (int32_t)next++;
  }
  return next;
}

/* Where the two children of each node are stored: the first pair is the root's. */
static int64_t place_pairs(const Forest *f, int64_t t, Room room) {
  const int64_t m = f->tree_start[t + 1] - f->tree_start[t], pairs = fill_lines(f, t, PAIRS_OF_A_LINE, 1, room);
  for (int64_t i = 0; i < m; i++) room.at[i] *= 2;
  return 2 * pairs;
}

static void put(Forest *f, int64_t where, Wide w) {
  if (f->wide) f->wide[where] = w;
  else f->narrow[where] = (Narrow){w.key, w.left << COLUMN_BITS | (w.asks_set ? SET_COLUMN : 0) | w.column};
}

static void lay_out(Forest *f, int64_t t, Room room) {
  const int64_t start = f->tree_start[t], m = f->tree_start[t + 1] - start, root = f->root[t];
  const uint32_t leaves = (uint32_t)f->walk_columns - 1;
  int32_t *place = room.stack;
  if (!m) put(f, root, (Wide){(int32_t)f->leaf_start[t], leaves, 0, 0});
  else place[0] = 0;
  for (int64_t i = 0; i < m; i++) {
    const int64_t n = start + i;
    const int32_t ends[2] = {f->left[n], f->right[n]}, at = room.at[i];
    put(f, root + place[i], (Wide){f->key[n], (uint32_t)asked_by(f, n), (uint32_t)at, f->flag[n] & NODE_CATEGORICAL});
    for (int s = 0; s < 2; s++) {
      if (ends[s] >= 0) place[ends[s]] = at + s;
      else put(f, root + at + s, (Wide){(int32_t)(f->leaf_start[t] + ~(int64_t)ends[s]), leaves, (uint32_t)(at + s), 0});
    }
  }
}

/* Return the depth of a tree, and add the mean depth of its leaves. */
static int32_t depth_of(const Forest *f, int64_t t, int32_t *depth, double *mean) {
  const int64_t start = f->tree_start[t], m = f->tree_start[t + 1] - start;
  int32_t deepest = 0;
  int64_t of_leaves = 0;
  depth[0] = 0;
  for (int64_t i = 0; i < m; i++) {
    const int32_t ends[2] = {f->left[start + i], f->right[start + i]};
    for (int s = 0; s < 2; s++) {
      if (ends[s] >= 0) depth[ends[s]] = depth[i] + 1;
      else of_leaves += depth[i] + 1;
    }
    deepest = depth[i] + 1 > deepest ? depth[i] + 1 : deepest;
  }
  *mean += (double)of_leaves / (double)(m + 1);
  return deepest;
}

/* The distinct values of all leaves, and for each leaf the index of its own; 0 if there are too many. */
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

/* Whether the slim form can express this forest: one number per leaf, no sets, 16-bit ranks. */
static int is_slim(const Forest *f, int64_t largest) {
  if (f->ordered || f->sets || f->outputs != 1 || f->output_start[f->trees] != f->trees) return 0;
  for (int64_t c = 0; c < f->columns; c++) if (f->table_start[c + 1] - f->table_start[c] > MOST_SLIM_THRESHOLDS) return 0;
  return f->walk_columns <= MOST_SLIM_COLUMNS && 8 * largest < LEAF;
}

static void lay_out_slim(Forest *f, int64_t t, const int32_t *at, const int32_t *value) {
  const int64_t start = f->tree_start[t], m = f->tree_start[t + 1] - start;
  const int32_t *own = value + f->leaf_start[t];
  f->start[t] = m ? 0 : LEAF | (uint32_t)own[0];
  for (int64_t i = 0; i < m; i++) {
    const int64_t n = start + i;
    const int32_t ends[2] = {f->left[n], f->right[n]};
    uint64_t on[2];
    for (int s = 0; s < 2; s++) on[s] = ends[s] < 0 ? LEAF | (uint32_t)own[~ends[s]] : (uint32_t)at[ends[s]];
    f->slim[f->root[t] + at[i]] = (uint64_t)(f->key[n] & 0xffff) | on[0] << SLIM_LEFT | on[1] << SLIM_RIGHT | (uint64_t)asked_by(f, n) << SLIM_COLUMN;
  }
}

static const char *make_slim(Forest *f, Room room, int32_t *value) {
  MAKE(f->slim_base, f->trees);
  double *values = make(f, LEAF, sizeof *values);
  if (!values) return "out of memory";
  f->slim_values = values;
  if (!distinct(f, values, value)) {
    f->slim_values = f->leaf;
    for (int64_t t = 0; t < f->trees; t++) {
      f->slim_base[t] = f->value_start[t];
      for (int64_t i = f->value_start[t]; i < f->value_start[t + 1]; i++) value[i] = (int32_t)(i - f->value_start[t]);
    }
  }
  for (int64_t t = 0; t < f->trees; t++) {
    const int64_t size = fill_lines(f, t, SLIM_OF_A_LINE, 0, room);
    f->root[t + 1] = f->root[t] + (size + SLIM_OF_A_LINE - 1) / SLIM_OF_A_LINE * SLIM_OF_A_LINE;
  }
  MAKE(f->slim, f->root[f->trees] + 1);
  for (int64_t t = 0; t < f->trees; t++) {
    fill_lines(f, t, SLIM_OF_A_LINE, 0, room);
    lay_out_slim(f, t, room.at, value);
  }
  return NULL;
}

static const char *make_pairs(Forest *f, Room room) {
  int64_t most = 0;
  for (int64_t t = 0; t < f->trees; t++) {
    const int64_t size = (place_pairs(f, t, room) + NODES_OF_A_LINE - 1) / NODES_OF_A_LINE * NODES_OF_A_LINE;
    most = size > most ? size : most;
    f->root[t + 1] = f->root[t] + size;
  }
  if (most <= NARROW_NODES && f->walk_columns <= (int32_t)SET_COLUMN) MAKE(f->narrow, f->root[f->trees]);
  else MAKE(f->wide, f->root[f->trees]);
  for (int64_t t = 0; t < f->trees; t++) {
    place_pairs(f, t, room);
    lay_out(f, t, room);
  }
  return NULL;
}

static const char *make_nodes(Forest *f, int64_t largest) {
  Room room = {make(f, largest + 1, 4), make(f, largest + 1, 4), make(f, largest + 1, 4)};
  Entry *entries = make(f, f->trees, sizeof *entries);
  if (!room.at || !room.stack || !room.below || !entries) return "out of memory";
  double mean = 0, abreast = 0;
  for (int64_t t = 0; t < f->trees; t++) entries[t] = (Entry){(int32_t)t, 0, depth_of(f, t, room.stack, &mean)};
  qsort(entries, (size_t)f->trees, sizeof *entries, by_rank);
  for (int64_t t = 0; t < f->trees; t++) {
    const int64_t deepest = t / SLIM_ABREAST * SLIM_ABREAST + SLIM_ABREAST - 1;
    f->by_depth[t] = entries[t].node;
    abreast += entries[deepest < f->trees ? deepest : f->trees - 1].rank;
  }
  f->is_even = abreast <= MOST_UNEVEN * mean;
  if (!is_slim(f, largest)) return make_pairs(f, room);
  int32_t *value = malloc((size_t)(f->value_start[f->trees] + 1) * sizeof *value);
  const char *fault = value ? make_slim(f, room, value) : "out of memory";
  free(value);
  return fault;
}

static const char *make_walks(Forest *f, int64_t largest) {
  TRY(make_walk_columns(f));
  MAKE(f->start, f->trees);
  MAKE(f->root, f->trees + 1);
  MAKE(f->way, f->trees);
  MAKE(f->by_depth, f->trees);
  TRY(make_nodes(f, largest));
  f->is_near = f->root[f->trees] <= NEAR_NODES;
  for (int64_t t = 0; t < f->trees; t++) if (!f->start[t]) f->way[f->ways++] = (uint64_t)t << 32;
  return NULL;
}

#endif
