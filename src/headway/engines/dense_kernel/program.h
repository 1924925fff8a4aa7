/* A program: a list of steps over one buffer of floats per row. Every step is checked here once; kernels check nothing. */
#ifndef HEADWAY_PROGRAM_H
#define HEADWAY_PROGRAM_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define VECTOR_SIZE 16                       /* kernels read and write whole vectors, so a span is padded to a multiple of 16 floats */
#define BLOCK 64                       /* inputs of a dense step that are added to one partial sum */
#define TILES_TOGETHER 16              /* tiles of outputs of a convolution that share the reads of its weights */
#define ROWS_TOGETHER 16               /* rows of a batch, or pixels of a row, that AMX multiplies at once */
#define CHUNK 32                       /* inputs in bfloat16 that it multiplies at once */
#define MAX_FLOATS (1 << 20)          /* in the buffer of a row */
#define MAX_USES 8                    /* of the same weights: each use stores a copy in its own layout */

enum {                                 /* operations, in the order of OPERATIONS in compiled/artifact.py */
  ADD, SUB, MUL, DIV, OP_MIN, OP_MAX, LESS, LESS_EQUAL, EQUAL, WHERE, TRUNC,
  ABS, FLOOR, ROUND, IS_NAN, SQRT, LOG, EXP, SIGMOID, TANH, ERF,
  COPY, TAKE, LOOKUP, SOFTMAX, SUM, DENSE, CONV, POOL, STEPS
};
enum { PORTABLE, AVX2, AVX512, AMX, NEON = 1 };
enum { IN_BUFFER, IN_POOL, SCALAR }; /* where an operand is stored, two bits each of `m`; a scalar is repeated 16 times in the pool */

typedef struct { int32_t op, out, n, a, b, c, m, k; } Step;

/* Of a convolution or pooling, in `indices`; the borders below and to the right follow from the sizes. `pooled`: the largest
   of each 2 x 2 outputs is the answer. */
typedef struct {
  int32_t channels, height, width, outputs, groups, kernel_h, kernel_w, stride_h, stride_w, dilation_h, dilation_w, top, left, out_h, out_w, pooled;
} Window;
#define WINDOW 16

/* Inputs of a pixel that are next to each other, and whether their sum is added to the total after them. */
typedef struct { int32_t offset, length, ends; } Run;

/* Weights of a dense step or convolution in the layout of its level. Few outputs: `dots`, one row of inputs each. Many:
   panels, each with the biases of its outputs, then the weights of each input. A convolution has the offsets of its pixels
   and of its inputs, and `tiles`, weights transformed for tiles of outputs, if it has that form. For AMX, `halves` are the
   weights in bfloat16, and `chunks` the offsets of the inputs that each tile of them multiplies. */
typedef struct {
  int64_t dots, panels, line, n_pixels, n_runs, n_chunks;
  float *weights, *tiles;
  uint16_t *halves;
  int32_t *pixels, *chunks;
  Run *runs;
} Packed;

typedef struct Program {
  int64_t width, outputs, output_offset, size, bfloat16, level; /* bfloat16: weights and inputs of products are rounded to it */
  int64_t n_steps, n_pool, n_indices, n_packed, scratch;
  const Step *steps;
  const float *pool;
  const int32_t *indices;
  Packed *packed;
  int (*run)(const struct Program *, float *, int64_t, float *);
  float **spare;                       /* buffers for one row and for a block of rows that no call uses now, or NULL */
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

static inline const Window *window_of(const Program *t, const Step *s) { return (const Window *)(t->indices + s->k); }

typedef struct { int64_t height, width; } Extent;

/* Columns of the tiles of outputs, 2 rows high, that a convolution computes together: 4 or 2, by which takes fewer products
   if four tiles share a read of the weights; 0 if it has no tiles. */
static inline int tile_columns(const Window *w) {
  if (w->kernel_h != 3 || w->kernel_w != 3 || w->stride_h != 1 || w->stride_w != 1 || w->dilation_h != 1 || w->dilation_w != 1) return 0;
  if (w->groups != 1 || w->channels < 8 || w->outputs < 8) return 0;
  const int64_t rows = (w->out_h + 1) / 2, wide = rows * ((w->out_w + 3) / 4), narrow = rows * ((w->out_w + 1) / 2);
  return (wide + 3) / 4 * 24 < (narrow + 3) / 4 * 16 ? 4 : 2;
}

static inline int by_channel(const Window *w) { return w->groups > 1 && w->groups == w->channels && w->groups == w->outputs; }

static inline int64_t reach(int64_t start, int64_t length, int64_t out, int64_t stride, int64_t kernel, int64_t dilation, int tile) {
  const int64_t read = (out - 1) * stride + (kernel - 1) * dilation + 1, needed = tile ? (out + tile - 1) / tile * tile + 2 : read;
  return start + length > needed ? start + length : needed;
}

/* The size of an image with its borders. */
static inline Extent extent(const Window *w) {
  const int tile = tile_columns(w);
  return (Extent){reach(w->top, w->height, w->out_h, w->stride_h, w->kernel_h, w->dilation_h, tile ? 2 : 0), reach(w->left, w->width, w->out_w, w->stride_w, w->kernel_w, w->dilation_w, tile)};
}

/* Whether the products of a step are in bfloat16; those of few outputs, or of few inputs next to each other, stay in float32. */
static inline int is_rounded(const Program *t, const Step *s) {
  if (!t->bfloat16 || s->op != CONV) return t->bfloat16 && s->op == DENSE && s->n > VECTOR_SIZE;
  const Window *w = window_of(t, s);
  return w->groups == 1 && w->outputs >= 8 && (w->dilation_w == 1 ? (int64_t)w->kernel_w : 1) * w->channels >= 3;
}

/* A number rounded to bfloat16, ties to even. */
static inline float rounded(float x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  const uint32_t up = (bits & 0x7fffffff) > 0x7f800000 ? 0 : 0x7fff + (bits >> 16 & 1);
  bits = (bits + up) & 0xffff0000;
  memcpy(&x, &bits, sizeof bits);
  return x;
}

/* Numbers in bfloat16 from a row to the next: its inputs and a chunk of zeros, an odd number of cache lines. */
static inline int64_t halves_of(int64_t inputs) { return (((inputs + CHUNK - 1) / CHUNK + 1) | 1) * CHUNK; }

static int is_valid_window(const Program *t, const Step *s) {
  if (s->k < 0 || s->k + (int64_t)WINDOW > t->n_indices) return 0;
  const int32_t *numbers = t->indices + s->k;
  for (int i = 0; i < WINDOW; i++) {
    const int32_t least = i == 11 || i == 12 || i == 15 ? 0 : 1; /* top, left, pooled */
    if (numbers[i] < least || numbers[i] > MAX_FLOATS) return 0;
  }
  const Window *w = window_of(t, s);
  const Extent e = extent(w);
  const int64_t pixels = (int64_t)w->height * w->width, out = (int64_t)w->out_h * w->out_w;
  if (e.height > MAX_FLOATS || e.width > MAX_FLOATS || e.height * e.width > MAX_FLOATS || out > MAX_FLOATS || pixels > MAX_FLOATS) return 0;
  if (e.height * e.width * w->channels > MAX_FLOATS || !in_buffer(t, s->a, pixels * w->channels)) return 0;
  const int64_t answers = w->pooled ? (int64_t)(w->out_h / 2) * (w->out_w / 2) : out, taps = (int64_t)w->kernel_h * w->kernel_w;
  if (taps > MAX_FLOATS || answers * w->outputs != s->n) return 0;
  if (s->op == POOL) return w->outputs == w->channels && w->groups == 1 && !w->pooled;
  if (w->channels % w->groups || w->outputs % w->groups) return 0;
  const int64_t inputs = taps * (w->channels / w->groups);
  return inputs <= MAX_FLOATS && in_pool(t, s->b, inputs * w->outputs) && in_pool(t, s->c, w->outputs);
}

/* Floats that a step needs next to the buffer of a row. */
static int64_t float_scratch_of(const Program *t, const Step *s) {
  if (s->op == DENSE) return 2 * ((s->k + BLOCK) / BLOCK * (BLOCK + 1) + (int64_t)VECTOR_SIZE) + (is_rounded(t, s) ? padded(s->k) : 0);
  if (s->op == SOFTMAX) return padded(s->m);
  if (s->op != CONV) return s->op == POOL ? VECTOR_SIZE : 0;
  const Window *w = window_of(t, s);
  const Extent e = extent(w);
  const int64_t image = padded(e.height * e.width * w->channels + VECTOR_SIZE) + VECTOR_SIZE;
  return image + (tile_columns(w) ? 4 * (tile_columns(w) + 2) * (TILES_TOGETHER * (padded(w->channels) + padded(w->outputs)) + 2 * VECTOR_SIZE) : 0);
}

/* The same with the rows in bfloat16 and four tiles of sums of AMX. */
static int64_t scratch_of(const Program *t, const Step *s) {
  const int64_t found = float_scratch_of(t, s);
  if (t->level != AMX || !is_rounded(t, s)) return found;
  const Extent e = s->op == CONV ? extent(window_of(t, s)) : (Extent){1, s->k};
  const int64_t inputs = e.height * e.width * (s->op == CONV ? window_of(t, s)->channels : 1);
  const int64_t tiles = ROWS_TOGETHER * halves_of(inputs) / 2 + 4 * ROWS_TOGETHER * VECTOR_SIZE;
  return found > tiles ? found : tiles;
}

static int64_t weights_of(const Program *t, const Step *s) {
  if (s->op == DENSE) return (int64_t)s->n * s->k;
  const Window *w = window_of(t, s);
  return (int64_t)w->kernel_h * w->kernel_w * (w->channels / w->groups) * w->outputs;
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
    case CONV: case POOL: return is_valid_window(t, s);
    default: break;
  }
  if (!is_operand(t, s->a, n, m & 3)) return 0;
  if (s->op <= TRUNC && !is_operand(t, s->b, n, m >> 2 & 3)) return 0;
  return s->op != WHERE || is_operand(t, s->c, n, m >> 4 & 3);
}

/* Return why a program is invalid, or NULL; count the memory that its steps need. */
static const char *check(Program *t) {
  if (t->size < VECTOR_SIZE || t->size > MAX_FLOATS || t->size % VECTOR_SIZE) return "the buffer of a row has an invalid size";
  if (!in_buffer(t, 0, t->width)) return "a row is wider than the buffer";
  if (!in_buffer(t, t->output_offset, t->outputs)) return "the answer is outside the buffer";
  int64_t weights = 0;
  for (int64_t i = 0; i < t->n_steps; i++) {
    const Step *s = t->steps + i;
    if (!is_valid_step(t, s)) return "a step reads or writes outside the buffer or pool";
    const int64_t scratch = scratch_of(t, s);
    if (scratch > t->scratch) t->scratch = scratch;
    if (s->op != DENSE && s->op != CONV) continue;
    weights += weights_of(t, s);
    t->n_packed++;
    if (weights > MAX_USES * t->n_pool) return "weights are used too often";
  }
  return NULL;
}

static void free_program(Program *t) {
  for (int64_t i = 0; t->packed && i < t->n_packed; i++) {
    free(t->packed[i].weights);
    free(t->packed[i].halves);
    free(t->packed[i].pixels);
    free(t->packed[i].chunks);
    free(t->packed[i].runs);
  }
  free(t->packed);
  for (int i = 0; t->spare && i < 2; i++) free(t->spare[i]);
  free(t->spare);
}

#endif
