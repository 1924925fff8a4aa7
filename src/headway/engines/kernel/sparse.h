/* Predict the rows of a compressed sparse matrix. Cells that are not stored have one value, `absent`: what a row of such
   cells alone does is known when a model is opened, so only the stored cells of a row are looked up, and only the trees
   are walked whose path by absent cells reads one of them. */
#ifndef HEADWAY_SPARSE_H
#define HEADWAY_SPARSE_H

#include "score.h"

/* The first column of the forest that reads this cell of a row, -1 if none does. */
static inline int64_t reader_of(const Forest *f, int64_t cell) {
  const uint64_t bits = f->read_bits[cell >> 6], bit = 1ull << (cell & 63);
  return bits & bit ? f->first_reader[f->cells_before[cell >> 6] + __builtin_popcountll(bits & (bit - 1))] : -1;
}

static inline int32_t walked(const Forest *f, int32_t place, int32_t key) { return key == MISSING ? f->walk_missing[place] : key; }

static inline int refuses_value(const Forest *f, int64_t c, double v) {
  if (f->rows_float32) v = (double)(float)v;
  return ((f->kind[c] & COLUMN_IS_FINITE) && fabs(v) >= f->reach) || ((f->kind[c] & COLUMN_IS_PRESENT) && (v != v || v == f->missing));
}

/* The trees whose path by absent cells reads each column: [columns + 1] offsets, then trees; `last` is [columns]. */
static const char *make_paths(Forest *f, AbsentRow *a, int64_t *last) {
  MAKE(a->path_start, f->columns + 2);
  for (int pass = 0; pass < 2; pass++) {
    if (pass) {
      for (int64_t c = 0; c < f->columns; c++) a->path_start[c + 1] += a->path_start[c];
      MAKE(a->path_tree, a->path_start[f->columns] + 1);
      for (int64_t c = f->columns; c > 0; c--) a->path_start[c] = a->path_start[c - 1];
    }
    for (int64_t c = 0; c < f->columns; c++) last[c] = -1;
    for (int64_t t = 0; t < f->trees; t++) {
      const int64_t root = f->tree_start[t];
      for (int64_t i = f->tree_start[t + 1] > root ? 0 : -1; i >= 0;) {
        const int64_t n = root + i, c = f->feature[n];
        const int32_t x = a->keys[asked_by(f, n)];
        if (last[c] != t) { last[c] = t; if (pass) a->path_tree[a->path_start[c + 1]++] = (int32_t)t; else a->path_start[c + 1]++; }
        const int right = (f->flag[n] & NODE_CATEGORICAL) ? !in_set(f, f->key[n], x) : x > f->key[n];
        i = right ? f->right[n] : f->left[n];
      }
    }
  }
  return NULL;
}

static const char *make_absent(Forest *f, AbsentRow *a, double absent, int64_t *last) {
  for (int64_t c = 0; c < f->columns; c++) a->refused += refuses_value(f, c, absent);
  if (!f->walk_columns) return NULL;
  MAKE(a->keys, f->walk_columns);
  MAKE(a->found, f->trees + 1);
  for (int64_t c = 0; c < f->columns; c++)
    for (int side = 0; side < 2; side++) {
      const int32_t place = f->walk_place[2 * c + side];
      if (place >= 0) a->keys[place] = walked(f, place, key_of(f, c, absent));
    }
  a->keys[f->walk_columns - 1] = INT32_MIN;
  walk_far(f, a->keys, a->found);
  return make_paths(f, a, last);
}

/* Build what sparse rows need from a forest whose other forms exist. */
static const char *make_sparse(Forest *f) {
  const int64_t words = f->width / 64 + 1;
  MAKE(f->read_bits, words);
  MAKE(f->cells_before, words);
  MAKE(f->first_reader, f->columns + 1);
  MAKE(f->own_column, f->columns + 8);
  int32_t cells = 0;
  for (int64_t c = 0, word = 0; c < f->columns; c++) {
    if (c && f->column[c] < f->column[c - 1]) return "the columns do not ascend";
    f->own_column[c] = (int32_t)c;
    if (c && f->column[c] == f->column[c - 1]) continue; /* one reads the cell as a number, the next as a category */
    while (word < f->column[c] / 64) f->cells_before[++word] = cells;
    f->read_bits[word] |= 1ull << (f->column[c] & 63);
    f->first_reader[cells++] = (int32_t)c;
  }
  int64_t *last = malloc((size_t)(f->columns + 1) * sizeof *last);
  const char *fault = last ? make_absent(f, f->absent, 0, last) : "out of memory";
  if (!fault) fault = make_absent(f, f->absent + 1, NAN, last);
  free(last);
  return fault;
}

/* Go through the stored cells of row r that the forest reads: c is the column, v the value. `seen` is [columns] bits. */
#define STORED_CELLS(s, r, ...) \
  for (int64_t i_ = whole_at((s)->start, (s)->start64, r), end_ = whole_at((s)->start, (s)->start64, (r) + 1); i_ < end_; i_++) { \
    const int64_t cell_ = whole_at((s)->index, (s)->index64, i_); \
    if (cell_ < 0 || cell_ >= f->width) return OUTSIDE; \
    int64_t c = reader_of(f, cell_); \
    if (c < 0) continue; \
    if (seen[c >> 6] >> (c & 63) & 1) return STORED_TWICE; \
    seen[c >> 6] |= 1ull << (c & 63); \
    const double v = value_at(s, i_); \
    for (; c < f->columns && f->column[c] == cell_; c++) { __VA_ARGS__ } \
  }

/* Fill in dense rows of the columns that the forest reads: x [n][columns]. */
static inline int fill_rows(const Forest *f, const Sparse *s, int64_t first, int64_t n, double *x, uint64_t *seen) {
  const double absent = s->missing ? NAN : 0;
  for (int64_t i = 0; i < n * f->columns; i++) x[i] = absent;
  for (int64_t r = 0; r < n; r++, x += f->columns) {
    memset(seen, 0, (size_t)(f->columns / 64 + 1) * 8);
    STORED_CELLS(s, first + r, x[c] = v;)
  }
  return ANSWERED;
}

static inline int filled_rows(const Forest *f, const Sparse *s, int64_t n, double *out) {
  const int64_t block = n < BLOCK ? n : BLOCK, words = f->columns / 64 + 1;
  double *x = malloc((size_t)(block * f->columns + 1) * sizeof *x + (size_t)words * 8);
  Forest part = *f;
  part.width = f->columns;
  part.column = part.row_column = f->own_column;
  int done = x ? ANSWERED : NO_MEMORY;
  for (int64_t start = 0; start < n && done == ANSWERED; start += block) {
    const int64_t here = n - start < block ? n - start : block;
    done = fill_rows(f, s, start, here, x, (uint64_t *)(x + block * f->columns));
    if (done == ANSWERED) done = score(&part, x, here, out + start * f->outputs);
  }
  free(x);
  return done;
}

/* Sums of one row. `keys`, `found` and `way` have room for those of a row, `seen` and `touched` for a bit per column and tree. */
static inline int walk_stored(const Forest *f, const Sparse *s, int64_t r, int32_t *keys, uint32_t *found, uint64_t *way, uint64_t *seen, uint64_t *touched, double *sums) {
  const AbsentRow *a = f->absent + s->missing;
  int64_t refused = a->refused, ways = 0;
  memcpy(keys, a->keys, (size_t)f->walk_columns * sizeof *keys);
  memset(seen, 0, (size_t)(f->columns / 64 + 1) * 8);
  memset(touched, 0, (size_t)(f->trees / 64 + 1) * 8);
  STORED_CELLS(s, r,
    if (f->refuses) {
      if (refuses_value(f, c, v)) return REFUSED;
      refused -= refuses_value(f, c, s->missing ? NAN : 0);
    }
    const int32_t key = key_of(f, c, v);
    int changed = 0;
    for (int side = 0; side < 2; side++) {
      const int32_t place = f->walk_place[2 * c + side];
      if (place < 0) continue;
      const int32_t own = walked(f, place, key);
      changed |= own != keys[place];
      keys[place] = own;
    }
    for (int64_t i = a->path_start[c]; changed && i < a->path_start[c + 1]; i++) touched[a->path_tree[i] >> 6] |= 1ull << (a->path_tree[i] & 63);
  )
  if (refused) return REFUSED;
  for (int64_t w = 0; w <= f->trees / 64; w++)
    for (uint64_t bits = touched[w]; bits; bits &= bits - 1) way[ways++] = (uint64_t)(64 * w + __builtin_ctzll(bits)) << 32;
  start_row(f, sums);
  if (f->is_near && ways > f->trees / 2) walk_row(f, keys, found, sums);
  else {
    Forest part = *f;
    part.way = way;
    part.ways = ways;
    part.trees = part.is_near = 0;
    memcpy(found, a->found, (size_t)f->trees * sizeof *found);
    walk_far(&part, keys, found);
    for (int64_t t = 0; t < f->trees; t++) add_tree(f, t, found + t, sums);
  }
  if (f->link != IDENTITY) link_row(f, sums);
  return ANSWERED;
}

static inline int walked_rows(const Forest *f, const Sparse *s, int64_t n, double *out) {
  const int64_t seen = f->columns / 64 + 1, touched = f->trees / 64 + 1;
  uint64_t *room = malloc((size_t)(seen + touched + f->trees + 1) * 8 + (size_t)(f->trees + f->walk_columns) * 4);
  uint64_t *way = room + seen + touched;
  uint32_t *found = room ? (uint32_t *)(way + f->trees + 1) : NULL;
  int done = room ? ANSWERED : NO_MEMORY;
  for (int64_t r = 0; r < n && done == ANSWERED; r++)
    done = walk_stored(f, s, r, (int32_t *)found + f->trees, found, way, room, room + seen, out + r * f->outputs);
  free(room);
  return done;
}

/* Scores of n sparse rows -> out [n][outputs]; STORED_TWICE if a row has two values for one cell, which must be summed first. */
static inline int score_sparse(const Forest *f, const Sparse *s, int64_t n, double *out) {
  if (f->lanes || (f->interval && n > ROW_BY_ROW)) return filled_rows(f, s, n, out);
  return walked_rows(f, s, n, out);
}

#endif
