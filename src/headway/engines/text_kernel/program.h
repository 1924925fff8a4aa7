/* A text program: what each vectorizer reads and counts, the weights of its features, and the steps from their sums to
   the answer. Everything is checked when a program is opened; the kernels trust it afterwards. */
#ifndef HEADWAY_TEXT_PROGRAM_H
#define HEADWAY_TEXT_PROGRAM_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { PORTABLE, AVX2, AVX512, NEON = 1 };
enum { WORD, CHAR, CHAR_WB };
enum { PRESENT, SUBLINEAR, SCALE, NORM_L1, NORM_L2, NORM_MAX, ABOVE, VALUE_OPS };
enum {
  ADD, SUB, MUL, DIV, MIN, MAX, POW, MOD, EQUAL, GREATER, GREATER_EQUAL, WHERE,
  NEG, ABS, SQRT, LOG, EXP, SIGMOID, TANH, RELU, TRUNC, IS_NAN, COPY,
  SUM, SOFTMAX, DENSE, TAKE, LOOKUP, OPERATIONS
};
enum { IN_POOL = 1, REPEATED = 2 }; /* flags of an operand, two bits each in `m` */

#define MAX_SIZE (1 << 22)
#define MAX_NGRAM 256

typedef struct {
  int64_t column, analyzer, min_n, max_n, lowercase, accents, not_space, min_length; /* tokens and n-grams */
  int64_t hashed, alternate_sign; /* number of hashed features, 0 for a vocabulary */
  int64_t first_string, n_strings, first_stop, n_stop; /* vocabulary and stop words, as ranges of strings */
  int64_t first_op, n_ops; /* of value operations */
  int64_t weights, stride, out, width; /* rows of weights, and the sums that they are added to; stride 0: row i is sum i */
  int64_t rows, n_features; /* the row of a feature is `row_of[rows + feature]`, or the feature itself if rows is -1 */
} Vectorizer;

typedef struct { int64_t code, at; } ValueOp;
typedef struct { int32_t op, out, n, a, b, c, m, k; } Step;
typedef struct { uint64_t key; uint32_t length; int32_t id; } Slot; /* `key`: the bytes of a string, or a hash of more than 8 */
typedef struct { Slot *slots; uint64_t mask; int64_t *at; } Table; /* `at`: where each string begins in the blob */
typedef struct { uint64_t key; int32_t node, feature; } Edge;
/* A vocabulary of words: each word is a node, and so is each sequence of words that begins a feature. An edge leads from a
   node (upper half of its key) by a word (lower half) to the next node. Features are -1 for none. */
typedef struct { Table words; Edge *edges; uint64_t mask; int32_t *features, n_nodes; } Sequences;

typedef struct {
  int64_t columns, width, outputs, output_offset, size, sums, n_sums, level;
  const Vectorizer *vectorizers; int64_t n_vectorizers;
  const ValueOp *value_ops; int64_t n_value_ops;
  const uint8_t *blob; int64_t n_blob;
  const int64_t *offsets; int64_t n_offsets; /* of strings in the blob, one more than strings */
  const int32_t *row_of; int64_t n_row_of;
  const double *weights; int64_t n_weights;
  const double *pool; int64_t n_pool;
  const Step *steps; int64_t n_steps;
  const int32_t *indices; int64_t n_indices;
  Table *vocabularies, *stops; /* of each vectorizer */
  Sequences *sequences;        /* instead of a vocabulary, if features are words */
} Program;

static int inside(int64_t at, int64_t n, int64_t size) { return at >= 0 && n >= 0 && n <= size && at <= size - n; }

static const char *check_vectorizer(const Program *t, const Vectorizer *v) {
  if (v->column < 0 || v->column >= t->columns) return "a vectorizer reads a column that does not exist";
  if (v->analyzer < WORD || v->analyzer > CHAR_WB || v->min_n < 1 || v->max_n < v->min_n || v->max_n > MAX_NGRAM) return "invalid n-grams";
  if ((v->lowercase | v->not_space | v->alternate_sign) & ~(int64_t)1 || v->accents < 0 || v->accents > 2) return "invalid flags";
  if (v->min_length < 1 || v->min_length > MAX_NGRAM) return "invalid length of tokens";
  if (v->hashed < 0 || v->hashed > INT32_MAX || v->n_features < 0 || v->n_features > INT32_MAX) return "invalid number of features";
  if (!inside(v->first_string, v->n_strings, t->n_offsets - 1) || !inside(v->first_stop, v->n_stop, t->n_offsets - 1)) return "strings outside the table";
  if (v->n_features != (v->hashed ? v->hashed : v->n_strings)) return "the vocabulary does not have the number of features";
  if (!inside(v->out, v->width, t->n_sums) || (v->stride && v->stride < v->width) || v->stride < 0 || v->stride > MAX_SIZE) return "sums outside the buffer";
  int64_t n_rows = v->n_features;
  if (v->rows != -1) {
    if (!inside(v->rows, v->n_features, t->n_row_of)) return "rows outside the table";
    n_rows = 0;
    for (int64_t i = 0; i < v->n_features; i++) {
      const int32_t row = t->row_of[v->rows + i];
      if (row < -1) return "invalid row of weights";
      if (row >= n_rows) n_rows = (int64_t)row + 1;
    }
  }
  if (!v->stride && n_rows > v->width) return "sums outside the buffer";
  if (!inside(v->weights, n_rows * v->stride, t->n_weights)) return "weights outside the array";
  if (!inside(v->first_op, v->n_ops, t->n_value_ops)) return "value operations outside the table";
  for (int64_t i = 0; i < v->n_ops; i++) {
    const ValueOp *o = t->value_ops + v->first_op + i;
    if (o->code < 0 || o->code >= VALUE_OPS) return "unknown value operation";
    if (!inside(o->at, 0, t->n_pool)) return "numbers outside the pool";
    if (o->code == SCALE && !inside(o->at, v->n_features, t->n_pool)) return "factors outside the pool";
    if (o->code == ABOVE && !inside(o->at, 1, t->n_pool)) return "a threshold outside the pool";
  }
  return NULL;
}

static int operand(const Program *t, const Step *s, int64_t at, int number, int64_t n) {
  const int flags = s->m >> (2 * number) & 3;
  return inside(at, flags & REPEATED ? 1 : n, flags & IN_POOL ? t->n_pool : t->size);
}

static const char *check_step(const Program *t, const Step *s) {
  if (s->op < 0 || s->op >= OPERATIONS) return "unknown operation";
  if (s->n < 1 || !inside(s->out, s->n, t->size)) return "a step writes outside the buffer";
  if (s->op <= COPY) {
    const int count = s->op < WHERE ? 2 : s->op == WHERE ? 3 : 1;
    if (s->m < 0 || s->m > 63) return "invalid operands";
    if (!operand(t, s, s->a, 0, s->n) || (count > 1 && !operand(t, s, s->b, 1, s->n)) || (count > 2 && !operand(t, s, s->c, 2, s->n))) return "an operand outside the buffer or pool";
    return NULL;
  }
  if (s->k < 1 || s->k > MAX_SIZE || s->m < 0) return "invalid size of a step";
  switch (s->op) {
    case SUM: if (!inside(s->a, (int64_t)s->n * s->k, t->size)) return "a sum outside the buffer"; break;
    case SOFTMAX: if (s->k != s->n || !inside(s->a, s->n, t->size)) return "a softmax outside the buffer"; break;
    case DENSE:
      if (!inside(s->a, s->k, t->size) || !inside(s->b, (int64_t)s->k * s->n, t->n_pool)) return "a product outside the buffer or pool";
      if (s->a < s->out + s->n && s->out < s->a + s->k) return "a product overwrites its input";
      break;
    case TAKE:
      if (!inside(s->a, s->k, t->size) || !inside(s->b, s->n, t->n_indices)) return "indices outside the table";
      for (int32_t i = 0; i < s->n; i++) if (!inside(t->indices[s->b + i], 1, t->size)) return "an index outside the buffer";
      if (s->out < s->a + s->k && s->a < s->out + s->n) return "a selection overwrites its input";
      break;
    case LOOKUP: /* k rows of n numbers, one of them by the number in a */
      if (!inside(s->a, 1, t->size) || !inside(s->b, (int64_t)s->k * s->n, t->n_pool)) return "a table outside the pool";
      break;
  }
  return NULL;
}

static const char *check(const Program *t) {
  if (t->columns < 1 || t->columns > MAX_SIZE || t->width < 0 || t->width > MAX_SIZE || t->outputs < 1 || t->size < 1 || t->size > MAX_SIZE) return "invalid sizes";
  if (!inside(t->output_offset, t->outputs, t->size) || !inside(0, t->width, t->size) || !inside(t->sums, t->n_sums, t->size) || t->n_sums > t->n_pool) return "the answer or the sums are outside the buffer";
  if (t->n_offsets < 1 || t->offsets[0] < 0 || t->n_offsets > INT32_MAX) return "invalid offsets of strings";
  for (int64_t i = 1; i < t->n_offsets; i++)
    if (t->offsets[i] < t->offsets[i - 1] || t->offsets[i] - t->offsets[i - 1] > INT32_MAX) return "invalid offsets of strings";
  if (t->offsets[t->n_offsets - 1] > t->n_blob) return "strings outside the text";
  const char *fault;
  for (int64_t i = 0; i < t->n_vectorizers; i++) if ((fault = check_vectorizer(t, t->vectorizers + i))) return fault;
  for (int64_t i = 0; i < t->n_steps; i++) if ((fault = check_step(t, t->steps + i))) return fault;
  return NULL;
}

#endif
