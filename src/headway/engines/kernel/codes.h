/* From rows to the codes of a block: P [plane][BLOCK]. With AVX-512 eight values are looked up at once among at most 255
   thresholds: their run of sixteen by permuting registers, their place in it by four gathers. */
#ifndef HEADWAY_CODES_H
#define HEADWAY_CODES_H

#include "widths.h"

#if defined(__x86_64__)

#define SEARCHED 256             /* thresholds of a column, filled up with infinity */

/* Where each of eight values lies among the thresholds at `table`; none of them counts where it is NaN. */
AVX512_TARGET static inline __m512i places_of(const double *table, __m512i runs_low, __m512i runs_high, __m512d v) {
  const __m512d low = _mm512_castsi512_pd(runs_low), high = _mm512_castsi512_pd(runs_high);
  __m512i place = _mm512_setzero_si512();
  _Pragma("GCC unroll 4") for (int s = 8; s; s >>= 1) {
    const __m512d t = _mm512_permutex2var_pd(low, _mm512_add_epi64(place, _mm512_set1_epi64(s - 1)), high);
    place = _mm512_mask_add_epi64(place, _mm512_cmp_pd_mask(t, v, _CMP_LT_OQ), place, _mm512_set1_epi64(s));
  }
  place = _mm512_slli_epi64(place, 4);
  _Pragma("GCC unroll 4") for (int s = 8; s; s >>= 1) {
    const __m512d t = _mm512_i64gather_pd(_mm512_add_epi64(place, _mm512_set1_epi64(s - 1)), table, 8);
    place = _mm512_mask_add_epi64(place, _mm512_cmp_pd_mask(t, v, _CMP_LT_OQ), place, _mm512_set1_epi64(s));
  }
  return place;
}

AVX512_TARGET static void encode_wide(const Forest *f, int64_t c, const double *x, int64_t n, uint8_t *P) {
  const double *table = f->search + c * SEARCHED;
  double runs[16];
  for (int i = 0; i < 16; i++) runs[i] = table[16 * i + 15];
  const __m512i low = _mm512_castpd_si512(_mm512_loadu_pd(runs)), high = _mm512_castpd_si512(_mm512_loadu_pd(runs + 8));
  const __m512i stride = _mm512_mullo_epi64(_mm512_setr_epi64(0, 1, 2, 3, 4, 5, 6, 7), _mm512_set1_epi64(f->width));
  const __m512d missing = _mm512_set1_pd(f->missing), zero = _mm512_set1_pd(ZERO);
  const __m512i none = _mm512_setzero_si512(), most = _mm512_set1_epi64(PLANE_THRESHOLDS);
  for (int64_t r = 0; r < n; r += 8) {
    const __mmask8 there = n - r >= 8 ? 255 : (__mmask8)((1 << (n - r)) - 1);
    __m512d v = _mm512_mask_i64gather_pd(zero, there, stride, x + r * f->width + f->column[c], 8);
    if (f->rows_float32) v = _mm512_cvtps_pd(_mm512_cvtpd_ps(v));
    __mmask8 gone = _mm512_cmp_pd_mask(v, v, _CMP_UNORD_Q) | _mm512_cmp_pd_mask(v, missing, _CMP_EQ_OQ);
    if (f->kind[c] & COLUMN_ZERO_IS_MISSING) gone |= _mm512_cmp_pd_mask(_mm512_abs_pd(v), zero, _CMP_LE_OQ);
    const __m512i place = places_of(table, low, high, v);
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

static void encode_block(const Forest *f, const double *x, int64_t n, uint8_t *P) {
  int32_t keys[BLOCK];
  for (int64_t c = 0; c < f->columns; c++) {
#if defined(__x86_64__)
    if (f->search && !(f->kind[c] & COLUMN_CATEGORICAL) && f->table_start[c + 1] - f->table_start[c] < SEARCHED) {
      encode_wide(f, c, x, n, P);
      continue;
    }
#endif
    keys_of(f, c, x, n, keys);
    for (int32_t p = f->plane_start[c]; p < f->plane_start[c + 1]; p++)
      for (int64_t r = 0; r < n; r++) P[f->plane_order[p] * BLOCK + r] = byte_of(f->planes + f->plane_order[p], keys[r]);
  }
}

#endif
