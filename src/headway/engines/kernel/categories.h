/* The columns of a CatBoost model that are computed from categories: one-hot columns and statistics of combinations. They
   follow the columns of the row, as small integers; the trees read both. */
#ifndef HEADWAY_CATEGORIES_H
#define HEADWAY_CATEGORIES_H

#include "arrays.h"
#include "memory.h"
#include "score.h"

#define CATEGORY_ARRAYS 27
#define EXACT_INTEGER 9007199254740992.0 /* 2 ** 53 */
#define MOST_ON_STACK 2048
#define NO_HASH UINT64_MAX
#define SLOTS_PER_LINE 4
#define LINE (2 * SLOTS_PER_LINE)        /* words of a line of a hash table */
#define BY 0x4906ba494954cb65u            /* what hashes of combinations are multiplied by */

enum { TEST_ABOVE, TEST_ABOVE_OR_MISSING, TEST_EQUAL };

/* A combination whose bytes the ranks and tests of a row index: where they start, how many each of its columns has, and
   the first and the number of its categories, tests and columns. */
typedef struct { int64_t bytes, size, part, parts, test, tests, out, outs; } Direct;

typedef struct {
  int64_t width, whole_width, columns, combinations, tests;
  const int32_t *column; const uint8_t *is_ranked;            /* [columns] index in a row; ranks of strings, or integers */
  const int64_t *rank_start; const uint32_t *rank_hash;       /* hashes of the strings that ranks stand for */
  const int64_t *part_start; const int32_t *part;             /* categorical columns of each combination */
  const int64_t *test_start; const int32_t *test;             /* tests of each combination */
  const uint8_t *test_kind; const int32_t *test_column; const double *test_value;
  const int64_t *slot_start; const uint64_t *slot;            /* hash tables: a hash, and a byte for each column */
  const uint64_t *unseen;                                     /* the bytes of combinations that training did not see */
  const int64_t *out_start; const int32_t *out_column;        /* columns of each combination */
  int64_t planes, trees;                                      /* of symmetric trees; none if the trees are a forest */
  const int32_t *plane_column; const uint8_t *plane_missing; const int64_t *plane_start; const float *plane_border;
  const int64_t *tree_start; const int32_t *split_plane; const uint8_t *split_flip, *split_bound;
  const double *leaf, *bias;
  uint8_t *shift;                                             /* the highest bits of a hash number a line of its table */
  uint32_t *split;                                            /* plane, flip and bound of each split */
  int32_t *out_plane;                                         /* plane of each computed column */
  int64_t direct_count, hashed_count, number_planes;          /* combinations whose bytes ranks index, and the others */
  int64_t *direct, *hashed;
  int reads_hashes;                                           /* whether rows of listed categories are hashed */
  Direct *tables; uint8_t *bytes;                             /* [direct_count] and their bytes, column by column */
  uint8_t *lanes; int64_t *lane_depth, *leaf_start;           /* splits of 64 trees side by side, and their depth */
  uint8_t *leaf_planes; int64_t *leaf_plane_start;            /* values of leaves, byte by byte, as those of forests */
  float *search;                                              /* [planes][SEARCHED + RUN] borders, and the last of each run */
} Categories;

#define CATEGORY_ITEMS 8, 4, 1, 8, 4, 8, 4, 8, 4, 1, 4, 8, 8, 8, 8, 8, 4, 4, 1, 8, 4, 8, 4, 1, 1, 8, 8

static const int64_t CATEGORY_ITEM[CATEGORY_ARRAYS] = {CATEGORY_ITEMS};

static uint64_t word_at(const char *at) { uint64_t word; memcpy(&word, at, 8); return word; }
static uint32_t half_at(const char *at) { uint32_t word; memcpy(&word, at, 4); return word; }
static uint64_t turned(uint64_t word, int bits) { return word >> bits | word << (64 - bits); }
static uint64_t folded(uint64_t word) { return word ^ word >> 47; }

#define CITY_0 0xc3a5c85c97cb3127u
#define CITY_1 0xb492b66fbe98f273u
#define CITY_2 0x9ae16a3b2f90404fu
#define CITY_3 0xc949d7c7509e6557u

static uint64_t hash_pair(uint64_t first, uint64_t second) {
  const uint64_t by = 0x9ddfea08eb382d69u;
  return folded((second ^ folded((first ^ second) * by)) * by) * by;
}

static uint64_t hash_short(const char *s, uint64_t n) {
  if (n > 8) {
    const uint64_t last = word_at(s + n - 8);
    return hash_pair(word_at(s), turned(last + n, (int)n)) ^ last;
  }
  if (n >= 4) return hash_pair(n + ((uint64_t)half_at(s) << 3), half_at(s + n - 4));
  if (!n) return CITY_2;
  const uint64_t first = (uint8_t)s[0] + ((uint64_t)(uint8_t)s[n >> 1] << 8), last = n + ((uint64_t)(uint8_t)s[n - 1] << 2);
  return folded(first * CITY_2 ^ last * CITY_3) * CITY_2;
}

typedef struct { uint64_t first, second; } Hashes;

static Hashes hash_half(const char *s, uint64_t third, uint64_t first) {
  const uint64_t second = turned(first + third, 52);
  uint64_t fourth = turned(first, 37);
  first += word_at(s + 8);
  fourth += turned(first, 7);
  first += word_at(s + 16);
  return (Hashes){first + third, second + turned(first, 31) + fourth};
}

static Hashes hash_weakly(const char *s, uint64_t first, uint64_t second) {
  const uint64_t last = word_at(s + 24), third = first + word_at(s), sum = third + word_at(s + 8) + word_at(s + 16);
  second = turned(second + third + last, 21) + turned(sum, 44);
  return (Hashes){sum + last, second + third};
}

static uint64_t hash_long(const char *s, uint64_t n) {
  uint64_t x = word_at(s), y = word_at(s + n - 16) ^ CITY_1, z = word_at(s + n - 56) ^ CITY_0;
  Hashes v = hash_weakly(s + n - 64, n, y), w = hash_weakly(s + n - 32, n * CITY_1, CITY_0);
  z += folded(v.second) * CITY_1;
  x = turned(z + x, 39) * CITY_1;
  y = turned(y, 33) * CITY_1;
  for (const char *end = s + ((n - 1) & ~63ull); s < end; s += 64) {
    x = (turned(x + y + v.first + word_at(s + 16), 37) * CITY_1) ^ w.second;
    y = (turned(y + v.second + word_at(s + 48), 42) * CITY_1) ^ v.first;
    z = turned(z ^ w.first, 33);
    v = hash_weakly(s, v.second * CITY_1, x + w.first);
    w = hash_weakly(s + 32, z + w.second, y);
    const uint64_t swapped = z;
    z = x;
    x = swapped;
  }
  return hash_pair(hash_pair(v.first, w.first) + folded(y) * CITY_1 + z, hash_pair(v.second, w.second) + x);
}

/* CityHash64 (version 1.0.3) of n bytes. */
static uint64_t hash_string(const char *s, uint64_t n) {
  if (n <= 16) return hash_short(s, n);
  if (n <= 32) {
    const uint64_t a = word_at(s) * CITY_1, b = word_at(s + 8), c = word_at(s + n - 8) * CITY_2, d = word_at(s + n - 16) * CITY_0;
    return hash_pair(turned(a - b, 43) + turned(c, 30) + d, a + turned(b ^ CITY_3, 20) - c + n);
  }
  if (n > 64) return hash_long(s, n);
  const Hashes low = hash_half(s, word_at(s + 24), word_at(s) + (n + word_at(s + n - 16)) * CITY_0);
  const Hashes high = hash_half(s + n - 32, word_at(s + n - 8), word_at(s + 16) + word_at(s + n - 32));
  return folded(folded((low.first + high.second) * CITY_2 + (high.first + low.second) * CITY_0) * CITY_0 + low.second) * CITY_2;
}

static uint32_t hash_integer(int64_t value) {
  char digits[24];
  char *at = digits + sizeof digits;
  uint64_t left = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
  do { *--at = (char)('0' + left % 10); left /= 10; } while (left);
  if (value < 0) *--at = '-';
  return (uint32_t)hash_string(at, (uint64_t)(digits + sizeof digits - at));
}

/* The hash of a value of categorical column c; return 0 if it is neither a rank nor an integer. */
static int category_hash(const Categories *k, int64_t c, double v, uint32_t *hash) {
  if (v != v) { *hash = (uint32_t)hash_string("nan", 3); return 1; }
  if (!k->is_ranked[c]) {
    if (!(v >= -EXACT_INTEGER && v <= EXACT_INTEGER) || v != (double)(int64_t)v) return 0;
    *hash = hash_integer((int64_t)v);
    return 1;
  }
  const int64_t listed = k->rank_start[c + 1] - k->rank_start[c];
  if (!(v >= 0 && v < (double)listed + 4294967296.0)) return 0;
  const int64_t rank = (int64_t)v;
  if (v != (double)rank) return 0;
  *hash = rank < listed ? k->rank_hash[k->rank_start[c] + rank] : (uint32_t)(rank - listed);
  return 1;
}

static inline uint64_t added_part(uint64_t hash, uint64_t part) { return BY * hash + part; }

/* A category as the last part of a hash, before `added_part`. */
static inline uint64_t category_part(uint32_t hash) { return BY * BY * (uint64_t)(int64_t)(int32_t)hash; }

static inline uint8_t holds(const Categories *k, int64_t t, const double *x, const uint32_t *hash) {
  const int kind = k->test_kind[t];
  if (kind == TEST_EQUAL) return (double)(int32_t)hash[k->test_column[t]] == k->test_value[t];
  const double v = (double)(float)x[k->test_column[t]];
  return v > k->test_value[t] || (kind == TEST_ABOVE_OR_MISSING && v != v);
}

/* A hash table: its lines, the bytes of combinations that it lacks, and the bits of a hash that do not number a line. */
typedef struct { const uint64_t *line, *end; uint64_t unseen; int shift; } Table;

static inline Table table_of(const Categories *k, int64_t p) {
  return (Table){k->slot + 2 * k->slot_start[p], k->slot + 2 * k->slot_start[p + 1], k->unseen[p], k->shift[p]};
}

static inline const uint64_t *line_of(const Table *table, uint64_t hash) { return table->line + (hash >> table->shift) * LINE; }

/* The bytes of a combination that is not in its own line: if that is full, it may be in a later one. */
static __attribute__((noinline)) uint64_t search_on(const Table *table, uint64_t hash) {
  for (const uint64_t *line = line_of(table, hash); hash != NO_HASH; line = line + LINE == table->end ? table->line : line + LINE) {
    for (int i = 0; i < LINE; i += 2) if (line[i] == hash) return line[i + 1];
    if (line[LINE - 2] == NO_HASH) break;
  }
  return table->unseen;
}

static inline uint64_t bytes_of(const Table *table, uint64_t hash) {
  const uint64_t *line = line_of(table, hash);
  uint64_t bytes = 0, found = 0;
  for (int i = 0; i < LINE; i += 2) {
    const uint64_t is = line[i] == hash;
    bytes |= line[i + 1] & (0 - is);
    found |= is;
  }
  const int elsewhere = !found && line[LINE - 2] != NO_HASH;
  return elsewhere ? search_on(table, hash) : found && hash != NO_HASH ? bytes : table->unseen;
}

#if defined(__x86_64__)
AVX512_TARGET static inline uint64_t bytes_of_avx512(const Table *table, uint64_t hash) {
  const __m512i line = _mm512_load_si512((const void *)line_of(table, hash));
  const unsigned is = _mm512_cmpeq_epi64_mask(line, _mm512_set1_epi64((long long)hash)) & 0x55;
  const unsigned empty = _mm512_cmpeq_epi64_mask(line, _mm512_set1_epi64(-1)) & 0x40;
  if (__builtin_expect(!(is | empty) || hash == NO_HASH, 0)) return search_on(table, hash);
  const __m512i unseen = _mm512_set1_epi64((long long)table->unseen);
  return (uint64_t)_mm_cvtsi128_si64(_mm512_castsi512_si128(_mm512_mask_compress_epi64(unseen, (__mmask8)(is << 1), line)));
}
#endif

static int hash_row(const Categories *k, const double *x, uint32_t *hash) {
  for (int64_t c = 0; c < k->columns; c++) if (!category_hash(k, c, x[k->column[c]], hash + c)) return 0;
  return 1;
}

/* Write a row and its computed columns; `hash` is [columns]. */
static void expand_row(const Categories *k, const double *x, double *out, const uint32_t *hash) {
  memcpy(out, x, (size_t)k->width * sizeof *x);
  for (int64_t p = 0; p < k->combinations; p++) {
    uint64_t found = 0;
    for (int64_t i = k->part_start[p]; i < k->part_start[p + 1]; i++) found = added_part(found, category_part(hash[k->part[i]]));
    for (int64_t i = k->test_start[p]; i < k->test_start[p + 1]; i++) found = added_part(found, holds(k, k->test[i], x, hash) ? BY * BY : 0);
    const Table table = table_of(k, p);
    uint64_t bytes = bytes_of(&table, found);
    for (int64_t i = k->out_start[p]; i < k->out_start[p + 1]; i++, bytes >>= 8) out[k->out_column[i]] = (double)(bytes & 255);
  }
}

/* Scores of n rows: x [n][width] -> out [n][outputs]. */
static int score_categories(const Forest *f, const Categories *k, const double *x, int64_t n, double *out) {
  const int64_t block = n < BLOCK ? n : BLOCK, size = block * k->whole_width + (k->columns + 1) / 2;
  double here[MOST_ON_STACK], *rows = size <= MOST_ON_STACK ? here : malloc((size_t)size * sizeof *rows);
  int done = rows ? ANSWERED : NO_MEMORY;
  for (int64_t start = 0; done == ANSWERED && start < n; start += block) {
    const int64_t count = n - start < block ? n - start : block;
    uint32_t *hash = (uint32_t *)(rows + block * k->whole_width);
    for (int64_t r = 0; done == ANSWERED && r < count; r++) {
      const double *row = x + (start + r) * k->width;
      if (hash_row(k, row, hash)) expand_row(k, row, rows + r * k->whole_width, hash);
      else done = REFUSED;
    }
    if (done == ANSWERED) done = score(f, rows, count, out + start * f->outputs);
  }
  if (rows != here) free(rows);
  return done;
}

/* Check offsets [n + 1], which must increase from 0 to `end`. */
static int rising(const int64_t *offsets, int64_t n, int64_t end) {
  if (offsets[0] != 0 || offsets[n] != end) return 0;
  for (int64_t i = 0; i < n; i++) if (offsets[i + 1] < offsets[i]) return 0;
  return 1;
}

static int all_below(const int32_t *indices, int64_t n, int64_t end) {
  for (int64_t i = 0; i < n; i++) if (indices[i] < 0 || indices[i] >= end) return 0;
  return 1;
}

/* Take the arrays of categories, with every index checked; return why not, or NULL. */
static const char *take_categories(Categories *k, const Array *view, Forest *f) {
  const int64_t whole_width = f->width;
  int64_t count[CATEGORY_ARRAYS];
  for (int i = 0; i < CATEGORY_ARRAYS; i++) count[i] = view[i].bytes / CATEGORY_ITEM[i];
  const int64_t *number = view[0].at;
  if (count[0] != 2) return "the header of categories must hold two numbers";
  k->width = number[0]; k->whole_width = number[1]; k->columns = count[1]; k->combinations = count[5] - 1;
  k->column = view[1].at; k->is_ranked = view[2].at; k->rank_start = view[3].at; k->rank_hash = view[4].at;
  k->part_start = view[5].at; k->part = view[6].at;
  k->test_start = view[7].at; k->test = view[8].at; k->test_kind = view[9].at; k->test_column = view[10].at; k->test_value = view[11].at;
  k->slot_start = view[12].at; k->slot = view[13].at; k->unseen = view[14].at;
  k->out_start = view[15].at; k->out_column = view[16].at;
  const int64_t p = k->combinations;
  if (k->width < 1 || k->whole_width != whole_width || k->width > whole_width) return "the width of a row does not match the forest";
  if (k->columns < 1 || count[2] != k->columns || count[3] != k->columns + 1) return "the arrays of categorical columns differ in length";
  if (p < 0 || count[7] != p + 1 || count[12] != p + 1 || count[14] != p || count[15] != p + 1) return "the arrays of combinations differ in length";
  k->tests = count[9];
  if (count[10] != k->tests || count[11] != k->tests || count[13] % 2) return "the arrays of tests or slots differ in length";
  const int rise = rising(k->rank_start, k->columns, count[4]) && rising(k->part_start, p, count[6]) && rising(k->test_start, p, count[8]) &&
                   rising(k->slot_start, p, count[13] / 2) && rising(k->out_start, p, count[16]);
  if (!rise) return "offsets of categories do not increase to the length of their array";
  if (!all_below(k->column, k->columns, k->width) || !all_below(k->part, count[6], k->columns)) return "a categorical column is outside the row";
  if (!all_below(k->test, count[8], k->tests)) return "a combination has a test that does not exist";
  uint64_t *slots_here = make(f, count[13], sizeof *slots_here); /* aligned to lines, in huge pages */
  if (!slots_here) return "out of memory";
  memcpy(slots_here, k->slot, (size_t)count[13] * sizeof *slots_here);
  k->slot = slots_here;
  MAKE(k->shift, p + 1);
  for (int64_t i = 0; i < k->tests; i++)
    if (k->test_kind[i] > TEST_EQUAL || !all_below(k->test_column + i, 1, k->test_kind[i] == TEST_EQUAL ? k->columns : k->width)) return "a test reads a column that does not exist";
  for (int64_t i = 0; i < count[16]; i++)
    if (k->out_column[i] < k->width || k->out_column[i] >= whole_width) return "a computed column is outside the row";
  for (int64_t i = 0; i < f->columns; i++) {
    int64_t at = 0;
    while (at < count[16] && k->out_column[at] != f->column[i]) at++;
    if (f->column[i] >= k->width && at == count[16]) return "the trees read a column that is not computed";
  }
  for (int64_t c = 0; c < p; c++) {
    const int64_t slots = k->slot_start[c + 1] - k->slot_start[c], columns = k->out_start[c + 1] - k->out_start[c];
    int64_t empty = 0;
    if (slots < 2 * SLOTS_PER_LINE || (slots & (slots - 1)) || columns < 1 || columns > 8) return "a table of categories has an invalid size";
    for (int64_t i = k->slot_start[c] + SLOTS_PER_LINE - 1; i < k->slot_start[c + 1]; i += SLOTS_PER_LINE) empty += k->slot[2 * i] == NO_HASH;
    k->shift[c] = (uint8_t)(64 - __builtin_ctzll((uint64_t)(slots / SLOTS_PER_LINE)));
    if (!empty) return "a table of categories is full";
  }
  return NULL;
}

#endif
