/* The slim walking form: a node of 8 bytes holds its threshold, its column and both references, and leaves need no node:
   a reference to a leaf is the index of its value. Large forests are bound by memory bandwidth, which this halves; a cache
   line holds three levels of a tree. */
#ifndef HEADWAY_SLIM_H
#define HEADWAY_SLIM_H

#include "ways.h"

#define GOES_RIGHT(n, x) ((x)[(n) >> SLIM_COLUMN] > (int32_t)((n) & 0xffff))

/* Select one of two by a mask of all bits or none: a branch would be mispredicted every other time. */
static inline uint32_t step_plain(const uint64_t *tree, uint32_t i, const int32_t *x) {
  const uint64_t n = tree[i];
  const uint32_t left = (uint32_t)(n >> SLIM_LEFT) & (2 * LEAF - 1), right = (uint32_t)(n >> SLIM_RIGHT) & (2 * LEAF - 1);
  return left ^ ((left ^ right) & -(uint32_t)GOES_RIGHT(n, x));
}

/* With BMI2, and on ARM, a shift by a variable costs as much as any other. */
#define STEP_BY_SHIFT(tree, i, x) ({ \
  const uint64_t n_ = (tree)[i]; \
  (uint32_t)(n_ >> (GOES_RIGHT(n_, x) ? SLIM_RIGHT : SLIM_LEFT)) & (2 * LEAF - 1); })

#define IS_LEAF(tree, from, to) ((to) >> LEAF_BIT)

/* The same where a walk may have ended: the root is read instead of the node there. */
#define HELD_AT_LEAF(tree, i, x) ({ \
  const uint32_t next_ = STEP_BY_SHIFT(tree, (i) & (((i) >> LEAF_BIT) - 1), x); \
  (i) & LEAF ? (i) : next_; })
#define LEAF_OF(tree, from, to) ((to) & LEAF)

WALKS(slim_plain, , uint64_t, step_plain, IS_LEAF)

#if defined(__x86_64__) || defined(__aarch64__)
#if defined(__x86_64__)
#define BMI2_TARGET __attribute__((target("bmi2")))
#define SHIFT_LEVEL AVX2
#else
#define BMI2_TARGET
#define SHIFT_LEVEL NEON
#endif
WALKS(slim_shift, BMI2_TARGET, uint64_t, STEP_BY_SHIFT, IS_LEAF)
NEAR_WALK(slim_shift, BMI2_TARGET, uint64_t, SLIM_ABREAST, HELD_AT_LEAF, LEAF_OF)
#endif

static void slim_row(const Forest *f, const int32_t *x, uint32_t *found) {
#if defined(__x86_64__) || defined(__aarch64__)
  if (f->level >= SHIFT_LEVEL) { (f->is_near && f->is_even ? slim_shift_near : slim_shift_row)(f, f->slim, x, found); return; }
#endif
  slim_plain_row(f, f->slim, x, found);
}

static void slim_tree(const Forest *f, int64_t t, const int32_t *x, int64_t n, uint32_t *found) {
#if defined(__x86_64__) || defined(__aarch64__)
  if (f->level >= SHIFT_LEVEL) { slim_shift_tree(f, f->slim, t, x, n, found); return; }
#endif
  slim_plain_tree(f, f->slim, t, x, n, found);
}

/* Add the values that n rows reached in a tree to their sums. */
static void add_values(const Forest *f, int64_t t, const uint32_t *found, int64_t n, double *sums) {
  const double *value = f->slim_values + f->slim_base[t];
  if (f->sums_float32) for (int64_t r = 0; r < n; r++) sums[r] = (double)(float)(sums[r] + value[found[r] & (LEAF - 1)]);
  else for (int64_t r = 0; r < n; r++) sums[r] += value[found[r] & (LEAF - 1)];
}

#endif
