/* Decide rows without their scores: whether the score is at least a threshold, or which of several classes has the highest.
   A large forest whose score is the sum itself stops as soon as the trees that are left cannot change the decision: they add
   at least `rest_low` and at most `rest_high`. Trees are added in the order of the full score, so the sum is that of the full
   score so far; `rest_slack` exceeds all rounding that is still to come, and that of the bounds. */
#ifndef HEADWAY_DECIDE_H
#define HEADWAY_DECIDE_H

#include "score.h"

static inline int stops_early(const Forest *f, int64_t rows) {
  return f->rest_low && (f->lanes ? rows <= ROW_BY_ROW : rows < MANY_FAR_ROWS);
}

/* 1 or 0 if a sum before tree t decides, else -1. */
static inline int decided(const Forest *f, double low, double high, int64_t t, double threshold) {
  if (low + f->rest_low[t] - f->rest_slack >= threshold) return 1;
  if (high + f->rest_high[t] + f->rest_slack < threshold) return 0;
  return -1;
}

/* The tree before which to test next, if that after so many more will decide. */
static inline int64_t test_after(const Forest *f, int64_t t, double trees) {
  const int64_t every = f->rest_every, soon = t + (int64_t)trees + FEWEST_TREES / 4;
  const int64_t next = ((soon - t < FEWEST_TREES ? t + FEWEST_TREES : soon) + every - 1) / every * every;
  return f->trees - next < FEWEST_TREES ? f->trees : next;
}

/* The tree before which a bound will decide, if the next trees add as much as those so far, on the average. */
static inline int64_t next_test(const Forest *f, double sum, int64_t t, double threshold) {
  const double each = (sum - f->base[0]) / (double)t, left = (double)(f->trees - t), needed = threshold - sum;
  double most = left;
  for (int side = 0; side < 2; side++) {
    const double rest = (side ? f->rest_high : f->rest_low)[t], trees = (needed - rest) / (each - rest / left);
    most = trees > 0 && trees < most ? trees : most;
  }
  return test_after(f, t, most);
}

/* Add the leaves of a row in the trees from `first` to `end` to its sums. */
static void walk_part(const Forest *f, const int32_t *x, uint32_t *found, int64_t first, int64_t end, double *sums) {
  Forest part = *f;
  part.way += first;
  part.ways = end - first;
  part.trees = 0; /* every tree has nodes, so no leaf is known before */
  walk_far(&part, x, found);
  for (int64_t t = first; t < end; t++) add_tree(f, t, found + t, sums);
}

static int decide_keys(const Forest *f, const int32_t *x, uint32_t *found, double threshold) {
  const double base = f->base[0];
  double sum = base;
  int64_t t = 0, next = FEWEST_TREES;
  int side = -1;
  while (next < f->trees && decided(f, base + f->rest_high[0] - f->rest_high[next], base + f->rest_low[0] - f->rest_low[next], next, threshold) < 0) next += FEWEST_TREES / 4;
  for (next = next < f->trees ? next : f->trees; side < 0 && t < f->trees; next = next_test(f, sum, t, threshold)) {
    walk_part(f, x, found, t, next, &sum);
    t = next;
    side = decided(f, sum, sum, t, threshold);
  }
  return side < 0 ? sum >= threshold : side;
}

/* The index of the highest of k numbers: the first of equal ones, or the first NaN, as numpy's argmax. */
static inline int64_t highest_of(const double *row, int64_t k) {
  int64_t best = 0;
  for (int64_t o = 1; o < k && row[best] == row[best]; o++) best = row[o] <= row[best] ? best : o;
  return best;
}

/* The class of the highest score of a row, from its sums. A softmax keeps it first if it leads by more than LINK_LEAD: the
   probability of each other class is then smaller by more than rounding. Else the scores are computed, as they may be equal. */
static int64_t class_of(const Forest *f, double *sums) {
  const int64_t k = f->outputs, best = highest_of(sums, k);
  if (f->link == IDENTITY) return best;
  int is_certain = f->link == SOFTMAX && fabs(sums[best]) < INFINITY;
  for (int64_t o = 0; is_certain && o < k; o++) is_certain = o == best || sums[best] - sums[o] > LINK_LEAD;
  if (is_certain) return best;
  link_row(f, sums);
  return highest_of(sums, k);
}

/* The class that is ahead before tree t if the trees that are left add as little to it as they can, the class that can come
   nearest, and what the lead lacks: below 0, and no other class can have the same score. */
typedef struct { int64_t best, rival; double lacks; } Lead;

static inline Lead lead_of(const Forest *f, const double *sums, int64_t t) {
  const double *low = f->rest_low + t / f->rest_every * f->outputs, *high = f->rest_high + t / f->rest_every * f->outputs;
  Lead lead = {.best = 0, .lacks = -INFINITY};
  for (int64_t o = 1; o < f->outputs; o++) lead.best = sums[o] + low[o] > sums[lead.best] + low[lead.best] ? o : lead.best;
  for (int64_t o = 0; o < f->outputs; o++) {
    const double lacks = sums[o] + high[o] - (sums[lead.best] + low[lead.best]) + f->rest_slack;
    if (o != lead.best && !(lacks <= lead.lacks)) { lead.rival = o; lead.lacks = lacks; }
  }
  return lead;
}

/* The tree before which the class ahead will be certain, if the next trees add as much as those so far, on the average. */
static inline int64_t next_lead(const Forest *f, const double *sums, Lead lead, int64_t t) {
  const int64_t at = t / f->rest_every * f->outputs, best = lead.best, rival = lead.rival;
  const double each = (sums[best] - f->base[best] - sums[rival] + f->base[rival]) / (double)t, left = (double)(f->trees - t);
  const double trees = lead.lacks / (each + (f->rest_high[at + rival] - f->rest_low[at + best]) / left);
  return test_after(f, t, trees > 0 && trees < left ? trees : left);
}

/* A row that is read for the form of its forest, and the memory for the leaves that it reaches. */
typedef struct {
#if defined(__x86_64__) || defined(__aarch64__)
  LaneRow lanes;
  WalkLanes *walk;
#endif
  int32_t *keys;
  uint32_t *found;
} OpenRow;

static void open_row(const Forest *f, const double *x, int32_t *room, OpenRow *row) {
#if defined(__x86_64__) || defined(__aarch64__)
  if (f->lanes) row->walk = read_by_level(f, x, &row->lanes);
#endif
  row->keys = room;
  row->found = (uint32_t *)room + f->walk_columns;
  if (!f->lanes) walk_keys(f, x, 1, room);
}

/* Add the leaves of the trees from `first` to `end` to sums; both are multiples of LANES, or the last tree, if lanes are used. */
static void add_part(const Forest *f, const OpenRow *row, int64_t first, int64_t end, double *sums) {
#if defined(__x86_64__) || defined(__aarch64__)
  if (f->lanes) {
    uint8_t *reached = (uint8_t *)row->found;
    Forest part = *f;
    part.lane_start += first / LANES;
    part.groups = (end + LANES - 1) / LANES - first / LANES;
    row->walk(&part, &row->lanes, 0, reached + first);
    add_reached(f, first, end, reached, sums);
    return;
  }
#endif
  walk_part(f, row->keys, row->found, first, end, sums);
}

/* The class of a row: trees are added until it is certain. */
static int64_t choose_class(const Forest *f, const OpenRow *row, double *sums) {
  start_row(f, sums);
  for (int64_t t = 0, next = f->first_test; ; ) {
    add_part(f, row, t, next, sums);
    t = next;
    if (t == f->trees) return class_of(f, sums);
    const Lead lead = lead_of(f, sums, t);
    if (lead.lacks < 0) return lead.best;
    next = next_lead(f, sums, lead, t);
  }
}

/* Write a decision as int64 where a score of the same size was. */
static inline void put_decision(double *where, int64_t decision) { memcpy(where, &decision, sizeof decision); }

/* Decisions of n rows of a forest that stops early: x [n][width] -> out [n], int64: 1 or 0, or of several outputs a class. */
static int decide_early(const Forest *f, const double *x, int64_t n, double threshold, double *out) {
  double here[ON_STACK / sizeof(double)];
  const int64_t leaves = f->lanes ? (f->trees + 2 * LANES) / 4 + 1 : f->trees + 1;
  const size_t size = (size_t)f->outputs * sizeof(double) + (size_t)(f->walk_columns + leaves) * sizeof(int32_t);
  for (int64_t r = 0; f->refuses && r < n; r++) if (is_refused(f, x + r * f->width, 1)) return REFUSED;
  double *sums = size <= sizeof here ? here : malloc(size);
  for (int64_t r = 0; sums && r < n; r++) {
    OpenRow row;
    open_row(f, x + r * f->width, (int32_t *)(sums + f->outputs), &row);
    put_decision(out + r, f->outputs > 1 ? choose_class(f, &row, sums) : decide_keys(f, row.keys, row.found, threshold));
  }
  if (sums != here) free(sums);
  return sums ? ANSWERED : NO_MEMORY;
}

#endif
