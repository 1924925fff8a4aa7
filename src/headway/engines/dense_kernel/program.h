/* A program: a list of steps over one buffer of floats per row. Every step is checked here once; kernels check nothing. */
#ifndef HEADWAY_PROGRAM_H
#define HEADWAY_PROGRAM_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define VECTOR_SIZE 16                       /* kernels read and write whole vectors, so a span is padded to a multiple of 16 floats */
#define BLOCK 64                       /* inputs of a dense step that are added to one partial sum */
#define MAX_FLOATS (1 << 20)          /* in the buffer of a row */
#define MAX_USES 8                    /* of the same weights: each use stores a copy in its own layout */

enum {                                 /* operations, in the order of OPERATIONS in compiled/artifact.py */
  ADD, SUB, MUL, DIV, OP_MIN, OP_MAX, LESS, LESS_EQUAL, EQUAL, WHERE, TRUNC,
  ABS, FLOOR, ROUND, IS_NAN, SQRT, LOG, EXP, SIGMOID, TANH, ERF,
  COPY, TAKE, LOOKUP, SOFTMAX, SUM, DENSE, STEPS
};
enum { PORTABLE, AVX2, AVX512, NEON = 1 };
enum { IN_BUFFER, IN_POOL, SCALAR }; /* where an operand is stored, two bits each of `m`; a scalar is repeated 16 times in the pool */

typedef struct { int32_t op, out, n, a, b, c, m, k; } Step;

/* Weights of a dense step in the layout of its level. Few outputs: `dots`, one row of inputs each. Many: panels, each
   with the biases of its outputs, then the weights of each input. */
typedef struct { int64_t dots, panels, line; float *weights; } Packed;

typedef struct Program {
  int64_t width, outputs, output_offset, size, level;
  int64_t n_steps, n_pool, n_indices, n_dense, scratch;
  const Step *steps;
  const float *pool;
  const int32_t *indices;
  Packed *packed;
  int (*run)(const struct Program *, float *, int64_t, float *);
} Program;

static inline int64_t padded(int64_t n) { return (n + VECTOR_SIZE - 1) / VECTOR_SIZE * VECTOR_SIZE; }

static inline int in_buffer(const Program *t, int64_t at, int64_t n) { return at >= 0 && n >= 1 && at + padded(n) <= t->size; }
static inline int in_pool(const Program *t, int64_t at, int64_t n) { return at >= 0 && n >= 1 && at + n <= t->n_pool; }

static int is_operand(const Program *t, int64_t at, int64_t n, int kind) {
  if (kind == IN_BUFFER) return in_buffer(t, at, n);
  return kind == IN_POOL ? in_pool(t, at, padded(n)) : kind == SCALAR && in_pool(t, at, VECTOR_SIZE);
}

static int is_valid_take(const Program *t, const Step *s) {
  if (s->b < 0 || s->b + (int64_t)s->n > t->n_indices) return 0;
  for (int64_t i = 0; i < s->n; i++) if (t->indices[s->b + i] < 0 || t->indices[s->b + i] >= s->k) return 0;
  return in_buffer(t, s->a, s->k);
}

static int is_valid_step(const Program *t, const Step *s) {
  const int64_t n = s->n, k = s->k, m = s->m;
  if (s->op < 0 || s->op >= STEPS || !in_buffer(t, s->out, n)) return 0;
  switch (s->op) {
    case TAKE: return is_valid_take(t, s);
    case LOOKUP: return in_buffer(t, s->a, n) && k >= 1 && m >= 1 && k <= t->size && in_buffer(t, s->out, n * k) && in_pool(t, s->b, m * k);
    case SOFTMAX: return in_buffer(t, s->a, n) && m >= 1 && n % m == 0;
    case SUM: return k >= 1 && m >= 1 && m <= t->size && in_buffer(t, s->a, n * m);
    case DENSE: return in_buffer(t, s->a, k) && in_pool(t, s->b, n * k) && in_pool(t, s->c, n);
    default: break;
  }
  if (!is_operand(t, s->a, n, m & 3)) return 0;
  if (s->op <= TRUNC && !is_operand(t, s->b, n, m >> 2 & 3)) return 0;
  return s->op != WHERE || is_operand(t, s->c, n, m >> 4 & 3);
}

/* Return why a program is invalid, or NULL; count the memory that its dense steps need. */
static const char *check(Program *t) {
  if (t->size < VECTOR_SIZE || t->size > MAX_FLOATS || t->size % VECTOR_SIZE) return "the buffer of a row has an invalid size";
  if (!in_buffer(t, 0, t->width)) return "a row is wider than the buffer";
  if (!in_buffer(t, t->output_offset, t->outputs)) return "the answer is outside the buffer";
  int64_t weights = 0;
  for (int64_t i = 0; i < t->n_steps; i++) {
    const Step *s = t->steps + i;
    if (!is_valid_step(t, s)) return "a step reads or writes outside the buffer or pool";
    const int64_t scratch = s->op == DENSE ? 2 * ((s->k + BLOCK) / BLOCK * (BLOCK + 1) + (int64_t)VECTOR_SIZE) : s->op == SOFTMAX ? padded(s->m) : 0;
    if (scratch > t->scratch) t->scratch = scratch;
    if (s->op != DENSE) continue;
    weights += (int64_t)s->n * s->k;
    t->n_dense++;
    if (weights > MAX_USES * t->n_pool) return "weights are used too often";
  }
  return NULL;
}

static void free_program(Program *t) {
  for (int64_t i = 0; t->packed && i < t->n_dense; i++) free(t->packed[i].weights);
  free(t->packed);
}

#endif
