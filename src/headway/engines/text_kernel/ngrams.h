/* From a text in UTF-8 to its n-grams, as scikit-learn's analyzers make them. Each n-gram is a slice of one buffer. */
#ifndef HEADWAY_TEXT_NGRAMS_H
#define HEADWAY_TEXT_NGRAMS_H

#include "counts.h"

#if defined(__aarch64__)
#include <arm_neon.h>
#endif

/* What Python says of each code point, in pages of 256 that are made when a text first needs them. */
#define PAGES (0x110000 / 256)
typedef struct { uint64_t word[4], space[4]; } Page;
static Page *PAGE[PAGES];
static uint8_t IN_TOKEN[2][128]; /* whether an ASCII character belongs to a word; whether it is not white space */

typedef struct { const uint8_t *at; int64_t length; int lower, ascii; } Span;
typedef struct { int64_t start, end; uint64_t key, place; int32_t node; } Range;

#define CHUNK 64
typedef struct {
  const Program *program; const Vectorizer *v; const Table *vocabulary, *stops; const Sequences *sequences;
  Counts *counts;
  const Span *span;
  uint8_t *buffer; Range *ranges; int64_t n_tokens; /* the normalised text, and its tokens or code points */
  const uint8_t *gram[CHUNK]; uint32_t length[CHUNK]; uint64_t key[CHUNK], place[CHUNK]; int waiting;
  int failed;
} Work;

static inline int in_set(const uint64_t set[4], uint32_t low) { return set[low >> 6] >> (low & 63) & 1; }
static inline int is_word(uint32_t c) { const Page *page = PAGE[c >> 8]; return page && in_set(page->word, c & 255); }
static inline int is_space(uint32_t c) { const Page *page = PAGE[c >> 8]; return page && in_set(page->space, c & 255); }

/* Fill the table of ASCII characters, once the first page is there. */
static void classify_ascii(void) {
  for (uint32_t c = 0; c < 128; c++) { IN_TOKEN[0][c] = (uint8_t)is_word(c); IN_TOKEN[1][c] = !is_space(c); }
}

/* Decode one code point of valid UTF-8 and return its length. */
static inline int decode(const uint8_t *p, uint32_t *c) {
  if (p[0] < 0x80) { *c = p[0]; return 1; }
  if (p[0] < 0xe0) { *c = (p[0] & 0x1fu) << 6 | (p[1] & 0x3fu); return 2; }
  if (p[0] < 0xf0) { *c = (p[0] & 0x0fu) << 12 | (p[1] & 0x3fu) << 6 | (p[2] & 0x3fu); return 3; }
  *c = (p[0] & 0x07u) << 18 | (p[1] & 0x3fu) << 12 | (p[2] & 0x3fu) << 6 | (p[3] & 0x3fu);
  return 4;
}

static inline uint8_t lower(uint8_t c, int wanted) { return wanted && (uint8_t)(c - 'A') < 26 ? c | 32 : c; }

static inline void take_feature(Work *w, int32_t id) {
  if (id >= 0 && !count(w->counts, id, 1)) w->failed = 1;
}

static void look_up(Work *w) {
  for (int i = 0; i < w->waiting; i++) {
    const int32_t id = find(w->vocabulary, w->program->blob, w->key[i], w->place[i], w->gram[i], w->length[i]);
    take_feature(w, id);
  }
  w->waiting = 0;
}

static inline void take_gram(Work *w, int64_t start, int64_t end) {
  const uint8_t *p = w->buffer + start;
  const size_t n = (size_t)(end - start);
  if (w->v->hashed) {
    const int32_t h = murmur3(p, n);
    const int64_t features = w->v->hashed, size = h < 0 ? -(int64_t)h : h;
    const int64_t id = h == INT32_MIN ? (2147483647 - (features - 1)) % features : size % features;
    if (!count(w->counts, (int32_t)id, w->v->alternate_sign && h < 0 ? -1 : 1)) w->failed = 1;
    return;
  }
  if (n > UINT32_MAX) return; /* longer than any word of a vocabulary */
  const uint64_t key = key_at(p, n), place = place_of(key, n);
  __builtin_prefetch(w->vocabulary->slots + (place & w->vocabulary->mask));
  w->gram[w->waiting] = p; w->length[w->waiting] = (uint32_t)n; w->key[w->waiting] = key; w->place[w->waiting] = place;
  if (++w->waiting == CHUNK) look_up(w);
}

static inline int is_stop(const Work *w, const uint8_t *p, size_t n) {
  return w->v->n_stop && find_string(w->stops, w->program->blob, p, n) >= 0;
}

/* Copy the tokens that are long enough and no stop words, a space between each two; return their number. */
static int64_t tokens(Work *w, const Span *s) {
  const uint8_t *p = s->at, *end = p + s->length;
  const int not_space = (int)w->v->not_space;
  uint8_t *to = w->buffer;
  int64_t n = 0;
  while (p < end) {
    uint8_t *start = to;
    int64_t length = 0;
    while (p < end) {
      uint32_t c;
      const int size = decode(p, &c);
      if (!(not_space ? !is_space(c) : is_word(c))) { p += size; break; }
      if (size == 1) *to++ = lower((uint8_t)c, s->lower);
      else { memcpy(to, p, (size_t)size); to += size; }
      p += size;
      length++;
    }
    if (length < w->v->min_length || is_stop(w, start, (size_t)(to - start))) { to = start; continue; }
    w->ranges[n++] = (Range){.start = start - w->buffer, .end = to - w->buffer};
    *to++ = ' ';
  }
  return n;
}

/* One bit for each of up to 64 characters: whether it is in a table of 128. */
#if defined(__aarch64__)
static inline uint64_t in_table(const uint8_t *table, const uint8_t *p, int64_t n) {
  const uint8x16x4_t low = vld1q_u8_x4(table), high = vld1q_u8_x4(table + 64);
  const uint8x16_t powers = vreinterpretq_u8_u64(vdupq_n_u64(0x8040201008040201u)), offset = vdupq_n_u8(64);
  uint8_t characters[64] = {0};
  uint8x16_t found[4];
  memcpy(characters, p, (size_t)n);
  for (int i = 0; i < 4; i++) {
    const uint8x16_t c = vld1q_u8(characters + 16 * i);
    found[i] = vmulq_u8(vqtbx4q_u8(vqtbl4q_u8(low, c), high, vsubq_u8(c, offset)), powers);
  }
  const uint8x16_t pairs = vpaddq_u8(vpaddq_u8(found[0], found[1]), vpaddq_u8(found[2], found[3]));
  const uint64_t bits = vgetq_lane_u64(vreinterpretq_u64_u8(vpaddq_u8(pairs, pairs)), 0);
  return n < 64 ? bits & ~(~(uint64_t)0 << n) : bits;
}
#else
static inline uint64_t in_table(const uint8_t *table, const uint8_t *p, int64_t n) {
  uint64_t bits = 0;
  for (int64_t i = 0; i < n; i++) bits |= (uint64_t)table[p[i]] << i;
  return bits;
}
#endif

/* The same for ASCII, without moving tokens within the copy: 64 characters are classified into one bit mask. */
static int64_t ascii_tokens(Work *w, const Span *s) {
  const uint8_t *p = s->at, *in_token = IN_TOKEN[w->v->not_space];
  uint8_t *to = w->buffer;
  const int64_t length = s->length, min_length = w->v->min_length;
  int64_t n = 0, start = -1;
  uint64_t before = 0; /* whether the previous character belongs to a token */
  for (int64_t i = 0; i < length; i++) to[i] = lower(p[i], s->lower);
  for (int64_t at = 0; at <= length; at += 64) {
    const int64_t size = length - at < 64 ? length - at : 64;
    const uint64_t bits = in_table(in_token, p + at, size);
    uint64_t edges = bits ^ (bits << 1 | before);
    before = bits >> 63;
    for (; edges; edges &= edges - 1) {
      const int64_t edge = at + __builtin_ctzll(edges);
      if (start < 0) { start = edge; continue; }
      if (edge - start >= min_length && !is_stop(w, to + start, (size_t)(edge - start))) w->ranges[n++] = (Range){.start = start, .end = edge};
      start = -1;
    }
  }
  return n;
}

static void word_ngrams(Work *w, int64_t n_tokens) {
  for (int64_t n = w->v->min_n; n <= w->v->max_n && n <= n_tokens; n++)
    for (int64_t i = 0; i + n <= n_tokens; i++) take_gram(w, w->ranges[i].start, w->ranges[i + n - 1].end);
}

static inline int has_sequences(const Work *w) { return w->v->analyzer == WORD && !w->v->hashed; }

/* Read the tokens of a text, and ask for their places in the table of words. */
static void read_words(Work *w) {
  const Table *words = &w->sequences->words;
  w->n_tokens = w->span->ascii ? ascii_tokens(w, w->span) : tokens(w, w->span);
  for (int64_t i = 0; i < w->n_tokens; i++) {
    Range *r = w->ranges + i;
    r->key = key_at(w->buffer + r->start, (size_t)(r->end - r->start));
    r->place = place_of(r->key, (uint64_t)(r->end - r->start));
    __builtin_prefetch(words->slots + (r->place & words->mask));
  }
}

/* Find the node of each token, and ask for the edges between them. */
static void find_words(Work *w) {
  const Sequences *q = w->sequences;
  int32_t before = -1;
  for (int64_t i = 0; i < w->n_tokens; i++) {
    Range *r = w->ranges + i;
    r->node = find(&q->words, w->program->blob, r->key, r->place, w->buffer + r->start, (size_t)(r->end - r->start));
    if ((before | r->node) >= 0 && w->v->max_n > 1) __builtin_prefetch(q->edges + (place_of(edge_key(before, r->node), 8) & q->mask));
    before = r->node;
  }
}

/* Count the features that are sequences of tokens. */
static void count_sequences(Work *w) {
  const Sequences *q = w->sequences;
  const Range *r = w->ranges;
  const int64_t min_n = w->v->min_n, max_n = w->v->max_n, n_tokens = w->n_tokens;
  for (int64_t i = 0; i < n_tokens; i++) {
    int32_t node = r[i].node;
    if (node < 0) continue;
    if (min_n == 1) take_feature(w, q->features[node]);
    for (int64_t n = 2; n <= max_n && i + n <= n_tokens && r[i + n - 1].node >= 0; n++) {
      const Edge *edge = find_edge(q, edge_key(node, r[i + n - 1].node));
      if ((node = edge->node) < 0) break;
      if (n >= min_n) take_feature(w, edge->feature);
    }
  }
}

/* Copy the text with runs of white space as one space, and note where code points begin; return their number. */
static int64_t code_points(Work *w, const Span *s) {
  const uint8_t *p = s->at, *end = p + s->length;
  uint8_t *to = w->buffer;
  int64_t n = 0;
  while (p < end) {
    uint32_t c;
    int size = decode(p, &c);
    w->ranges[n++].start = to - w->buffer;
    if (is_space(c)) {
      const uint8_t *after = p + size;
      int64_t run = 1;
      while (after < end) {
        uint32_t next;
        const int more = decode(after, &next);
        if (!is_space(next)) break;
        after += more;
        run++;
      }
      if (run > 1) { *to++ = ' '; p = after; continue; }
    }
    if (size == 1) *to++ = lower((uint8_t)c, s->lower);
    else { memcpy(to, p, (size_t)size); to += size; }
    p += size;
  }
  w->ranges[n].start = to - w->buffer;
  return n;
}

static void char_ngrams(Work *w, int64_t n_points) {
  for (int64_t n = w->v->min_n; n <= w->v->max_n && n <= n_points; n++)
    for (int64_t i = 0; i + n <= n_points; i++) take_gram(w, w->ranges[i].start, w->ranges[i + n].start);
}

/* n-grams of each word with a space before and after it. A word shorter than n counts once, and ends the word. */
static void padded_ngrams(Work *w, const Span *s) {
  const uint8_t *p = s->at, *end = p + s->length;
  uint8_t *to = w->buffer;
  while (p < end) {
    uint32_t c;
    int size = decode(p, &c);
    if (is_space(c)) { p += size; continue; }
    int64_t points = 0;
    w->ranges[points++].start = to - w->buffer;
    *to++ = ' ';
    do {
      w->ranges[points++].start = to - w->buffer;
      if (size == 1) *to++ = lower((uint8_t)c, s->lower);
      else { memcpy(to, p, (size_t)size); to += size; }
      p += size;
      if (p < end) size = decode(p, &c);
    } while (p < end && !is_space(c));
    w->ranges[points++].start = to - w->buffer;
    *to++ = ' ';
    w->ranges[points].start = to - w->buffer;
    for (int64_t n = w->v->min_n; n <= w->v->max_n; n++) {
      const int64_t last = points > n ? points - n : 0;
      for (int64_t i = 0; i <= last; i++) take_gram(w, w->ranges[i].start, w->ranges[i + n < points ? i + n : points].start);
      if (!last) break;
    }
  }
}

/* Bytes and ranges that any analyzer needs for a text: each word may get two spaces. */
static int64_t room_for(int64_t length) { return 2 * length + 16; }

static void count_ngrams(Work *w) {
  const Span *s = w->span;
  if (has_sequences(w)) count_sequences(w);
  else if (w->v->analyzer == WORD) word_ngrams(w, tokens(w, s));
  else if (w->v->analyzer == CHAR) char_ngrams(w, code_points(w, s));
  else padded_ngrams(w, s);
  look_up(w);
}

#endif
