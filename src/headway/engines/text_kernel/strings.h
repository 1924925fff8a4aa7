/* Hashes of strings, and tables from strings to numbers. Bytes are compared, so a hash decides only where to look. */
#ifndef HEADWAY_TEXT_STRINGS_H
#define HEADWAY_TEXT_STRINGS_H

#include "program.h"

static inline uint64_t load8(const uint8_t *p) { uint64_t x; memcpy(&x, p, 8); return x; }
static inline uint32_t load4(const uint8_t *p) { uint32_t x; memcpy(&x, p, 4); return x; }

static inline uint64_t mix(uint64_t a, uint64_t b) {
#ifdef __SIZEOF_INT128__
  const unsigned __int128 product = (unsigned __int128)a * b;
  return (uint64_t)product ^ (uint64_t)(product >> 64);
#else
  a ^= a >> 32; a *= b; a ^= a >> 29; a *= 0xbf58476d1ce4e5b9u;
  return a ^ a >> 32;
#endif
}

static inline uint64_t hash_bytes(const uint8_t *p, size_t n) {
  uint64_t h = 0x9e3779b97f4a7c15u * (n + 1), last;
  for (; n > 8; n -= 8, p += 8) h = mix(h ^ load8(p), 0xa0761d6478bd642fu);
  if (n == 8) last = load8(p);
  else if (n >= 4) last = load4(p) | (uint64_t)load4(p + n - 4) << 32;
  else last = n ? p[0] | (uint64_t)p[n / 2] << 8 | (uint64_t)p[n - 1] << 16 : 0;
  return mix(h ^ last, 0xe7037ed1a0b428dbu);
}

static inline uint32_t rotate(uint32_t x, int by) { return x << by | x >> (32 - by); }

/* MurmurHash3_x86_32 with seed 0, as HashingVectorizer computes it of the UTF-8 bytes. */
static int32_t murmur3(const uint8_t *p, size_t n) {
  uint32_t h = 0, k = 0;
  const size_t blocks = n / 4;
  for (size_t i = 0; i < blocks; i++, p += 4) {
    k = (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
    h = rotate(h ^ rotate(k * 0xcc9e2d51u, 15) * 0x1b873593u, 13) * 5 + 0xe6546b64u;
  }
  k = 0;
  switch (n & 3) {
    case 3: k ^= (uint32_t)p[2] << 16; /* fall through */
    case 2: k ^= (uint32_t)p[1] << 8; /* fall through */
    case 1: k ^= p[0]; h ^= rotate(k * 0xcc9e2d51u, 15) * 0x1b873593u;
  }
  h ^= (uint32_t)n;
  h ^= h >> 16; h *= 0x85ebca6bu;
  h ^= h >> 13; h *= 0xc2b2ae35u;
  h ^= h >> 16;
  int32_t found;
  memcpy(&found, &h, 4);
  return found;
}

static inline int equal_bytes(const uint8_t *a, const uint8_t *b, size_t n) {
  if (n < 8) {
    if (n >= 4) return load4(a) == load4(b) && load4(a + n - 4) == load4(b + n - 4);
    return !n || (a[0] == b[0] && a[n / 2] == b[n / 2] && a[n - 1] == b[n - 1]);
  }
  for (size_t i = 0; i + 8 < n; i += 8) if (load8(a + i) != load8(b + i)) return 0;
  return load8(a + n - 8) == load8(b + n - 8);
}

static inline int32_t find(const Table *table, const uint8_t *blob, uint64_t hash, const uint8_t *p, size_t n) {
  const uint32_t tag = (uint32_t)(hash >> 32);
  for (uint64_t at = hash & table->mask;; at = (at + 1) & table->mask) {
    const Slot *slot = table->slots + at;
    if (slot->id < 0) return -1;
    if (slot->tag == tag && slot->length == n && equal_bytes(blob + slot->at, p, n)) return slot->id;
  }
}

/* Make the table of `count` strings from `first`; a string that occurs twice keeps its last number, as a dict would. */
static int make_table(const Program *t, int64_t first, int64_t count, Table *table) {
  uint64_t size = 8;
  while (size < 2 * (uint64_t)count) size *= 2;
  table->mask = size - 1;
  if (!(table->slots = malloc(size * sizeof *table->slots))) return 0;
  for (uint64_t i = 0; i < size; i++) table->slots[i].id = -1;
  for (int64_t i = 0; i < count; i++) {
    const int64_t from = t->offsets[first + i];
    const size_t n = (size_t)(t->offsets[first + i + 1] - from);
    const uint64_t hash = hash_bytes(t->blob + from, n);
    uint64_t at = hash & table->mask;
    Slot *slot = table->slots + at;
    for (; slot->id >= 0; at = (at + 1) & table->mask, slot = table->slots + at)
      if (slot->tag == (uint32_t)(hash >> 32) && slot->length == n && !memcmp(t->blob + slot->at, t->blob + from, n)) break;
    *(slot = table->slots + at) = (Slot){(uint32_t)(hash >> 32), (int32_t)i, (uint32_t)n, 0, from};
  }
  return 1;
}

static void free_program(Program *t) {
  for (int64_t i = 0; i < t->n_vectorizers; i++) {
    if (t->vocabularies) free(t->vocabularies[i].slots);
    if (t->stops) free(t->stops[i].slots);
  }
  free(t->vocabularies);
  free(t->stops);
}

static int make_ready(Program *t) {
  const size_t count = (size_t)t->n_vectorizers + 1;
  if (!(t->vocabularies = calloc(count, sizeof(Table))) || !(t->stops = calloc(count, sizeof(Table)))) return 0;
  for (int64_t i = 0; i < t->n_vectorizers; i++) {
    const Vectorizer *v = t->vectorizers + i;
    if (!v->hashed && !make_table(t, v->first_string, v->n_strings, t->vocabularies + i)) return 0;
    if (v->n_stop && !make_table(t, v->first_stop, v->n_stop, t->stops + i)) return 0;
  }
  return 1;
}

#endif
