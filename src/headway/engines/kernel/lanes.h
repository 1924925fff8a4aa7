/* The interval form for one row: 64 trees in the lanes of a register. The codes of the row are in registers as well, so
   that a step, one node of each tree, needs no gather: it permutes, compares twice and blends. Nodes are ordered by the
   first leaf r of their right subtree, which numbers them from 1 on: r is not stored, and a row can still reach leaf e of
   the left subtree [l, r) if e >= l. */
#ifndef HEADWAY_LANES_H
#define HEADWAY_LANES_H

#include "widths.h"

/* The lanes that go right at a step because their node tests a set; one mask per categorical column. */
static inline uint64_t right_by_sets(uint64_t *const *masks, int32_t count, int64_t step) {
  uint64_t right = 0;
  for (int32_t m = 0; m < count; m++) right |= masks[m][step];
  return right;
}

#if defined(__x86_64__)

enum { ADDS_NOTHING, ADDS_FLOAT32, ADDS_FLOAT64 };

/* Add the leaf of a tree, rounded as the library rounds. */
#define ADD_LEAF(t) { \
  const double value_ = f->interval_leaf[f->value_start[t] + reached[t]]; \
  if (adds == ADDS_FLOAT32) single += (float)value_; else sum += value_; }

#define CODES_1 _mm512_permutexvar_epi8(plane, c0)
#define CODES_2 _mm512_permutex2var_epi8(c0, plane, c1)
#define CODES_4 _mm512_mask_blend_epi8(_mm512_movepi8_mask(plane), CODES_2, _mm512_permutex2var_epi8(c2, plane, c3))

#define LANE_STEP(e, at, r, CODES) { \
  const __m512i plane = _mm512_load_si512(at), k = _mm512_load_si512((at) + 64), l = _mm512_load_si512((at) + 128); \
  __mmask64 right = _mm512_cmpgt_epu8_mask(CODES, k); \
  if (count) right |= right_by_sets(masks, count, ((at) - f->lanes) / LANE_BYTES); \
  e = _mm512_mask_mov_epi8(e, _mm512_mask_cmpge_epu8_mask(right, e, l), r); }

/* Leaves of all trees, one byte each. Two groups are interleaved, since a step depends on the one before. If every tree
   adds to the same sum, the leaves of the groups before are added in the meantime, in the order of the library: an
   addition depends on the one before as well, and waits for its leaf. */
#define LANES_OF(NAME, CODES) \
  AVX512_TARGET static inline __attribute__((always_inline)) double NAME(const Forest *f, const uint8_t *codes, \
      uint64_t *const *masks, const int32_t count, const int adds, double sum, uint8_t *reached) { \
    const __m512i c0 = _mm512_loadu_si512(codes), c1 = _mm512_loadu_si512(codes + 64), c2 = _mm512_loadu_si512(codes + 128), \
                  c3 = _mm512_loadu_si512(codes + 192), one = _mm512_set1_epi8(1); \
    (void)c1; (void)c2; (void)c3; \
    float single = (float)sum; \
    int64_t next = 0; \
    for (int64_t g = 0; g < f->groups; g += 2) { \
      const uint8_t *a = f->lanes + f->lane_start[g], *end = f->lanes + f->lane_start[g + 1], *b = end, *b_end; \
      const int64_t found = g * LANES < f->trees ? g * LANES : f->trees; \
      __m512i ea = _mm512_setzero_si512(), eb = ea, r = one; \
      b_end = g + 1 < f->groups ? f->lanes + f->lane_start[g + 2] : b; \
      for (; a < end && b < b_end; a += LANE_BYTES, b += LANE_BYTES) { \
        LANE_STEP(ea, a, r, CODES) \
        LANE_STEP(eb, b, r, CODES) \
        r = _mm512_add_epi8(r, one); \
        if (adds && next + 2 <= found) { ADD_LEAF(next) ADD_LEAF(next + 1) next += 2; } \
      } \
      for (; a < end; a += LANE_BYTES, r = _mm512_add_epi8(r, one)) LANE_STEP(ea, a, r, CODES) \
      for (; b < b_end; b += LANE_BYTES, r = _mm512_add_epi8(r, one)) LANE_STEP(eb, b, r, CODES) \
      _mm512_storeu_si512(reached + g * LANES, ea); \
      _mm512_storeu_si512(reached + (g + 1) * LANES, eb); \
    } \
    for (; adds && next < f->trees; next++) ADD_LEAF(next) \
    return adds == ADDS_FLOAT32 ? (double)single : sum; \
  }

LANES_OF(lanes_of_64_planes, CODES_1)
LANES_OF(lanes_of_128_planes, CODES_2)
LANES_OF(lanes_of_256_planes, CODES_4)

/* The same with AVX2, for at most 64 planes and no sets: 32 trees in a register. A look-up reads four bits of a plane; the
   others, shifted to the sign of a byte, select its table. */
AVX2_TARGET static inline __m256i among_32(const __m256i *codes, __m256i plane) {
  return _mm256_blendv_epi8(_mm256_shuffle_epi8(codes[0], plane), _mm256_shuffle_epi8(codes[1], plane), _mm256_slli_epi16(plane, 3));
}

AVX2_TARGET static inline __m256i among_64(const __m256i *codes, __m256i plane) {
  return _mm256_blendv_epi8(among_32(codes, plane), among_32(codes + 2, plane), _mm256_slli_epi16(plane, 2));
}

#define LOAD_32(p) _mm256_load_si256((const __m256i *)(p))
#define NARROW_LANE_STEP(e, at, r, CODES) { \
  const __m256i k = LOAD_32((at) + 64), stays = _mm256_cmpeq_epi8(_mm256_max_epu8(CODES(codes, LOAD_32(at)), k), k); \
  const __m256i on_path = _mm256_cmpeq_epi8(_mm256_max_epu8(e, LOAD_32((at) + 128)), e); \
  e = _mm256_blendv_epi8(e, r, _mm256_andnot_si256(stays, on_path)); }

#define NARROW_LANES_OF(NAME, CODES) \
  AVX2_TARGET static inline __attribute__((always_inline)) double NAME(const Forest *f, const uint8_t *bytes, \
      const int adds, double sum, uint8_t *reached) { \
    const __m256i one = _mm256_set1_epi8(1); \
    __m256i codes[4]; \
    for (int i = 0; i < 4; i++) codes[i] = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(bytes + 16 * i))); \
    float single = (float)sum; \
    int64_t next = 0; \
    for (int64_t g = 0; g < f->groups; g++) { \
      const uint8_t *end = f->lanes + f->lane_start[g + 1]; \
      __m256i a = _mm256_setzero_si256(), b = a, r = one; \
      for (const uint8_t *at = f->lanes + f->lane_start[g]; at < end; at += LANE_BYTES, r = _mm256_add_epi8(r, one)) { \
        NARROW_LANE_STEP(a, at, r, CODES) \
        NARROW_LANE_STEP(b, at + 32, r, CODES) \
        if (adds && next + 2 <= g * LANES) { ADD_LEAF(next) ADD_LEAF(next + 1) next += 2; } \
      } \
      _mm256_storeu_si256((__m256i *)(reached + g * LANES), a); \
      _mm256_storeu_si256((__m256i *)(reached + g * LANES + 32), b); \
    } \
    for (; adds && next < f->trees; next++) ADD_LEAF(next) \
    return adds == ADDS_FLOAT32 ? (double)single : sum; \
  }

NARROW_LANES_OF(lanes_of_32_planes_avx2, among_32)
NARROW_LANES_OF(lanes_of_64_planes_avx2, among_64)

#elif defined(__aarch64__)

/* Tables of 64 codes; an index outside one leaves the byte as it is. */
#define CODES_1(plane) vqtbl4q_u8(c0, plane)
#define CODES_2(plane) vqtbx4q_u8(CODES_1(plane), c1, vsubq_u8(plane, vdupq_n_u8(64)))
#define CODES_4(plane) \
  vqtbx4q_u8(vqtbx4q_u8(CODES_2(plane), c2, vsubq_u8(plane, vdupq_n_u8(128))), c3, vsubq_u8(plane, vdupq_n_u8(192)))

/* Four registers of 16 trees do not wait for one another. */
#define LANES_OF(NAME, CODES) \
  static void NAME(const Forest *f, const uint8_t *codes, uint64_t *const *masks, int32_t count, uint8_t *reached) { \
    const uint8x16x4_t c0 = vld1q_u8_x4(codes), c1 = vld1q_u8_x4(codes + 64), c2 = vld1q_u8_x4(codes + 128), \
                       c3 = vld1q_u8_x4(codes + 192); \
    const uint8x16_t powers = vreinterpretq_u8_u64(vdupq_n_u64(0x8040201008040201u)), one = vdupq_n_u8(1); \
    (void)c1; (void)c2; (void)c3; \
    for (int64_t g = 0; g < f->groups; g++) { \
      uint8x16_t e[4] = {vdupq_n_u8(0), vdupq_n_u8(0), vdupq_n_u8(0), vdupq_n_u8(0)}, r = one; \
      const uint8_t *end = f->lanes + f->lane_start[g + 1]; \
      for (const uint8_t *at = f->lanes + f->lane_start[g]; at < end; at += LANE_BYTES, r = vaddq_u8(r, one)) { \
        uint64_t by_set = count ? right_by_sets(masks, count, (at - f->lanes) / LANE_BYTES) : 0; \
        _Pragma("GCC unroll 4") for (int v = 0; v < 4; v++, by_set >>= 16) { \
          const uint8_t *step = at + 16 * v; \
          const uint8x16_t plane = vld1q_u8(step); \
          uint8x16_t right = vcgtq_u8(CODES(plane), vld1q_u8(step + LANES)); \
          if (count) right = vorrq_u8(right, vtstq_u8(vcombine_u8(vdup_n_u8((uint8_t)by_set), vdup_n_u8((uint8_t)(by_set >> 8))), powers)); \
          e[v] = vbslq_u8(vandq_u8(right, vcgeq_u8(e[v], vld1q_u8(step + 2 * LANES))), r, e[v]); \
        } \
      } \
      _Pragma("GCC unroll 4") for (int v = 0; v < 4; v++) vst1q_u8(reached + g * LANES + 16 * v, e[v]); \
    } \
  }

LANES_OF(lanes_of_64_planes, CODES_1)
LANES_OF(lanes_of_128_planes, CODES_2)
LANES_OF(lanes_of_256_planes, CODES_4)

#endif
#endif
