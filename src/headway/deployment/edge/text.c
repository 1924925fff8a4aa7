
/* Texts: UTF-8 becomes code points, which the tables class as Python does; n-grams are slices of one buffer, and are hashed
   or looked up there. Everything is on the stack, for texts of up to NAME_MAX_TEXT bytes. */
#define GRAMS(POINTS) (GRAMS_OF_POINTS * ((POINTS) + 1) / GRAMS_SHARE + 1)
#define MOST(POINTS) (GRAMS(POINTS) < FEATURES ? GRAMS(POINTS) : FEATURES)

typedef struct {
  const vectorizer *v;
  double value[MOST(NAME_MAX_TEXT)];
  int32_t id[MOST(NAME_MAX_TEXT)];
  uint32_t place[2 * MOST(NAME_MAX_TEXT) + 1]; /* 1 + position of a feature in the list, by its hash; 0 if empty */
  uint32_t start[NAME_MAX_TEXT + 4]; /* of each token or code point */
  uint8_t bytes[NAME_MAX_TEXT + NAME_MAX_TEXT / 2 + 4];
  uint32_t n, room;
} work;

/* Decode a code point and return its length, 0 if it is not UTF-8. */
static int decode(const uint8_t *p, uint32_t *c) {
  static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
  const int n = p[0] < 0x80 ? 1 : p[0] < 0xc2 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : p[0] < 0xf5 ? 4 : 0;
  int i;
  *c = p[0];
  if (n < 2) return n;
  *c &= 0x7fu >> n;
  for (i = 1; i < n; i++) {
    if ((p[i] & 0xc0) != 0x80) return 0;
    *c = *c << 6 | (p[i] & 0x3fu);
  }
  return *c < least[n] || *c > 0x10ffff || (*c >= 0xd800 && *c < 0xe000) ? 0 : n;
}

static int class_of(uint32_t c) {
  int low = 0, high = CLASS_RUNS;
  if (c < 128) return ascii_classes[c];
  while (high - low > 1) {
    const int middle = (low + high) / 2;
    if (class_runs[middle] >> 4 <= c) low = middle;
    else high = middle;
  }
  return (int)(class_runs[low] & 15);
}

#if USES_LOWER
static uint32_t lower_of(uint32_t c) {
  int low = 0, high = LOWER_RUNS;
  while (high - low > 1) {
    const int middle = (low + high) / 2;
    if ((uint32_t)lower_runs[middle].first <= c) low = middle;
    else high = middle;
  }
  if (c < (uint32_t)lower_runs[low].first || c > (uint32_t)lower_runs[low].last) return c;
  return (c - (uint32_t)lower_runs[low].first) % (uint32_t)lower_runs[low].step ? c : c + (uint32_t)lower_runs[low].by;
}

static int encode(uint32_t c, uint8_t *to) {
  if (c < 0x80) { to[0] = (uint8_t)c; return 1; }
  if (c < 0x800) { to[0] = (uint8_t)(0xc0 | c >> 6); to[1] = (uint8_t)(0x80 | (c & 63)); return 2; }
  if (c < 0x10000) { to[0] = (uint8_t)(0xe0 | c >> 12); to[1] = (uint8_t)(0x80 | (c >> 6 & 63)); to[2] = (uint8_t)(0x80 | (c & 63)); return 3; }
  to[0] = (uint8_t)(0xf0 | c >> 18); to[1] = (uint8_t)(0x80 | (c >> 12 & 63)); to[2] = (uint8_t)(0x80 | (c >> 6 & 63)); to[3] = (uint8_t)(0x80 | (c & 63));
  return 4;
}

/* Return whether a capital sigma ends a word, whose small letter is then another one. */
static int is_final(const uint8_t *text, const uint8_t *sigma) {
  const uint8_t *p = sigma;
  uint32_t c;
  int kind, n;
  do {
    if (p == text) return 0;
    do p--; while ((*p & 0xc0) == 0x80);
    decode(p, &c);
    kind = class_of(c);
  } while (kind & IS_IGNORABLE);
  if (!(kind & IS_CASED)) return 0;
  for (p = sigma + 2; *p && (n = decode(p, &c)) != 0; p += n) {
    kind = class_of(c);
    if (!(kind & IS_IGNORABLE)) return !(kind & IS_CASED);
  }
  return 1;
}

/* Write the small letters of a code point and return their length. */
static int write_lower(const char *text, const uint8_t *p, uint32_t c, uint8_t *to) {
  if (c == 0x130) { memcpy(to, "i\314\207", 3); return 3; } /* the only one that becomes two */
  return encode(c == 0x3a3 && is_final((const uint8_t *)text, p) ? 0x3c2 : lower_of(c), to);
}
#endif

/* Copy a text, in small letters if the vectorizer reads them; return its length, -1 if it is not UTF-8. */
static int read_text(work *w, const char *text, int *points) {
  const uint8_t *p = (const uint8_t *)text;
  uint8_t *const from = w->bytes + 1, *to = from;
  for (*points = 0; *p; ++*points) {
    uint32_t c;
    const int n = decode(p, &c);
    if (!n) return -1;
#if USES_LOWER
    if (w->v->lowercase) {
      if (c < 128) *to++ = (uint8_t)(c - 'A' < 26 ? c | 32 : c);
      else to += write_lower(text, p, c, to);
      *points += c == 0x130;
      p += n;
      continue;
    }
#endif
    memcpy(to, p, (size_t)n);
    to += n;
    p += n;
  }
  *to = 0;
  return (int)(to - from);
}

static uint32_t rotated(uint32_t x, int by) { return x << by | x >> (32 - by); }

/* MurmurHash3_x86_32 with seed 0. */
static uint32_t murmur3(const uint8_t *p, uint32_t n) {
  uint32_t h = 0, k = 0, i;
  for (i = 0; i + 4 <= n; i += 4) {
    k = (uint32_t)p[i] | (uint32_t)p[i + 1] << 8 | (uint32_t)p[i + 2] << 16 | (uint32_t)p[i + 3] << 24;
    h = rotated(h ^ rotated(k * 0xcc9e2d51u, 15) * 0x1b873593u, 13) * 5 + 0xe6546b64u;
  }
  for (k = 0; i < n; i++) k |= (uint32_t)p[i] << 8 * (i & 3);
  h ^= rotated(k * 0xcc9e2d51u, 15) * 0x1b873593u ^ n;
  h = (h ^ h >> 16) * 0x85ebca6bu;
  h = (h ^ h >> 13) * 0xc2b2ae35u;
  return h ^ h >> 16;
}

/* Return the number of a string, -1 if it is not in the table that begins at `at`. */
static int32_t find(uint32_t hash, const uint8_t *p, uint32_t n, int32_t at, uint32_t mask) {
  uint32_t i;
  for (i = hash & mask; slots[at + (int32_t)i]; i = (i + 1) & mask) {
    const uint32_t number = (uint32_t)slots[at + (int32_t)i] - 1;
    if (offsets[number + 1] - offsets[number] == n && !memcmp(blob + offsets[number], p, n)) return (int32_t)number;
  }
  return -1;
}

static void count(work *w, int32_t id, double by) {
  uint32_t at = (uint32_t)((uint64_t)((uint32_t)id * 2654435761u) * w->room >> 32);
  for (; w->place[at]; at = at + 1 < w->room ? at + 1 : 0)
    if (w->id[w->place[at] - 1] == id) { w->value[w->place[at] - 1] += by; return; }
  w->id[w->n] = id;
  w->value[w->n] = by;
  w->place[at] = ++w->n;
}

static void take_gram(work *w, uint32_t from, uint32_t to) {
  const vectorizer *v = w->v;
  const uint8_t *p = w->bytes + from;
  const uint32_t h = murmur3(p, to - from);
  if (v->hashed) {
    const int negative = h >> 31;
    const uint32_t features = (uint32_t)v->hashed, size = negative ? 0u - h : h;
    const uint32_t id = h == 0x80000000u ? (2147483647u - (features - 1)) % features : size % features;
    count(w, (int32_t)id, v->alternate_sign && negative ? -1 : 1);
  } else {
    const int32_t number = find(h, p, to - from, v->slots, (uint32_t)v->mask);
    if (number >= 0) count(w, number - v->first_string, 1);
  }
}

/* Keep the tokens that are long enough and no stop words, a space behind each; return their number. */
static int tokens(work *w, uint32_t length) {
  const vectorizer *v = w->v;
  const uint32_t end = 1 + length;
  uint32_t at = 1, to = 1;
  int n = 0;
  while (at < end) {
    const uint32_t from = to;
    int points = 0;
    while (at < end) {
      uint32_t c;
      const uint32_t size = (uint32_t)decode(w->bytes + at, &c);
      const int kind = class_of(c);
      if (!(v->not_space ? !(kind & IS_SPACE) : kind & IS_WORD)) { at += size; break; }
      memmove(w->bytes + to, w->bytes + at, size);
      to += size;
      at += size;
      points++;
    }
    if (points < v->min_length || (v->stop_mask && find(murmur3(w->bytes + from, to - from), w->bytes + from, to - from, v->stop_slots, (uint32_t)v->stop_mask) >= 0)) {
      to = from;
      continue;
    }
    w->start[n++] = from;
    w->bytes[to++] = ' ';
  }
  w->start[n] = to;
  return n;
}

static void word_ngrams(work *w, int n_tokens) {
  const int low = w->v->min_n, high = w->v->max_n;
  int i, n;
  if (w->v->hashed) { /* the order in which the kernel counts: it decides the last bits of sums */
    for (n = low; n <= high; n++) for (i = 0; i + n <= n_tokens; i++) take_gram(w, w->start[i], w->start[i + n] - 1);
  } else {
    for (i = 0; i < n_tokens; i++) for (n = low; n <= high && i + n <= n_tokens; n++) take_gram(w, w->start[i], w->start[i + n] - 1);
  }
}

/* n-grams of characters, of which a run of white space is one. */
static void char_ngrams(work *w, uint32_t length) {
  const uint32_t end = 1 + length;
  uint32_t at = 1, to = 1, c;
  int points = 0, i, n;
  while (at < end) {
    uint32_t size = (uint32_t)decode(w->bytes + at, &c), next = at + size;
    w->start[points++] = to;
    if (class_of(c) & IS_SPACE) {
      while (next < end) {
        const uint32_t more = (uint32_t)decode(w->bytes + next, &c);
        if (!(class_of(c) & IS_SPACE)) break;
        next += more;
      }
      if (next > at + size) { w->bytes[to++] = ' '; at = next; continue; }
    }
    memmove(w->bytes + to, w->bytes + at, size);
    to += size;
    at = next;
  }
  w->start[points] = to;
  for (n = w->v->min_n; n <= w->v->max_n; n++) for (i = 0; i + n <= points; i++) take_gram(w, w->start[i], w->start[i + n]);
}

/* n-grams of each word with a space before and after it. A word shorter than n counts once, and ends the word. */
static void padded_ngrams(work *w, uint32_t length) {
  const uint32_t end = 1 + length;
  uint32_t at = 1, c;
  while (at < end) {
    uint32_t size = (uint32_t)decode(w->bytes + at, &c);
    int points = 0, i, n;
    if (class_of(c) & IS_SPACE) { at += size; continue; }
    w->start[points++] = at - 1;
    do {
      w->start[points++] = at;
      at += size;
      size = at < end ? (uint32_t)decode(w->bytes + at, &c) : 1;
    } while (at < end && !(class_of(c) & IS_SPACE));
    w->bytes[w->start[0]] = w->bytes[at] = ' ';
    w->start[points++] = at;
    w->start[points] = at + 1;
    at += size;
    for (n = w->v->min_n; n <= w->v->max_n; n++) {
      const int last = points > n ? points - n : 0;
      for (i = 0; i <= last; i++) take_gram(w, w->start[i], w->start[i + n < points ? i + n : points]);
      if (!last) break;
    }
  }
}

/* Divide by the norm, unless it is 0. */
static void normalize(double *x, uint32_t n, int kind) {
  double norm = 0;
  uint32_t i;
  for (i = 0; i < n; i++) {
    const double size = fabs(x[i]);
    if (kind == NORM_MAX) norm = size > norm ? size : norm;
    else norm += kind == NORM_L1 ? size : size * size;
  }
  if (kind == NORM_L2) norm = sqrt(norm);
  if (norm != 0) for (i = 0; i < n; i++) x[i] /= norm;
}

static void apply_value_ops(work *w) {
  double *x = w->value;
  uint32_t j;
  int i;
  for (i = w->v->first_op; i < w->v->first_op + w->v->n_ops; i++) {
    const double *factors = pool + value_ops[i].at;
    switch (value_ops[i].code) {
      case PRESENT: for (j = 0; j < w->n; j++) x[j] = 1; break;
      case SUBLINEAR: for (j = 0; j < w->n; j++) x[j] = x[j] == 1 ? 1 : x[j] == 0 ? 0 : log(x[j]) + 1; break;
      case SCALE: for (j = 0; j < w->n; j++) x[j] *= factors[w->id[j]]; break;
      case ABOVE: for (j = 0; j < w->n; j++) x[j] = x[j] > factors[0]; break;
      default: normalize(x, w->n, value_ops[i].code);
    }
  }
}

/* Add the features of a text to the sums; return 0 if it is not UTF-8. */
static int add_text(work *w, const char *text, double *sums) {
  const vectorizer *v = w->v;
  double *out = sums + v->out;
  uint32_t i;
  int points, o;
  const int length = read_text(w, text, &points);
  if (length < 0) return 0;
  w->n = 0;
  w->room = 2 * (uint32_t)MOST(points) + 1;
  memset(w->place, 0, w->room * sizeof *w->place);
  if (v->analyzer == WORDS) word_ngrams(w, tokens(w, (uint32_t)length));
  else if (v->analyzer == CHARACTERS) char_ngrams(w, (uint32_t)length);
  else padded_ngrams(w, (uint32_t)length);
  apply_value_ops(w);
  for (i = 0; i < w->n; i++) {
    const int32_t row = v->rows < 0 ? w->id[i] : rows[v->rows + w->id[i]];
    const double by = w->value[i];
    const weight *from = weights + v->weights + (row < 0 ? 0 : row) * v->width;
    if (row >= 0 && by != 0) for (o = 0; o < v->width; o++) out[o] += by * from[o];
  }
  return 1;
}

#if USES_EXP_BELOW
/* exp(x) of x <= 0 or NaN to about one unit in the last place; 0 below -708. */
static double exp_below(double x) {
  static const double factors[] = {2.08767569878681e-09, 2.505210838544172e-08, 2.755731922398589e-07, 2.7557319223985893e-06,
    2.48015873015873e-05, 1.984126984126984e-04, 1.388888888888889e-03, 8.333333333333333e-03, 4.1666666666666664e-02,
    1.6666666666666666e-01, 0.5, 1, 1};
  const double y = -708 > x ? -708 : x, magic = 6755399441055744.0 + 1023;
  const double shifted = y * 1.4426950408889634 + magic, k = shifted - magic;
  const double r = -k * 1.90821492927058770002e-10 + (-k * 0.693147180369123816490 + y);
  double p = 1.6059043836821613e-10, power;
  uint64_t bits;
  int i;
  for (i = 0; i < 13; i++) p = p * r + factors[i];
  memcpy(&bits, &shifted, 8);
  bits <<= 52;
  memcpy(&power, &bits, 8);
  return x < -708 ? 0 : p * power;
}
#endif

#if USES_SIGMOID
static double sigmoid(double x) {
  const double small = exp_below(x > 0 ? -x : x);
  return (x > 0 ? 1 : small) / (1 + small);
}
#endif

#if USES_SOFTMAX
/* The kernel's order: eight sums, of which the last eight numbers are the first. */
static void softmax(const double *a, double *out, int n) {
  const int whole = n / 8 * 8;
  double shift = a[0], total = 0, part[8], last[8];
  int i;
  for (i = 1; i < n; i++) shift = a[i] > shift ? a[i] : shift;
  if (whole) {
    for (i = 0; i < 8; i++) {
      last[i] = exp_below(a[n - 8 + i] - shift);
      part[i] = i < 8 - (n - whole) ? 0 : last[i];
    }
    for (i = 0; i < whole; i++) part[i & 7] += out[i] = exp_below(a[i] - shift);
    memcpy(out + n - 8, last, sizeof last);
    total = ((part[0] + part[1]) + (part[2] + part[3])) + ((part[4] + part[5]) + (part[6] + part[7]));
  } else for (i = 0; i < n; i++) total += out[i] = exp_below(a[i] - shift);
  total = 1 / total;
  for (i = 0; i < n; i++) out[i] *= total;
}
#endif

#define AT(X, FLAGS) ((X)[(FLAGS) & REPEATED ? 0 : i])
#define EACH(VALUE) for (i = 0; i < n; i++) { const double x = AT(a, fa), y = AT(b, fb); (void)y; out[i] = (VALUE); } break;

static void run_step(const step *s, double *file) {
  const int n = s->n, k = s->k, is_each = s->op <= LAST_EACH, fa = is_each ? s->m & 3 : 0, fb = s->op < LAST_PAIR + 1 ? s->m >> 2 & 3 : fa, fc = s->m >> 4 & 3;
  const double *a = (fa & IN_POOL ? pool : file) + s->a, *b = s->op <= LAST_PAIR ? (fb & IN_POOL ? pool : file) + s->b : a;
  double *out = file + s->out;
  int i = 0, j = 0;
  (void)i; (void)j; (void)k; (void)fc; (void)b; (void)n; (void)out; /* not every program uses all */
  switch (s->op) {
@cases@  }
}

/* Return NAME_OK if all texts are there and short enough. */
static int check_texts(const char *const *texts) {
  int i;
  for (i = 0; i < NAME_TEXTS; i++) {
    if (!texts[i]) return NAME_REJECTED;
    if (!memchr(texts[i], 0, NAME_MAX_TEXT + 1)) return NAME_TOO_LONG;
  }
  return NAME_OK;
}

/* Compute the scores of a row, whose texts were checked; return 0 if the model rejects it. */
static int run_model(const double *row, const char *const *texts, double *scores) {
  double file[BUFFER];
  work w;
  int i;
  for (i = 0; i < WIDTH; i++) file[i] = row[i];
  memcpy(file + WIDTH, pool, SUMS * sizeof *file);
  for (i = 0; i < VECTORIZERS; i++) {
    w.v = vectorizers + i;
    if (!add_text(&w, texts[w.v->column], file + WIDTH)) return 0;
  }
  for (i = 0; i < STEPS; i++) run_step(steps + i, file);
  for (i = 0; i < MODEL_OUTPUTS; i++) {
    scores[i] = file[OUTPUT + i];
    if (WIDTH > NAME_TEXTS && scores[i] != scores[i]) return 0;
  }
  return 1;
}
