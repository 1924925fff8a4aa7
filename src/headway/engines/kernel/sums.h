/* Add the values of the leaves that rows reached to their sums. With AVX-512 no table of values is looked up row by row:
   byte b of all leaf values of a tree fits in a few registers, one permutation selects it for 64 rows, and the eight
   bytes of each row are then interleaved. */
#ifndef HEADWAY_SUMS_H
#define HEADWAY_SUMS_H

#include "widths.h"

/* Sums [output][BLOCK]; if `woven`, 64 rows are in the order that interleaving leaves them in: even and odd rows first. */
static inline int64_t place_of(int woven, int64_t r) {
  return woven ? (r & ~63ll) | ((r & 1) * 32 + r % 16 / 4 * 8) | (r % 64 / 16 * 2) | r % 4 / 2 : r;
}

static void add_block(const Forest *f, int64_t t, const uint8_t *reached, int64_t n, double *sums) {
  const int64_t first = f->output_start[t], count = f->output_start[t + 1] - first;
  const double *value = f->interval_leaf + f->value_start[t];
  for (int64_t o = 0; o < count; o++) {
    double *sum = sums + f->output[first + o] * BLOCK;
    if (f->sums_float32) for (int64_t r = 0; r < n; r++) sum[r] = (double)(float)(sum[r] + value[reached[r] * count + o]);
    else if (count == 1) for (int64_t r = 0; r < n; r++) sum[r] += value[reached[r]];
    else for (int64_t r = 0; r < n; r++) sum[r] += value[reached[r] * count + o];
  }
}

#if defined(__x86_64__)

#define BYTE_1(p) _mm512_permutexvar_epi8(e, _mm512_load_si512(p))
#define BYTE_2(p) _mm512_permutex2var_epi8(_mm512_load_si512(p), e, _mm512_load_si512((p) + 64))
#define BYTE_4(p) _mm512_mask_blend_epi8(_mm512_movepi8_mask(e), BYTE_2(p), BYTE_2((p) + 128))

/* Interleave two registers of small items to two of items twice as large: the first items of each pair, and the last. */
#define WOVEN(size, a, b, low, high) low = _mm512_unpacklo_epi##size(a, b); high = _mm512_unpackhi_epi##size(a, b);

/* The same for bytes, of even rows and of odd ones: by shifts, as interleaving and permuting run on the same port. */
#define WOVEN_BYTES(a, b, even, odd) \
  even = _mm512_mask_mov_epi8(a, 0xaaaaaaaaaaaaaaaau, _mm512_slli_epi16(b, 8)); \
  odd = _mm512_mask_mov_epi8(b, 0x5555555555555555u, _mm512_srli_epi16(a, 8));

#define ADD(i, item) { \
  const __m512d total_ = _mm512_add_pd(_mm512_load_pd(sum + 8 * (i)), _mm512_castsi512_pd(item)); \
  _mm512_store_pd(sum + 8 * (i), rounded ? _mm512_cvtps_pd(_mm512_cvtpd_ps(total_)) : total_); }

#define ADD_PLANES(NAME, BYTE, BYTES_OF_PLANE) \
  AVX512_TARGET static inline void NAME(const uint8_t *planes, const uint8_t *reached, int64_t n, const int rounded, double *sum) { \
    for (int64_t r = 0; r < n; r += 64, reached += 64, sum += 64) { \
      const __m512i e = _mm512_loadu_si512(reached); \
      __m512i b[8], pairs[8], fours[8], eights[8]; \
      _Pragma("GCC unroll 8") for (int i = 0; i < 8; i++) b[i] = BYTE(planes + i * BYTES_OF_PLANE); \
      _Pragma("GCC unroll 4") for (int i = 0; i < 4; i++) { WOVEN_BYTES(b[2 * i], b[2 * i + 1], pairs[i], pairs[i + 4]) } \
      _Pragma("GCC unroll 2") for (int h = 0; h < 8; h += 4) { \
        WOVEN(16, pairs[h], pairs[h + 1], fours[h], fours[h + 1]) \
        WOVEN(16, pairs[h + 2], pairs[h + 3], fours[h + 2], fours[h + 3]) \
        WOVEN(32, fours[h], fours[h + 2], eights[h], eights[h + 1]) \
        WOVEN(32, fours[h + 1], fours[h + 3], eights[h + 2], eights[h + 3]) \
      } \
      _Pragma("GCC unroll 8") for (int i = 0; i < 8; i++) ADD(i, eights[i]) \
    } \
  }

ADD_PLANES(add_64_leaves, BYTE_1, 64)
ADD_PLANES(add_128_leaves, BYTE_2, 128)
ADD_PLANES(add_256_leaves, BYTE_4, 256)

#define BY_ROUNDING(NAME) { if (f->sums_float32) NAME(planes, reached, n, 1, sum); else NAME(planes, reached, n, 0, sum); }

AVX512_TARGET static void add_planes(const Forest *f, int64_t t, const uint8_t *reached, int64_t n, double *sums) {
  const int64_t first = f->output_start[t], count = f->output_start[t + 1] - first, width = plane_width(f, t);
  for (int64_t o = 0; o < count; o++) {
    const uint8_t *planes = f->leaf_planes + f->leaf_plane_start[t] + o * 8 * width;
    double *sum = sums + f->output[first + o] * BLOCK;
    if (width == 64) BY_ROUNDING(add_64_leaves)
    else if (width == 128) BY_ROUNDING(add_128_leaves)
    else BY_ROUNDING(add_256_leaves)
  }
}

#endif
#endif
