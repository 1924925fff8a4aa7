/* A forest: the arrays that Python passes, and the forms that are built from them once and read by the kernels. */
#ifndef HEADWAY_FOREST_H
#define HEADWAY_FOREST_H

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK 256                /* rows of a batch that are processed together */
#define LANES 64                 /* trees that are walked together for one row */
#define LANE_BYTES (3 * LANES)   /* of a step of theirs */
#define MISSING INT32_MAX        /* the key of a missing value: above every threshold */
#define BYTE_MISSING 255         /* its code in a plane that sends it right; 0 sends it left */
#define PLANE_THRESHOLDS 254     /* thresholds that a plane of bytes can distinguish */
#define MOST_PLANES 256
#define MOST_LEAVES 256          /* leaves of a tree that a byte can number */
#define CHAIN_TREES 16            /* trees whose chains are evaluated together */
#define CHAIN_NODES 8             /* of a chain at once */
#define CHAINED_NODES 8           /* of a tree on the average, from which on chains are faster */
#define BIT_ROWS 128              /* more rows are evaluated as bits if */
#define BIT_NODES 20              /* trees have as many nodes on the average */
#define SET_BYTES (BLOCK / 8)     /* of a set of the rows of a block, a bit for each */
#define BIT_TREES 4               /* trees that are evaluated together by such sets */
#define BIT_LEAVES (MOST_LEAVES + 1)
#define SEARCHED 256             /* thresholds of a column, padded with infinity */
#define RUN 16                   /* thresholds in two registers */
#define LEVEL_CELLS (4 * 8 + 16 + 32 + 64) /* of the first seven levels of a search tree, the first four in a register each */
#define HUGE_PAGE (2u << 20)
#define PAIRS_OF_A_LINE 4         /* pairs of siblings in a cache line */
#define NEAR_NODES (1 << 17)      /* of 8 bytes each; so many stay in the caches of a core */
#define NODES_OF_A_LINE (2 * PAIRS_OF_A_LINE)
#define MOST_MASK_BYTES (64ll << 20) /* of lanes that go right; a model that needs more walks single rows */
#define ZERO 1.0000000180025095e-35 /* float32(1e-35): values within are zero to LightGBM */

enum { COLUMN_CATEGORICAL = 1, COLUMN_ZERO_IS_MISSING = 2, COLUMN_IS_FINITE = 4, COLUMN_IS_PRESENT = 8 };
enum { TRUNCATED, FLOORED, EXACT };         /* how a number becomes a category */
enum { NODE_CATEGORICAL = 1, NODE_MISSING_LEFT = 2 };
enum { PORTABLE = 0, AVX2 = 1, AVX512 = 2, NEON = 1 };

#define ROW_BY_ROW 12             /* up to so many rows, one by one is faster than a block; with AVX-512 it depends on how many of the lanes have a node */
#define LANE_LEVEL 1              /* from this level on, 64 trees may be walked together for one row */
#define MOST_AVX2_PLANES 64       /* with AVX2 if the forest has no more planes and no sets, and */
#define WALK_OF_LANES 3           /* a step of theirs, which takes as long as so many of a walk, stands for more */
enum { IDENTITY, SIGMOID, SOFTMAX, EXP, SOFTPLUS, SIGNED_SQUARE, POSITIVE, ISOLATION };

/* Interval form of a node: the code in `plane` is compared with k, or looked up in set k; [l, r) are the leaves of its
   left subtree. Each byte is stored four times, so that one load fills a register with it. */
typedef struct { uint32_t k4, l4, r4, plane; } Interval;

/* The same node for sets of rows: where the set of those that go right is, and the sets of the rows with its first leaf, the
   first of its right subtree, and the first after both, or a later one. */
typedef struct { uint32_t right; uint16_t first, half, end; } BitNode;
typedef struct { uint32_t k4, plane; } Test;

/* Walking form of a node or leaf: `left` counts from the root of the tree, its sibling follows. A leaf reads the last
   column, leads to itself, and its key is its index among the leaves; the key of a node that tests a set is the set. In
   the narrow form the column, the flag for sets, and left share one word. */
#define COLUMN_BITS 10
#define SET_COLUMN (1u << (COLUMN_BITS - 1))
#define NARROW_NODES (1 << (32 - COLUMN_BITS))
typedef struct { int32_t key; uint32_t packed; } Narrow;
typedef struct { int32_t key; uint32_t column, left, asks_set; } Wide;

/* Slim form of a node: threshold, column, and the references left and right; a reference is an index, or LEAF and the index of a value. */
#define MOST_SLIM_COLUMNS 1024
#define MOST_SLIM_THRESHOLDS 65535
#define SLIM_LEFT 16
#define SLIM_RIGHT 35
#define SLIM_COLUMN 54
#define LEAF_BIT 18
#define LEAF (1u << LEAF_BIT)
#define SLIM_OF_A_LINE 8
#define SLIM_ABREAST 12           /* trees that are walked together in registers until the last has ended */
#define MOST_UNEVEN 1.3           /* of their steps over those to all leaves, on the average; more, and paths that drop out are faster */

/* What nodes read from a row: a column, the run of thresholds from `first` on, and the code of a missing value, which
   sends it left or right. */
typedef struct { int32_t column, first; uint8_t missing, categorical; } Plane;

/* A node on the path of a row without stored cells: the step that it takes, and where the other one leads: to the index
   `other` of the walking form, or, unless it is -1, to the leaf whose values start at `value`. */
typedef struct { int64_t value; int32_t tree, depth, key, place; uint32_t other; uint8_t asks_set, right; } PathNode;

/* A row of a sparse matrix without stored cells: its keys, what each tree adds, the nodes that it visits by the column that
   they read, and the number of columns that reject it. */
typedef struct { int32_t *keys; double *values; int64_t *path_start, refused; PathNode *path; int is_made; } AbsentRow;

typedef struct {
  int64_t width, outputs, trees, columns, sets, nodes;
  int rows_float32, sums_float32, whole, ordered, link, level, interval, refuses;
  double missing;
  double reach; /* from this magnitude on a number is infinite, or becomes so in steps before the trees */
  const double *base;                                     /* [outputs] */
  const int32_t *column; const uint8_t *kind;             /* [columns] index in a row, and flags */
  const int64_t *table_start; const double *table;        /* thresholds or categories of each column, ascending */
  const int64_t *tree_start, *value_start, *output_start; /* [trees + 1] */
  const int32_t *output;                                  /* outputs that a tree adds to */
  const int32_t *feature, *key, *left, *right; const uint8_t *flag; /* [nodes] */
  const double *leaf;                                     /* values, leaf by leaf, tree by tree */
  const int64_t *set_start; const int32_t *member;        /* members of each set, as indices in the table of its column */

  void **made; int64_t n_made;                            /* allocated by `build`, freed by `forget` */
  int64_t *leaf_start;                                    /* [trees + 1] leaves of the trees before */
  uint32_t *set_bits; int64_t *set_word;                  /* a bit for each table entry, per set */

  Interval *intervals;                                    /* nodes of each tree, parents before children */
  uint32_t *chains; int32_t *chain_count; uint8_t *chain_first; /* the same nodes by `chains.h`: of each 16 trees, how many of each length, and the leaf at which a tree begins */
  Test *test; int64_t tests; BitNode *bit_nodes;          /* and by `bits.h`, NULL if chains are always faster */
  double *interval_leaf;                                  /* as `leaf`, those of each tree from left to right */
  uint8_t *leaf_planes; int64_t *leaf_plane_start;        /* the same values byte by byte: 8 planes a tree and output, */
  int adds_float32;                                       /* or 4 if batches are added as float32 */
  uint8_t *byte_sets;                                     /* [sets][32] a bit for each code, the missing one too */
  Plane *planes; int32_t n_planes;
  int32_t *plane_start, *plane_order;                     /* [columns + 1] the planes of each column */
  double *search;                                         /* [columns][SEARCHED] tables padded with infinity (AVX2, AVX-512) */
  double *run_ends;                                       /* [columns][RUN] the last threshold of each run of a table */
  double *levels;                                         /* [columns][LEVEL_CELLS] the same tables as search trees (AVX-512) */
  int32_t *row_column; uint8_t *row_zeros;                /* `column`, and whose zeros are missing, eight by eight */
  int32_t *searched_alone; int32_t n_searched_alone;      /* columns of categories or of more thresholds than SEARCHED */

  uint8_t *lanes; int64_t *lane_start; int64_t groups;    /* steps of 3 x 64 bytes: plane, k, l of 64 trees, by r */
  int64_t alone;                                          /* up to so many rows, lanes are faster than a block */
  uint64_t **lane_masks; int32_t *mask_column; int32_t n_masks; int64_t steps; /* [code][step]: lanes that go right */

  Narrow *narrow; Wide *wide;
  uint64_t *slim; uint32_t *start;                        /* [trees] where a row starts: the root, 0, or the only leaf */
  const double *slim_values; int64_t *slim_base;          /* values of leaves: those of all trees once, or tree by tree */
  uint64_t *way; int64_t ways;                            /* trees with a node, as `ways.h` begins them */
  int32_t *by_depth; int is_near, is_even;                /* [trees]; whether all nodes fit in the near caches, and leaves are about as deep as their tree */
  int32_t *walk_place;                                    /* [columns][side] index at which nodes read it, -1 if none does */
  int32_t *walk_missing; int32_t walk_columns;            /* keys of missing values; the last one is that of leaves */
  int64_t *root;                                          /* [trees + 1] the first node of a tree */
  double *rest_low, *rest_high, rest_slack;               /* [tree / rest_every][outputs] bounds of the sums of the trees from each on */
  int64_t rest_every, first_test;                         /* the first tree before which one of several classes can be certain */

  uint64_t *read_bits; int32_t *cells_before;             /* a bit per cell of a row that is read, and how many before each 64 */
  int32_t *first_reader, *own_column;                     /* the first column that reads each of these cells; 0, 1, ... */
  AbsentRow absent[2];                                    /* of zeros, and of missing values; made when first needed */
} Forest;

/* Count how many of the n ascending values of a table are below v. */
static inline int32_t rank_of(const double *table, int32_t n, double v) {
  const double *p = table;
  if (!n) return 0;
  while (n > 1) {
    int32_t half = n >> 1;
    p += (p[half - 1] < v) * half;
    n -= half;
  }
  return (int32_t)(p - table) + (*p < v);
}

/* The same for eight values at once, none of them NaN; the eight searches are independent. */
static inline void ranks_of(const double *table, int32_t n, const double *v, int32_t *found) {
  int32_t at[8] = {0};
  int32_t left = n;
  while (left > 1) {
    const int32_t half = left >> 1;
    _Pragma("GCC unroll 8") for (int j = 0; j < 8; j++) at[j] += -(int32_t)(table[at[j] + half - 1] < v[j]) & half;
    left -= half;
  }
  for (int j = 0; j < 8; j++) found[j] = n ? at[j] + (table[at[j]] < v[j]) : 0;
}

/* The depth of the search tree of a table of so many thresholds. */
static inline int levels_of(int64_t size) {
  int depth = 4;
  while (1 << depth <= size) depth++;
  return depth;
}

/* Integers in the order of float32: 0.0 and -0.0 are equal. */
static inline int32_t in_order(float v) {
  int32_t bits;
  v += 0.0f;
  memcpy(&bits, &v, 4);
  return bits ^ ((bits >> 31) & 0x7fffffff);
}

/* The key of a value of column c: its rank, its float32 order, the index of its category, or MISSING. */
static inline int32_t key_of(const Forest *f, int64_t c, double v) {
  const int kind = f->kind[c];
  if (f->rows_float32) v = (double)(float)v;
  if (v != v || v == f->missing || ((kind & COLUMN_ZERO_IS_MISSING) && fabs(v) <= ZERO)) return MISSING;
  if (f->ordered && !(kind & COLUMN_CATEGORICAL)) return in_order((float)v);
  const double *table = f->table + f->table_start[c];
  const int32_t n = (int32_t)(f->table_start[c + 1] - f->table_start[c]);
  if (!(kind & COLUMN_CATEGORICAL)) return rank_of(table, n, v);
  v = f->whole == FLOORED ? floor(v) : f->whole == TRUNCATED ? trunc(v) : v;
  const int32_t place = rank_of(table, n, v);
  return place < n && table[place] == v ? place : n;
}

/* Keys of n values of column c, `by` apart. */
static void keys_of(const Forest *f, int64_t c, const double *x, int64_t by, int64_t n, int32_t *keys) {
  const int kind = f->kind[c];
  const double *table = f->table + f->table_start[c];
  const int32_t size = (int32_t)(f->table_start[c + 1] - f->table_start[c]);
  int64_t r = 0;
  for (; !f->ordered && !(kind & COLUMN_CATEGORICAL) && r + 8 <= n; r += 8) {
    double v[8];
    for (int j = 0; j < 8; j++) v[j] = x[(r + j) * by];
    if (f->rows_float32) for (int j = 0; j < 8; j++) v[j] = (double)(float)v[j];
    ranks_of(table, size, v, keys + r);
    for (int j = 0; j < 8; j++)
      if (v[j] != v[j] || v[j] == f->missing || ((kind & COLUMN_ZERO_IS_MISSING) && fabs(v[j]) <= ZERO)) keys[r + j] = MISSING;
  }
  for (; r < n; r++) keys[r] = key_of(f, c, x[r * by]);
}

/* Whether a row, its cells `by` apart, has a value that the model's library rejects: infinite, or missing. */
static inline int is_refused(const Forest *f, const double *x, int64_t by) {
  int refused = 0;
  for (int64_t c = 0; c < f->columns; c++) {
    double v = x[f->column[c] * by];
    if (f->rows_float32) v = (double)(float)v;
    refused |= (f->kind[c] & COLUMN_IS_FINITE) && fabs(v) >= f->reach;
    refused |= (f->kind[c] & COLUMN_IS_PRESENT) && (v != v || v == f->missing);
  }
  return refused;
}

static inline uint8_t byte_of(const Plane *plane, int32_t key) {
  if (key == MISSING) return plane->missing;
  const int32_t code = key - plane->first;
  return (uint8_t)(code < 0 ? 0 : code > PLANE_THRESHOLDS ? PLANE_THRESHOLDS : code);
}

static inline int in_set(const Forest *f, int64_t set, int32_t key) {
  return (f->set_bits[f->set_word[set] + (key >> 5)] >> (key & 31)) & 1;
}

/* Bytes of a plane of leaf values: as many as the permuted registers hold. */
static inline int64_t plane_width(const Forest *f, int64_t t) {
  const int64_t leaves = f->tree_start[t + 1] - f->tree_start[t] + 1;
  return leaves <= 64 ? 64 : leaves <= 128 ? 128 : 256;
}

/* Add a leaf to a sum, rounded as the library rounds. */
static inline double added(const Forest *f, double sum, double value) {
  return f->sums_float32 ? (double)(float)(sum + value) : sum + value;
}

/* Compute the answer of a row from its sums. */
static inline void link_row(const Forest *f, double *row) {
  const int64_t k = f->outputs;
  double highest = -INFINITY, total = 0;
  switch (f->link) {
    case SIGMOID: for (int64_t o = 0; o < k; o++) row[o] = 1 / (1 + exp(-row[o])); break;
    case EXP: for (int64_t o = 0; o < k; o++) row[o] = exp(row[o]); break;
    case SOFTPLUS: for (int64_t o = 0; o < k; o++) row[o] = row[o] > 700 ? row[o] : log1p(exp(row[o])); break;
    case SIGNED_SQUARE: for (int64_t o = 0; o < k; o++) row[o] *= fabs(row[o]); break;
    case POSITIVE: for (int64_t o = 0; o < k; o++) row[o] = row[o] > 0; break;
    case ISOLATION: for (int64_t o = 0; o < k; o++) row[o] = -exp2(-row[o]); break;
    case SOFTMAX:
      for (int64_t o = 0; o < k; o++) highest = row[o] > highest ? row[o] : highest;
      for (int64_t o = 0; o < k; o++) total += row[o] = exp(row[o] - highest);
      for (int64_t o = 0; o < k; o++) row[o] /= total;
      break;
    default: break;
  }
}

#endif
