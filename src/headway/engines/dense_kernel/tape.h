/* A tape: steps in order over one file of floats a row. Whatever a step names is checked here, once; kernels look no more. */
#ifndef HEADWAY_TAPE_H
#define HEADWAY_TAPE_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define GRAIN 16                       /* kernels go by whole vectors: a span may be read and written to the next 16 floats */
#define BLOCK 64                       /* inputs of a dense step that are added to one sum */
#define MOST_FLOATS (1 << 20)          /* of the file of a row */
#define MOST_USES 8                    /* of the same weights: each use lays them out anew */

enum {                                 /* what a step does; optimization/lowering/writer.py has the same order */
  ADD, SUB, MUL, DIV, LEAST, GREATEST, LESS, LESS_EQUAL, EQUAL, WHERE, TO_WHOLE,
  ABS, FLOOR, ROUND, IS_NAN, SQRT, LOG, EXP, SIGMOID, TANH, ERF,
  COPY, TAKE, LOOK_UP, SOFTMAX, SUM, DENSE, STEPS
};
enum { PORTABLE, AVX2, AVX512 };
enum { IN_FILE, IN_POOL, ONE_NUMBER }; /* where an operand lies: two bits each of `m`; one number stands 16 times in the pool */

typedef struct { int32_t op, out, n, a, b, c, m, k; } Step;

/* Weights of a dense step as its level reads them. Few outputs: `dots`, each a line of inputs. Many: panels, in each the
   biases of its outputs, then for each input their weights. */
typedef struct { int64_t dots, panels, line; float *weights; } Packed;

typedef struct Tape {
  int64_t width, outputs, answer, size, level;
  int64_t n_steps, n_pool, n_places, n_dense, scratch;
  const Step *steps;
  const float *pool;
  const int32_t *places;
  Packed *packed;
  int (*run)(const struct Tape *, float *, int64_t, float *);
} Tape;

static inline int64_t whole(int64_t n) { return (n + GRAIN - 1) / GRAIN * GRAIN; }

static inline int in_file(const Tape *t, int64_t at, int64_t n) { return at >= 0 && n >= 1 && at + whole(n) <= t->size; }
static inline int in_pool(const Tape *t, int64_t at, int64_t n) { return at >= 0 && n >= 1 && at + n <= t->n_pool; }

static int is_operand(const Tape *t, int64_t at, int64_t n, int kind) {
  if (kind == IN_FILE) return in_file(t, at, n);
  return kind == IN_POOL ? in_pool(t, at, whole(n)) : kind == ONE_NUMBER && in_pool(t, at, GRAIN);
}

static int takes_from(const Tape *t, const Step *s) {
  if (s->b < 0 || s->b + (int64_t)s->n > t->n_places) return 0;
  for (int64_t i = 0; i < s->n; i++) if (t->places[s->b + i] < 0 || t->places[s->b + i] >= s->k) return 0;
  return in_file(t, s->a, s->k);
}

static int is_sound(const Tape *t, const Step *s) {
  const int64_t n = s->n, k = s->k, m = s->m;
  if (s->op < 0 || s->op >= STEPS || !in_file(t, s->out, n)) return 0;
  switch (s->op) {
    case TAKE: return takes_from(t, s);
    case LOOK_UP: return in_file(t, s->a, n) && k >= 1 && m >= 1 && k <= t->size && in_file(t, s->out, n * k) && in_pool(t, s->b, m * k);
    case SOFTMAX: return in_file(t, s->a, n) && m >= 1 && n % m == 0;
    case SUM: return k >= 1 && m >= 1 && m <= t->size && in_file(t, s->a, n * m);
    case DENSE: return in_file(t, s->a, k) && in_pool(t, s->b, n * k) && in_pool(t, s->c, n);
    default: break;
  }
  if (!is_operand(t, s->a, n, m & 3)) return 0;
  if (s->op <= TO_WHOLE && !is_operand(t, s->b, n, m >> 2 & 3)) return 0;
  return s->op != WHERE || is_operand(t, s->c, n, m >> 4 & 3);
}

/* Why a tape is refused, NULL for none; counts what its dense steps need. */
static const char *check(Tape *t) {
  if (t->size < GRAIN || t->size > MOST_FLOATS || t->size % GRAIN) return "the file of a row is of no such size";
  if (!in_file(t, 0, t->width)) return "a row is wider than its file";
  if (!in_file(t, t->answer, t->outputs)) return "the answer lies beside the file";
  int64_t weights = 0;
  for (int64_t i = 0; i < t->n_steps; i++) {
    const Step *s = t->steps + i;
    if (!is_sound(t, s)) return "a step reads or writes what is not there";
    const int64_t scratch = s->op == DENSE ? 2 * ((s->k + BLOCK) / BLOCK * (BLOCK + 1) + (int64_t)GRAIN) : s->op == SOFTMAX ? whole(s->m) : 0;
    if (scratch > t->scratch) t->scratch = scratch;
    if (s->op != DENSE) continue;
    weights += (int64_t)s->n * s->k;
    t->n_dense++;
    if (weights > MOST_USES * t->n_pool) return "weights are used too often";
  }
  return NULL;
}

static void forget(Tape *t) {
  for (int64_t i = 0; t->packed && i < t->n_dense; i++) free(t->packed[i].weights);
  free(t->packed);
}

#endif
