/* The features of one text and their values: a small table that is emptied by the list of what it holds. */
#ifndef HEADWAY_TEXT_COUNTS_H
#define HEADWAY_TEXT_COUNTS_H

#include <math.h>

#include "strings.h"

typedef struct {
  int32_t *id; double *value; uint32_t *where; /* of each feature: its number, value and position in `slots` */
  int32_t *slots; /* 1 + position in the list, 0 if empty */
  uint32_t n, bits, room;
} Counts;

static int counts_ready(Counts *c, uint32_t bits) {
  c->n = 0; c->bits = bits; c->room = 1u << (bits - 1);
  c->slots = calloc((size_t)1 << bits, sizeof *c->slots);
  c->id = malloc(c->room * sizeof *c->id);
  c->value = malloc(c->room * sizeof *c->value);
  c->where = malloc(c->room * sizeof *c->where);
  return c->slots && c->id && c->value && c->where;
}

static void counts_free(Counts *c) { free(c->slots); free(c->id); free(c->value); free(c->where); }

static inline uint32_t home(const Counts *c, int32_t id) { return (uint32_t)id * 2654435761u >> (32 - c->bits); }

static int counts_grow(Counts *c) {
  Counts more;
  if (c->bits > 29 || !counts_ready(&more, c->bits + 1)) { if (c->bits <= 29) counts_free(&more); return 0; }
  for (uint32_t i = 0; i < c->n; i++) {
    const uint32_t mask = (1u << more.bits) - 1;
    uint32_t at = home(&more, c->id[i]);
    while (more.slots[at]) at = (at + 1) & mask;
    more.slots[at] = (int32_t)i + 1;
    more.id[i] = c->id[i]; more.value[i] = c->value[i]; more.where[i] = at;
  }
  more.n = c->n;
  counts_free(c);
  *c = more;
  return 1;
}

static inline int count(Counts *c, int32_t id, double by) {
  const uint32_t mask = (1u << c->bits) - 1;
  uint32_t at = home(c, id);
  for (; c->slots[at]; at = (at + 1) & mask) {
    const int32_t position = c->slots[at] - 1;
    if (c->id[position] == id) { c->value[position] += by; return 1; }
  }
  if (c->n == c->room) return counts_grow(c) && count(c, id, by);
  c->id[c->n] = id; c->value[c->n] = by; c->where[c->n] = at;
  c->slots[at] = (int32_t)++c->n;
  return 1;
}

static void counts_clear(Counts *c) {
  for (uint32_t i = 0; i < c->n; i++) c->slots[c->where[i]] = 0;
  c->n = 0;
}

/* Sort by feature, by Shell's method: norms are then added in the library's order, to the last bit. */
static void counts_sort(Counts *c) {
  for (uint32_t gap = c->n / 2; gap; gap /= 2)
    for (uint32_t i = gap; i < c->n; i++) {
      const int32_t id = c->id[i];
      const double value = c->value[i];
      const uint32_t where = c->where[i];
      uint32_t j = i;
      for (; j >= gap && c->id[j - gap] > id; j -= gap) { c->id[j] = c->id[j - gap]; c->value[j] = c->value[j - gap]; c->where[j] = c->where[j - gap]; }
      c->id[j] = id; c->value[j] = value; c->where[j] = where;
    }
}

/* Divide by the norm; a text whose norm is 0 stays as it is. */
static void normalize(double *x, uint32_t n, int64_t kind) {
  double norm = 0;
  for (uint32_t i = 0; i < n; i++) {
    const double size = fabs(x[i]);
    if (kind == NORM_MAX) norm = size > norm ? size : norm;
    else norm += kind == NORM_L1 ? size : size * size;
  }
  if (kind == NORM_L2) norm = sqrt(norm);
  if (norm != 0) for (uint32_t i = 0; i < n; i++) x[i] /= norm;
}

static void apply_value_ops(const Program *t, const Vectorizer *v, Counts *c) {
  double *x = c->value;
  if (!v->stride) counts_sort(c);
  for (int64_t i = 0; i < v->n_ops; i++) {
    const ValueOp *o = t->value_ops + v->first_op + i;
    const double *pool = t->pool + o->at;
    switch (o->code) {
      case PRESENT: for (uint32_t j = 0; j < c->n; j++) x[j] = 1; break;
      case SUBLINEAR: for (uint32_t j = 0; j < c->n; j++) x[j] = x[j] == 1 ? 1 : x[j] == 0 ? 0 : log(x[j]) + 1; break; /* 0: not selected */
      case SCALE: for (uint32_t j = 0; j < c->n; j++) x[j] *= pool[c->id[j]]; break;
      case ABOVE: for (uint32_t j = 0; j < c->n; j++) x[j] = x[j] > pool[0]; break;
      default: normalize(x, c->n, o->code);
    }
  }
}

#endif
