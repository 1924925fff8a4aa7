/* Add the values of the leaves that rows reached to their sums. With AVX-512 no table of values is looked up row by row:
   byte b of all leaf values of a tree fits in a few registers, one permutation selects it for 64 rows, and the eight
   bytes of each row are then interleaved. */
#ifndef HEADWAY_SUMS_H
#define HEADWAY_SUMS_H

#include "widths.h"

/* Sums [output][BLOCK]; 64 rows are in the order that interleaving leaves them in: even and odd rows first. */
enum { IN_PLACE, WOVEN_FLOAT64, WOVEN_FLOAT32 };
static inline int64_t place_of(int order, int64_t r) {
  const int64_t half = (r & ~63ll) + (r & 1) * 32;
  if (order == WOVEN_FLOAT64) return half + r % 16 / 4 * 8 + r % 64 / 16 * 2 + r % 4 / 2;
  return order == WOVEN_FLOAT32 ? half + r % 16 / 8 * 16 + r % 64 / 16 * 4 + r % 8 / 2 : r;
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

/* The same for float32, of which a register holds sixteen. */
#define ADD_FLOATS(NAME, BYTE, BYTES_OF_PLANE) \
  AVX512_TARGET static inline void NAME(const uint8_t *planes, const uint8_t *reached, int64_t n, float *sum) { \
    for (int64_t r = 0; r < n; r += 64, reached += 64, sum += 64) { \
      const __m512i e = _mm512_loadu_si512(reached); \
      __m512i b[4], pairs[4], fours[4]; \
      _Pragma("GCC unroll 4") for (int i = 0; i < 4; i++) b[i] = BYTE(planes + i * BYTES_OF_PLANE); \
      _Pragma("GCC unroll 2") for (int i = 0; i < 2; i++) { WOVEN_BYTES(b[2 * i], b[2 * i + 1], pairs[i], pairs[i + 2]) } \
      WOVEN(16, pairs[0], pairs[1], fours[0], fours[1]) \
      WOVEN(16, pairs[2], pairs[3], fours[2], fours[3]) \
      _Pragma("GCC unroll 4") for (int i = 0; i < 4; i++) \
        _mm512_store_ps(sum + 16 * i, _mm512_add_ps(_mm512_load_ps(sum + 16 * i), _mm512_castsi512_ps(fours[i]))); \
    } \
  }

ADD_FLOATS(add_64_floats, BYTE_1, 64)
ADD_FLOATS(add_128_floats, BYTE_2, 128)
ADD_FLOATS(add_256_floats, BYTE_4, 256)

AVX512_TARGET static void add_float_planes(const Forest *f, int64_t t, const uint8_t *reached, int64_t n, float *sums) {
  const int64_t first = f->output_start[t], count = f->output_start[t + 1] - first, width = plane_width(f, t);
  for (int64_t o = 0; o < count; o++) {
    const uint8_t *planes = f->leaf_planes + f->leaf_plane_start[t] + o * 4 * width;
    (width == 64 ? add_64_floats : width == 128 ? add_128_floats : add_256_floats)(planes, reached, n, sums + f->output[first + o] * BLOCK);
  }
}

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

/* Sums that are float32 if the forest adds those. */
AVX512_TARGET static inline void add_tree_planes(const Forest *f, int64_t t, const uint8_t *reached, int64_t n, double *sums) {
  if (f->adds_float32) add_float_planes(f, t, reached, n, (float *)sums);
  else add_planes(f, t, reached, n, sums);
}

#endif
#endif
