/* Walk many paths at once, one step of each in turn. What a step will read is prefetched as soon as it is known, and memory
   fetches the lines of all paths while the others step; a path that ends drops out. The trees of one row that are in the
   near caches need no prefetch: a few of them are interleaved in registers. */
#ifndef HEADWAY_WAYS_H
#define HEADWAY_WAYS_H

#include "forest.h"

#define TOGETHER 512             /* paths: of the trees of one row, or of the rows in one tree */

/* STEP returns the index after `from`; ENDS is 1 at the end of a path, else 0, without a branch, which would be
   mispredicted once per path. At an end the line of the root is prefetched, which is near. */
#define WAYS_DOWN(count, begun, TREE, ROW, STEP, ENDS, found) \
  uint64_t way[TOGETHER]; \
  const uint64_t *now = (begun); \
  for (int64_t under_way = (count), kept; under_way; under_way = kept, now = way) { \
    kept = 0; \
    _Pragma("GCC unroll 4") for (int64_t k = 0; k < under_way; k++) { \
      const uint64_t which = now[k] >> 32; \
      const uint32_t from = (uint32_t)now[k], to = STEP(TREE(which), from, ROW(which)), ends = ENDS(TREE(which), from, to); \
      __builtin_prefetch(TREE(which) + (to & (ends - 1))); \
      (found)[which] = to; \
      way[kept] = which << 32 | to; \
      kept += 1 - ends; \
    } \
  }

#define WALKS(NAME, TARGET, NODE, STEP, ENDS) \
  /* Find the leaf of a row in each tree; x are its keys. */ \
  TARGET static void NAME##_row(const Forest *f, const NODE *nodes, const int32_t *x, uint32_t *found) { \
    memcpy(found, f->start, (size_t)f->trees * sizeof *found); \
    for (int64_t first = 0; first < f->ways; first += TOGETHER) { \
      WAYS_DOWN(f->ways - first < TOGETHER ? f->ways - first : TOGETHER, f->way + first, NODES_OF_TREE, ONE_ROW, STEP, ENDS, found) \
    } \
  } \
  /* Find the leaf of each of n <= TOGETHER rows in tree t. */ \
  TARGET static void NAME##_tree(const Forest *f, const NODE *nodes, int64_t t, const int32_t *x, int64_t n, uint32_t *found) { \
    const NODE *tree = nodes + f->root[t]; \
    uint64_t begun[TOGETHER]; \
    for (int64_t r = 0; r < n; r++) { found[r] = f->start[t]; begun[r] = (uint64_t)r << 32; } \
    WAYS_DOWN(f->start[t] ? 0 : n, begun, ONE_TREE, ROW_OF_KEYS, STEP, ENDS, found) \
  }

/* The same as NAME_row, eight or twelve trees at a time; STEP keeps a path that has ended where it is. */
#define NEAR_WALK(NAME, TARGET, NODE, ABREAST, STEP, ENDS) \
  TARGET static void NAME##_near(const Forest *f, const NODE *nodes, const int32_t *x, uint32_t *found) { \
    for (int64_t t = 0; t < f->trees; t += ABREAST) { \
      const NODE *tree[ABREAST]; \
      uint32_t i[ABREAST], ended = 0; \
      for (int j = 0; j < ABREAST; j++) { \
        const int32_t number = f->by_depth[t + j < f->trees ? t + j : t]; \
        tree[j] = nodes + f->root[number]; \
        i[j] = f->start[number]; \
      } \
      while (!ended) { \
        ended = ~0u; \
        _Pragma("GCC unroll 16") for (int j = 0; j < ABREAST; j++) { \
          const uint32_t to = STEP(tree[j], i[j], x); \
          ended &= ENDS(tree[j], i[j], to); \
          i[j] = to; \
        } \
      } \
      for (int j = 0; j < ABREAST && t + j < f->trees; j++) found[f->by_depth[t + j]] = i[j]; \
    } \
  }

#define NODES_OF_TREE(t) (nodes + f->root[t])
#define ONE_TREE(r) tree
#define ONE_ROW(t) x
#define ROW_OF_KEYS(r) (x + (r) * (uint64_t)f->walk_columns)

#endif
