/* Decide whether the score of a row is at least a threshold. A large forest whose score is the sum itself stops as soon as
   the trees that are left cannot change the decision: they add at least `rest_low` and at most `rest_high`. Trees are added
   in the order of the full score, so the sum is that of the full score so far; `rest_slack` exceeds all rounding that is
   still to come, and that of the bounds. */
#ifndef HEADWAY_DECIDE_H
#define HEADWAY_DECIDE_H

#include "score.h"

#define FEWEST_TREES 32          /* between two tests: fewer would wait for memory one by one */

static inline int stops_early(const Forest *f, int64_t rows) {
  return f->rest_low && rows < MANY_FAR_ROWS && !f->lanes && !f->interval;
}

/* 1 or 0 if a sum before tree t decides, else -1. */
static inline int decided(const Forest *f, double low, double high, int64_t t, double threshold) {
  if (low + f->rest_low[t] - f->rest_slack >= threshold) return 1;
  if (high + f->rest_high[t] + f->rest_slack < threshold) return 0;
  return -1;
}

/* The tree before which a bound will decide, if the next trees add as much as those so far, on the average. */
static inline int64_t next_test(const Forest *f, double sum, int64_t t, double threshold) {
  const double each = (sum - f->base[0]) / (double)t, left = (double)(f->trees - t), needed = threshold - sum;
  double most = left;
  for (int side = 0; side < 2; side++) {
    const double rest = (side ? f->rest_high : f->rest_low)[t], trees = (needed - rest) / (each - rest / left);
    most = trees > 0 && trees < most ? trees : most;
  }
  const int64_t next = t + (int64_t)most + FEWEST_TREES / 4;
  return f->trees - next < FEWEST_TREES ? f->trees : next - t < FEWEST_TREES ? t + FEWEST_TREES : next;
}

static int decide_keys(const Forest *f, const int32_t *x, uint32_t *found, double threshold) {
  const double base = f->base[0];
  double sum = base;
  int64_t t = 0, next = FEWEST_TREES;
  int side = -1;
  while (next < f->trees && decided(f, base + f->rest_high[0] - f->rest_high[next], base + f->rest_low[0] - f->rest_low[next], next, threshold) < 0) next += FEWEST_TREES / 4;
  for (next = next < f->trees ? next : f->trees; side < 0 && t < f->trees; next = next_test(f, sum, t, threshold)) {
    Forest part = *f;
    part.way += t;
    part.ways = next - t;
    part.trees = 0; /* every tree has nodes, so no leaf is known before */
    walk_far(&part, x, found);
    for (; t < next; t++) add_tree(f, t, found + t, &sum);
    side = decided(f, sum, sum, t, threshold);
  }
  return side < 0 ? sum >= threshold : side;
}

/* Write a decision as int64 where a score of the same size was. */
static inline void put_decision(double *where, int64_t decision) { memcpy(where, &decision, sizeof decision); }

/* Decisions of n rows of a forest that stops early: x [n][width] -> out [n], int64 1 or 0. */
static int decide_early(const Forest *f, const double *x, int64_t n, double threshold, double *out) {
  for (int64_t r = 0; f->refuses && r < n; r++) if (is_refused(f, x + r * f->width)) return REFUSED;
  int32_t *keys = malloc((size_t)(f->walk_columns + f->trees + 1) * sizeof *keys);
  for (int64_t r = 0; keys && r < n; r++) {
    walk_keys(f, x + r * f->width, 1, keys);
    put_decision(out + r, decide_keys(f, keys, (uint32_t *)keys + f->walk_columns, threshold));
  }
  free(keys);
  return keys != NULL;
}

#endif
