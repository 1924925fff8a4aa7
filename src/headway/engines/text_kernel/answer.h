/* Answer texts row by row: analyze, count, add weights, run the steps. */
#ifndef HEADWAY_TEXT_ANSWER_H
#define HEADWAY_TEXT_ANSWER_H

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
