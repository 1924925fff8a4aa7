/* Answer texts row by row: analyze, count, add weights, run the steps. */
#ifndef HEADWAY_TEXT_ANSWER_H
#define HEADWAY_TEXT_ANSWER_H

#include "../kernel/arrays.h"
#include "ngrams.h"

#define LINE 32 /* sums that are added at once */
typedef double Doubles __attribute__((vector_size(64)));
typedef int64_t Longs __attribute__((vector_size(64)));

/* Copy up to 8 numbers. */
static inline __attribute__((always_inline)) void copy_few(double *to, const double *from, int64_t n) {
  if (n & 8) memcpy(to, from, 64);
  if (n & 4) { memcpy(to, from, 32); to += 4; from += 4; }
  if (n & 2) { memcpy(to, from, 16); to += 2; from += 2; }
  if (n & 1) *to = *from;
}

#define NAME(x) x##_portable
#define TARGET
#define PART 2
#define FUSED(x, y, z) ((x) * (y) + (z))
#define PART_FUSED(x, y, z) FUSED(x, y, z)
#include "steps.h"
#undef NAME
#undef TARGET
#undef PART
#undef PART_FUSED
#undef FUSED
#if defined(__x86_64__)
#include <immintrin.h>
#define FUSED(x, y, z) __builtin_fma(x, y, z)
#define NAME(x) x##_avx2
#define TARGET __attribute__((target("avx2,fma")))
#define PART 4
#define PART_FUSED(x, y, z) _mm256_fmadd_pd(x, y, z)
#include "steps.h"
#undef NAME
#undef TARGET
#undef PART
#undef PART_FUSED
#define NAME(x) x##_avx512
#define TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,fma,prefer-vector-width=512")))
#define PART 8
#define PART_FUSED(x, y, z) _mm512_fmadd_pd(x, y, z)
#include "steps.h"
#undef NAME
#undef TARGET
#undef PART
#undef PART_FUSED
#elif defined(__aarch64__)
#include <arm_neon.h>
#define NAME(x) x##_neon
#define TARGET
#define PART 2
#define FUSED(x, y, z) __builtin_fma(x, y, z)
#define PART_FUSED(x, y, z) ((Part)vfmaq_f64((float64x2_t)(z), (float64x2_t)(x), (float64x2_t)(y)))
#include "steps.h"
#undef NAME
#undef TARGET
#undef PART
#undef PART_FUSED
#endif

/* The values of features themselves, which trees read. */
static void copy_features(const Program *t, const Vectorizer *v, const Counts *c, double *sums) {
  for (uint32_t i = 0; i < c->n; i++) {
    const int64_t row = v->rows < 0 ? c->id[i] : t->row_of[v->rows + c->id[i]];
    if (row >= 0) sums[v->out + row] += c->value[i];
  }
}

static void add_features(const Program *t, const Vectorizer *v, const Counts *c, double *sums) {
  if (!v->stride) { copy_features(t, v, c, sums); return; }
#if defined(__x86_64__)
  if (t->level == AVX512) { add_features_avx512(t, v, c, sums); return; }
  if (t->level == AVX2) { add_features_avx2(t, v, c, sums); return; }
#elif defined(__aarch64__)
  if (t->level == NEON) { add_features_neon(t, v, c, sums); return; }
#endif
  add_features_portable(t, v, c, sums);
}

static void run_steps(const Program *t, double *file) {
#if defined(__x86_64__)
  if (t->level == AVX512) { run_steps_avx512(t, file); return; }
  if (t->level == AVX2) { run_steps_avx2(t, file); return; }
#elif defined(__aarch64__)
  if (t->level == NEON) { run_steps_neon(t, file); return; }
#endif
  run_steps_portable(t, file);
}

static int best_level(void) {
#if defined(__x86_64__)
  const int fma = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const int wide = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw");
  if (fma && wide && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq")) return AVX512;
  if (fma) return AVX2;
#elif defined(__aarch64__)
  return NEON;
#endif
  return PORTABLE;
}

#define ARRAYS 10
#define NUMBERS 8

static const int64_t ITEM[ARRAYS] = {8, sizeof(Vectorizer), sizeof(ValueOp), 1, 8, 4, 8, 8, sizeof(Step), 4};

/* Read a program from its arrays, which the caller keeps; return NULL, or why it is invalid. */
static const char *take(Program *t, const Array *arrays) {
  if (arrays[0].bytes != NUMBERS * 8) return "the header must hold eight numbers";
  const int64_t *number = arrays[0].at;
  t->columns = number[0]; t->width = number[1]; t->outputs = number[2]; t->output_offset = number[3];
  t->size = number[4]; t->sums = number[5]; t->n_sums = number[6]; t->level = number[7];
  if (t->level < PORTABLE || t->level > best_level()) return "this machine does not support the level";
#define ARRAY(number, field) t->field = arrays[number].at; t->n_##field = arrays[number].bytes / ITEM[number]
  ARRAY(1, vectorizers); ARRAY(2, value_ops); ARRAY(3, blob); ARRAY(4, offsets); ARRAY(5, row_of);
  ARRAY(6, weights); ARRAY(7, pool); ARRAY(8, steps); ARRAY(9, indices);
  const char *fault = check(t);
  return fault ? fault : make_ready(t) ? NULL : "out of memory";
}

static int work_ready(Work *w, const Program *t, int64_t longest) {
  w->program = t;
  w->buffer = malloc((size_t)room_for(longest));
  w->ranges = malloc((size_t)(longest + 4) * sizeof *w->ranges);
  return w->buffer && w->ranges;
}

/* Write the answers of n rows; `spans` [vectorizers, n] are their texts, `rows` [n, width] their numbers. Each text goes
   through three stages, and three texts are in different ones, so that what a stage reads arrives while others are worked on. */
static int answer_texts(const Program *t, const Span *spans, const double *rows, int64_t n, double *out) {
  enum { STAGES = 3 };
  const int64_t count = t->n_vectorizers, each = count ? count : 1, units = n * each;
  Work works[STAGES] = {{0}};
  Counts counts = {0};
  int64_t longest = 0;
  for (int64_t i = 0; i < count * n; i++) longest = spans[i].length > longest ? spans[i].length : longest;
  double *file = malloc((size_t)t->size * sizeof *file);
  int ready = counts_ready(&counts, 8) && file;
  for (int i = 0; ready && i < STAGES && i < units; i++) ready = work_ready(works + i, t, longest);
  for (int64_t first = 0; ready && first < units + STAGES - 1; first++) {
    const int64_t second = first - 1, last = first - 2;
    if (first < units && count) {
      Work *w = works + first % STAGES;
      const int64_t i = first % each;
      w->v = t->vectorizers + i; w->vocabulary = t->vocabularies + i; w->stops = t->stops + i; w->sequences = t->sequences + i;
      w->span = spans + i * n + first / each;
      if (has_sequences(w)) read_words(w);
    }
    if (second >= 0 && second < units && count && has_sequences(works + second % STAGES)) find_words(works + second % STAGES);
    if (last < 0) continue;
    const int64_t r = last / each, i = last % each;
    if (!i) {
      memcpy(file, rows + r * t->width, (size_t)t->width * sizeof *file);
      memcpy(file + t->sums, t->pool, (size_t)t->n_sums * sizeof *file);
    }
    if (count) {
      Work *w = works + last % STAGES;
      w->counts = &counts;
      count_ngrams(w);
      ready = !w->failed;
      apply_value_ops(t, w->v, &counts);
      add_features(t, w->v, &counts, file + t->sums);
      counts_clear(&counts);
    }
    if (i + 1 < each) continue;
    run_steps(t, file);
    memcpy(out + r * t->outputs, file + t->output_offset, (size_t)t->outputs * sizeof *out);
  }
  counts_free(&counts);
  free(file);
  for (int i = 0; i < STAGES; i++) { free(works[i].buffer); free(works[i].ranges); }
  return ready;
}

#endif
