/* Predict the rows of a compressed sparse matrix. Cells that are not stored have one value, `absent`: what a row of such
   cells alone does is known when a model is opened, so only the stored cells of a row are looked up, and only the trees
   are walked whose path by absent cells reads one of them. */
#ifndef HEADWAY_SPARSE_H
#define HEADWAY_SPARSE_H

#include "score.h"

#define FEW_OTHERS 8             /* a dense row with at most this part of its values other than 0 is treated as sparse */

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

/* The indices in the walking form of the two children of a node; slim ones may be leaves. */
static inline void children_of(const Forest *f, int64_t t, uint32_t from, uint32_t *ends) {
  if (f->slim) {
    const uint64_t n = f->slim[f->root[t] + from];
    ends[0] = (uint32_t)(n >> SLIM_LEFT) & (2 * LEAF - 1);
    ends[1] = (uint32_t)(n >> SLIM_RIGHT) & (2 * LEAF - 1);
  } else {
    ends[0] = f->wide ? f->wide[f->root[t] + from].left : f->narrow[f->root[t] + from].packed >> COLUMN_BITS;
    ends[1] = ends[0] + 1;
  }
}

static inline int goes_on(const Forest *f, int asks_set, int32_t key, int32_t x) { return asks_set ? !in_set(f, key, x) : x > key; }

/* Follow the path of the absent row through tree t: count its nodes by column, or store them there if `path_start` has the
   places. Return the leaf. */
static int64_t follow(const Forest *f, AbsentRow *a, int64_t t) {
  const int64_t root = f->tree_start[t], count = f->output_start[t + 1] - f->output_start[t];
  int64_t i = f->tree_start[t + 1] > root ? 0 : ~0;
  uint32_t at = 0, ends[2];
  for (int32_t depth = 0; i >= 0; depth++) {
    const int64_t n = root + i;
    const int32_t place = asked_by(f, n), set = f->flag[n] & NODE_CATEGORICAL, way[2] = {f->left[n], f->right[n]};
    const int right = goes_on(f, set, f->key[n], a->keys[place]);
    int64_t *where = a->path_start + f->feature[n] + 1;
    children_of(f, t, at, ends);
    if (a->path) a->path[*where] = (PathNode){
      way[!right] < 0 ? f->value_start[t] + ~(int64_t)way[!right] * count : -1, (int32_t)t, depth, f->key[n], place, ends[!right], (uint8_t)set, (uint8_t)right};
    ++*where;
    at = ends[right];
    i = way[right];
  }
  return ~i;
}

/* Make an absent row of a forest that is walked; two threads must not do so at once. */
static const char *make_absent(Forest *f, int missing) {
  AbsentRow *a = f->absent + missing;
  const double absent = missing ? NAN : 0;
  a->refused = 0;
  for (int64_t c = 0; c < f->columns; c++) a->refused += refuses_value(f, c, absent);
  if (!f->walk_columns) { a->is_made = 1; return NULL; }
  MAKE(a->keys, f->walk_columns);
  MAKE(a->values, f->output_start[f->trees] + 1);
  MAKE(a->path_start, f->columns + 2);
  for (int64_t c = 0; c < f->columns; c++)
    for (int side = 0; side < 2; side++) {
      const int32_t place = f->walk_place[2 * c + side];
      if (place >= 0) a->keys[place] = walked(f, place, key_of(f, c, absent));
    }
  a->keys[f->walk_columns - 1] = INT32_MIN;
  a->path = NULL;
  for (int64_t t = 0; t < f->trees; t++) follow(f, a, t);
  for (int64_t c = 0; c < f->columns; c++) a->path_start[c + 1] += a->path_start[c];
  const int64_t nodes = a->path_start[f->columns];
  for (int64_t c = f->columns; c > 0; c--) a->path_start[c] = a->path_start[c - 1];
  MAKE(a->path, nodes + 1);
  for (int64_t t = 0; t < f->trees; t++) {
    const int64_t first = f->output_start[t], count = f->output_start[t + 1] - first, leaf = follow(f, a, t);
    memcpy(a->values + first, f->leaf + f->value_start[t] + leaf * count, (size_t)count * sizeof *a->values);
  }
  a->is_made = 1;
  return NULL;
}

/* Whether few dense rows are looked at for zeros first: a row of many columns is mostly zeros, if it is one of counts or of
   categories. */
static inline int is_wide(const Forest *f) { return !f->lanes && !f->interval && f->columns > MOST_PLANES; }

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
  return is_wide(f) ? make_absent(f, 0) : NULL;
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

/* Room for one row: its keys, the leaves found, the paths, a bit per column and per tree, the node at which each tree leaves
   the path of the absent row, and what the trees add. */
typedef struct { int32_t *keys; uint32_t *found; uint64_t *way, *seen, *left; const PathNode **node; double *values; } RowRoom;

static void add_all(const Forest *f, const double *values, double *sums) {
  const int64_t n = f->output_start[f->trees];
  double sum = sums[0];
  if (f->outputs > 1) { for (int64_t i = 0; i < n; i++) sums[f->output[i]] = added(f, sums[f->output[i]], values[i]); return; }
  if (f->sums_float32) for (int64_t i = 0; i < n; i++) sum = (double)(float)(sum + values[i]);
  else for (int64_t i = 0; i < n; i++) sum += values[i];
  sums[0] = sum;
}

static inline void put_values(const Forest *f, int64_t t, int64_t value, double *values) {
  const int64_t first = f->output_start[t], count = f->output_start[t + 1] - first;
  memcpy(values + first, f->leaf + value, (size_t)count * sizeof *values);
}

/* The values of the leaf that a walk found. */
static inline void put_found(const Forest *f, int64_t t, uint32_t found, double *values) {
  if (f->slim) values[f->output_start[t]] = f->slim_values[f->slim_base[t] + (found & (LEAF - 1))];
  else put_values(f, t, f->value_start[t] + (leaf_at(f, t, found) - f->leaf_start[t]) * (f->output_start[t + 1] - f->output_start[t]), values);
}

static inline void start_absent(const Forest *f, const AbsentRow *a, RowRoom room) {
  memcpy(room.keys, a->keys, (size_t)f->walk_columns * sizeof *room.keys);
  memset(room.seen, 0, (size_t)(f->columns / 64 + 1) * 8);
  memset(room.left, 0, (size_t)(f->trees / 64 + 1) * 8);
  memcpy(room.values, a->values, (size_t)f->output_start[f->trees] * sizeof *room.values);
}

/* Put a value of column c into the row, and note where trees leave the path of the absent row because of it. */
static inline void put_cell(const Forest *f, const AbsentRow *a, RowRoom room, int64_t c, double v) {
  const int32_t key = key_of(f, c, v);
  for (int side = 0; side < 2; side++) {
    const int32_t place = f->walk_place[2 * c + side];
    if (place >= 0) room.keys[place] = walked(f, place, key);
  }
  for (const PathNode *n = a->path + a->path_start[c], *end = a->path + a->path_start[c + 1]; n < end; n++) {
    if (goes_on(f, n->asks_set, n->key, room.keys[n->place]) == n->right) continue;
    uint64_t *word = room.left + (n->tree >> 6);
    if (*word >> (n->tree & 63) & 1 && room.node[n->tree]->depth < n->depth) continue;
    *word |= 1ull << (n->tree & 63);
    room.node[n->tree] = n;
  }
}

/* Walk the trees that left the path, and add up. */
static inline void sum_row(const Forest *f, RowRoom room, double *sums) {
  int64_t ways = 0;
  for (int64_t w = 0; w <= f->trees / 64; w++)
    for (uint64_t bits = room.left[w]; bits; bits &= bits - 1) {
      const PathNode *n = room.node[64 * w + __builtin_ctzll(bits)];
      if (n->value >= 0) put_values(f, n->tree, n->value, room.values);
      else room.way[ways++] = (uint64_t)n->tree << 32 | n->other;
    }
  if (ways) {
    Forest part = *f;
    part.way = room.way;
    part.ways = ways;
    part.trees = part.is_near = 0;
    walk_far(&part, room.keys, room.found);
  }
  for (int64_t w = 0; w < ways; w++) put_found(f, (int64_t)(room.way[w] >> 32), room.found[room.way[w] >> 32], room.values);
  start_row(f, sums);
  add_all(f, room.values, sums);
  if (f->link != IDENTITY) link_row(f, sums);
}

static inline int walk_stored(const Forest *f, const Sparse *s, int64_t r, RowRoom room, double *sums) {
  const AbsentRow *a = f->absent + s->missing;
  uint64_t *seen = room.seen;
  int64_t refused = a->refused;
  start_absent(f, a, room);
  STORED_CELLS(s, r,
    if (f->refuses) {
      if (refuses_value(f, c, v)) return REFUSED;
      refused -= refuses_value(f, c, s->missing ? NAN : 0);
    }
    put_cell(f, a, room, c, v);
  )
  if (refused) return REFUSED;
  sum_row(f, room, sums);
  return ANSWERED;
}

/* Make room for a row; free(room.seen) gives it back. */
static inline RowRoom make_room(const Forest *f) {
  const int64_t seen = f->columns / 64 + 1, left = f->trees / 64 + 1, values = f->output_start[f->trees];
  uint64_t *at = malloc((size_t)(seen + left + 2 * f->trees + values) * 8 + (size_t)(f->trees + f->walk_columns) * 4);
  if (!at) return (RowRoom){0};
  RowRoom room = {.seen = at, .left = at + seen, .way = at + seen + left, .values = (double *)(at + seen + left + f->trees)};
  room.node = (const PathNode **)(room.values + values);
  room.found = (uint32_t *)(room.node + f->trees);
  room.keys = (int32_t *)(room.found + f->trees);
  return room;
}

static inline int walked_rows(const Forest *f, const Sparse *s, int64_t n, double *out) {
  RowRoom room = make_room(f);
  int done = room.seen ? ANSWERED : NO_MEMORY;
  for (int64_t r = 0; r < n && done == ANSWERED; r++) done = walk_stored(f, s, r, room, out + r * f->outputs);
  free(room.seen);
  return done;
}

/* A dense row as one whose zeros are absent; 0 if it has too many other values for that. */
static inline int walk_others(const Forest *f, const double *x, RowRoom room, double *sums) {
  int64_t left = f->columns / FEW_OTHERS;
  start_absent(f, f->absent, room);
  for (int64_t c = 0; c < f->columns; c++) {
    const double v = x[f->column[c]];
    if (v == 0) continue;
    if (!left--) return 0;
    put_cell(f, f->absent, room, c, v);
  }
  sum_row(f, room, sums);
  return 1;
}

static inline int score_wide(const Forest *f, const double *x, int64_t n, double *out) {
  for (int64_t r = 0; f->refuses && r < n; r++) if (is_refused(f, x + r * f->width, 1)) return REFUSED;
  RowRoom room = make_room(f);
  int done = room.seen ? ANSWERED : NO_MEMORY;
  for (int64_t r = 0; r < n && done == ANSWERED; r++)
    if (!walk_others(f, x + r * f->width, room, out + r * f->outputs)) done = score(f, x + r * f->width, 1, out + r * f->outputs);
  free(room.seen);
  return done;
}

/* Scores of n sparse rows -> out [n][outputs]; STORED_TWICE if a row has two values for one cell, which must be summed first. */
static inline int score_sparse(const Forest *f, const Sparse *s, int64_t n, double *out) {
  if (f->lanes || (f->interval && n > ROW_BY_ROW)) return filled_rows(f, s, n, out);
  return walked_rows(f, s, n, out);
}

#endif
