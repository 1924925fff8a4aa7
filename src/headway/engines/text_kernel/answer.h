/* Answer texts row by row: analyze, count, add weights, run the steps. */
#ifndef HEADWAY_TEXT_ANSWER_H
#define HEADWAY_TEXT_ANSWER_H

#include "ngrams.h"

#define LINE 32 /* sums that are added at once */
typedef double Doubles __attribute__((vector_size(64)));

#define NAME(x) x##_portable
#define TARGET
#include "steps.h"
#undef NAME
#undef TARGET
#if defined(__x86_64__)
#define NAME(x) x##_avx2
#define TARGET __attribute__((target("avx2,fma")))
#include "steps.h"
#undef NAME
#undef TARGET
#define NAME(x) x##_avx512
#define TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,fma,prefer-vector-width=512")))
#include "steps.h"
#undef NAME
#undef TARGET
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
#endif
  add_features_portable(t, v, c, sums);
}

static void run_steps(const Program *t, double *file) {
#if defined(__x86_64__)
  if (t->level == AVX512) { run_steps_avx512(t, file); return; }
  if (t->level == AVX2) { run_steps_avx2(t, file); return; }
#endif
  run_steps_portable(t, file);
}

/* Write the answers of n rows; `spans` [vectorizers, n] are their texts, `rows` [n, width] their numbers. */
static int answer_texts(const Program *t, const Span *spans, const double *rows, int64_t n, double *out) {
  Work w = {.program = t};
  int64_t longest = 0;
  for (int64_t i = 0; i < t->n_vectorizers * n; i++) longest = spans[i].length > longest ? spans[i].length : longest;
  double *file = malloc((size_t)t->size * sizeof *file);
  w.buffer = malloc((size_t)room_for(longest));
  w.ranges = malloc((size_t)(longest + 4) * sizeof *w.ranges);
  const int ready = counts_ready(&w.counts, 8) && file && w.buffer && w.ranges;
  for (int64_t r = 0; ready && !w.failed && r < n; r++) {
    memcpy(file, rows + r * t->width, (size_t)t->width * sizeof *file);
    memcpy(file + t->sums, t->pool, (size_t)t->n_sums * sizeof *file);
    for (int64_t i = 0; i < t->n_vectorizers; i++) {
      w.v = t->vectorizers + i; w.vocabulary = t->vocabularies + i; w.stops = t->stops + i; w.sequences = t->sequences + i;
      count_ngrams(&w, spans + i * n + r);
      apply_value_ops(t, w.v, &w.counts);
      add_features(t, w.v, &w.counts, file + t->sums);
      counts_clear(&w.counts);
    }
    run_steps(t, file);
    memcpy(out + r * t->outputs, file + t->output_offset, (size_t)t->outputs * sizeof *out);
  }
  counts_free(&w.counts);
  free(file); free(w.buffer); free(w.ranges);
  return ready && !w.failed;
}

#endif
