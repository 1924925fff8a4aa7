/* Bounds by which a forest decides before its last tree: what the trees from each on add to a sum at least, and at most. */
#ifndef HEADWAY_REST_H
#define HEADWAY_REST_H

#include "memory.h"

#define FEWEST_TREES 32          /* between two tests: fewer would wait for memory one by one */
#define LINK_LEAD 1e-12          /* of one sum over another, from which on the probabilities of a softmax differ */

/* Whether the forest can stop early: a large one that is walked, or of several classes 64 trees at a time, with fewer bounds
   than leaves. */
static int has_rest(const Forest *f) {
  if (f->outputs > 1 ? f->link != IDENTITY && f->link != SOFTMAX : f->link != IDENTITY || f->output_start[f->trees] != f->trees) return 0;
  if (f->lanes) return f->outputs > 1 && f->trees > 2 * LANES && (f->trees / (2 * LANES) + 1) * f->outputs <= f->value_start[f->trees];
  return !f->interval && !f->is_near && f->ways == f->trees;
}

/* The first tree before which some leaves would make one of several classes certain. */
static int64_t first_test_of(const Forest *f) {
  const int64_t k = f->outputs;
  const double *all_low = f->rest_low, *all_high = f->rest_high;
  for (int64_t t = f->rest_every; t < f->trees; t += f->rest_every) {
    const double *low = all_low + t / f->rest_every * k, *high = all_high + t / f->rest_every * k;
    double most = -INFINITY;
    int64_t best = 0, rivals = 0;
    for (int64_t o = 0; o < k; o++) {
      const double leads = f->base[o] + all_high[o] - high[o] + low[o];
      if (leads > most) { best = o; most = leads; }
    }
    for (int64_t o = 0; o < k; o++) rivals += o != best && !(f->base[o] + all_low[o] - low[o] + high[o] + f->rest_slack < most);
    if (!rivals && t >= FEWEST_TREES) return t;
  }
  return f->trees;
}

static const char *make_rest(Forest *f) {
  const int64_t k = f->outputs;
  if (!has_rest(f)) return NULL;
  f->rest_every = f->lanes ? 2 * LANES : k > 1 ? FEWEST_TREES / 4 : 1;
  MAKE(f->rest_low, (f->trees / f->rest_every + 1) * k);
  MAKE(f->rest_high, (f->trees / f->rest_every + 1) * k);
  double *work = calloc((size_t)k, 4 * sizeof *work), *low = work, *high = work + k, *largest = work + 2 * k, *additions = work + 3 * k;
  if (!work) return "out of memory";
  for (int64_t o = 0; o < k; o++) largest[o] = fabs(f->base[o]);
  for (int64_t t = f->trees; t >= 0; t--) {
    const int64_t first = t < f->trees ? f->output_start[t] : 0, count = t < f->trees ? f->output_start[t + 1] - first : 0;
    for (int64_t i = 0; i < count; i++) {
      const int32_t o = f->output[first + i];
      double least = INFINITY, most = -INFINITY;
      for (int64_t leaf = f->value_start[t] + i; leaf < f->value_start[t + 1]; leaf += count) {
        least = f->leaf[leaf] < least ? f->leaf[leaf] : least;
        most = f->leaf[leaf] > most ? f->leaf[leaf] : most;
        largest[o] += f->leaf[leaf] - f->leaf[leaf]; /* NaN if a leaf is not finite: then no bound ever decides */
      }
      low[o] += least;
      high[o] += most;
      largest[o] += fabs(least) > fabs(most) ? fabs(least) : fabs(most);
      additions[o]++;
    }
    if (t % f->rest_every) continue;
    memcpy(f->rest_low + t / f->rest_every * k, low, (size_t)k * sizeof *low);
    memcpy(f->rest_high + t / f->rest_every * k, high, (size_t)k * sizeof *high);
  }
  for (int64_t o = 0; o < k; o++) {
    if (largest[o] > (f->sums_float32 ? 0x1p126 : 0x1p1022)) largest[o] = INFINITY; /* a sum may overflow: no bound decides */
    /* each of fewer than 4 (additions + 1) additions to two sums and their bounds errs by half an ulp of at most the larger
       one; as much again is left for the comparison */
    const double slack = 4 * (additions[o] + 1) * (f->sums_float32 ? 0x1p-23 : 0x1p-52) * largest[o];
    if (!(slack <= f->rest_slack)) f->rest_slack = slack; /* NaN too */
    if (slack != slack) break;
  }
  free(work);
  if (f->link == SOFTMAX) f->rest_slack += LINK_LEAD;
  f->first_test = k > 1 ? first_test_of(f) : 0;
  return NULL;
}

#endif
