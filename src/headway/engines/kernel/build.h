/* From the arrays that Python gives to the forms that the kernels read. Nothing given is trusted: what does not fit is
   refused with a word, so that no kernel can be led out of its arrays. */
#ifndef HEADWAY_BUILD_H
#define HEADWAY_BUILD_H

#include "widths.h"

#if defined(__linux__)
#include <sys/mman.h>
#endif

/* Memory that `forget` frees; NULL where there is none. */
static void *make(Forest *f, int64_t count, int64_t size) {
  void *found = NULL;
  void **more = realloc(f->made, (size_t)(f->n_made + 1) * sizeof(void *));
  if (!more) return NULL;
  f->made = more;
  const size_t bytes = (size_t)(count * size + 64);
  if (posix_memalign(&found, bytes >= HUGE_PAGE ? HUGE_PAGE : 64, bytes)) return NULL;
#if defined(MADV_HUGEPAGE)
  if (bytes >= HUGE_PAGE) madvise(found, bytes, MADV_HUGEPAGE); /* advice: what it returns changes nothing */
#endif
  memset(found, 0, bytes);
  return f->made[f->n_made++] = found;
}

static void forget(Forest *f) {
  for (int64_t i = 0; i < f->n_made; i++) free(f->made[i]);
  free(f->made);
  f->made = NULL;
  f->n_made = 0;
}

#define MAKE(to, count) do { if (!((to) = make(f, (count), sizeof *(to)))) return "no memory is left"; } while (0)
#define TRY(call) do { const char *fault_ = (call); if (fault_) return fault_; } while (0)

/* Every node has one parent, which stands before it; every leaf has one; keys, features and sets are there. */
static const char *check_tree(const Forest *f, int64_t t, uint8_t *seen) {
  const int64_t start = f->tree_start[t], m = f->tree_start[t + 1] - start;
  memset(seen, 0, (size_t)(2 * m + 2));
  for (int64_t i = 0; i < m; i++) {
    const int64_t n = start + i;
    const int32_t ends[2] = {f->left[n], f->right[n]};
    for (int s = 0; s < 2; s++) {
      if (ends[s] >= 0 ? ends[s] <= i || ends[s] >= m : ~(int64_t)ends[s] > m) return "a node points at none";
      uint8_t *place = seen + (ends[s] >= 0 ? (int64_t)ends[s] : m + ~(int64_t)ends[s]);
      if ((*place)++) return "a node or leaf has two parents";
    }
    if (f->feature[n] < 0 || f->feature[n] >= f->columns) return "a node asks for a column that is not there";
    const int categorical = f->flag[n] & NODE_CATEGORICAL;
    if (categorical != ((f->kind[f->feature[n]] & COLUMN_CATEGORICAL) ? NODE_CATEGORICAL : 0)) return "a column is a category to one node and none to another";
    if (categorical && (f->key[n] < 0 || f->key[n] >= f->sets)) return "a node asks for a set that is not there";
    const int64_t size = f->table_start[f->feature[n] + 1] - f->table_start[f->feature[n]];
    if (!categorical && !f->ordered && (f->key[n] < 0 || f->key[n] >= size)) return "a threshold is not in the table of its column";
    if (f->key[n] == MISSING) return "a threshold is no number";
  }
  return NULL;
}

/* Of each set a bit for every place in the table of its column, for the category that is in no set, and for missing. */
static const char *make_sets(Forest *f) {
  MAKE(f->set_word, f->sets + 1);
  int64_t *words = make(f, f->sets + 1, sizeof *words), total = 0;
  if (!words) return "no memory is left";
  for (int64_t n = 0; n < f->nodes; n++)
    if (f->flag[n] & NODE_CATEGORICAL) {
      const int64_t c = f->feature[n], size = f->table_start[c + 1] - f->table_start[c];
      if ((size + 1) / 32 + 1 > words[f->key[n]]) words[f->key[n]] = (size + 1) / 32 + 1;
    }
  for (int64_t s = 0; s < f->sets; s++) { f->set_word[s] = total; total += words[s]; }
  MAKE(f->set_bits, total);
  for (int64_t s = 0; s < f->sets; s++)
    for (int64_t i = f->set_start[s]; i < f->set_start[s + 1]; i++) {
      const int32_t place = f->member[i];
      if (place < 0 || place / 32 >= words[s]) return "a set holds a category that its column has not";
      f->set_bits[f->set_word[s] + place / 32] |= 1u << (place % 32);
    }
  for (int64_t n = 0; n < f->nodes; n++)
    if ((f->flag[n] & NODE_CATEGORICAL) && (f->flag[n] & NODE_MISSING_LEFT)) {
      const int64_t c = f->feature[n], missing = f->table_start[c + 1] - f->table_start[c] + 1;
      f->set_bits[f->set_word[f->key[n]] + missing / 32] |= 1u << (missing % 32);
    }
  return NULL;
}

/* Which plane a node reads: that of its column, of the run of thresholds around its own, and of where missing goes. */
static int32_t plane_of(Forest *f, int64_t n) {
  const int categorical = f->flag[n] & NODE_CATEGORICAL;
  const Plane wanted = {f->feature[n], categorical ? 0 : f->key[n] / PLANE_THRESHOLDS * PLANE_THRESHOLDS,
                        !categorical && (f->flag[n] & NODE_MISSING_LEFT) ? 0 : BYTE_MISSING, (uint8_t)categorical};
  int32_t p = 0;
  while (p < f->n_planes && (f->planes[p].column != wanted.column || f->planes[p].first != wanted.first || f->planes[p].missing != wanted.missing)) p++;
  if (p == f->n_planes && p < MOST_PLANES) f->planes[f->n_planes++] = wanted;
  return p;
}

typedef struct { int32_t node, leaf, rank; } Entry;    /* a node, the leftmost leaf below it, and its place in the order */

static int by_rank(const void *a, const void *b) { return ((const Entry *)a)->rank - ((const Entry *)b)->rank; }

/* Leaves below each node, counted from the last to the first, as children stand behind their parents. */
static void count_leaves(const Forest *f, int64_t t, int32_t *below) {
  const int64_t start = f->tree_start[t];
  for (int64_t i = f->tree_start[t + 1] - start - 1; i >= 0; i--) {
    const int32_t l = f->left[start + i], r = f->right[start + i];
    below[i] = (l < 0 ? 1 : below[l]) + (r < 0 ? 1 : below[r]);
  }
}

/* The nodes of a tree in the order of their depth, those that ask for sets last in each; `place` numbers the leaves from
   left to right. `work` is [3 m] whole numbers and `entries` [m]. */
static void order_tree(const Forest *f, int64_t t, int32_t *work, Entry *entries, int32_t *place) {
  const int64_t start = f->tree_start[t], m = f->tree_start[t + 1] - start;
  int32_t *below = work, *first = work + m, *depth = work + 2 * m;
  count_leaves(f, t, below);
  first[0] = depth[0] = 0;
  if (!m) place[0] = 0;
  for (int64_t i = 0; i < m; i++) {
    const int32_t ends[2] = {f->left[start + i], f->right[start + i]};
    const int32_t half = first[i] + (ends[0] < 0 ? 1 : below[ends[0]]), firsts[2] = {first[i], half};
    for (int s = 0; s < 2; s++)
      if (ends[s] < 0) place[~ends[s]] = firsts[s];
      else { first[ends[s]] = firsts[s]; depth[ends[s]] = depth[i] + 1; }
    entries[i] = (Entry){(int32_t)i, first[i], 2 * depth[i] + ((f->flag[start + i] & NODE_CATEGORICAL) ? 1 : 0)};
  }
  qsort(entries, (size_t)m, sizeof *entries, by_rank);
}

#define FOUR(byte) ((uint32_t)(byte) * 0x01010101u)

static const char *make_intervals(Forest *f, int32_t *work, Entry *entries, int32_t *place, double *values) {
  MAKE(f->intervals, f->nodes);
  MAKE(f->planes, MOST_PLANES);
  for (int64_t t = 0; t < f->trees; t++) {
    const int64_t start = f->tree_start[t], m = f->tree_start[t + 1] - start, leaves = m + 1;
    const int64_t count = f->output_start[t + 1] - f->output_start[t];
    if (leaves > MOST_LEAVES) return "a tree has more leaves than a byte can number";
    order_tree(f, t, work, entries, place);
    for (int64_t i = 0; i < m; i++) {
      const int64_t n = start + entries[i].node;
      const int32_t plane = plane_of(f, n), l = f->left[n], half = entries[i].leaf + (l < 0 ? 1 : work[l]);
      const int categorical = f->flag[n] & NODE_CATEGORICAL;
      if (plane == MOST_PLANES) return "it has more planes than a byte can number";
      f->intervals[start + i] = (Interval){categorical ? (uint32_t)f->key[n] : FOUR(f->key[n] - f->planes[plane].first),
        FOUR(entries[i].leaf), FOUR(half), (uint32_t)plane * BLOCK | (categorical ? SET_PLANE : 0)};
    }
    for (int64_t leaf = 0; leaf < leaves; leaf++)
      memcpy(values + f->value_start[t] + place[leaf] * count, f->leaf + f->value_start[t] + leaf * count, (size_t)count * sizeof(double));
  }
  return NULL;
}

/* Of each column its planes, and its thresholds as they are searched eight values at once. */
static const char *make_codes(Forest *f) {
  MAKE(f->plane_start, f->columns + 1);
  MAKE(f->plane_order, f->n_planes + 1);
  for (int64_t c = 0; c < f->columns; c++) {
    int32_t next = f->plane_start[c];
    for (int32_t p = 0; p < f->n_planes; p++) if (f->planes[p].column == c) f->plane_order[next++] = p;
    f->plane_start[c + 1] = next;
  }
  if (f->level < AVX512) return NULL;
  MAKE(f->search, 256 * f->columns);
  for (int64_t c = 0; c < f->columns; c++)
    for (int64_t i = 0; i < 256; i++) {
      const int64_t at = f->table_start[c] + i;
      f->search[256 * c + i] = at < f->table_start[c + 1] ? f->table[at] : INFINITY;
    }
  return NULL;
}

/* Leaf values of a tree and output byte by byte: the first of every leaf, then the second, ... (`add_planes`). */
static const char *make_leaf_planes(Forest *f) {
  int64_t total = 0;
  MAKE(f->leaf_plane_start, f->trees + 1);
  for (int64_t t = 0; t < f->trees; t++) {
    f->leaf_plane_start[t] = total;
    total += 8 * plane_width(f, t) * (f->output_start[t + 1] - f->output_start[t]);
  }
  MAKE(f->leaf_planes, total);
  for (int64_t t = 0; t < f->trees; t++) {
    const int64_t count = f->output_start[t + 1] - f->output_start[t], width = plane_width(f, t);
    for (int64_t i = 0; i < f->value_start[t + 1] - f->value_start[t]; i++) {
      uint8_t bytes[8], *to = f->leaf_planes + f->leaf_plane_start[t] + i % count * 8 * width + i / count;
      memcpy(bytes, f->interval_leaf + f->value_start[t] + i, 8);
      for (int b = 0; b < 8; b++) to[b * width] = bytes[b];
    }
  }
  return NULL;
}

/* Sets as 256 bits: of each code whether it is left, the missing one too, as the node that asks has it. */
static const char *make_byte_sets(Forest *f) {
  for (int64_t c = 0; c < f->columns; c++)
    if ((f->kind[c] & COLUMN_CATEGORICAL) && f->table_start[c + 1] - f->table_start[c] > PLANE_THRESHOLDS)
      return "a column has more categories than a byte can number";
  MAKE(f->byte_sets, 32 * (f->sets + 1));
  for (int64_t s = 0; s < f->sets; s++)
    for (int64_t i = f->set_start[s]; i < f->set_start[s + 1]; i++) f->byte_sets[32 * s + f->member[i] / 8] |= (uint8_t)(1 << f->member[i] % 8);
  for (int64_t n = 0; n < f->nodes; n++)
    if ((f->flag[n] & NODE_CATEGORICAL) && (f->flag[n] & NODE_MISSING_LEFT)) f->byte_sets[32 * (int64_t)f->key[n] + 31] |= 128;
  return NULL;
}

/* 64 trees side by side; a tree that has fewer nodes than its neighbours ends in steps that lead nowhere. */
static const char *make_lanes(Forest *f) {
  f->groups = (f->trees + LANES - 1) / LANES;
  MAKE(f->lane_start, f->groups + 2);
  for (int64_t g = 0; g < f->groups; g++) {
    int64_t most = 0;
    for (int64_t t = g * LANES; t < (g + 1) * LANES && t < f->trees; t++) {
      const int64_t m = f->tree_start[t + 1] - f->tree_start[t];
      most = m > most ? m : most;
    }
    f->lane_start[g + 1] = f->lane_start[g] + 4 * LANES * most;
  }
  f->steps = f->lane_start[f->groups] / (4 * LANES);
  int64_t masks = 0;
  for (int64_t c = 0; c < f->columns; c++)
    if (f->kind[c] & COLUMN_CATEGORICAL) masks += (f->table_start[c + 1] - f->table_start[c] + 2) * f->steps * 8;
  if (masks > MOST_MASK_BYTES) return NULL;
  MAKE(f->lanes, f->lane_start[f->groups]);
  MAKE(f->mask_column, f->columns + 1);
  MAKE(f->lane_masks, f->columns + 1);
  for (int64_t c = 0; c < f->columns; c++)
    if (f->kind[c] & COLUMN_CATEGORICAL) {
      f->mask_column[f->n_masks] = (int32_t)c;
      MAKE(f->lane_masks[f->n_masks], (f->table_start[c + 1] - f->table_start[c] + 2) * f->steps);
      f->n_masks++;
    }
  for (int64_t i = 0; i < f->steps; i++) memset(f->lanes + i * 4 * LANES + LANES, 255, LANES);
  for (int64_t t = 0; t < f->trees; t++) {
    uint8_t *at = f->lanes + f->lane_start[t / LANES] + t % LANES;
    for (const Interval *n = f->intervals + f->tree_start[t]; n < f->intervals + f->tree_start[t + 1]; n++, at += 4 * LANES) {
      at[0] = (uint8_t)((n->plane & ~SET_PLANE) / BLOCK);
      at[LANES] = (n->plane & SET_PLANE) ? 255 : (uint8_t)n->k4;
      at[2 * LANES] = (uint8_t)n->l4;
      at[3 * LANES] = (uint8_t)n->r4;
      if (!(n->plane & SET_PLANE)) continue;
      int32_t m = 0;
      while (f->mask_column[m] != f->planes[at[0]].column) m++;
      const int64_t size = f->table_start[f->mask_column[m] + 1] - f->table_start[f->mask_column[m]];
      const uint64_t lane = 1ull << (t % LANES);
      for (int64_t code = 0; code <= size + 1; code++)
        if (!in_byte_set(f->byte_sets + 32 * (int64_t)n->k4, code > size ? BYTE_MISSING : (uint8_t)code))
          f->lane_masks[m][code * f->steps + (at - f->lanes) / (4 * LANES)] |= lane;
    }
  }
  return NULL;
}

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

/* Where the two children of each node stand: `at` [m]. Up to four pairs that follow each other fill a line of the cache,
   so that a way down waits for memory about every second step. Gives how many places the tree takes. */
static int64_t place_pairs(const Forest *f, int64_t t, int32_t *at, int32_t *stack) {
  const int64_t start = f->tree_start[t], m = f->tree_start[t + 1] - start;
  int64_t waiting = 0, next = 1;
  if (m) stack[waiting++] = 0;
  while (waiting) {
    int32_t line[PAIRS_OF_A_LINE];
    int count = 0;
    line[count++] = stack[--waiting];
    for (int h = 0; h < count; h++) {
      const int32_t ends[2] = {f->left[start + line[h]], f->right[start + line[h]]};
      for (int s = 0; s < 2; s++) {
        if (ends[s] < 0) continue;
        if (count < PAIRS_OF_A_LINE) line[count++] = ends[s];
        else stack[waiting++] = ends[s];
      }
    }
    if (count > PAIRS_OF_A_LINE - next % PAIRS_OF_A_LINE) next += PAIRS_OF_A_LINE - next % PAIRS_OF_A_LINE;
    for (int h = 0; h < count; h++) at[line[h]] = (int32_t)(2 * next++);
  }
  return 2 * next;
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

/* Places of the nodes of a tree, up to eight that belong together to a line of the cache; gives how many it takes. */
static int64_t place_slim(const Forest *f, int64_t t, int32_t *at, int32_t *stack) {
  const int64_t start = f->tree_start[t], m = f->tree_start[t + 1] - start;
  int64_t waiting = 0, next = 0;
  if (m) stack[waiting++] = 0;
  while (waiting) {
    int32_t line[SLIM_OF_A_LINE];
    int count = 0;
    line[count++] = stack[--waiting];
    for (int h = 0; h < count; h++) {
      const int32_t ends[2] = {f->left[start + line[h]], f->right[start + line[h]]};
      for (int s = 0; s < 2; s++) {
        if (ends[s] < 0) continue;
        if (count < SLIM_OF_A_LINE) line[count++] = ends[s];
        else stack[waiting++] = ends[s];
      }
    }
    if (count > SLIM_OF_A_LINE - next % SLIM_OF_A_LINE) next += SLIM_OF_A_LINE - next % SLIM_OF_A_LINE;
    for (int h = 0; h < count; h++) at[line[h]] = (int32_t)next++;
  }
  return next;
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
    const int64_t size = place_slim(f, t, at, stack);
    f->root[t + 1] = f->root[t] + (size + SLIM_OF_A_LINE - 1) / SLIM_OF_A_LINE * SLIM_OF_A_LINE;
  }
  MAKE(f->slim, f->root[f->trees] + 1);
  for (int64_t t = 0; t < f->trees; t++) {
    place_slim(f, t, at, stack);
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

/* All that the kernels of this level read; NULL, or why not. `interval` says that trees and planes are small enough. */
static const char *build(Forest *f) {
  int64_t largest = 0;
  for (int64_t t = 0; t < f->trees; t++) {
    const int64_t m = f->tree_start[t + 1] - f->tree_start[t];
    largest = m > largest ? m : largest;
  }
  uint8_t *seen = make(f, 2 * largest + 2, 1);
  if (!seen) return "no memory is left";
  MAKE(f->leaf_start, f->trees + 1);
  for (int64_t t = 0; t < f->trees; t++) {
    TRY(check_tree(f, t, seen));
    f->leaf_start[t + 1] = f->leaf_start[t] + f->tree_start[t + 1] - f->tree_start[t] + 1;
  }
  TRY(make_sets(f));
  if (f->interval) {
    int32_t *work = make(f, 3 * largest + 1, sizeof *work), *place = make(f, largest + 1, sizeof *place);
    Entry *entries = make(f, largest + 1, sizeof *entries);
    double *values = make(f, f->value_start[f->trees], sizeof *values);
    if (!work || !place || !entries || !values) return "no memory is left";
    TRY(make_byte_sets(f));
    TRY(make_intervals(f, work, entries, place, values));
    f->interval_leaf = values;
    TRY(make_codes(f));
    if (f->level >= AVX512) {
      TRY(make_lanes(f));
      TRY(make_leaf_planes(f));
    }
  }
  return f->lanes ? NULL : make_walks(f, largest);
}

#endif
