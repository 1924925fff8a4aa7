/* Symmetric trees of a CatBoost model with categories. They read planes, a byte of each row: the value of a computed column,
   or the number of borders below a number. A row finds its leaf by comparing a byte at each depth. */
#ifndef HEADWAY_SYMMETRIC_H
#define HEADWAY_SYMMETRIC_H

#include "categories.h"
#include "lanes.h"
#include "sums.h"

#define MOST_DEPTH 8
#define SYMMETRIC_BLOCK 16          /* from so many rows on, a block is faster than row by row */
#define MOST_PARTS 8
#define MOST_INDICES (1 << 16)      /* of a combination whose bytes ranks index directly */
#define MOST_BYTES (1 << 20)        /* of all of them, which should stay in the caches of a core */
#define SPLIT_BYTES (4 * LANES)     /* of a split of 64 trees: plane, flip, bound, and a bit for each tree that has it */

/* Rows, in arrays of `stride` rows: the rank of each category, a part of its hash, a bit for each test, and the planes. A row
   is `unlisted` if it has a string that is not listed. `hashes` are those of the combinations of one row, `sums` [output][BLOCK]. */
typedef struct {
  int64_t n, stride;
  const double *x;
  double *sums;
  uint64_t *part, *hashes;
  uint32_t *hash, *rank;            /* hash: [row][column] */
  uint8_t *test, *codes, *unlisted;
} Rows;

static inline int64_t listed_count(const Categories *k, int64_t c) { return k->rank_start[c + 1] - k->rank_start[c]; }

/* Read the categories of a row with their hashes; return 0 if one is neither a rank nor an integer. */
static int hash_categories(const Categories *k, const Rows *b, int64_t r) {
  b->unlisted[r] = 0;
  for (int64_t c = 0; c < k->columns; c++) {
    const double v = b->x[r * k->width + k->column[c]], listed = (double)listed_count(k, c);
    uint32_t *hash = b->hash + r * k->columns + c;
    if (!category_hash(k, c, v, hash)) return 0;
    b->part[c * b->stride + r] = category_part(*hash);
    const int is_unlisted = k->is_ranked[c] && v >= listed;
    b->unlisted[r] |= (uint8_t)is_unlisted;
    b->rank[c * b->stride + r] = !k->is_ranked[c] || is_unlisted ? 0 : (uint32_t)(v != v ? listed : v); /* missing is the last */
  }
  return 1;
}

/* Read the categories of rows; those of a row of listed ones are hashed only if a combination or test reads their hashes. */
static int read_categories(const Categories *k, const Rows *b) {
  for (int64_t r = 0; r < b->n; r++) {
    const double *x = b->x + r * k->width;
    int ranks = !k->reads_hashes;
    for (int64_t c = 0; ranks && c < k->columns; c++) {
      const double v = x[k->column[c]];
      const int is_rank = k->is_ranked[c] && v >= 0 && v < (double)listed_count(k, c);
      const uint32_t rank = is_rank ? (uint32_t)v : 0;
      ranks = is_rank && v == (double)rank;
      b->rank[c * b->stride + r] = rank;
    }
    b->unlisted[r] = 0;
    if (!ranks && !hash_categories(k, b, r)) return 0;
  }
  return 1;
}

/* The bytes of n numbers in a plane: how many of its borders are below each. */
#define PLANE_BYTES(NAME, TARGET, PLANE_BYTE) \
  TARGET static inline void NAME(const Categories *k, int64_t p, const float *v, int64_t n, uint8_t *codes) { \
    for (int64_t r = 0; r < n; r++) codes[r] = PLANE_BYTE(k, p, v[r]); \
  }

static inline uint8_t plane_byte(const Categories *k, int64_t p, float v) {
  const float *border = k->plane_border + k->plane_start[p];
  if (v != v) return k->plane_missing[p];
  int64_t n = k->plane_start[p + 1] - k->plane_start[p], at = 0;
  while (n > 1) {
    const int64_t half = n >> 1;
    at += border[at + half - 1] < v ? half : 0;
    n -= half;
  }
  return (uint8_t)(at + (n && border[at] < v));
}

PLANE_BYTES(plane_bytes, , plane_byte)

#if defined(__x86_64__)
PLANE_BYTES(plane_bytes_avx2, __attribute__((target("avx2"))), plane_byte)

/* The same: sixteen comparisons find the run of a number, and sixteen more its place there. */
AVX512_TARGET static inline uint8_t plane_byte_avx512(const Categories *k, int64_t p, float v) {
  const float *border = k->search + p * (SEARCHED + RUN);
  const __m512 all = _mm512_set1_ps(v);
  const int run = __builtin_popcount(_mm512_cmp_ps_mask(_mm512_load_ps(border + SEARCHED), all, _CMP_LT_OQ));
  const int place = __builtin_popcount(_mm512_cmp_ps_mask(_mm512_load_ps(border + RUN * run), all, _CMP_LT_OQ));
  return v != v ? k->plane_missing[p] : (uint8_t)(RUN * run + place);
}

/* The same for many numbers, sixteen at a time: a binary search among the borders in two registers, or among the last of
   all runs, and then in memory. `v` and `codes` can be read and written up to the next multiple of sixteen. */
AVX512_TARGET static inline void plane_bytes_avx512(const Categories *k, int64_t p, const float *v, int64_t n, uint8_t *codes) {
  const float *border = k->search + p * (SEARCHED + RUN);
  const int64_t borders = k->plane_start[p + 1] - k->plane_start[p];
  const int in_registers = borders < 2 * RUN;
  const __m512 low = _mm512_load_ps(in_registers ? border : border + SEARCHED), high = _mm512_load_ps(border + RUN);
  if (n == 1) { codes[0] = plane_byte_avx512(k, p, v[0]); return; }
  for (int64_t r = 0; r < n; r += RUN) {
    const __m512 x = _mm512_loadu_ps(v + r);
    __m512i at = _mm512_setzero_si512();
    for (int s = in_registers ? RUN : RUN / 2; s; s >>= 1) {
      const __m512 t = _mm512_permutex2var_ps(low, _mm512_add_epi32(at, _mm512_set1_epi32(s - 1)), high);
      at = _mm512_mask_add_epi32(at, _mm512_cmp_ps_mask(t, x, _CMP_LT_OQ), at, _mm512_set1_epi32(s));
    }
    if (!in_registers) {
      at = _mm512_slli_epi32(at, 4);
      _Pragma("GCC unroll 4") for (int s = RUN / 2; s; s >>= 1) {
        const __m512 t = _mm512_i32gather_ps(_mm512_add_epi32(at, _mm512_set1_epi32(s - 1)), border, 4);
        at = _mm512_mask_add_epi32(at, _mm512_cmp_ps_mask(t, x, _CMP_LT_OQ), at, _mm512_set1_epi32(s));
      }
    }
    at = _mm512_mask_mov_epi32(at, _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q), _mm512_set1_epi32(k->plane_missing[p]));
    _mm_storeu_si128((__m128i *)(codes + r), _mm512_cvtepi32_epi8(at));
  }
}
#endif

/* Tests, and planes of numbers. A column is converted to float32, which the library compares, once for what reads it next. */
#define READ_NUMBERS(PLANE_BYTES_OF) { \
  float v[BLOCK]; \
  int64_t column = -1; /* of v */ \
  v[0] = 0; \
  for (int64_t t = 0; t < k->tests; t++) { \
    uint8_t *test = b->test + t * stride; \
    const int kind = k->test_kind[t]; \
    const float border = (float)k->test_value[t]; \
    if (kind == TEST_EQUAL) { for (int64_t r = 0; r < n; r++) test[r] = holds(k, t, b->x, b->hash + r * k->columns); continue; } \
    if (k->test_column[t] != column) { column = k->test_column[t]; for (int64_t r = 0; r < n; r++) v[r] = (float)b->x[r * k->width + column]; } \
    if (kind == TEST_ABOVE) for (int64_t r = 0; r < n; r++) test[r] = v[r] > border; \
    else for (int64_t r = 0; r < n; r++) test[r] = !(v[r] <= border); \
  } \
  for (int64_t p = 0; p < k->number_planes; p++) { \
    if (k->plane_column[p] >= k->width) continue; \
    if (k->plane_column[p] != column) { column = k->plane_column[p]; for (int64_t r = 0; r < n; r++) v[r] = (float)b->x[r * k->width + column]; } \
    PLANE_BYTES_OF(k, p, v, n, b->codes + p * stride); \
  } }

/* The planes of a combination whose bytes the ranks and tests of rows index. */
static inline __attribute__((always_inline)) void read_table(const Categories *k, const Rows *b, const Direct *d, int64_t n, int64_t stride) {
  const uint8_t *bytes = k->bytes + d->bytes;
  const int32_t *part = k->part + d->part, *tests = k->test + d->test, *out = k->out_plane + d->out;
  const uint32_t *rank = b->rank + part[0] * stride;
  uint32_t at[BLOCK];
  for (int64_t r = 0; r < n; r++) at[r] = rank[r];
  for (int64_t i = 1; i < d->parts; i++) {
    const uint32_t size = (uint32_t)listed_count(k, part[i]) + 1, *next = b->rank + part[i] * stride;
    for (int64_t r = 0; r < n; r++) at[r] = at[r] * size + next[r];
  }
  for (int64_t i = 0; i < d->tests; i++) {
    const uint8_t *test = b->test + tests[i] * stride;
    for (int64_t r = 0; r < n; r++) at[r] = 2 * at[r] + test[r];
  }
  for (int64_t i = 0; i < d->outs; i++, bytes += d->size) {
    uint8_t *codes = b->codes + out[i] * stride;
    for (int64_t r = 0; r < n; r++) codes[r] = bytes[at[r]];
  }
}

static inline __attribute__((always_inline)) void read_direct(const Categories *k, const Rows *b, int64_t n, int64_t stride) {
  for (const Direct *d = k->tables, *end = d + k->direct_count; d < end; d++) read_table(k, b, d, n, stride);
}

#if defined(__x86_64__)
/* The same: the indices of 64 rows are bytes, which select among at most 256 bytes in registers. */
AVX512_TARGET static inline void read_small_table(const Categories *k, const Rows *b, const Direct *d, int64_t n) {
  const uint8_t *bytes = k->bytes + d->bytes;
  const int32_t *part = k->part + d->part, *tests = k->test + d->test, *out = k->out_plane + d->out;
  const __m512i low_bytes = _mm512_set1_epi16(255);
  for (int64_t r = 0; r < n; r += 64) {
    __m512i at = _mm512_setzero_si512();
    for (int64_t i = 0; i < d->parts; i++) {
      const uint32_t *rank = b->rank + part[i] * BLOCK + r;
      const __m512i size = _mm512_set1_epi16((short)(listed_count(k, part[i]) + 1));
      const __m512i even = _mm512_mullo_epi16(_mm512_and_si512(at, low_bytes), size), odd = _mm512_mullo_epi16(_mm512_srli_epi16(at, 8), size);
      uint8_t next[64] __attribute__((aligned(64)));
      _Pragma("GCC unroll 4") for (int q = 0; q < 64; q += 16) _mm_store_si128((__m128i *)(next + q), _mm512_cvtepi32_epi8(_mm512_loadu_si512(rank + q)));
      at = i ? _mm512_or_si512(_mm512_and_si512(even, low_bytes), _mm512_slli_epi16(odd, 8)) : at;
      at = _mm512_add_epi8(at, _mm512_load_si512(next));
    }
    for (int64_t i = 0; i < d->tests; i++) at = _mm512_add_epi8(_mm512_add_epi8(at, at), _mm512_loadu_si512(b->test + tests[i] * BLOCK + r));
    for (int64_t i = 0; i < d->outs; i++) {
      const uint8_t *t = bytes + i * d->size;
      const __m512i t0 = _mm512_loadu_si512(t), t1 = _mm512_loadu_si512(t + 64);
      __m512i found = d->size <= 64 ? _mm512_permutexvar_epi8(at, t0) : _mm512_permutex2var_epi8(t0, at, t1);
      if (d->size > 128) found = _mm512_mask_blend_epi8(_mm512_movepi8_mask(at), found, _mm512_permutex2var_epi8(_mm512_loadu_si512(t + 128), at, _mm512_loadu_si512(t + 192)));
      _mm512_storeu_si512(b->codes + out[i] * BLOCK + r, found);
    }
  }
}

AVX512_TARGET static inline __attribute__((always_inline)) void read_direct_avx512(const Categories *k, const Rows *b, int64_t n, int64_t stride) {
  for (const Direct *d = k->tables, *end = d + k->direct_count; d < end; d++) {
    if (stride == BLOCK && d->size <= 256) read_small_table(k, b, d, n);
    else read_table(k, b, d, n, stride);
  }
}
#endif

static inline uint64_t hash_combination(const Categories *k, const Rows *b, int64_t p, int64_t r, int64_t stride) {
  uint64_t hash = 0;
  for (int64_t i = k->part_start[p]; i < k->part_start[p + 1]; i++) hash = added_part(hash, b->part[k->part[i] * stride + r]);
  for (int64_t i = k->test_start[p]; i < k->test_start[p + 1]; i++) hash = added_part(hash, (BY * BY) & (0 - (uint64_t)b->test[k->test[i] * stride + r]));
  return hash;
}

/* The planes of other combinations for row r, from their hash tables. */
#define READ_HASHED(NAME, TARGET, LOOKUP) \
  TARGET static void NAME(const Categories *k, const Rows *b, const int64_t *list, int64_t count, int64_t r, int64_t stride) { \
    for (int64_t h = 0; h < count; h++) { \
      const Table table = table_of(k, list[h]); \
      b->hashes[h] = hash_combination(k, b, list[h], r, stride); \
      __builtin_prefetch(line_of(&table, b->hashes[h])); \
    } \
    for (int64_t h = 0; h < count; h++) { \
      const int64_t p = list[h]; \
      const Table table = table_of(k, p); \
      uint64_t bytes = LOOKUP(&table, b->hashes[h]); \
      for (int64_t i = k->out_start[p]; i < k->out_start[p + 1]; i++, bytes >>= 8) b->codes[k->out_plane[i] * stride + r] = (uint8_t)bytes; \
    } \
  }

/* All planes of rows. */
#define READ_ROWS(NAME, TARGET, READ_HASHED_ROW, PLANE_BYTES_OF, READ_DIRECT) \
  TARGET static inline __attribute__((always_inline)) void NAME(const Categories *k, const Rows *b, int64_t n, int64_t stride) { \
    READ_NUMBERS(PLANE_BYTES_OF) \
    READ_DIRECT(k, b, n, stride); \
    for (int64_t r = 0; r < n; r++) { \
      if (k->hashed_count) READ_HASHED_ROW(k, b, k->hashed, k->hashed_count, r, stride); \
      if (b->unlisted[r]) READ_HASHED_ROW(k, b, k->direct, k->direct_count, r, stride); \
    } \
  }

READ_HASHED(read_hashed, , bytes_of)
READ_ROWS(read_rows, , read_hashed, plane_bytes, read_direct)
#if defined(__x86_64__)
READ_ROWS(read_rows_avx2, __attribute__((target("avx2"))), read_hashed, plane_bytes_avx2, read_direct)
READ_HASHED(read_hashed_avx512, AVX512_TARGET, bytes_of_avx512)
READ_ROWS(read_rows_avx512, AVX512_TARGET, read_hashed_avx512, plane_bytes_avx512, read_direct_avx512)
#endif

#define PASSES(d) (uint32_t)((uint8_t)(codes[split[d] >> 16] ^ split[d] >> 8) >= (uint8_t)split[d]) << (d)

/* The leaf of a row in a symmetric tree; most have CatBoost's own depth, 6. */
static inline uint32_t symmetric_leaf(const uint8_t *codes, const uint32_t *split, int64_t depth) {
  if (depth == 6) return PASSES(0) | PASSES(1) | PASSES(2) | PASSES(3) | PASSES(4) | PASSES(5);
  uint32_t leaf = 0;
  for (int64_t d = 0; d < depth; d++) leaf |= PASSES(d);
  return leaf;
}

/* Sums of one row. */
static void symmetric_row(const Categories *k, const Rows *b, int64_t outputs, double *sums) {
  const double *leaf = k->leaf;
  const int64_t *start = k->tree_start;
  double sum = 0;
  read_rows(k, b, 1, 1);
  for (int64_t t = 0; outputs == 1 && t < k->trees; t++) {
    const int64_t depth = start[t + 1] - start[t];
    sum += leaf[symmetric_leaf(b->codes, k->split + start[t], depth)];
    leaf += (int64_t)1 << depth;
  }
  sums[0] = sum;
  for (int64_t o = 1; o < outputs; o++) sums[o] = 0;
  for (int64_t t = 0; outputs > 1 && t < k->trees; t++) {
    const double *values = leaf + k->leaf_start[t] + symmetric_leaf(b->codes, k->split + start[t], start[t + 1] - start[t]) * outputs;
    for (int64_t o = 0; o < outputs; o++) sums[o] += values[o];
  }
  for (int64_t o = 0; o < outputs; o++) sums[o] += k->bias[o];
}

/* Sums of at most BLOCK rows, tree by tree. */
#define SYMMETRIC_BLOCK_OF(NAME, TARGET, READ) \
  TARGET static void NAME(const Categories *k, const Rows *b, int64_t outputs, double *sums) { \
    const int64_t n = b->n, whole = (n + 63) / 64 * 64; \
    READ(k, b, n, BLOCK); \
    for (int64_t i = 0; i < n * outputs; i++) sums[i] = 0; \
    for (int64_t t = 0; t < k->trees; t++) { \
      const double *leaf = k->leaf + k->leaf_start[t]; \
      const int64_t first = k->tree_start[t], depth = k->tree_start[t + 1] - first; \
      uint8_t at[BLOCK] __attribute__((aligned(64))) = {0}; \
      for (int64_t d = 0; d < depth; d++) { \
        const uint32_t split = k->split[first + d]; \
        const uint8_t *codes = b->codes + (int64_t)(split >> 16) * BLOCK, flip = (uint8_t)(split >> 8), bound = (uint8_t)split; \
        const uint8_t bit = (uint8_t)(1u << d); \
        for (int64_t w = 0; w < whole; w += 64) \
          for (int64_t r = w; r < w + 64; r++) at[r] |= (uint8_t)(codes[r] ^ flip) >= bound ? bit : 0; \
      } \
      if (outputs == 1) for (int64_t r = 0; r < n; r++) sums[r] += leaf[at[r]]; \
      else for (int64_t r = 0; r < n; r++) for (int64_t o = 0; o < outputs; o++) sums[r * outputs + o] += leaf[at[r] * outputs + o]; \
    } \
    for (int64_t i = 0; i < n * outputs; i++) sums[i] += k->bias[i % outputs]; \
  }

SYMMETRIC_BLOCK_OF(symmetric_block, , read_rows)
#if defined(__x86_64__)
SYMMETRIC_BLOCK_OF(symmetric_block_avx2, __attribute__((target("avx2"))), read_rows_avx2)

/* Sums of one row: the splits of 64 trees are compared together, as `lanes.h` walks others, and their values added while
   those of the next trees are. */
#define SYMMETRIC_LANES(NAME, CODES) \
  AVX512_TARGET static void NAME(const Categories *k, const uint8_t *codes, int64_t outputs, double *sums) { \
    const __m512i c0 = _mm512_loadu_si512(codes), c1 = _mm512_loadu_si512(codes + 64), c2 = _mm512_loadu_si512(codes + 128), \
                  c3 = _mm512_loadu_si512(codes + 192); \
    const uint8_t *at = k->lanes; \
    double sum = 0; \
    (void)c1; (void)c2; (void)c3; \
    for (int64_t o = 1; o < outputs; o++) sums[o] = 0; \
    for (int64_t t = 0, g = 0; t < k->trees; g++) { \
      uint8_t reached[LANES] __attribute__((aligned(64))); \
      const int64_t end = t + LANES < k->trees ? t + LANES : k->trees; \
      __m512i e = _mm512_setzero_si512(), bit = _mm512_set1_epi8(1); \
      for (int64_t d = 0; d < k->lane_depth[g]; d++, at += SPLIT_BYTES, bit = _mm512_add_epi8(bit, bit)) { \
        const __m512i plane = _mm512_load_si512(at), code = _mm512_xor_si512(CODES, _mm512_load_si512(at + LANES)); \
        uint64_t has; \
        memcpy(&has, at + 3 * LANES, sizeof has); \
        e = _mm512_mask_add_epi8(e, _mm512_mask_cmpge_epu8_mask(has, code, _mm512_load_si512(at + 2 * LANES)), e, bit); \
      } \
      _mm512_store_si512(reached, e); \
      if (outputs == 1) for (const int64_t *start = k->leaf_start + t, *last = k->leaf_start + end, *i = start; i < last; i++) sum += k->leaf[*i + reached[i - start]]; \
      else for (int64_t i = t; i < end; i++) { \
        const double *values = k->leaf + k->leaf_start[i] + reached[i - t] * outputs; \
        sum += values[0]; \
        for (int64_t o = 1; o < outputs; o++) sums[o] += values[o]; \
      } \
      t = end; \
    } \
    sums[0] = sum + k->bias[0]; \
    for (int64_t o = 1; o < outputs; o++) sums[o] += k->bias[o]; \
  }

SYMMETRIC_LANES(symmetric_64_planes, CODES_1)
SYMMETRIC_LANES(symmetric_128_planes, CODES_2)
SYMMETRIC_LANES(symmetric_256_planes, CODES_4)

AVX512_TARGET static void symmetric_row_avx512(const Categories *k, const Rows *b, int64_t outputs, double *sums) {
  read_rows_avx512(k, b, 1, 1);
  if (k->planes <= 64) symmetric_64_planes(k, b->codes, outputs, sums);
  else if (k->planes <= 128) symmetric_128_planes(k, b->codes, outputs, sums);
  else symmetric_256_planes(k, b->codes, outputs, sums);
}

static inline int64_t leaf_plane_width(int64_t depth) { return depth <= 6 ? 64 : (int64_t)1 << depth; }

/* Sums of at most BLOCK rows, values of leaves selected byte by byte. */
AVX512_TARGET static void symmetric_block_avx512(const Categories *k, const Rows *b, int64_t outputs, double *out) {
  const int64_t n = b->n;
  uint8_t reached[BLOCK] __attribute__((aligned(64)));
  read_rows_avx512(k, b, n, BLOCK);
  memset(b->sums, 0, (size_t)(outputs * BLOCK) * sizeof *b->sums);
  for (int64_t t = 0; t < k->trees; t++) {
    const int64_t first = k->tree_start[t], depth = k->tree_start[t + 1] - first, width = leaf_plane_width(depth);
    const uint8_t *planes = k->leaf_planes + k->leaf_plane_start[t];
    __m512i e[4] = {_mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512()};
    for (int64_t d = 0; d < depth; d++) {
      const uint32_t split = k->split[first + d];
      const uint8_t *codes = b->codes + (int64_t)(split >> 16) * BLOCK;
      const __m512i flip = _mm512_set1_epi8((char)(split >> 8)), bound = _mm512_set1_epi8((char)split), bit = _mm512_set1_epi8((char)(1u << d));
      _Pragma("GCC unroll 4") for (int v = 0; v < 4; v++)
        e[v] = _mm512_mask_add_epi8(e[v], _mm512_cmpge_epu8_mask(_mm512_xor_si512(_mm512_load_si512(codes + 64 * v), flip), bound), e[v], bit);
    }
    _Pragma("GCC unroll 4") for (int v = 0; v < 4; v++) _mm512_store_si512(reached + 64 * v, e[v]);
    for (int64_t o = 0; o < outputs; o++, planes += 8 * width) {
      double *sums = b->sums + o * BLOCK;
      if (width == 64) add_64_leaves(planes, reached, n, 0, sums);
      else if (width == 128) add_128_leaves(planes, reached, n, 0, sums);
      else add_256_leaves(planes, reached, n, 0, sums);
    }
  }
  for (int64_t r = 0; r < n; r++) for (int64_t o = 0; o < outputs; o++) out[r * outputs + o] = b->sums[o * BLOCK + place_of(WOVEN_FLOAT64, r)] + k->bias[o];
}
#endif

/* Scores of n rows: x [n][width] -> out [n][outputs]. */
static int score_symmetric(const Forest *f, const Categories *k, const double *x, int64_t n, double *out) {
  const int64_t stride = n < SYMMETRIC_BLOCK ? 1 : BLOCK;
  const int64_t code_bytes = (k->planes * stride + 256) / 64 * 64; /* 256 codes can be loaded */
  const int64_t sums = stride > 1 && k->lanes ? f->outputs * BLOCK : 0;
  const int64_t words = sums + code_bytes / 8 + k->columns * stride + k->combinations, size = 8 * words + 8 * k->columns * stride + (k->tests + 1) * stride;
  uint64_t here[MOST_ON_STACK] __attribute__((aligned(64)));
  void *memory = here;
  if (size > (int64_t)sizeof here && posix_memalign(&memory, 64, (size_t)size)) return NO_MEMORY;
  Rows b = {.stride = stride, .sums = memory, .codes = (uint8_t *)((double *)memory + sums)};
  b.part = (uint64_t *)(b.codes + code_bytes);
  b.hashes = b.part + k->columns * stride;
  b.hash = (uint32_t *)(b.hashes + k->combinations);
  b.rank = b.hash + k->columns * stride;
  b.test = (uint8_t *)(b.rank + k->columns * stride);
  b.unlisted = b.test + k->tests * stride;
  void (*by)(const Categories *, const Rows *, int64_t, double *) = stride > 1 ? symmetric_block : symmetric_row;
#if defined(__x86_64__)
  if (k->lanes) by = stride > 1 ? symmetric_block_avx512 : symmetric_row_avx512;
  else if (f->level >= AVX2 && stride > 1) by = symmetric_block_avx2;
#endif
  int done = ANSWERED;
  for (int64_t r = 0; done == ANSWERED && r < n; r += b.n) {
    b.x = x + r * k->width;
    b.n = n - r < stride ? n - r : stride;
    if (read_categories(k, &b)) by(k, &b, f->outputs, out + r * f->outputs);
    else done = REFUSED;
  }
  if (memory != here) free(memory);
  for (int64_t r = 0; done == ANSWERED && f->link != IDENTITY && r < n; r++) link_row(f, out + r * f->outputs);
  return done;
}

/* Number of indices of a combination: its ranks, missing ones too, and tests; 0 if there are too many, or it has integers. */
static int64_t index_count(const Categories *k, int64_t p) {
  int64_t count = k->part_start[p + 1] > k->part_start[p] && k->part_start[p + 1] - k->part_start[p] <= MOST_PARTS;
  for (int64_t i = k->part_start[p]; count && i < k->part_start[p + 1]; i++) {
    count *= k->is_ranked[k->part[i]] ? listed_count(k, k->part[i]) + 1 : 0;
    count = count <= MOST_INDICES ? count : 0;
  }
  for (int64_t i = k->test_start[p]; count && i < k->test_start[p + 1]; i++) count = 2 * count <= MOST_INDICES ? 2 * count : 0;
  return count;
}

/* Look up all values of combinations that few ranks and tests have, so that rows need not hash them. */
static const char *make_direct(Forest *f, Categories *k) {
  int64_t total = 0;
  MAKE(k->direct, k->combinations);
  MAKE(k->hashed, k->combinations);
  MAKE(k->tables, k->combinations);
  for (int64_t p = 0; p < k->combinations; p++) {
    Direct d = {.bytes = total, .size = index_count(k, p), .part = k->part_start[p], .test = k->test_start[p], .out = k->out_start[p]};
    d.parts = k->part_start[p + 1] - d.part;
    d.tests = k->test_start[p + 1] - d.test;
    d.outs = k->out_start[p + 1] - d.out;
    if (!d.size || total + d.size * d.outs > MOST_BYTES) { k->hashed[k->hashed_count++] = p; continue; }
    k->direct[k->direct_count] = p;
    k->tables[k->direct_count++] = d;
    total += d.size * d.outs;
  }
  k->reads_hashes = k->hashed_count > 0;
  for (int64_t t = 0; t < k->tests; t++) k->reads_hashes |= k->test_kind[t] == TEST_EQUAL;
  MAKE(k->bytes, total + 256); /* 256 are read into registers */
  for (int64_t i = 0; i < k->direct_count; i++) {
    const Direct *d = k->tables + i;
    const Table table = table_of(k, k->direct[i]);
    for (int64_t at = 0; at < d->size; at++) {
      int64_t rank[MOST_PARTS], left = at >> d->tests;
      for (int64_t c = d->parts; c--; ) {
        const int64_t size = listed_count(k, k->part[d->part + c]) + 1;
        rank[c] = left % size;
        left /= size;
      }
      uint64_t hash = 0;
      for (int64_t c = 0; c < d->parts; c++) {
        const int64_t column = k->part[d->part + c];
        uint32_t category = 0;
        category_hash(k, column, rank[c] < listed_count(k, column) ? (double)rank[c] : NAN, &category);
        hash = added_part(hash, category_part(category));
      }
      for (int64_t t = d->tests; t--; ) hash = added_part(hash, at >> t & 1 ? BY * BY : 0);
      uint64_t bytes = bytes_of(&table, hash);
      for (int64_t o = 0; o < d->outs; o++, bytes >>= 8) k->bytes[d->bytes + o * d->size + at] = (uint8_t)bytes;
    }
  }
  return NULL;
}

#if defined(__x86_64__)
/* What the forms for AVX-512 read. Models with more planes than a byte numbers, or with many trees of few leaves, whose
   values would take much more memory, have none. */
static const char *make_symmetric_lanes(Forest *f, Categories *k) {
  const int64_t groups = (k->trees + LANES - 1) / LANES;
  int64_t splits = 0, bytes = 0;
  MAKE(k->lane_depth, groups);
  MAKE(k->leaf_plane_start, k->trees);
  for (int64_t t = 0; t < k->trees; t++) {
    const int64_t depth = k->tree_start[t + 1] - k->tree_start[t];
    k->leaf_plane_start[t] = bytes;
    bytes += 8 * leaf_plane_width(depth) * f->outputs;
    if (depth > k->lane_depth[t / LANES]) { splits += depth - k->lane_depth[t / LANES]; k->lane_depth[t / LANES] = depth; }
  }
  if (k->planes > MOST_PLANES || bytes > 8 * 8 * k->leaf_start[k->trees]) return NULL;
  MAKE(k->leaf_planes, bytes);
  MAKE(k->search, k->planes * (SEARCHED + RUN));
  MAKE(k->lanes, splits * SPLIT_BYTES);
  uint8_t *at = k->lanes;
  for (int64_t t = 0; t < k->trees; t++) {
    const int64_t depth = k->tree_start[t + 1] - k->tree_start[t], width = leaf_plane_width(depth);
    if (t && t % LANES == 0) at += k->lane_depth[t / LANES - 1] * SPLIT_BYTES;
    for (int64_t d = 0; d < depth; d++) {
      uint8_t *split = at + d * SPLIT_BYTES;
      const int64_t i = k->tree_start[t] + d;
      split[t % LANES] = (uint8_t)k->split_plane[i];
      split[LANES + t % LANES] = k->split_flip[i];
      split[2 * LANES + t % LANES] = k->split_bound[i];
      split[3 * LANES + t % LANES / 8] |= (uint8_t)(1 << t % 8);
    }
    for (int64_t i = 0; i < f->outputs << depth; i++) {
      uint8_t byte[8], *to = k->leaf_planes + k->leaf_plane_start[t] + i % f->outputs * 8 * width + i / f->outputs;
      memcpy(byte, k->leaf + k->leaf_start[t] + i, 8);
      for (int b = 0; b < 8; b++) to[b * width] = byte[b];
    }
  }
  for (int64_t p = 0; p < k->planes; p++) {
    float *border = k->search + p * (SEARCHED + RUN);
    for (int64_t i = 0; i < SEARCHED; i++) border[i] = k->plane_start[p] + i < k->plane_start[p + 1] ? k->plane_border[k->plane_start[p] + i] : INFINITY;
    for (int64_t i = 0; i < RUN; i++) border[SEARCHED + i] = border[RUN * i + RUN - 1];
  }
  return NULL;
}
#endif

/* Take the arrays of symmetric trees, with every index checked; return why not, or NULL. */
static const char *take_symmetric(Forest *f, Categories *k, const Array *view) {
  int64_t count[CATEGORY_ARRAYS];
  for (int i = 0; i < CATEGORY_ARRAYS; i++) count[i] = view[i].bytes / CATEGORY_ITEM[i];
  k->plane_column = view[17].at; k->plane_missing = view[18].at; k->plane_start = view[19].at; k->plane_border = view[20].at;
  k->tree_start = view[21].at; k->split_plane = view[22].at; k->split_flip = view[23].at; k->split_bound = view[24].at;
  k->leaf = view[25].at; k->bias = view[26].at;
  k->planes = count[17]; k->trees = count[21] - 1;
  if (!k->trees) return NULL;
  if (k->trees < 0 || count[18] != k->planes || count[19] != k->planes + 1 || count[23] != count[22] || count[24] != count[22] || count[26] != f->outputs)
    return "the arrays of symmetric trees differ in length";
  if (!rising(k->plane_start, k->planes, count[20]) || !rising(k->tree_start, k->trees, count[22])) return "offsets of symmetric trees do not increase";
  MAKE(k->leaf_start, k->trees + 1);
  for (int64_t t = 0; t < k->trees; t++) {
    const int64_t depth = k->tree_start[t + 1] - k->tree_start[t];
    if (depth > MOST_DEPTH) return "a symmetric tree is too deep";
    k->leaf_start[t + 1] = k->leaf_start[t] + (f->outputs << depth);
  }
  if (k->leaf_start[k->trees] != count[25]) return "symmetric trees do not have a value for each leaf and output";
  if (!all_below(k->split_plane, count[22], k->planes) || !all_below(k->plane_column, k->planes, k->whole_width)) return "a split reads a plane that does not exist";
  if (k->planes > UINT16_MAX) return "symmetric trees read more columns than 16 bits can number";
  MAKE(k->split, count[22]);
  for (int64_t i = 0; i < count[22]; i++) k->split[i] = (uint32_t)k->split_plane[i] << 16 | (uint32_t)k->split_flip[i] << 8 | k->split_bound[i];
  MAKE(k->out_plane, count[16]);
  for (int64_t i = 0; i < count[16]; i++) {
    int64_t p = 0;
    while (p < k->planes && k->plane_column[p] != k->out_column[i]) p++;
    if (p == k->planes) return "a column is computed that no split reads";
    k->out_plane[i] = (int32_t)p;
  }
  for (int64_t p = 0; p < k->planes; p++) {
    int64_t i = 0;
    while (i < count[16] && k->out_plane[i] != p) i++;
    if (k->plane_column[p] >= k->width && i == count[16]) return "a split reads a column that is not computed";
    if (k->plane_column[p] < k->width) k->number_planes = p + 1;
    if (k->plane_start[p + 1] - k->plane_start[p] > PLANE_THRESHOLDS) return "a plane has more borders than a byte can number";
  }
  #if defined(__x86_64__)
  if (f->level >= AVX512) TRY(make_symmetric_lanes(f, k));
#endif
  return make_direct(f, k);
}

#endif
