/* The slim walking form: a node of 8 bytes holds its threshold, its column and both ways on, and no leaf takes a place in
   memory: the way on names the value that it ends with. Large forests are as fast as memory brings their nodes, and this
   halves what has to be brought; a line of the cache holds three levels of a tree. */
#ifndef HEADWAY_SLIM_H
#define HEADWAY_SLIM_H

#include "forest.h"

#define SLIM_ABREAST 12

/* Either of two, chosen by all bits or none: a branch would be guessed wrong every other time. */
static inline uint32_t either(uint32_t no, uint32_t yes, uint32_t bits) { return no ^ ((no ^ yes) & bits); }

/* The root, where a leaf was reached: that has no place. */
#define NODE_AT(tree, i) (tree)[(i) & (((i) >> LEAF_BIT) - 1)]
#define GOES_RIGHT(n, x) ((x)[((n) >> 16) & (MOST_SLIM_COLUMNS - 1)] > (int32_t)((n) & 0xffff))

static inline uint32_t step_plain(const uint64_t *tree, uint32_t i, const int32_t *x) {
  const uint64_t n = NODE_AT(tree, i);
  const uint32_t left = (uint32_t)(n >> SLIM_LEFT) & (2 * LEAF - 1), right = (uint32_t)(n >> SLIM_RIGHT);
  return either(either(left, right, -(uint32_t)GOES_RIGHT(n, x)), i, -(i >> LEAF_BIT));
}

/* With BMI2 a shift by a number that was computed costs what any other does. */
#define STEP_BY_SHIFT(tree, i, x) ({ \
  const uint64_t n_ = NODE_AT(tree, i); \
  const uint32_t on_ = (uint32_t)(n_ >> (GOES_RIGHT(n_, x) ? SLIM_RIGHT : SLIM_LEFT)) & (2 * LEAF - 1); \
  (i) & LEAF ? (i) : on_; })

#define SLIM_WALKS(NAME, TARGET, STEP) \
  /* Leaves that a row reaches, by tree. */ \
  TARGET static void NAME##_row(const Forest *f, const int32_t *x, uint32_t *found) { \
    for (int64_t t = 0; t < f->trees; t += SLIM_ABREAST) { \
      const uint64_t *tree[SLIM_ABREAST]; \
      uint32_t i[SLIM_ABREAST], done = 0; \
      for (int j = 0; j < SLIM_ABREAST; j++) { \
        const int32_t number = f->by_depth[t + j < f->trees ? t + j : t]; \
        tree[j] = f->slim + f->root[number]; \
        i[j] = f->slim_start[number]; \
      } \
      while (!(done & LEAF)) { \
        done = LEAF; \
        _Pragma("GCC unroll 16") for (int j = 0; j < SLIM_ABREAST; j++) { i[j] = STEP(tree[j], i[j], x); done &= i[j]; } \
      } \
      for (int j = 0; j < SLIM_ABREAST && t + j < f->trees; j++) found[f->by_depth[t + j]] = i[j] & (LEAF - 1); \
    } \
  } \
  /* The leaf that each of n rows reaches in tree t. */ \
  TARGET static void NAME##_tree(const Forest *f, int64_t t, const int32_t *x, int64_t n, uint32_t *found) { \
    const uint64_t *tree = f->slim + f->root[t]; \
    for (int64_t r = 0; r < n; r += SLIM_ABREAST) { \
      const int32_t *row[SLIM_ABREAST]; \
      uint32_t i[SLIM_ABREAST], done = 0; \
      for (int j = 0; j < SLIM_ABREAST; j++) { row[j] = x + (r + j < n ? r + j : r) * f->walk_columns; i[j] = f->slim_start[t]; } \
      while (!(done & LEAF)) { \
        done = LEAF; \
        _Pragma("GCC unroll 16") for (int j = 0; j < SLIM_ABREAST; j++) { i[j] = STEP(tree, i[j], row[j]); done &= i[j]; } \
      } \
      for (int j = 0; j < SLIM_ABREAST && r + j < n; j++) found[r + j] = i[j] & (LEAF - 1); \
    } \
  }

SLIM_WALKS(slim_plain, , step_plain)

#if defined(__x86_64__)
SLIM_WALKS(slim_shift, __attribute__((target("bmi2"))), STEP_BY_SHIFT)
#endif

static void slim_row(const Forest *f, const int32_t *x, uint32_t *found) {
#if defined(__x86_64__)
  if (f->level >= AVX2) { slim_shift_row(f, x, found); return; }
#endif
  slim_plain_row(f, x, found);
}

static void slim_tree(const Forest *f, int64_t t, const int32_t *x, int64_t n, uint32_t *found) {
#if defined(__x86_64__)
  if (f->level >= AVX2) { slim_shift_tree(f, t, x, n, found); return; }
#endif
  slim_plain_tree(f, t, x, n, found);
}

static void add_values(const Forest *f, int64_t t, const uint32_t *found, int64_t n, double *sums) {
  const double *value = f->slim_values + f->slim_base[t];
  if (f->sums_float32) for (int64_t r = 0; r < n; r++) sums[r] = (double)(float)(sums[r] + value[found[r]]);
  else for (int64_t r = 0; r < n; r++) sums[r] += value[found[r]];
}

#endif
