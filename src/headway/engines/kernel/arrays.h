/* The arrays that a model is opened from, and the results of predicting rows. No kernel needs Python: the extensions hold
   the arrays for it, and tests link the same headers to a program without Python. */
#ifndef HEADWAY_ARRAYS_H
#define HEADWAY_ARRAYS_H

#include <stdint.h>

enum { NO_MEMORY, ANSWERED, REFUSED, STORED_TWICE, OUTSIDE }; /* result of predicting rows; the last two of sparse rows */

typedef struct { const void *at; int64_t bytes; } Array;

/* Rows of a compressed sparse matrix: `start` [rows + 1], `index` and `value` [stored], of int32 or int64 and float32 or
   float64; `missing` says whether cells that are not stored are NaN, else they are 0. */
typedef struct { const void *start, *index, *value; int start64, index64, value32, missing; int64_t stored; } Sparse;

static inline int64_t whole_at(const void *at, int is64, int64_t i) { return is64 ? ((const int64_t *)at)[i] : ((const int32_t *)at)[i]; }

static inline double value_at(const Sparse *s, int64_t i) { return s->value32 ? (double)((const float *)s->value)[i] : ((const double *)s->value)[i]; }

/* Whether the offsets of n rows increase, and stay within the stored cells. */
static inline int are_offsets(const Sparse *s, int64_t n) {
  int64_t before = 0;
  for (int64_t r = 0; r <= n; r++) {
    const int64_t at = whole_at(s->start, s->start64, r);
    if (at < before || at > s->stored) return 0;
    before = at;
  }
  return 1;
}

#endif
