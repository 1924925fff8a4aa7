/* Encode the rows of a block, a row and a column any number of cells from the next: P [plane][BLOCK]. With AVX-512
   eight values are looked up at once among at most 255 thresholds, by permutations of registers and one gather. */
#ifndef HEADWAY_CODES_H
#define HEADWAY_CODES_H

#include "widths.h"

#if defined(__x86_64__)

/* For eight values, count the thresholds below each: a step down a binary tree by each level, which registers hold except for
   the last of eight. A register of the tree is selected by the first steps. */
#define STEP(threshold) ({ \
  const __mmask8 right_ = _mm512_cmp_pd_mask(threshold, v, _CMP_LT_OQ); \
  place = _mm512_add_epi64(place, place); \
  place = _mm512_mask_add_epi64(place, right_, place, one); \
  right_; })
#define AMONG_16(i) _mm512_permutex2var_pd(level[i], place, level[(i) + 1])

AVX512_TARGET static inline __attribute__((always_inline)) __m512i searched(const double *table, const __m512d *level, int depth, __m512d v) {
  const __m512i one = _mm512_set1_epi64(1);
  __m512i place = _mm512_setzero_si512();
  const __mmask8 first = STEP(level[0]), second = STEP(_mm512_permutexvar_pd(place, level[1]));
  STEP(_mm512_permutexvar_pd(place, level[2]));
  STEP(_mm512_permutexvar_pd(place, level[3]));
  if (depth > 4) STEP(AMONG_16(4));
  if (depth > 5) STEP(_mm512_mask_blend_pd(first, AMONG_16(6), AMONG_16(8)));
  if (depth > 6) STEP(_mm512_mask_blend_pd(first, _mm512_mask_blend_pd(second, AMONG_16(10), AMONG_16(12)), _mm512_mask_blend_pd(second, AMONG_16(14), AMONG_16(16))));
  if (depth > 7) STEP(_mm512_i64gather_pd(_mm512_add_epi64(place, place), table, 8));
  return place;
}

/* Count the sixteen thresholds that are below v. */
AVX512_TARGET static inline int32_t count_below(const double *run, __m512d v) {
  const __mmask8 low = _mm512_cmp_pd_mask(_mm512_load_pd(run), v, _CMP_LT_OQ), high = _mm512_cmp_pd_mask(_mm512_load_pd(run + 8), v, _CMP_LT_OQ);
  return __builtin_popcount((uint32_t)low | (uint32_t)high << 8);
}

/* The keys of one row, as `key_of`: the run of a value by the last thresholds of all runs, and its place in the run. */
AVX512_TARGET static void encode_row(const Forest *f, const double *x, int32_t *keys) {
  const __m512d missing = _mm512_set1_pd(f->missing), zero = _mm512_set1_pd(ZERO);
  double values[MOST_PLANES];
  for (int64_t c = 0; c < f->columns; c += 8) {
    __m512d v = _mm512_i32gather_pd(_mm256_load_si256((const __m256i *)(f->row_column + c)), x, 8);
    if (f->rows_float32) v = _mm512_cvtps_pd(_mm512_cvtpd_ps(v));
    __mmask8 absent = _mm512_cmp_pd_mask(v, v, _CMP_UNORD_Q) | _mm512_cmp_pd_mask(v, missing, _CMP_EQ_OQ);
    absent |= f->row_zeros[c / 8] & _mm512_cmp_pd_mask(_mm512_abs_pd(v), zero, _CMP_LE_OQ);
    _mm512_storeu_pd(values + c, v);
    for (int64_t i = c; i < c + 8 && i < f->columns; i++) {
      const __m512d one = _mm512_set1_pd(values[i]);
      const int32_t run = count_below(f->run_ends + i * RUN, one);
      const int32_t place = RUN * run + count_below(f->search + i * SEARCHED + RUN * run, one);
      keys[i] = absent >> (i - c) & 1 ? MISSING : place;
    }
  }
  for (int32_t i = 0; i < f->n_searched_alone; i++) keys[f->searched_alone[i]] = key_of(f, f->searched_alone[i], x[f->column[f->searched_alone[i]]]);
}

/* The same with AVX2. */
AVX2_TARGET static inline int32_t count_below_avx2(const double *run, __m256d v) {
  int found = 0;
  for (int i = 0; i < RUN / 4; i++) found |= _mm256_movemask_pd(_mm256_cmp_pd(_mm256_load_pd(run + 4 * i), v, _CMP_LT_OQ)) << 4 * i;
  return __builtin_popcount((uint32_t)found);
}

AVX2_TARGET static void encode_row_avx2(const Forest *f, const double *x, int32_t *keys) {
  for (int64_t c = 0; c < f->columns; c++) {
    double v = x[f->column[c]];
    if (f->rows_float32) v = (double)(float)v;
    const int absent = v != v || v == f->missing || ((f->kind[c] & COLUMN_ZERO_IS_MISSING) && fabs(v) <= ZERO);
    const __m256d one = _mm256_set1_pd(v);
    const int32_t run = RUN * count_below_avx2(f->run_ends + c * RUN, one);
    keys[c] = absent ? MISSING : run + count_below_avx2(f->search + c * SEARCHED + run, one);
  }
  for (int32_t i = 0; i < f->n_searched_alone; i++) keys[f->searched_alone[i]] = key_of(f, f->searched_alone[i], x[f->column[f->searched_alone[i]]]);
}

/* A column of eight rows, `by` apart; if fewer are left, the last one is repeated. */
AVX512_TARGET static inline __m512d eight(const double *x, int64_t by, int64_t left) {
  if (left >= 8 && by == 1) return _mm512_loadu_pd(x);
  if (left >= 8) return _mm512_setr_pd(x[0], x[by], x[2 * by], x[3 * by], x[4 * by], x[5 * by], x[6 * by], x[7 * by]);
  double v[8];
  for (int j = 0; j < 8; j++) v[j] = x[(j < left ? j : left - 1) * by];
  return _mm512_loadu_pd(v);
}

AVX512_TARGET static void encode_wide(const Forest *f, int64_t c, const double *x, int64_t by, int64_t n, uint8_t *P) {
  const double *table = f->search + c * SEARCHED;
  const int depth = levels_of(f->table_start[c + 1] - f->table_start[c]);
  __m512d level[LEVEL_CELLS / 8];
  _Pragma("GCC unroll 18") for (int i = 0; i < LEVEL_CELLS / 8; i++) level[i] = _mm512_loadu_pd(f->levels + c * LEVEL_CELLS + 8 * i);
  const __m512d missing = _mm512_set1_pd(f->missing), zero = _mm512_set1_pd(ZERO);
  const __m512i none = _mm512_setzero_si512(), most = _mm512_set1_epi64(PLANE_THRESHOLDS);
  for (int64_t r = 0; r < n; r += 8) {
    __m512d v = eight(x + r * by, by, n - r);
    if (f->rows_float32) v = _mm512_cvtps_pd(_mm512_cvtpd_ps(v));
    __mmask8 gone = _mm512_cmp_pd_mask(v, v, _CMP_UNORD_Q) | _mm512_cmp_pd_mask(v, missing, _CMP_EQ_OQ);
    if (f->kind[c] & COLUMN_ZERO_IS_MISSING) gone |= _mm512_cmp_pd_mask(_mm512_abs_pd(v), zero, _CMP_LE_OQ);
    const __m512i place = searched(table, level, depth, v);
    for (int32_t p = f->plane_start[c]; p < f->plane_start[c + 1]; p++) {
      const Plane *plane = f->planes + f->plane_order[p];
      __m512i code = _mm512_sub_epi64(place, _mm512_set1_epi64(plane->first));
      code = _mm512_min_epi64(_mm512_max_epi64(code, none), most);
      code = _mm512_mask_mov_epi64(code, gone, _mm512_set1_epi64(plane->missing));
      _mm_storel_epi64((__m128i *)(P + f->plane_order[p] * BLOCK + r), _mm512_cvtepi64_epi8(code));
    }
  }
}

#endif

static void encode_block(const Forest *f, const double *x, int64_t by_row, int64_t by_column, int64_t n, uint8_t *P) {
  int32_t keys[BLOCK];
  for (int64_t c = 0; c < f->columns; c++) {
#if defined(__x86_64__)
    if (f->level >= AVX512 && !(f->kind[c] & COLUMN_CATEGORICAL) && f->table_start[c + 1] - f->table_start[c] < SEARCHED) {
      encode_wide(f, c, x + f->column[c] * by_column, by_row, n, P);
      continue;
    }
#endif
    keys_of(f, c, x + f->column[c] * by_column, by_row, n, keys);
    for (int32_t p = f->plane_start[c]; p < f->plane_start[c + 1]; p++)
      for (int64_t r = 0; r < n; r++) P[f->plane_order[p] * BLOCK + r] = byte_of(f->planes + f->plane_order[p], keys[r]);
  }
}

#endif
