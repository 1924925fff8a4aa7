/* The interval form for batches with AVX-512, in fewer comparisons. A comparison that writes a mask can only run on one port of
   the processor, and each node needs two: whether the row goes right, and whether it is at the node at all. A tree is
   therefore cut into chains: from a node down to the child with the longer way to go, until a leaf. A row that is at the
   first node leaves the chain at the topmost node that sends it off, so if the nodes of a chain are evaluated from the last
   to the first, whether the row is at the chain is asked once for all of them. While it has not left, its leaf is that at
   the end of the chain, which names the chain.

   Chains of one length are evaluated together for several trees, so that their loops have no branch that depends on the
   tree. A chain that hangs from another is shorter, so the longest come first. */
#ifndef HEADWAY_CHAINS_H
#define HEADWAY_CHAINS_H

#include "lay_out.h"
#include "sums.h"

#define FOUR(byte) ((uint32_t)(byte) * 0x01010101u)

/* A node on its chain: how many nodes from it to the end, the next one (-1 at the end), the leaf at the end, the leaf or chain
   to which it sends rows off, and whether those are the rows that go left. */
typedef struct { int32_t left, next; uint8_t end, off, flipped; } Chained;

/* A part of a chain: its first node, how many nodes from it to the end, and its number among the parts of its tree. */
typedef struct { int32_t tree, node, left, number; } ChainPart;

static inline int32_t nodes_of(int32_t left) { return left < CHAIN_NODES ? left : CHAIN_NODES; }

static int by_length(const void *a, const void *b) {
  const ChainPart *p = a, *q = b;
  return p->left != q->left ? q->left - p->left : p->number != q->number ? p->number - q->number : p->tree - q->tree;
}

/* Cut tree t into chains; `place` are the numbers of its leaves. Return the next free part. */
static ChainPart *cut_tree(const Forest *f, int64_t t, const int32_t *place, Chained *chained, ChainPart *part) {
  const int64_t start = f->tree_start[t], m = f->tree_start[t + 1] - start;
  int32_t number = 0;
  chained += start;
  for (int64_t i = m - 1; i >= 0; i--) {
    const int32_t l = f->left[start + i], r = f->right[start + i];
    const int32_t below_l = l < 0 ? 0 : chained[l].left, below_r = r < 0 ? 0 : chained[r].left;
    const int flipped = below_r > below_l;
    const int32_t on = flipped ? r : l, off = flipped ? l : r;
    chained[i] = (Chained){1 + (flipped ? below_r : below_l), on < 0 ? -1 : on, (uint8_t)(on < 0 ? place[~on] : chained[on].end),
                           (uint8_t)(off < 0 ? place[~off] : chained[off].end), (uint8_t)flipped};
  }
  f->chain_first[t] = m ? chained[0].end : 0;
  for (int64_t i = -1; i < m; i++) { /* the root, and where each node sends rows off to */
    int32_t n = i < 0 ? (m ? 0 : -1) : chained[i].flipped ? f->left[start + i] : f->right[start + i];
    while (n >= 0) {
      *part++ = (ChainPart){(int32_t)t, n, chained[n].left, number++};
      for (int32_t left = nodes_of(chained[n].left); left; left--) n = chained[n].next;
    }
  }
  return part;
}

/* Write a part: its leaf, where its tree has those of the rows, and its nodes from the last on. */
static uint32_t *put_chain(const Forest *f, const ChainPart *part, const Chained *chained, const int32_t *plane, uint32_t *to) {
  const int64_t start = f->tree_start[part->tree];
  const int32_t length = nodes_of(part->left);
  int32_t n = part->node;
  *to++ = FOUR(chained[start + n].end);
  *to++ = (uint32_t)(part->tree % CHAIN_TREES) * BLOCK;
  for (int32_t i = length; i-- > 0; n = chained[start + n].next) {
    const Chained *node = chained + start + n;
    const int32_t p = plane[start + n], k = f->key[start + n] - f->planes[p].first;
    to[3 * i] = FOUR(node->flipped ? PLANE_THRESHOLDS - k : k);
    to[3 * i + 1] = FOUR(node->off);
    to[3 * i + 2] = (uint32_t)(p + (node->flipped ? f->n_planes : 0)) * BLOCK;
  }
  return to + 3 * length;
}

/* Cut all trees into chains. The planes of nodes, and the numbers of leaves, are those of the interval form. */
static const char *make_chains(Forest *f, const int32_t *plane, const int32_t *place) {
  const int64_t groups = (f->trees + CHAIN_TREES - 1) / CHAIN_TREES;
  MAKE(f->chains, 5 * f->nodes);
  MAKE(f->chain_count, groups * CHAIN_NODES);
  MAKE(f->chain_first, f->trees);
  Chained *chained = malloc((size_t)(f->nodes + 1) * sizeof *chained);
  ChainPart *parts = malloc((size_t)(f->nodes + 1) * sizeof *parts);
  uint32_t *to = f->chains;
  for (int64_t g = 0; chained && parts && g < groups; g++) {
    ChainPart *end = parts;
    for (int64_t t = g * CHAIN_TREES; t < (g + 1) * CHAIN_TREES && t < f->trees; t++) end = cut_tree(f, t, place + f->leaf_start[t], chained, end);
    qsort(parts, (size_t)(end - parts), sizeof *parts, by_length);
    for (const ChainPart *part = parts; part < end; part++) {
      f->chain_count[g * CHAIN_NODES + nodes_of(part->left) - 1]++;
      to = put_chain(f, part, chained, plane, to);
    }
  }
  const int whole = chained && parts;
  free(chained);
  free(parts);
  return whole ? NULL : "out of memory";
}

#if defined(__x86_64__)

/* The chains of one length: rows are in VECTORS registers, `reached` has their leaves in each tree. */
#define CHAINS(LENGTH) \
  for (int32_t left = count[(LENGTH) - 1]; left; left--, at += 2 + 3 * (LENGTH)) { \
    uint8_t *leaves = reached + at[1]; \
    const __m512i name = _mm512_set1_epi32((int)at[0]); \
    __m512i e[4]; \
    __mmask64 here[4]; \
    _Pragma("GCC unroll 4") for (int v = 0; v < vectors; v++) { \
      e[v] = _mm512_load_si512(leaves + 64 * v); \
      here[v] = _mm512_cmpeq_epu8_mask(e[v], name); \
    } \
    _Pragma("GCC unroll 8") for (int i = 0; i < (LENGTH); i++) { \
      const __m512i k = _mm512_set1_epi32((int)at[2 + 3 * i]), off = _mm512_set1_epi32((int)at[3 + 3 * i]); \
      const uint8_t *x = P + at[4 + 3 * i]; \
      _Pragma("GCC unroll 4") for (int v = 0; v < vectors; v++) \
        e[v] = _mm512_mask_mov_epi8(e[v], _mm512_mask_cmpgt_epu8_mask(here[v], _mm512_load_si512(x + 64 * v), k), off); \
    } \
    _Pragma("GCC unroll 4") for (int v = 0; v < vectors; v++) _mm512_store_si512(leaves + 64 * v, e[v]); \
  }

/* Leaves of rows in the trees of a group; return the chains of the next one. */
AVX512_TARGET static inline __attribute__((always_inline)) const uint32_t *walk_chains(const int32_t *count, const uint32_t *at, const uint8_t *P,
                                                                                 uint8_t *reached, const int vectors) {
  CHAINS(8) CHAINS(7) CHAINS(6) CHAINS(5) CHAINS(4) CHAINS(3) CHAINS(2) CHAINS(1)
  return at;
}

#define WALK_CHAINS(VECTORS) \
  AVX512_TARGET static const uint32_t *walk_chains_##VECTORS(const int32_t *count, const uint32_t *at, const uint8_t *P, uint8_t *reached) { \
    return walk_chains(count, at, P, reached, VECTORS); \
  }
WALK_CHAINS(1)
WALK_CHAINS(2)
WALK_CHAINS(3)
WALK_CHAINS(4)

/* Sums of at most BLOCK rows, float32 if the forest adds those; P [2 planes][BLOCK] has room for the complements of the planes, and is aligned. */
AVX512_TARGET static void chain_block(const Forest *f, uint8_t *P, int64_t n, double *sums) {
  static const uint32_t *(*const by_vectors[])(const int32_t *, const uint32_t *, const uint8_t *, uint8_t *) = {walk_chains_1, walk_chains_2, walk_chains_3, walk_chains_4};
  uint8_t reached[CHAIN_TREES * BLOCK] __attribute__((aligned(64)));
  const uint32_t *at = f->chains;
  for (int64_t p = 0; p < f->n_planes; p++)
    for (uint8_t *x = P + p * BLOCK, *last = x + n; x < last; x += 64)
      _mm512_store_si512(x + f->n_planes * BLOCK, _mm512_xor_si512(_mm512_load_si512(x), _mm512_set1_epi8(-1)));
  for (int64_t t = 0; t < f->trees; t += CHAIN_TREES) {
    const int64_t end = t + CHAIN_TREES < f->trees ? t + CHAIN_TREES : f->trees;
    for (int64_t i = t; i < end; i++) memset(reached + (i - t) * BLOCK, f->chain_first[i], BLOCK);
    at = by_vectors[(n - 1) / 64](f->chain_count + t / CHAIN_TREES * CHAIN_NODES, at, P, reached);
    for (int64_t i = t; i < end; i++) add_tree_planes(f, i, reached + (i - t) * BLOCK, n, sums);
  }
}

#endif
#endif
