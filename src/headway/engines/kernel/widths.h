/* The interval form at each width: 16 bytes anywhere and with NEON, 32 with AVX2, 64 with AVX-512. */
#ifndef HEADWAY_WIDTHS_H
#define HEADWAY_WIDTHS_H

#include "forest.h"

#define SET_PLANE (1u << 31)

typedef uint8_t Bytes16 __attribute__((vector_size(16)));
typedef uint32_t Words16 __attribute__((vector_size(16)));

static inline uint8_t in_byte_set(const uint8_t *set, uint8_t code) { return (set[code >> 3] >> (code & 7)) & 1; }

#define NAME(n) portable_##n
#define WIDTH 16
#define TARGET
#define BYTES Bytes16
#define NOTHING (Bytes16){0}
#define SPLAT(word) ((Bytes16)((Words16){0} + (word)))
#define LOAD(p) ({ Bytes16 loaded_; memcpy(&loaded_, (p), 16); loaded_; })
#define STORE(p, value) { const Bytes16 stored_ = (value); memcpy((p), &stored_, 16); }
#define MOVED(e, right, l, r) ({ const Bytes16 moves_ = (right) & (Bytes16)((e) == (l)); ((e) & ~moves_) | ((r) & moves_); })
#define ASK(e, x, k, l, r) MOVED(e, (Bytes16)((x) > (k)), l, r)
#define SET_TABLES(at) const uint8_t *set = (at);
#define ASK_SET(e, x, l, r) ({ const Bytes16 codes_ = (x); Bytes16 right_; \
  for (int b_ = 0; b_ < 16; b_++) right_[b_] = in_byte_set(set, codes_[b_]) ? 0 : 255; \
  MOVED(e, right_, l, r); })
#include "interval.h"
#undef NAME
#undef WIDTH
#undef TARGET
#undef BYTES
#undef NOTHING
#undef SPLAT
#undef LOAD
#undef STORE
#undef ASK
#undef SET_TABLES
#undef ASK_SET

#if defined(__x86_64__)
#include <immintrin.h>
#define AVX2_TARGET __attribute__((target("avx2,popcnt")))
#define NAME(n) avx2_##n
#define WIDTH 32
#define TARGET AVX2_TARGET
#define BYTES __m256i
#define NOTHING _mm256_setzero_si256()
#define SPLAT(word) _mm256_set1_epi32((int)(word))
#define LOAD(p) _mm256_loadu_si256((const __m256i *)(p))
#define STORE(p, value) _mm256_storeu_si256((__m256i *)(p), (value))
#define STAYS(e, left, l, r) _mm256_blendv_epi8(e, r, _mm256_andnot_si256(left, _mm256_cmpeq_epi8(e, l)))
#define ASK(e, x, k, l, r) STAYS(e, _mm256_cmpeq_epi8(_mm256_min_epu8(x, k), x), l, r)
#define SET_TABLES(at) \
  const __m256i low = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(at))); \
  const __m256i high = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)((at) + 16))); \
  const __m256i powers = _mm256_set1_epi64x((long long)0x8040201008040201u), seven = _mm256_set1_epi8(7), \
                five_bits = _mm256_set1_epi8(31);
#define ASK_SET(e, x, l, r) ({ const __m256i codes_ = (x); \
  const __m256i place_ = _mm256_and_si256(_mm256_srli_epi16(codes_, 3), five_bits); \
  const __m256i byte_ = _mm256_blendv_epi8(_mm256_shuffle_epi8(low, place_), \
    _mm256_shuffle_epi8(high, place_), _mm256_slli_epi16(place_, 3)); \
  const __m256i bit_ = _mm256_shuffle_epi8(powers, _mm256_and_si256(codes_, seven)); \
  STAYS(e, _mm256_cmpeq_epi8(_mm256_and_si256(byte_, bit_), bit_), l, r); })
#include "interval.h"
#undef NAME
#undef WIDTH
#undef TARGET
#undef BYTES
#undef NOTHING
#undef SPLAT
#undef LOAD
#undef STORE
#undef ASK
#undef SET_TABLES
#undef ASK_SET

#define AVX512_TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi")))
#define NAME(n) avx512_##n
#define WIDTH 64
#define TARGET AVX512_TARGET
#define BYTES __m512i
#define NOTHING _mm512_setzero_si512()
#define SPLAT(word) _mm512_set1_epi32((int)(word))
#define LOAD(p) _mm512_loadu_si512(p)
#define STORE(p, value) _mm512_storeu_si512((p), (value))
#define ASK(e, x, k, l, r) \
  _mm512_mask_mov_epi8(e, _mm512_mask_cmpeq_epi8_mask(_mm512_cmpgt_epu8_mask(x, k), e, l), r)
#define SET_TABLES(at) \
  const __m512i bits = _mm512_broadcast_i64x4(_mm256_loadu_si256((const __m256i *)(at))); \
  const __m512i powers = _mm512_set1_epi64((long long)0x8040201008040201u), seven = _mm512_set1_epi8(7);
#define ASK_SET(e, x, l, r) ({ const __m512i codes_ = (x); \
  const __m512i byte_ = _mm512_permutexvar_epi8(_mm512_and_si512(_mm512_srli_epi16(codes_, 3), _mm512_set1_epi8(31)), bits); \
  const __m512i bit_ = _mm512_shuffle_epi8(powers, _mm512_and_si512(codes_, seven)); \
  _mm512_mask_mov_epi8(e, _mm512_mask_cmpeq_epi8_mask(_mm512_testn_epi8_mask(byte_, bit_), e, l), r); })
#include "interval.h"

#elif defined(__aarch64__)
#include <arm_neon.h>
#define NAME(n) neon_##n
#define WIDTH 16
#define TARGET
#define BYTES uint8x16_t
#define NOTHING vdupq_n_u8(0)
#define SPLAT(word) vreinterpretq_u8_u32(vdupq_n_u32(word))
#define LOAD(p) vld1q_u8(p)
#define STORE(p, value) vst1q_u8((p), (value))
#define ASK(e, x, k, l, r) vbslq_u8(vandq_u8(vcgtq_u8(x, k), vceqq_u8(e, l)), r, e)
#define SET_TABLES(at) \
  const uint8x16x2_t set = vld1q_u8_x2(at); \
  const uint8x16_t powers = vreinterpretq_u8_u64(vdupq_n_u64(0x8040201008040201u)), seven = vdupq_n_u8(7);
#define ASK_SET(e, x, l, r) ({ const uint8x16_t codes_ = (x); \
  const uint8x16_t left_ = vtstq_u8(vqtbl2q_u8(set, vshrq_n_u8(codes_, 3)), vqtbl1q_u8(powers, vandq_u8(codes_, seven))); \
  vbslq_u8(vbicq_u8(vceqq_u8(e, l), left_), r, e); })
#include "interval.h"
#endif

#endif
