/* The columns of a CatBoost model that are computed from categories: one-hot columns and statistics of combinations. They
   follow the columns of the row, as small integers; the trees read both. */
#ifndef HEADWAY_CATEGORIES_H
#define HEADWAY_CATEGORIES_H

#include "buffers.h"
#include "score.h"

#define CATEGORY_ARRAYS 18
#define EXACT_INTEGER 9007199254740992.0 /* 2 ** 53 */
#define MOST_ON_STACK 2048

enum { TEST_ABOVE, TEST_ABOVE_OR_MISSING, TEST_EQUAL };

typedef struct {
  int64_t width, whole_width, columns, combinations;
  const int32_t *column; const uint8_t *is_ranked;            /* [columns] index in a row; ranks of strings, or integers */
  const int64_t *rank_start; const uint32_t *rank_hash;       /* hashes of the strings that ranks stand for */
  const int64_t *part_start; const int32_t *part;             /* categorical columns of each combination */
  const int64_t *test_start; const uint8_t *test_kind; const int32_t *test_column; const double *test_value;
  const int64_t *slot_start; const uint64_t *slot_hash; const int32_t *slot_entry; /* a hash table for each combination */
  const int64_t *out_start; const int32_t *out_column;        /* columns of each combination */
  const int64_t *value_start; const uint16_t *value;          /* [entries][columns] of each combination */
} Categories;

static const Py_ssize_t CATEGORY_ITEM[CATEGORY_ARRAYS] = {8, 4, 1, 8, 4, 8, 4, 8, 1, 4, 8, 8, 8, 4, 8, 4, 8, 2};

static uint64_t word_at(const char *at) { uint64_t word; memcpy(&word, at, 8); return word; }
static uint32_t half_at(const char *at) { uint32_t word; memcpy(&word, at, 4); return word; }
static uint64_t turned(uint64_t word, int bits) { return word >> bits | word << (64 - bits); }
static uint64_t folded(uint64_t word) { return word ^ word >> 47; }

static uint64_t hash_pair(uint64_t first, uint64_t second) {
  const uint64_t by = 0x9ddfea08eb382d69u;
  return folded((second ^ folded((first ^ second) * by)) * by) * by;
}

/* CityHash64 (version 1.0.3) of 1 to 32 bytes: those of an integer, and of "nan". */
static uint64_t hash_digits(const char *s, uint64_t n) {
  const uint64_t k0 = 0xc3a5c85c97cb3127u, k1 = 0xb492b66fbe98f273u, k2 = 0x9ae16a3b2f90404fu, k3 = 0xc949d7c7509e6557u;
  if (n > 16) {
    const uint64_t a = word_at(s) * k1, b = word_at(s + 8), c = word_at(s + n - 8) * k2, d = word_at(s + n - 16) * k0;
    return hash_pair(turned(a - b, 43) + turned(c, 30) + d, a + turned(b ^ k3, 20) - c + n);
  }
  if (n > 8) {
    const uint64_t last = word_at(s + n - 8);
    return hash_pair(word_at(s), turned(last + n, (int)n)) ^ last;
  }
  if (n >= 4) return hash_pair(n + ((uint64_t)half_at(s) << 3), half_at(s + n - 4));
  const uint64_t first = (uint8_t)s[0] + ((uint64_t)(uint8_t)s[n >> 1] << 8), last = n + ((uint64_t)(uint8_t)s[n - 1] << 2);
  return folded(first * k2 ^ last * k3) * k2;
}

static uint32_t hash_integer(int64_t value) {
  char digits[24];
  char *at = digits + sizeof digits;
  uint64_t left = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
  do { *--at = (char)('0' + left % 10); left /= 10; } while (left);
  if (value < 0) *--at = '-';
  return (uint32_t)hash_digits(at, (uint64_t)(digits + sizeof digits - at));
}

/* The hash of a value of categorical column c; return 0 if it is neither a rank nor an integer. */
static int category_hash(const Categories *k, int64_t c, double v, uint32_t *hash) {
  if (v != v) { *hash = (uint32_t)hash_digits("nan", 3); return 1; }
  if (!k->is_ranked[c]) {
    if (!(v >= -EXACT_INTEGER && v <= EXACT_INTEGER) || v != trunc(v)) return 0;
    *hash = hash_integer((int64_t)v);
    return 1;
  }
  const int64_t listed = k->rank_start[c + 1] - k->rank_start[c];
  if (!(v >= 0 && v < (double)listed + 4294967296.0) || v != trunc(v)) return 0;
  const int64_t rank = (int64_t)v;
  *hash = rank < listed ? k->rank_hash[k->rank_start[c] + rank] : (uint32_t)(rank - listed);
  return 1;
}

static uint64_t combined(uint64_t hash, uint64_t part) {
  const uint64_t by = 0x4906ba494954cb65u;
  return by * (hash + by * part);
}

static uint64_t sign_extended(uint32_t hash) { return (uint64_t)(int64_t)(int32_t)hash; }

static uint64_t hash_combination(const Categories *k, int64_t p, const double *x, const uint32_t *hash) {
  uint64_t found = 0;
  for (int64_t i = k->part_start[p]; i < k->part_start[p + 1]; i++) found = combined(found, sign_extended(hash[k->part[i]]));
  for (int64_t i = k->test_start[p]; i < k->test_start[p + 1]; i++) {
    const int kind = k->test_kind[i];
    const double v = kind == TEST_EQUAL ? (double)(int32_t)hash[k->test_column[i]] : (double)(float)x[k->test_column[i]];
    const int holds = kind == TEST_EQUAL ? v == k->test_value[i] : v > k->test_value[i] || (kind == TEST_ABOVE_OR_MISSING && v != v);
    found = combined(found, (uint64_t)holds);
  }
  return found;
}

/* The entry of a combination; 0 if training did not see it. */
static int32_t entry_of(const Categories *k, int64_t p, uint64_t hash) {
  const uint64_t *hashes = k->slot_hash + k->slot_start[p];
  const int32_t *entries = k->slot_entry + k->slot_start[p];
  const uint64_t mask = (uint64_t)(k->slot_start[p + 1] - k->slot_start[p]) - 1;
  for (uint64_t slot = hash & mask; entries[slot] >= 0; slot = (slot + 1) & mask)
    if (hashes[slot] == hash) return entries[slot];
  return 0;
}

/* Write a row and its computed columns; return 0 if it has a number that is not a category. `hash` is [columns]. */
static int expand_row(const Categories *k, const double *x, double *out, uint32_t *hash) {
  for (int64_t c = 0; c < k->columns; c++) if (!category_hash(k, c, x[k->column[c]], hash + c)) return 0;
  memcpy(out, x, (size_t)k->width * sizeof *x);
  for (int64_t p = 0; p < k->combinations; p++) {
    const int64_t first = k->out_start[p], n = k->out_start[p + 1] - first;
    const uint16_t *value = k->value + k->value_start[p] + n * entry_of(k, p, hash_combination(k, p, x, hash));
    for (int64_t i = 0; i < n; i++) out[k->out_column[first + i]] = value[i];
  }
  return 1;
}

/* Scores of n rows: x [n][width] -> out [n][outputs]. */
static int score_categories(const Forest *f, const Categories *k, const double *x, int64_t n, double *out) {
  const int64_t block = n < BLOCK ? n : BLOCK, size = block * k->whole_width + (k->columns + 1) / 2;
  double here[MOST_ON_STACK], *rows = size <= MOST_ON_STACK ? here : malloc((size_t)size * sizeof *rows);
  int done = rows ? ANSWERED : NO_MEMORY;
  for (int64_t start = 0; done == ANSWERED && start < n; start += block) {
    const int64_t count = n - start < block ? n - start : block;
    for (int64_t r = 0; r < count; r++)
      if (!expand_row(k, x + (start + r) * k->width, rows + r * k->whole_width, (uint32_t *)(rows + block * k->whole_width))) done = REFUSED;
    if (done == ANSWERED) done = score(f, rows, count, out + start * f->outputs);
  }
  if (rows != here) free(rows);
  return done;
}

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
static const char *take_categories(Categories *k, const Py_buffer *view, const Forest *f) {
  const int64_t whole_width = f->width;
  int64_t count[CATEGORY_ARRAYS];
  for (int i = 0; i < CATEGORY_ARRAYS; i++) count[i] = view[i].len / CATEGORY_ITEM[i];
  const int64_t *number = view[0].buf;
  if (count[0] != 2) return "the header of categories must hold two numbers";
  k->width = number[0]; k->whole_width = number[1]; k->columns = count[1]; k->combinations = count[5] - 1;
  k->column = view[1].buf; k->is_ranked = view[2].buf; k->rank_start = view[3].buf; k->rank_hash = view[4].buf;
  k->part_start = view[5].buf; k->part = view[6].buf;
  k->test_start = view[7].buf; k->test_kind = view[8].buf; k->test_column = view[9].buf; k->test_value = view[10].buf;
  k->slot_start = view[11].buf; k->slot_hash = view[12].buf; k->slot_entry = view[13].buf;
  k->out_start = view[14].buf; k->out_column = view[15].buf; k->value_start = view[16].buf; k->value = view[17].buf;
  const int64_t p = k->combinations;
  if (k->width < 1 || k->whole_width != whole_width || k->width > whole_width) return "the width of a row does not match the forest";
  if (k->columns < 1 || count[2] != k->columns || count[3] != k->columns + 1) return "the arrays of categorical columns differ in length";
  if (p < 0 || count[7] != p + 1 || count[11] != p + 1 || count[14] != p + 1 || count[16] != p + 1) return "the arrays of combinations differ in length";
  if (count[9] != count[8] || count[10] != count[8] || count[13] != count[12]) return "the arrays of tests or slots differ in length";
  const int rise = rising(k->rank_start, k->columns, count[4]) && rising(k->part_start, p, count[6]) && rising(k->test_start, p, count[8]) &&
                   rising(k->slot_start, p, count[12]) && rising(k->out_start, p, count[15]) && rising(k->value_start, p, count[17]);
  if (!rise) return "offsets of categories do not increase to the length of their array";
  if (!all_below(k->column, k->columns, k->width) || !all_below(k->part, count[6], k->columns)) return "a categorical column is outside the row";
  for (int64_t i = 0; i < count[8]; i++)
    if (k->test_kind[i] > TEST_EQUAL || !all_below(k->test_column + i, 1, k->test_kind[i] == TEST_EQUAL ? k->columns : k->width)) return "a test reads a column that does not exist";
  for (int64_t i = 0; i < count[15]; i++)
    if (k->out_column[i] < k->width || k->out_column[i] >= whole_width) return "a computed column is outside the row";
  for (int64_t i = 0; i < f->columns; i++) {
    int64_t at = 0;
    while (at < count[15] && k->out_column[at] != f->column[i]) at++;
    if (f->column[i] >= k->width && at == count[15]) return "the trees read a column that is not computed";
  }
  for (int64_t c = 0; c < p; c++) {
    const int64_t slots = k->slot_start[c + 1] - k->slot_start[c], columns = k->out_start[c + 1] - k->out_start[c];
    const int64_t values = k->value_start[c + 1] - k->value_start[c];
    int64_t empty = 0;
    if (slots < 1 || (slots & (slots - 1)) || columns < 1 || values < columns || values % columns) return "a table of categories has an invalid size";
    for (int64_t i = k->slot_start[c]; i < k->slot_start[c + 1]; i++) {
      empty += k->slot_entry[i] < 0;
      if (k->slot_entry[i] >= values / columns) return "a table of categories has an entry that does not exist";
    }
    if (!empty) return "a table of categories is full";
  }
  return NULL;
}

#endif
