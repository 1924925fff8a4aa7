/* Predict rows, by the form that is fastest for their number. */
#ifndef HEADWAY_SCORE_H
#define HEADWAY_SCORE_H

#include "arrays.h"
#include "bits.h"
#include "chains.h"
#include "codes.h"
#include "lanes.h"
#include "sums.h"
#include "walk.h"

#define MANY_ROWS 16             /* from so many rows on, walks of one tree are interleaved instead of those of one row; */
#define MANY_FAR_ROWS 64         /* the same for trees that do not fit in the near caches */
#define ON_STACK 4096

typedef void Leaves(const Forest *, int64_t, const uint8_t *, uint8_t *);

static void start_row(const Forest *f, double *sums) { memcpy(sums, f->base, (size_t)f->outputs * sizeof(double)); }

#if defined(__x86_64__) || defined(__aarch64__)
/* Whether every tree adds one number to the only sum of a row. */
static inline int adds_one(const Forest *f) { return f->outputs == 1 && f->output_start[f->trees] == f->trees; }

static void add_reached(const Forest *f, int64_t begin, int64_t end, const uint8_t *reached, double *sums) {
  for (int64_t t = begin; t < end; t++) {
    const int64_t first = f->output_start[t], count = f->output_start[t + 1] - first;
    const double *value = f->interval_leaf + f->value_start[t] + reached[t] * count;
    for (int64_t o = 0; o < count; o++) sums[f->output[first + o]] = added(f, sums[f->output[first + o]], value[o]);
  }
}

#if defined(__x86_64__)
#define LANES_BY_SUM(NAME) \
  AVX512_TARGET static double NAME##_adding(const Forest *f, const uint8_t *codes, uint64_t *const *masks, double sum, uint8_t *reached) { \
    if (!adds_one(f)) return NAME(f, codes, masks, f->n_masks, ADDS_NOTHING, sum, reached); \
    if (f->sums_float32) return NAME(f, codes, masks, f->n_masks, ADDS_FLOAT32, sum, reached); \
    return NAME(f, codes, masks, f->n_masks, ADDS_FLOAT64, sum, reached); \
  }
#define NARROW_LANES_BY_SUM(NAME) \
  AVX2_TARGET static double NAME##_adding(const Forest *f, const uint8_t *codes, double sum, uint8_t *reached) { \
    if (!adds_one(f)) return NAME(f, codes, ADDS_NOTHING, sum, reached); \
    if (f->sums_float32) return NAME(f, codes, ADDS_FLOAT32, sum, reached); \
    return NAME(f, codes, ADDS_FLOAT64, sum, reached); \
  }

NARROW_LANES_BY_SUM(lanes_of_32_planes_avx2)
NARROW_LANES_BY_SUM(lanes_of_64_planes_avx2)
#else
#define AVX512_TARGET
#define LANES_BY_SUM(NAME) \
  static double NAME##_adding(const Forest *f, const uint8_t *codes, uint64_t *const *masks, double sum, uint8_t *reached) { \
    NAME(f, codes, masks, f->n_masks, reached); \
    for (int64_t t = 0; adds_one(f) && t < f->trees; t++) sum = added(f, sum, f->interval_leaf[f->value_start[t] + reached[t]]); \
    return sum; \
  }

static void encode_row(const Forest *f, const double *x, int32_t *keys) { for (int64_t c = 0; c < f->columns; c++) keys[c] = key_of(f, c, x[f->column[c]]); }
#endif

LANES_BY_SUM(lanes_of_64_planes)
LANES_BY_SUM(lanes_of_128_planes)
LANES_BY_SUM(lanes_of_256_planes)

static void planes_of(const Forest *f, const int32_t *keys, uint8_t *codes) {
  for (int32_t p = 0; p < f->n_planes; p++) codes[p] = byte_of(f->planes + p, keys[f->planes[p].column]);
}

/* The codes of a row, and which lanes go right by its categories. */
typedef struct { uint8_t codes[MOST_PLANES]; uint64_t *masks[MOST_PLANES]; } LaneRow;

/* Find the leaves of a row, and add their values if every tree adds to the only sum; return the sum. */
typedef double WalkLanes(const Forest *, const LaneRow *, double, uint8_t *);

#if defined(__x86_64__)
AVX2_TARGET static void read_lane_row_avx2(const Forest *f, const double *x, LaneRow *row) {
  int32_t keys[MOST_PLANES];
  memset(row->codes, 0, MOST_AVX2_PLANES);
  encode_row_avx2(f, x, keys);
  planes_of(f, keys, row->codes);
}

AVX2_TARGET static double walk_lanes_avx2(const Forest *f, const LaneRow *row, double sum, uint8_t *reached) {
  return (f->n_planes <= 32 ? lanes_of_32_planes_avx2_adding : lanes_of_64_planes_avx2_adding)(f, row->codes, sum, reached);
}
#endif

AVX512_TARGET static void read_lane_row(const Forest *f, const double *x, LaneRow *row) {
  int32_t keys[MOST_PLANES];
  memset(row->codes, 0, MOST_PLANES);
  encode_row(f, x, keys);
  planes_of(f, keys, row->codes);
  for (int32_t m = 0; m < f->n_masks; m++) {
    const int32_t c = f->mask_column[m];
    const int64_t size = f->table_start[c + 1] - f->table_start[c];
    row->masks[m] = f->lane_masks[m] + (keys[c] == MISSING ? size + 1 : keys[c]) * f->steps;
  }
}

AVX512_TARGET static double walk_lanes(const Forest *f, const LaneRow *row, double sum, uint8_t *reached) {
  if (f->n_planes <= 64) return lanes_of_64_planes_adding(f, row->codes, row->masks, sum, reached);
  if (f->n_planes <= 128) return lanes_of_128_planes_adding(f, row->codes, row->masks, sum, reached);
  return lanes_of_256_planes_adding(f, row->codes, row->masks, sum, reached);
}

/* The functions of this level; return how leaves are found. */
static inline WalkLanes *read_by_level(const Forest *f, const double *x, LaneRow *row) {
#if defined(__x86_64__)
  if (f->level < AVX512) { read_lane_row_avx2(f, x, row); return walk_lanes_avx2; }
#endif
  read_lane_row(f, x, row);
  return walk_lanes;
}

static void lane_row(const Forest *f, const double *x, uint8_t *reached, double *sums) {
  LaneRow row;
  WalkLanes *walk = read_by_level(f, x, &row);
  sums[0] = walk(f, &row, sums[0], reached);
  if (!adds_one(f)) add_reached(f, 0, f->trees, reached, sums);
}
#endif

static void interval_block(const Forest *f, uint8_t *P, int64_t n, double *sums) {
#if defined(__x86_64__)
  if (f->bit_nodes && n > BIT_ROWS) { bit_block(f, P, P + f->n_planes * BLOCK, n, sums); return; }
  if (f->chains) { chain_block(f, P, n, sums); return; }
#endif
  Leaves *wide = portable_wide, *narrow = portable_narrow;
  void (*add)(const Forest *, int64_t, const uint8_t *, int64_t, double *) = add_block;
  int64_t width = 16;
  uint8_t reached[4 * BLOCK] __attribute__((aligned(64)));
#if defined(__x86_64__)
  if (f->level == AVX2) { wide = avx2_wide; narrow = avx2_narrow; width = 32; }
  if (f->level >= AVX512) { wide = avx512_wide; narrow = avx512_narrow; width = 64; add = add_planes; }
#elif defined(__aarch64__)
  if (f->level >= NEON) { wide = neon_wide; narrow = neon_narrow; }
#endif
  int64_t r = 0;
  for (; n - r > 2 * width; r += 4 * width)
    for (int64_t t = 0; t < f->trees; t++) {
      wide(f, t, P + r, reached);
      add(f, t, reached, n - r < 4 * width ? n - r : 4 * width, sums + r);
    }
  for (; n - r > 0; r += width)
    for (int64_t t = 0; t < f->trees; t += 4) {
      narrow(f, t, P + r, reached);
      for (int64_t j = 0; j < 4 && t + j < f->trees; j++) add(f, t + j, reached + j * BLOCK, n - r < width ? n - r : width, sums + r);
    }
}

static int interval_rows(const Forest *f, const double *x, int64_t by_row, int64_t by_column, int64_t n, double *out) {
  const int order = f->adds_float32 ? WOVEN_FLOAT32 : f->leaf_planes ? WOVEN_FLOAT64 : IN_PLACE;
  const size_t sum_bytes = (size_t)f->outputs * BLOCK * sizeof(double), plane_bytes = ((f->chains ? 2 : 1) * (size_t)f->n_planes + 1) * BLOCK;
  void *memory = NULL;
  if (posix_memalign(&memory, 64, sum_bytes + plane_bytes + (size_t)f->tests * SET_BYTES)) return 0;
  double *sums = memory;
  float *sums32 = memory;
  uint8_t *P = memset((uint8_t *)memory + sum_bytes, 0, (size_t)f->n_planes * BLOCK);
  for (int64_t start = 0; start < n; start += BLOCK) {
    const int64_t here = n - start < BLOCK ? n - start : BLOCK;
    encode_block(f, x + start * by_row, by_row, by_column, here, P);
    for (int64_t i = 0; i < f->outputs * BLOCK; i++) {
      if (f->adds_float32) sums32[i] = (float)f->base[i / BLOCK];
      else sums[i] = f->base[i / BLOCK];
    }
    interval_block(f, P, here, sums);
    for (int64_t r = 0; r < here; r++)
      for (int64_t o = 0; o < f->outputs; o++) {
        const int64_t place = o * BLOCK + place_of(order, r);
        out[(start + r) * f->outputs + o] = f->adds_float32 ? (double)sums32[place] : sums[place];
      }
  }
  free(memory);
  return 1;
}

#if defined(__x86_64__) || defined(__aarch64__)
static int lane_rows(const Forest *f, const double *x, int64_t n, double *out) {
  uint8_t here[ON_STACK], *reached = f->trees + 2 * LANES <= ON_STACK ? here : malloc((size_t)f->trees + 2 * LANES);
  for (int64_t r = 0; reached && r < n; r++) {
    start_row(f, out + r * f->outputs);
    lane_row(f, x + r * f->width, reached, out + r * f->outputs);
  }
  if (reached != here) free(reached);
  return reached != NULL;
}
#endif

static int walk_rows(const Forest *f, const double *x, int64_t n, double *out) {
  const int64_t block = n < TOGETHER ? n : TOGETHER, many = f->is_near ? MANY_ROWS : MANY_FAR_ROWS;
  int32_t *keys = malloc((size_t)(block * f->walk_columns + f->trees + 1) * sizeof *keys);
  uint32_t *found = keys ? (uint32_t *)keys + block * f->walk_columns : NULL;
  for (int64_t start = 0; keys && start < n; start += block) {
    const int64_t here = n - start < block ? n - start : block;
    for (int64_t r = 0; r < here; r++) start_row(f, out + (start + r) * f->outputs);
    walk_keys(f, x + start * f->width, here, keys);
    if (here < many && here < f->trees) for (int64_t r = 0; r < here; r++) walk_row(f, keys + r * f->walk_columns, found, out + (start + r) * f->outputs);
    else walk_block(f, keys, here, out + start * f->outputs);
  }
  free(keys);
  return keys != NULL;
}

static inline void link_rows(const Forest *f, int64_t n, double *out) {
  for (int64_t r = 0; f->link != IDENTITY && r < n; r++) link_row(f, out + r * f->outputs);
}

/* Scores of n rows: x [n][width] -> out [n][outputs]. */
static int score(const Forest *f, const double *x, int64_t n, double *out) {
  int whole;
  for (int64_t r = 0; f->refuses && r < n; r++) if (is_refused(f, x + r * f->width, 1)) return REFUSED;
#if defined(__x86_64__) || defined(__aarch64__)
  if (f->lanes && n <= f->alone) whole = lane_rows(f, x, n, out);
  else
#endif
  if (f->interval && (f->lanes || n > ROW_BY_ROW)) whole = interval_rows(f, x, f->width, 1, n, out);
  else whole = walk_rows(f, x, n, out);
  if (whole) link_rows(f, n, out);
  return whole;
}

/* Scores of n rows by the interval form, column by column, `by` cells apart: x [width][by] -> out [n][outputs]. */
static int score_columns(const Forest *f, const double *x, int64_t by, int64_t n, double *out) {
  for (int64_t r = 0; f->refuses && r < n; r++) if (is_refused(f, x + r, by)) return REFUSED;
  const int whole = interval_rows(f, x, 1, by, n, out);
  if (whole) link_rows(f, n, out);
  return whole;
}

#endif
