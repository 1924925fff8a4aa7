/* From the features of a text to sums, and from sums to the answer: float64, compiled once per level. FUSED and PART_FUSED
   are x * y + z of numbers and of vectors, rounded once where the level has such an instruction; compilers fuse no others. */
#undef LOOP
#undef Part
#define LOOP(expression) for (int64_t i = 0; i < n; i++) out[i] = (expression); break
#define Part NAME(Part)

typedef double Part __attribute__((vector_size(PART * 8)));

TARGET static void NAME(add_row)(double *restrict out, const double *restrict w, double by, int64_t n) {
  for (int64_t i = 0; i < n; i++) out[i] = FUSED(by, w[i], out[i]);
}

/* Add `n` rows of weights to sums from `at`, which stay in registers: of `vectors` the last has `rest` numbers. */
TARGET static inline __attribute__((always_inline)) void NAME(add_line)(double *out, const double *const *rows, const double *by, uint32_t n, int64_t at, int64_t vectors, int64_t rest) {
  const size_t before = 8 * ((size_t)vectors - 1);
  Part sum[LINE / PART] = {{0}}, w;
  memcpy(sum, out + at, before * sizeof *out);
  copy_few((double *)sum + before, out + at + before, rest);
  for (uint32_t i = 0; i < n; i++)
    for (int64_t j = 0; j < vectors * 8 / PART; j++) {
      memcpy(&w, rows[i] + at + PART * j, sizeof w);
      sum[j] = PART_FUSED(w, (Part){0} + by[i], sum[j]);
    }
  memcpy(out + at, sum, before * sizeof *out);
  copy_few(out + at + before, (const double *)sum + before, rest);
}

TARGET static void NAME(add_features)(const Program *t, const Vectorizer *v, const Counts *c, double *sums) {
  enum { TOGETHER = 32 };
  double *out = sums + v->out, by[TOGETHER];
  const double *rows[TOGETHER];
  const int64_t width = v->width, whole = width / LINE * LINE, vectors = (width - whole + 7) / 8;
  const int64_t rest = width - whole - 8 * (vectors - 1);
  for (uint32_t i = 0; i < c->n;) {
    uint32_t n = 0;
    for (; i < c->n && n < TOGETHER; i++) {
      const int64_t row = v->rows < 0 ? c->id[i] : t->row_of[v->rows + c->id[i]];
      if (row < 0 || c->value[i] == 0) continue;
      rows[n] = t->weights + v->weights + row * v->stride;
      by[n] = c->value[i];
      for (int64_t at = 0; at < width && at < 16; at += 8) __builtin_prefetch(rows[n] + at);
      n++;
    }
    for (int64_t at = 0; at < whole; at += LINE) NAME(add_line)(out, rows, by, n, at, LINE / 8, 8);
    if (whole + 8 * vectors > v->stride) { /* rows without padding */
      for (uint32_t j = 0; j < n; j++) NAME(add_row)(out + whole, rows[j] + whole, by[j], width - whole);
      continue;
    }
    switch (vectors) {
      case 1: NAME(add_line)(out, rows, by, n, whole, 1, rest); break;
      case 2: NAME(add_line)(out, rows, by, n, whole, 2, rest); break;
      case 3: NAME(add_line)(out, rows, by, n, whole, 3, rest); break;
      case 4: NAME(add_line)(out, rows, by, n, whole, 4, rest); break;
    }
  }
}

/* exp(r) for |r| <= log(2) / 2. */
TARGET static inline __attribute__((always_inline)) double NAME(exp_near_zero)(double r) {
  double p = 1.6059043836821613e-10;
  p = FUSED(p, r, 2.08767569878681e-09);
  p = FUSED(p, r, 2.505210838544172e-08);
  p = FUSED(p, r, 2.755731922398589e-07);
  p = FUSED(p, r, 2.7557319223985893e-06);
  p = FUSED(p, r, 2.48015873015873e-05);
  p = FUSED(p, r, 1.984126984126984e-04);
  p = FUSED(p, r, 1.388888888888889e-03);
  p = FUSED(p, r, 8.333333333333333e-03);
  p = FUSED(p, r, 4.1666666666666664e-02);
  p = FUSED(p, r, 1.6666666666666666e-01);
  p = FUSED(p, r, 0.5);
  p = FUSED(p, r, 1);
  return FUSED(p, r, 1);
}

/* exp(x) of x <= 0 or NaN to about one unit in the last place; 0 below -708. Without branches, so that a loop of it becomes
   vectors: the low bits of `shifted` are the exponent of a power of two. */
TARGET static inline __attribute__((always_inline)) double NAME(exp_below)(double x) {
  const double y = -708 > x ? -708 : x, magic = 6755399441055744.0 + 1023;
  const double shifted = FUSED(y, 1.4426950408889634, magic), k = shifted - magic;
  const double p = NAME(exp_near_zero)(FUSED(-k, 1.90821492927058770002e-10, FUSED(-k, 0.693147180369123816490, y)));
  uint64_t bits;
  double power;
  memcpy(&bits, &shifted, 8);
  bits <<= 52;
  memcpy(&power, &bits, 8);
  return x < -708 ? 0 : p * power;
}

TARGET static inline __attribute__((always_inline)) void NAME(raise)(Doubles *top, const Doubles *x) {
  const Longs is_more = *x > *top;
  *top = (Doubles)((is_more & (Longs)*x) | (~is_more & (Longs)*top));
}

TARGET static inline __attribute__((always_inline)) void NAME(exp_of_eight)(const double *a, double shift, Doubles *to) {
  double made[8];
  for (int j = 0; j < 8; j++) made[j] = NAME(exp_below)(a[j] - shift);
  memcpy(to, made, sizeof made);
}

/* Eight at once: the last eight first, as they may overlap with others, and `out` may be `a`. */
TARGET static void NAME(softmax)(const double *a, double *out, int64_t n) {
  const int64_t whole = n & ~(int64_t)7;
  double shift = a[0], total = 0;
  if (whole) {
    Doubles x, last, top[2], part;
    memcpy(top, a + n - 8, sizeof x);
    top[1] = top[0];
    for (int64_t i = 0; i < whole; i += 8) {
      memcpy(&x, a + i, sizeof x);
      NAME(raise)(top + (i >> 3 & 1), &x);
    }
    NAME(raise)(top, top + 1);
    for (int j = 0; j < 8; j++) shift = top[0][j] > shift ? top[0][j] : shift;
    NAME(exp_of_eight)(a + n - 8, shift, &last);
    part = last;
    for (int j = 0; j < 8 - (n - whole); j++) part[j] = 0;
    for (int64_t i = 0; i < whole; i += 8) {
      NAME(exp_of_eight)(a + i, shift, &x);
      part += x;
      memcpy(out + i, &x, sizeof x);
    }
    memcpy(out + n - 8, &last, sizeof last);
    total = ((part[0] + part[1]) + (part[2] + part[3])) + ((part[4] + part[5]) + (part[6] + part[7]));
  } else {
    for (int64_t i = 1; i < n; i++) shift = a[i] > shift ? a[i] : shift;
    for (int64_t i = 0; i < n; i++) total += out[i] = NAME(exp_below)(a[i] - shift);
  }
  total = 1 / total;
  for (int64_t i = 0; i < n; i++) out[i] *= total;
}

TARGET static inline __attribute__((always_inline)) double NAME(sigmoid)(double x) {
  const double small = NAME(exp_below)(x > 0 ? -x : x);
  return (x > 0 ? 1 : small) / (1 + small);
}

#define AT(x, flags) ((x)[(flags) & REPEATED ? 0 : i])

TARGET static void NAME(run_step)(const Program *t, const Step *s, double *file) {
  const int64_t n = s->n, k = s->k;
  const int fa = s->m & 3, fb = s->m >> 2 & 3, fc = s->m >> 4 & 3;
  double *out = file + s->out;
  const double *a = (s->op <= COPY && fa & IN_POOL ? t->pool : file) + s->a;
  const double *b = s->op <= COPY && !(fb & IN_POOL) ? file : t->pool, *c = fc & IN_POOL ? t->pool : file;
  if (s->op <= WHERE || s->op == DENSE || s->op == LOOKUP) b += s->b;
  if (s->op == WHERE) c += s->c;
  switch (s->op) {
    case ADD: LOOP(AT(a, fa) + AT(b, fb));
    case SUB: LOOP(AT(a, fa) - AT(b, fb));
    case MUL: LOOP(AT(a, fa) * AT(b, fb));
    case DIV: LOOP(AT(a, fa) / AT(b, fb));
    case MIN: LOOP(AT(a, fa) < AT(b, fb) || AT(a, fa) != AT(a, fa) ? AT(a, fa) : AT(b, fb));
    case MAX: LOOP(AT(a, fa) > AT(b, fb) || AT(a, fa) != AT(a, fa) ? AT(a, fa) : AT(b, fb));
    case POW: LOOP(pow(AT(a, fa), AT(b, fb)));
    case MOD: LOOP(fmod(AT(a, fa), AT(b, fb)));
    case EQUAL: LOOP(AT(a, fa) == AT(b, fb));
    case GREATER: LOOP(AT(a, fa) > AT(b, fb));
    case GREATER_EQUAL: LOOP(AT(a, fa) >= AT(b, fb));
    case WHERE: LOOP(AT(a, fa) != 0 ? AT(b, fb) : AT(c, fc));
    case NEG: LOOP(-AT(a, fa));
    case ABS: LOOP(fabs(AT(a, fa)));
    case SQRT: LOOP(sqrt(AT(a, fa)));
    case LOG: LOOP(log(AT(a, fa)));
    case EXP: LOOP(exp(AT(a, fa))); /* of any size, to infinity */
    case SIGMOID: LOOP(NAME(sigmoid)(AT(a, fa)));
    case TANH: LOOP(tanh(AT(a, fa)));
    case RELU: LOOP(AT(a, fa) > 0 ? AT(a, fa) : 0);
    case TRUNC: LOOP(trunc(AT(a, fa)));
    case IS_NAN: LOOP(AT(a, fa) != AT(a, fa));
    case COPY: LOOP(AT(a, fa));
    case SUM: /* n sums of k numbers each */
      for (int64_t i = 0; i < n; i++) { double total = 0; for (int64_t j = 0; j < k; j++) total += a[i * k + j]; out[i] = total; }
      break;
    case SOFTMAX: NAME(softmax)(a, out, n); break;
    case DENSE:
      memset(out, 0, (size_t)n * sizeof *out);
      for (int64_t i = 0; i < k; i++) if (a[i] != 0) NAME(add_row)(out, b + i * n, a[i], n);
      break;
    case TAKE: for (int64_t i = 0; i < n; i++) out[i] = file[t->indices[s->b + i]]; break;
    case LOOKUP: {
      const double number = a[0];
      const int64_t row = number >= 0 && number < (double)k ? (int64_t)number : -1;
      for (int64_t i = 0; i < n; i++) out[i] = row < 0 ? NAN : b[row * n + i];
    }
  }
}

static void NAME(run_steps)(const Program *t, double *file) {
  for (int64_t i = 0; i < t->n_steps; i++) NAME(run_step)(t, t->steps + i, file);
}
