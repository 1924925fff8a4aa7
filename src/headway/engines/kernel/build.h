/* Build the forms that the kernels read from the arrays of Python. Every index is checked here, so that no kernel reads
   outside its arrays; the reason is returned if one is invalid. */
#ifndef HEADWAY_BUILD_H
#define HEADWAY_BUILD_H

#include "chains.h"
#include "lay_out.h"
#include "rest.h"
#include "widths.h"

/* Check that every node has one parent, which comes before it, that every leaf has one, and that keys, features and sets exist. */
static const char *check_tree(const Forest *f, int64_t t, uint8_t *seen) {
  const int64_t start = f->tree_start[t], m = f->tree_start[t + 1] - start;
  memset(seen, 0, (size_t)(2 * m + 2));
  for (int64_t i = 0; i < m; i++) {
    const int64_t n = start + i;
    const int32_t ends[2] = {f->left[n], f->right[n]};
    for (int s = 0; s < 2; s++) {
      if (ends[s] >= 0 ? ends[s] <= i || ends[s] >= m : ~(int64_t)ends[s] > m) return "a node points outside the tree";
      uint8_t *place = seen + (ends[s] >= 0 ? (int64_t)ends[s] : m + ~(int64_t)ends[s]);
      if ((*place)++) return "a node or leaf has two parents";
    }
    if (f->feature[n] < 0 || f->feature[n] >= f->columns) return "a node reads a column that does not exist";
    const int categorical = f->flag[n] & NODE_CATEGORICAL;
    if (categorical != ((f->kind[f->feature[n]] & COLUMN_CATEGORICAL) ? NODE_CATEGORICAL : 0)) return "a column is categorical for one node and numeric for another";
    if (categorical && (f->key[n] < 0 || f->key[n] >= f->sets)) return "a node reads a set that does not exist";
    const int64_t size = f->table_start[f->feature[n] + 1] - f->table_start[f->feature[n]];
    if (!categorical && !f->ordered && (f->key[n] < 0 || f->key[n] >= size)) return "a threshold is not in the table of its column";
    if (f->key[n] == MISSING) return "a threshold is NaN";
  }
  return NULL;
}

/* A bit per set for each entry of the table of its column, for the unknown category, and for missing. */
static const char *make_sets(Forest *f) {
  MAKE(f->set_word, f->sets + 1);
  int64_t *words = make(f, f->sets + 1, sizeof *words), total = 0;
  if (!words) return "out of memory";
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
      if (place < 0 || place / 32 >= words[s]) return "a set has a category that is not in the table of its column";
      f->set_bits[f->set_word[s] + place / 32] |= 1u << (place % 32);
    }
  for (int64_t n = 0; n < f->nodes; n++)
    if ((f->flag[n] & NODE_CATEGORICAL) && (f->flag[n] & NODE_MISSING_LEFT)) {
      const int64_t c = f->feature[n], missing = f->table_start[c + 1] - f->table_start[c] + 1;
      f->set_bits[f->set_word[f->key[n]] + missing / 32] |= 1u << (missing % 32);
    }
  return NULL;
}

/* The plane that a node reads: that of its column, of the run of thresholds around its own, and of its side for missing values. */
static int32_t plane_of(Forest *f, int64_t n) {
  const int categorical = f->flag[n] & NODE_CATEGORICAL;
  const Plane wanted = {f->feature[n], categorical ? 0 : f->key[n] / PLANE_THRESHOLDS * PLANE_THRESHOLDS,
                        !categorical && (f->flag[n] & NODE_MISSING_LEFT) ? 0 : BYTE_MISSING, (uint8_t)categorical};
  int32_t p = 0;
  while (p < f->n_planes && (f->planes[p].column != wanted.column || f->planes[p].first != wanted.first || f->planes[p].missing != wanted.missing)) p++;
  if (p == f->n_planes && p < MOST_PLANES) f->planes[f->n_planes++] = wanted;
  return p;
}

/* Order the nodes of a tree by depth, those that test sets last at each depth; `place` numbers the leaves from left to
   right. `work` is [3 m] integers and `entries` [m]. */
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

/* Nodes for batches. `all_planes` receives that of each node, `all_places` the number of each leaf from left to right. */
static const char *make_intervals(Forest *f, int32_t *work, Entry *entries, int32_t *all_planes, int32_t *all_places, double *values) {
  MAKE(f->intervals, f->nodes);
  MAKE(f->planes, MOST_PLANES);
  for (int64_t t = 0; t < f->trees; t++) {
    const int64_t start = f->tree_start[t], m = f->tree_start[t + 1] - start, leaves = m + 1;
    const int64_t count = f->output_start[t + 1] - f->output_start[t];
    int32_t *place = all_places + f->leaf_start[t];
    if (leaves > MOST_LEAVES) return "a tree has more leaves than a byte can number";
    order_tree(f, t, work, entries, place);
    for (int64_t i = 0; i < m; i++) {
      const int64_t n = start + entries[i].node;
      const int32_t plane = plane_of(f, n), l = f->left[n], half = entries[i].leaf + (l < 0 ? 1 : work[l]);
      const int categorical = f->flag[n] & NODE_CATEGORICAL;
      all_planes[n] = plane;
      if (plane == MOST_PLANES) return "the forest has more planes than a byte can number";
      f->intervals[start + i] = (Interval){categorical ? (uint32_t)f->key[n] : FOUR(f->key[n] - f->planes[plane].first),
        FOUR(entries[i].leaf), FOUR(half), (uint32_t)plane * BLOCK | (categorical ? SET_PLANE : 0)};
    }
    for (int64_t leaf = 0; leaf < leaves; leaf++)
      memcpy(values + f->value_start[t] + place[leaf] * count, f->leaf + f->value_start[t] + leaf * count, (size_t)count * sizeof(double));
  }
  return NULL;
}

/* The planes of each column, and its thresholds in the layout of the eight-value search. */
static const char *make_codes(Forest *f) {
  MAKE(f->plane_start, f->columns + 1);
  MAKE(f->plane_order, f->n_planes + 1);
  for (int64_t c = 0; c < f->columns; c++) {
    int32_t next = f->plane_start[c];
    for (int32_t p = 0; p < f->n_planes; p++) if (f->planes[p].column == c) f->plane_order[next++] = p;
    f->plane_start[c + 1] = next;
  }
#if !defined(__x86_64__)
  return NULL;
#endif
  if (f->level < AVX2) return NULL;
  const int64_t eights = (f->columns + 7) / 8;
  MAKE(f->search, SEARCHED * 8 * eights);
  MAKE(f->run_ends, RUN * 8 * eights);
  MAKE(f->levels, LEVEL_CELLS * f->columns);
  MAKE(f->row_column, 8 * eights);
  MAKE(f->row_zeros, eights);
  MAKE(f->searched_alone, f->columns + 1);
  for (int64_t c = 0; c < f->columns; c++) {
    f->row_column[c] = f->column[c];
    if (f->kind[c] & COLUMN_ZERO_IS_MISSING) f->row_zeros[c / 8] |= (uint8_t)(1 << c % 8);
    if ((f->kind[c] & COLUMN_CATEGORICAL) || f->table_start[c + 1] - f->table_start[c] >= SEARCHED) f->searched_alone[f->n_searched_alone++] = (int32_t)c;
    for (int64_t i = 0; i < SEARCHED; i++) {
      const int64_t at = f->table_start[c] + i;
      f->search[SEARCHED * c + i] = at < f->table_start[c + 1] ? f->table[at] : INFINITY;
    }
    for (int64_t i = 0; i < RUN; i++) f->run_ends[RUN * c + i] = i < RUN - 1 ? f->search[SEARCHED * c + RUN * i + RUN - 1] : INFINITY;
    if (f->level < AVX512 || f->table_start[c + 1] - f->table_start[c] >= SEARCHED) continue;
    double *to = f->levels + LEVEL_CELLS * c;
    for (int level = 0, depth = levels_of(f->table_start[c + 1] - f->table_start[c]); level < depth && level < 7; level++) {
      const int cells = level < 4 ? 8 : 1 << level;
      for (int i = 0; i < cells; i++) to[i] = f->search[SEARCHED * c + (2 * (i % (1 << level)) + 1) * (1 << (depth - 1 - level)) - 1];
      to += cells;
    }
  }
  return NULL;
}

/* Distinct tests, and the nodes of each BIT_TREES trees in turn, parents before children (`bits.h`). */
static const char *make_bits(Forest *f) {
  if (f->nodes > UINT32_MAX / SET_BYTES) return NULL;
  BitNode *to = make(f, f->nodes, sizeof *to);
  int32_t *number = calloc((size_t)(f->n_planes + 1) * BLOCK, sizeof *number); /* of the test of a plane and threshold, from 1 on */
  f->bit_nodes = to;
  f->test = make(f, f->nodes, sizeof *f->test);
  for (int64_t t = 0; to && number && f->test && t < f->trees; t += BIT_TREES) {
    int32_t ends[BIT_TREES][BIT_LEAVES]; /* of the subtree that begins with a leaf */
    int64_t left = 1;
    for (int64_t j = 0; j < BIT_TREES && t + j < f->trees; j++) ends[j][0] = (int32_t)(f->tree_start[t + j + 1] - f->tree_start[t + j] + 1);
    for (int64_t i = 0; left; i++) {
      left = 0;
      for (int64_t j = 0; j < BIT_TREES && t + j < f->trees; j++) {
        if (f->tree_start[t + j] + i >= f->tree_start[t + j + 1]) continue;
        const Interval *n = f->intervals + f->tree_start[t + j] + i;
        const uint8_t l = (uint8_t)n->l4, r = (uint8_t)n->r4;
        int32_t *found = number + n->plane + (uint8_t)n->k4;
        if (!*found) { f->test[f->tests++] = (Test){n->k4, n->plane}; *found = (int32_t)f->tests; }
        *to++ = (BitNode){(uint32_t)(*found - 1) * SET_BYTES, (uint16_t)((j * BIT_LEAVES + l) * SET_BYTES),
                          (uint16_t)((j * BIT_LEAVES + r) * SET_BYTES), (uint16_t)((j * BIT_LEAVES + ends[j][l]) * SET_BYTES)};
        ends[j][r] = ends[j][l];
        ends[j][l] = r;
        left = 1;
      }
    }
  }
  free(number);
  if (!to || !number || !f->test) return "out of memory";
  if (2 * f->tests > f->nodes) f->bit_nodes = NULL; /* evaluating tests takes longer than they save */
  return NULL;
}

/* Whether all numbers are float32, so that adding them as such has the sum that rounding one of float64 has. */
static int are_float32(const double *numbers, int64_t n) {
  for (int64_t i = 0; i < n; i++) if (numbers[i] == numbers[i] && (double)(float)numbers[i] != numbers[i]) return 0;
  return 1;
}

/* Leaf values of a tree and output by byte: the first byte of every leaf, then the second, ... (`add_planes`). */
static const char *make_leaf_planes(Forest *f) {
  int64_t total = 0;
  f->adds_float32 = f->sums_float32 && f->chains && are_float32(f->base, f->outputs) && are_float32(f->interval_leaf, f->value_start[f->trees]);
  const int64_t bytes = f->adds_float32 ? 4 : 8;
  MAKE(f->leaf_plane_start, f->trees + 1);
  for (int64_t t = 0; t < f->trees; t++) {
    f->leaf_plane_start[t] = total;
    total += bytes * plane_width(f, t) * (f->output_start[t + 1] - f->output_start[t]);
  }
  MAKE(f->leaf_planes, total);
  for (int64_t t = 0; t < f->trees; t++) {
    const int64_t count = f->output_start[t + 1] - f->output_start[t], width = plane_width(f, t);
    for (int64_t i = 0; i < f->value_start[t + 1] - f->value_start[t]; i++) {
      uint8_t byte[8], *to = f->leaf_planes + f->leaf_plane_start[t] + i % count * bytes * width + i / count;
      const double value = f->interval_leaf[f->value_start[t] + i];
      const float single = (float)value;
      memcpy(byte, bytes == 4 ? (const void *)&single : &value, (size_t)bytes);
      for (int64_t b = 0; b < bytes; b++) to[b * width] = byte[b];
    }
  }
  return NULL;
}

/* Sets as 256 bits: whether each code, the missing one too, goes left at the node that tests the set. */
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

/* Whether the lanes of AVX2 are faster than walks. `work` is [nodes of the largest tree + 1]. */
static int avx2_lanes_pay(const Forest *f, int32_t *work) {
  double walk = 0;
  for (int64_t t = 0; t < f->trees; t++) depth_of(f, t, work, &walk);
  return f->n_planes <= MOST_AVX2_PLANES && !f->sets && WALK_OF_LANES * (double)f->steps <= walk;
}

/* 64 trees side by side; a tree with fewer nodes than its neighbours is padded with steps that change nothing. */
static const char *make_lanes(Forest *f, int32_t *work) {
  f->groups = (f->trees + LANES - 1) / LANES;
  MAKE(f->lane_start, f->groups + 2);
  for (int64_t g = 0; g < f->groups; g++) {
    int64_t most = 0;
    for (int64_t t = g * LANES; t < (g + 1) * LANES && t < f->trees; t++) {
      const int64_t m = f->tree_start[t + 1] - f->tree_start[t];
      most = m > most ? m : most;
    }
    f->lane_start[g + 1] = f->lane_start[g] + LANE_BYTES * most;
  }
  f->steps = f->lane_start[f->groups] / LANE_BYTES;
  f->alone = f->level < AVX512 || !f->steps ? ROW_BY_ROW : 4 * f->nodes / (9 * f->steps);
  f->alone = f->alone < 2 ? 2 : f->alone;
#if defined(__x86_64__)
  if (f->level < AVX512 && !avx2_lanes_pay(f, work)) return NULL;
#endif
  (void)work;
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
  for (int64_t i = 0; i < f->steps; i++) memset(f->lanes + i * LANE_BYTES + LANES, 255, LANES);
  for (int64_t t = 0; t < f->trees; t++) {
    for (const Interval *n = f->intervals + f->tree_start[t]; n < f->intervals + f->tree_start[t + 1]; n++) {
      uint8_t *at = f->lanes + f->lane_start[t / LANES] + ((uint8_t)n->r4 - 1) * LANE_BYTES + t % LANES;
      at[0] = (uint8_t)((n->plane & ~SET_PLANE) / BLOCK);
      at[LANES] = (n->plane & SET_PLANE) ? 255 : (uint8_t)n->k4;
      at[2 * LANES] = (uint8_t)n->l4;
      if (!(n->plane & SET_PLANE)) continue;
      int32_t m = 0;
      while (f->mask_column[m] != f->planes[at[0]].column) m++;
      const int64_t size = f->table_start[f->mask_column[m] + 1] - f->table_start[f->mask_column[m]];
      const uint64_t lane = 1ull << (t % LANES);
      for (int64_t code = 0; code <= size + 1; code++)
        if (!in_byte_set(f->byte_sets + 32 * (int64_t)n->k4, code > size ? BYTE_MISSING : (uint8_t)code))
          f->lane_masks[m][code * f->steps + (at - f->lanes) / LANE_BYTES] |= lane;
    }
  }
  return NULL;
}

/* Build all that the kernels of this level read; return NULL, or why not. `interval` is set if trees and planes are small enough. */
static const char *build(Forest *f) {
  int64_t largest = 0;
  for (int64_t t = 0; t < f->trees; t++) {
    const int64_t m = f->tree_start[t + 1] - f->tree_start[t];
    largest = m > largest ? m : largest;
  }
  uint8_t *seen = make(f, 2 * largest + 2, 1);
  if (!seen) return "out of memory";
  MAKE(f->leaf_start, f->trees + 1);
  for (int64_t t = 0; t < f->trees; t++) {
    TRY(check_tree(f, t, seen));
    f->leaf_start[t + 1] = f->leaf_start[t] + f->tree_start[t + 1] - f->tree_start[t] + 1;
  }
  TRY(make_sets(f));
  if (f->interval) {
    int32_t *work = make(f, 3 * largest + 1, sizeof *work), *plane = make(f, f->nodes + 1, sizeof *plane), *place = make(f, f->leaf_start[f->trees] + 1, sizeof *place);
    Entry *entries = make(f, largest + 1, sizeof *entries);
    double *values = make(f, f->value_start[f->trees], sizeof *values);
    if (!work || !plane || !place || !entries || !values) return "out of memory";
    TRY(make_byte_sets(f));
    TRY(make_intervals(f, work, entries, plane, place, values));
    f->interval_leaf = values;
    TRY(make_codes(f));
    if (f->level >= LANE_LEVEL) TRY(make_lanes(f, work));
    if (f->level >= AVX512 && !f->sets && f->nodes >= CHAINED_NODES * f->trees) {
      TRY(make_chains(f, plane, place));
      if (f->nodes >= BIT_NODES * f->trees) TRY(make_bits(f));
    }
    if (f->level >= AVX512) TRY(make_leaf_planes(f));
  }
  if (!f->lanes) TRY(make_walks(f, largest));
  return make_rest(f);
}

#endif
