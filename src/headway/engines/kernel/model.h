/* A model: a forest, with the categories of CatBoost in front of it if it has any. */
#ifndef HEADWAY_MODEL_H
#define HEADWAY_MODEL_H

#include "build.h"
#include "decide.h"
#include "sparse.h"
#include "symmetric.h"

#define FOREST_ARRAYS 19
#define ROWS_OF_CELLS (1 << 15)   /* cells of a block of rows */
#define ARRAYS (FOREST_ARRAYS + CATEGORY_ARRAYS)

typedef struct { Forest forest; Categories categories; int has_categories; } Model;

/* Bytes of an item of each array. */
static const int64_t ITEM[ARRAYS] = {8, 8, 8, 4, 1, 8, 8, 8, 8, 8, 4, 4, 4, 4, 4, 1, 8, 8, 4, CATEGORY_ITEMS};

static int best_level(void) {
#if defined(__x86_64__)
  const int bits = __builtin_cpu_supports("bmi2");
  const int bytes = __builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512bw");
  if (bits && bytes && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq")) return AVX512;
  if (bits && __builtin_cpu_supports("avx2")) return AVX2;
#elif defined(__aarch64__)
  return NEON;
#endif
  return PORTABLE;
}

static int64_t count(const Array *arrays, int i) { return arrays[i].bytes / ITEM[i]; }

/* Read a model from its arrays, which the caller keeps, and build the forms of its forest; return NULL, or why it is invalid. */
static const char *take(Model *m, const Array *arrays, int n_arrays) {
  Forest *f = &m->forest;
  if (count(arrays, 0) != 8) return "the header must hold eight numbers";
  const int64_t *number = arrays[0].at;
  f->width = number[0]; f->rows_float32 = (int)number[1]; f->sums_float32 = (int)number[2]; f->whole = (int)number[3];
  f->ordered = (int)number[4]; f->link = (int)number[5]; f->interval = (int)number[6]; f->level = (int)number[7];
  if (f->level > best_level()) return "this machine does not support the level";
  if (count(arrays, 1) != 2 || count(arrays, 2) < 1 || count(arrays, 5) < 1 || count(arrays, 7) < 1) return "an array is too short";
  f->missing = ((const double *)arrays[1].at)[0];
  f->reach = ((const double *)arrays[1].at)[1];
  f->base = arrays[2].at; f->outputs = count(arrays, 2);
  f->column = arrays[3].at; f->columns = count(arrays, 3);
  f->kind = arrays[4].at; f->table_start = arrays[5].at; f->table = arrays[6].at;
  f->tree_start = arrays[7].at; f->trees = count(arrays, 7) - 1;
  f->value_start = arrays[8].at; f->output_start = arrays[9].at; f->output = arrays[10].at;
  f->feature = arrays[11].at; f->key = arrays[12].at; f->left = arrays[13].at; f->right = arrays[14].at;
  f->flag = arrays[15].at; f->leaf = arrays[16].at; f->set_start = arrays[17].at; f->member = arrays[18].at;
  f->nodes = count(arrays, 11); f->sets = count(arrays, 17) - 1;
  if (f->width < 1 || f->sets < 0 || count(arrays, 4) != f->columns || count(arrays, 5) != f->columns + 1) return "the arrays of columns differ in length";
  if (count(arrays, 8) != f->trees + 1 || count(arrays, 9) != f->trees + 1) return "the arrays of trees differ in length";
  for (int i = 12; i <= 15; i++) if (count(arrays, i) != f->nodes) return "the arrays of nodes differ in length";
  if (f->nodes > INT32_MAX / 4 || count(arrays, 6) > INT32_MAX / 2 || f->width > INT32_MAX) return "the forest is too large";
  const int rise = rising(f->table_start, f->columns, count(arrays, 6)) && rising(f->tree_start, f->trees, f->nodes) &&
                   rising(f->value_start, f->trees, count(arrays, 16)) && rising(f->output_start, f->trees, count(arrays, 10)) &&
                   rising(f->set_start, f->sets, count(arrays, 18));
  if (!rise) return "offsets do not increase to the length of their array";
  for (int64_t c = 0; c < f->columns; c++) {
    if (f->column[c] < 0 || f->column[c] >= f->width) return "a column is outside the row";
    f->refuses |= f->kind[c] & (COLUMN_IS_FINITE | COLUMN_IS_PRESENT);
  }
  for (int64_t i = 0; i < count(arrays, 10); i++)
    if (f->output[i] < 0 || f->output[i] >= f->outputs) return "a tree adds to an output that does not exist";
  for (int64_t t = 0; t < f->trees; t++) {
    const int64_t leaves = f->tree_start[t + 1] - f->tree_start[t] + 1, outputs = f->output_start[t + 1] - f->output_start[t];
    if (!outputs) return "a tree adds to no output"; /* forms for one number per tree count on it */
    if (leaves * outputs != f->value_start[t + 1] - f->value_start[t]) return "a tree does not have one value per leaf and output";
  }
  m->has_categories = n_arrays > FOREST_ARRAYS;
  if (m->has_categories) {
    TRY(take_categories(&m->categories, arrays + FOREST_ARRAYS, f));
    TRY(take_symmetric(f, &m->categories, arrays + FOREST_ARRAYS));
  }
  if (f->interval && (f->ordered || f->columns > MOST_PLANES)) return "the interval form requires ranks and fewer columns";
  TRY(build(f));
  return m->has_categories ? NULL : make_sparse(f);
}

static int64_t width_of(const Model *m) { return m->has_categories ? m->categories.width : m->forest.width; }

static int answer_by(const Model *m, const Forest *f, const double *x, int64_t n, double *out) {
  if (m->has_categories) return (m->categories.trees ? score_symmetric : score_categories)(f, &m->categories, x, n, out);
  return is_wide(f) && n < MANY_ROWS ? score_wide(f, x, n, out) : score(f, x, n, out);
}

/* Scores of n rows: x [n][width] -> out [n][outputs]. */
static int answer_rows(const Model *m, const double *x, int64_t n, double *out) { return answer_by(m, &m->forest, x, n, out); }

/* The same of rows that are stored column by column, `by` cells apart: x [width][by]. A form that reads single rows gets them
   in blocks, which stay in the cache. */
static int answer_columns(const Model *m, const double *x, int64_t by, int64_t n, double *out) {
  const int64_t width = width_of(m), most = ROWS_OF_CELLS / width < MANY_FAR_ROWS ? MANY_FAR_ROWS : ROWS_OF_CELLS / width;
  const int64_t block = n < most ? n : most;
  if (!m->has_categories && m->forest.interval && n > MANY_ROWS) return score_columns(&m->forest, x, by, n, out);
  double *rows = malloc((size_t)(block * width + 1) * sizeof *rows);
  int done = rows ? ANSWERED : NO_MEMORY;
  for (int64_t start = 0; done == ANSWERED && start < n; start += block) {
    const int64_t here = n - start < block ? n - start : block;
    for (int64_t c = 0; c < width; c++) for (int64_t r = 0; r < here; r++) rows[r * width + c] = x[c * by + start + r];
    done = answer_rows(m, rows, here, out + start * m->forest.outputs);
  }
  free(rows);
  return done;
}

/* The class with the highest score of each of n rows, by all trees: x [n][width] -> out [n], int64. */
static int choose_rows(const Model *m, const double *x, int64_t n, double *out) {
  const int64_t k = m->forest.outputs, block = n < TOGETHER ? n : TOGETHER;
  double here[ON_STACK / sizeof(double)], *sums = block * k <= (int64_t)(ON_STACK / sizeof *here) ? here : malloc((size_t)(block * k) * sizeof *sums);
  Forest adds = m->forest;
  int done = sums ? ANSWERED : NO_MEMORY;
  adds.link = IDENTITY;
  for (int64_t start = 0; done == ANSWERED && start < n; start += block) {
    const int64_t here = n - start < block ? n - start : block;
    done = answer_by(m, &adds, x + start * width_of(m), here, sums);
    for (int64_t r = 0; done == ANSWERED && r < here; r++) put_decision(out + start + r, class_of(&m->forest, sums + r * k));
  }
  if (sums != here) free(sums);
  return done;
}

/* Decisions of n rows: x [n][width] -> out [n], int64. Of one output 1 if the score is at least a threshold, else 0; of
   several the first class with the highest score, whatever the threshold. */
static int decide_rows(const Model *m, const double *x, int64_t n, double threshold, double *out) {
  if (!m->has_categories && stops_early(&m->forest, n)) return decide_early(&m->forest, x, n, threshold, out);
  if (m->forest.outputs > 1) return choose_rows(m, x, n, out);
  const int done = answer_rows(m, x, n, out);
  for (int64_t r = 0; done == ANSWERED && r < n; r++) put_decision(out + r, out[r] >= threshold);
  return done;
}

#endif
