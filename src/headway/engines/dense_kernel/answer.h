/* Run rows: a single row on the stack, many in blocks whose buffers stay in the cache. */
#ifndef HEADWAY_ANSWER_H
#define HEADWAY_ANSWER_H

#include "../kernel/arrays.h"
#include "levels.h"
#include "amx.h"

#define ON_STACK 4096
#define NEAR 32768                     /* floats in the buffers of a block: 128 KB */

/* Prepare for the requested level; return 0 if out of memory. */
static int make_ready(Program *t) {
  int (*pack)(const Program *, const Step *, Packed *) = portable_pack;
  t->run = portable_run;
#if defined(__x86_64__)
  if (t->level == AVX2) { pack = avx2_pack; t->run = avx2_run; }
  if (t->level >= AVX512) { pack = avx512_pack; t->run = avx512_run; }
#if HAS_AMX
  if (t->level == AMX && t->bfloat16 && may_use_amx()) { pack = amx_pack; t->run = amx_run; }
#endif
#elif defined(__aarch64__)
  if (t->level >= NEON) { pack = neon_pack; t->run = neon_run; }
#endif
  t->packed = calloc((size_t)t->n_packed + 1, sizeof *t->packed);
  t->spare = calloc(2, sizeof *t->spare);
  if (!t->spare) return 0;
  Packed *next = t->packed;
  for (int64_t i = 0; next && i < t->n_steps; i++)
    if ((t->steps[i].op == DENSE || t->steps[i].op == CONV) && !pack(t, t->steps + i, next++)) return 0;
  return next != NULL;
}

static int best_level(void) {
#if defined(__x86_64__)
  const int fma = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const int wide = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw");
  if (fma && wide && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq")) {
#if HAS_AMX
    if (has_amx()) return AMX;
#endif
    return AVX512;
  }
  if (fma) return AVX2;
#elif defined(__aarch64__)
  return NEON;
#endif
  return PORTABLE;
}

#define ARRAYS 4
#define NUMBERS 6

static const int64_t ITEM[ARRAYS] = {8, sizeof(Step), 4, 4};

/* Read a program from its arrays, which the caller keeps; return NULL, or why it is invalid. */
static const char *take(Program *t, const Array *arrays) {
  if (arrays[0].bytes != NUMBERS * 8) return "the header must hold six numbers";
  const int64_t *number = arrays[0].at;
  t->width = number[0]; t->outputs = number[1]; t->output_offset = number[2]; t->size = number[3]; t->bfloat16 = number[4]; t->level = number[5];
  if (t->level < PORTABLE || t->level > best_level()) return "this machine does not support the level";
  if (t->width < 1 || t->width > MAX_FLOATS || t->outputs < 1 || t->outputs > MAX_FLOATS) return "invalid width of rows or answers";
  if (t->output_offset < 0 || t->output_offset > MAX_FLOATS) return "the answer is outside the buffer";
  t->steps = arrays[1].at; t->n_steps = arrays[1].bytes / ITEM[1];
  t->pool = arrays[2].at; t->n_pool = arrays[2].bytes / ITEM[2];
  t->indices = arrays[3].at; t->n_indices = arrays[3].bytes / ITEM[3];
  const char *fault = check(t);
  return fault ? fault : make_ready(t) ? NULL : "out of memory";
}

static void read_row(const Program *t, const double *x, float *file) { for (int64_t i = 0; i < t->width; i++) file[i] = (float)x[i]; }

static void write_row(const Program *t, const float *file, double *out) { for (int64_t i = 0; i < t->outputs; i++) out[i] = file[t->output_offset + i]; }

/* The same of a sparse row; `seen` is a bit per number. */
static int read_sparse(const Program *t, const Sparse *s, int64_t r, uint64_t *seen, float *file) {
  for (int64_t i = 0; i < t->width; i++) file[i] = s->missing ? NAN : 0;
  memset(seen, 0, (size_t)(t->width / 64 + 1) * 8);
  for (int64_t i = whole_at(s->start, s->start64, r); i < whole_at(s->start, s->start64, r + 1); i++) {
    const int64_t cell = whole_at(s->index, s->index64, i);
    if (cell < 0 || cell >= t->width) return OUTSIDE;
    if (seen[cell >> 6] >> (cell & 63) & 1) return STORED_TWICE;
    seen[cell >> 6] |= 1ull << (cell & 63);
    file[cell] = (float)value_at(s, i);
  }
  return ANSWERED;
}

static int one_row(const Program *t, const double *x, double *out) {
  float file[ON_STACK] __attribute__((aligned(64)));
  memset(file, 0, (size_t)(t->size + t->scratch) * sizeof(float));
  read_row(t, x, file);
  if (!t->run(t, file, 1, file + t->size)) return REFUSED;
  write_row(t, file, out);
  return ANSWERED;
}

/* Run n rows, x [n][width] or those of a sparse matrix -> out [n][outputs]. */
static int run_rows(const Program *t, const double *x, const Sparse *s, int64_t n, double *out) {
  const int64_t group = t->bfloat16 ? ROWS_TOGETHER : TOGETHER;
  const int64_t near = NEAR / t->size / group * group, full = near < group ? group : near, block = n < full ? n : full;
  const size_t bytes = (size_t)(block * t->size + t->scratch) * sizeof(float), seen = s ? (size_t)(t->width / 64 + 1) * 8 : 0;
  /* A single row of a large network and a whole block reuse a buffer each: new memory costs more than a row. */
  float **spare = s || (n > 1 && n < full) ? NULL : t->spare + (n > 1);
  void *at = spare ? __atomic_exchange_n(spare, NULL, __ATOMIC_ACQUIRE) : NULL;
  if (!at) {
    if (posix_memalign(&at, 64, bytes + 64 + seen)) return NO_MEMORY;
    memset(at, 0, bytes + 64);
  }
  float *file = at;
  int done = ANSWERED;
  for (int64_t start = 0; start < n && done == ANSWERED; start += block) {
    const int64_t here = n - start < block ? n - start : block;
    for (int64_t r = 0; r < here && done == ANSWERED; r++) {
      float *row = file + r * t->size;
      if (s) done = read_sparse(t, s, start + r, (uint64_t *)((char *)at + (bytes + 7) / 8 * 8), row);
      else read_row(t, x + (start + r) * t->width, row);
    }
    if (done == ANSWERED && !t->run(t, file, here, file + block * t->size)) done = REFUSED;
    for (int64_t r = 0; r < here; r++) write_row(t, file + r * t->size, out + (start + r) * t->outputs);
  }
  free(spare ? __atomic_exchange_n(spare, file, __ATOMIC_ACQ_REL) : file);
  return done;
}

static int answer_rows(const Program *t, const double *x, int64_t n, double *out) {
  return n == 1 && t->size + t->scratch <= ON_STACK ? one_row(t, x, out) : run_rows(t, x, NULL, n, out);
}

static inline int answer_sparse_rows(const Program *t, const Sparse *s, int64_t n, double *out) { return n ? run_rows(t, NULL, s, n, out) : ANSWERED; }

#endif
