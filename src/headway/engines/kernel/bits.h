/* The interval form for many rows with AVX-512: a bit for each. First all distinct tests of the forest are evaluated, each once:
   the rows that go right. Then, of each tree, the rows with leaf r or a later one are computed for each r. A node with the
   leaves [l, end), whose right subtree begins with r, has those of `end`, and those of l that go right: one instruction for
   256 rows. The number of a row's leaf is how many of these sets have it, so the bits of the numbers are sums without carry:
   the lowest is the parity of all sets, the next that of every second, and so on. */
#ifndef HEADWAY_BITS_H
#define HEADWAY_BITS_H

#include "sums.h"

#if defined(__x86_64__)

/* Evaluate all tests for the rows of planes P [plane][BLOCK]: `rights` [test][SET_BYTES] receives the rows that go right. */
AVX512_TARGET static void test_rows(const Forest *f, const uint8_t *P, uint8_t *rights) {
  for (int64_t i = 0; i < f->tests; i++, rights += SET_BYTES) {
    const uint8_t *x = P + f->test[i].plane;
    const __m512i k = _mm512_set1_epi32((int)f->test[i].k4);
    _Pragma("GCC unroll 4") for (int v = 0; v < SET_BYTES / 8; v++) {
      const uint64_t right = _mm512_cmpgt_epu8_mask(_mm512_load_si512(x + 64 * v), k);
      memcpy(rights + 8 * v, &right, 8);
    }
  }
}

/* The leaves of 256 rows from the sets of a tree: `at_least` [leaf][SET_BYTES] -> reached [BLOCK]. */
#define NUMBER_LEAVES(NAME, BITS) \
  AVX512_TARGET static void NAME(const uint8_t *at_least, uint8_t *reached) { \
    __m256i bit = _mm256_load_si256((const __m256i *)(at_least + ((1 << (BITS)) / 2) * SET_BYTES)); \
    uint64_t bits[BITS][SET_BYTES / 8]; \
    memcpy(bits[(BITS) - 1], &bit, SET_BYTES); \
    _Pragma("GCC unroll 8") for (int b = (BITS) - 2; b >= 0; b--) { \
      _Pragma("GCC unroll 64") for (int r = 1 << b; r < 1 << (BITS); r += 4 << b) { \
        const __m256i one = _mm256_load_si256((const __m256i *)(at_least + r * SET_BYTES)); \
        bit = _mm256_ternarylogic_epi64(bit, one, _mm256_load_si256((const __m256i *)(at_least + (r + (2 << b)) * SET_BYTES)), 0x96); /* a ^ b ^ c */ \
      } \
      memcpy(bits[b], &bit, SET_BYTES); \
    } \
    _Pragma("GCC unroll 4") for (int v = 0; v < SET_BYTES / 8; v++) { \
      __m512i e = _mm512_setzero_si512(); \
      _Pragma("GCC unroll 8") for (int b = 0; b < (BITS); b++) e = _mm512_mask_add_epi8(e, bits[b][v], e, _mm512_set1_epi8((char)(1u << b))); \
      _mm512_store_si512(reached + 64 * v, e); \
    } \
  }

NUMBER_LEAVES(number_32_leaves, 5)
NUMBER_LEAVES(number_64_leaves, 6)
NUMBER_LEAVES(number_128_leaves, 7)
NUMBER_LEAVES(number_256_leaves, 8)

/* How many sets of a tree are read. */
static inline int64_t number_width(int64_t leaves) { return leaves <= 32 ? 32 : leaves <= 64 ? 64 : leaves <= 128 ? 128 : 256; }

/* The sums of `chain_block`; `rights` is room for [test][SET_BYTES]. */
AVX512_TARGET static void bit_block(const Forest *f, const uint8_t *P, uint8_t *rights, int64_t n, double *sums) {
  uint8_t at_least[BIT_TREES * BIT_LEAVES * SET_BYTES] __attribute__((aligned(64))), reached[BLOCK] __attribute__((aligned(64)));
  const BitNode *node = f->bit_nodes;
  test_rows(f, P, rights);
  for (int64_t i = 0; i < BIT_TREES; i++) memset(at_least + i * BIT_LEAVES * SET_BYTES, 255, SET_BYTES);
  for (int64_t t = 0; t < f->trees; t += BIT_TREES) {
    const int64_t last = t + BIT_TREES < f->trees ? t + BIT_TREES : f->trees;
    const BitNode *end = f->bit_nodes + f->tree_start[last];
    for (int64_t i = t; i < last; i++) {
      uint8_t *own = at_least + (i - t) * BIT_LEAVES * SET_BYTES;
      const int64_t leaves = f->tree_start[i + 1] - f->tree_start[i] + 1;
      memset(own + leaves * SET_BYTES, 0, (size_t)(number_width(leaves) + 1 - leaves) * SET_BYTES);
    }
    _Pragma("GCC unroll 4") for (; node < end; node++) {
      uint64_t most; /* of the node, in one load: loads are what limits this loop */
      memcpy(&most, node, 8);
      const __m256i beyond = _mm256_load_si256((const __m256i *)(at_least + node->end)), here = _mm256_load_si256((const __m256i *)(at_least + (uint16_t)(most >> 32)));
      const __m256i right = _mm256_load_si256((const __m256i *)(rights + (uint32_t)most));
      _mm256_store_si256((__m256i *)(at_least + (most >> 48)), _mm256_ternarylogic_epi64(beyond, here, right, 0xf8)); /* a | b & c */
    }
    for (int64_t i = t; i < last; i++) {
      const uint8_t *own = at_least + (i - t) * BIT_LEAVES * SET_BYTES;
      const int64_t width = number_width(f->tree_start[i + 1] - f->tree_start[i] + 1);
      (width == 32 ? number_32_leaves : width == 64 ? number_64_leaves : width == 128 ? number_128_leaves : number_256_leaves)(own, reached);
      add_tree_planes(f, i, reached, n, sums);
    }
  }
}

#endif
#endif
