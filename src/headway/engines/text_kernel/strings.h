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

/* Return the key of a string: its bytes, or a hash of more than 8. */
static inline uint64_t key_of(const uint8_t *p, size_t n) {
  uint64_t key = 0;
  if (n > 8) return hash_bytes(p, n);
  memcpy(&key, p, n);
  return key;
}

/* The same where 8 bytes can be read at `p`. */
static inline uint64_t key_at(const uint8_t *p, size_t n) {
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
  if (n && n <= 8) return load8(p) & ~(uint64_t)0 >> (64 - 8 * n);
#endif
  return key_of(p, n);
}

static inline uint64_t place_of(uint64_t key, uint64_t n) { return mix(key ^ 0x9e3779b97f4a7c15u * (n + 1), 0xe7037ed1a0b428dbu); }

static inline int32_t find(const Table *table, const uint8_t *blob, uint64_t key, uint64_t place, const uint8_t *p, size_t n) {
  for (uint64_t at = place & table->mask;; at = (at + 1) & table->mask) {
    const Slot *slot = table->slots + at;
    if (slot->id < 0) return -1;
    if (slot->key == key && slot->length == n && (n <= 8 || equal_bytes(blob + table->at[slot->id], p, n))) return slot->id;
  }
}

static inline int32_t find_string(const Table *table, const uint8_t *blob, const uint8_t *p, size_t n) {
  const uint64_t key = key_of(p, n);
  return find(table, blob, key, place_of(key, n), p, n);
}

static int table_ready(Table *table, int64_t count) {
  uint64_t size = 8;
  while (size < 2 * (uint64_t)count) size *= 2;
  table->mask = size - 1;
  table->slots = malloc(size * sizeof *table->slots);
  table->at = malloc((size_t)(count + 1) * sizeof *table->at);
  if (!table->slots || !table->at) return 0;
  for (uint64_t i = 0; i < size; i++) table->slots[i].id = -1;
  return 1;
}

static void free_table(Table *table) { free(table->slots); free(table->at); }

/* Add string `id` unless it is there, and return its slot. */
static Slot *add_string(Table *table, const uint8_t *blob, int64_t from, size_t n, int32_t id) {
  const uint64_t key = key_of(blob + from, n);
  uint64_t at = place_of(key, n) & table->mask;
  Slot *slot = table->slots + at;
  for (; slot->id >= 0; at = (at + 1) & table->mask, slot = table->slots + at)
    if (slot->key == key && slot->length == n && !memcmp(blob + table->at[slot->id], blob + from, n)) return slot;
  *slot = (Slot){key, (uint32_t)n, id};
  table->at[id] = from;
  return slot;
}

/* Make the table of `count` strings from `first`; a string that occurs twice keeps its last number, as a dict would. */
static int make_table(const Program *t, int64_t first, int64_t count, Table *table) {
  if (!table_ready(table, count)) return 0;
  for (int64_t i = 0; i < count; i++) {
    const int64_t from = t->offsets[first + i];
    Slot *slot = add_string(table, t->blob, from, (size_t)(t->offsets[first + i + 1] - from), (int32_t)i);
    slot->id = (int32_t)i;
    table->at[i] = from;
  }
  return 1;
}

static inline uint64_t edge_key(int32_t node, int32_t word) { return (uint64_t)(uint32_t)node << 32 | (uint32_t)word; }

/* Return the edge with this key, or the empty one in its place. */
static inline Edge *find_edge(const Sequences *q, uint64_t key) {
  uint64_t at = place_of(key, 8) & q->mask;
  while (q->edges[at].node >= 0 && q->edges[at].key != key) at = (at + 1) & q->mask;
  return q->edges + at;
}

/* Return the position behind the word at `p`. */
static const uint8_t *word_end(const uint8_t *p, const uint8_t *end) {
  const uint8_t *space = p < end ? memchr(p, ' ', (size_t)(end - p)) : NULL;
  return space ? space : end;
}

/* Add one feature, word by word. An analyzer makes no empty words, so that features with some never occur. */
static void add_sequence(const Program *t, Sequences *q, int64_t i, int32_t feature) {
  const uint8_t *p = t->blob + t->offsets[i], *end = t->blob + t->offsets[i + 1];
  int32_t node = -1, *last = NULL;
  for (;; p++) {
    const uint8_t *after = word_end(p, end);
    const int32_t word = after == p ? -1 : find_string(&q->words, t->blob, p, (size_t)(after - p));
    if (word < 0) return;
    if (node < 0) { node = word; last = q->features + word; }
    else {
      Edge *edge = find_edge(q, edge_key(node, word));
      if (edge->node < 0) *edge = (Edge){edge_key(node, word), q->n_nodes++, -1};
      node = edge->node;
      last = &edge->feature;
    }
    if ((p = after) == end) break;
  }
  *last = feature;
}

/* Make the words and sequences of `count` features from string `first`. */
static int make_sequences(const Program *t, int64_t first, int64_t count, Sequences *q) {
  const uint8_t *p = t->blob + t->offsets[first], *end = t->blob + t->offsets[first + count];
  int64_t spaces = 0;
  for (const uint8_t *c = p; c < end; c++) spaces += *c == ' ';
  if (count + spaces > INT32_MAX / 2) return 0;
  Table all = {0};
  int32_t n = 0;
  int done = table_ready(&all, count + spaces);
  for (int64_t i = first; done && i < first + count; i++) {
    const uint8_t *c = t->blob + t->offsets[i], *stop = t->blob + t->offsets[i + 1];
    for (;; c++) {
      const uint8_t *after = word_end(c, stop);
      n += add_string(&all, t->blob, c - t->blob, (size_t)(after - c), n)->id == n;
      if ((c = after) == stop) break;
    }
  }
  uint64_t size = 8;
  while (size < 2 * (uint64_t)spaces) size *= 2;
  q->mask = size - 1;
  q->n_nodes = n;
  q->edges = done ? malloc(size * sizeof *q->edges) : NULL;
  q->features = done ? malloc(((size_t)n + 1) * sizeof *q->features) : NULL;
  done = q->edges && q->features && table_ready(&q->words, n); /* for fewer strings, so that it is smaller */
  for (uint64_t i = 0; done && i < size; i++) q->edges[i].node = -1;
  for (int32_t i = 0; done && i < n; i++) q->features[i] = -1;
  for (uint64_t i = 0; done && i <= all.mask; i++) {
    const Slot *slot = all.slots + i;
    if (slot->id >= 0) add_string(&q->words, t->blob, all.at[slot->id], slot->length, slot->id);
  }
  free_table(&all);
  for (int64_t i = 0; done && i < count; i++) add_sequence(t, q, first + i, (int32_t)i);
  return done;
}

static void free_program(Program *t) {
  for (int64_t i = 0; i < t->n_vectorizers; i++) {
    if (t->vocabularies) free_table(t->vocabularies + i);
    if (t->stops) free_table(t->stops + i);
    if (t->sequences) { free_table(&t->sequences[i].words); free(t->sequences[i].edges); free(t->sequences[i].features); }
  }
  free(t->vocabularies);
  free(t->stops);
  free(t->sequences);
}

static int make_ready(Program *t) {
  const size_t count = (size_t)t->n_vectorizers + 1;
  t->vocabularies = calloc(count, sizeof(Table));
  t->stops = calloc(count, sizeof(Table));
  t->sequences = calloc(count, sizeof(Sequences));
  if (!t->vocabularies || !t->stops || !t->sequences) return 0;
  for (int64_t i = 0; i < t->n_vectorizers; i++) {
    const Vectorizer *v = t->vectorizers + i;
    if (v->n_stop && !make_table(t, v->first_stop, v->n_stop, t->stops + i)) return 0;
    if (v->hashed) continue;
    if (v->analyzer == WORD ? !make_sequences(t, v->first_string, v->n_strings, t->sequences + i)
                            : !make_table(t, v->first_string, v->n_strings, t->vocabularies + i)) return 0;
  }
  return 1;
}

#endif
