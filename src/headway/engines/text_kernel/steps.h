/* From the features of a text to sums, and from sums to the answer: float64, compiled once per level. */
#undef LOOP
#define LOOP(expression) for (int64_t i = 0; i < n; i++) out[i] = (expression); break

TARGET static void NAME(add_row)(double *restrict out, const double *restrict w, double by, int64_t n) {
  for (int64_t i = 0; i < n; i++) out[i] += by * w[i];
}

/* Add `n` rows of weights to sums from `at`, which stay in registers: LINE of them, or `rest` of up to LINE. */
TARGET static inline __attribute__((always_inline)) void NAME(add_line)(double *out, const double *const *rows, const double *by, uint32_t n, int64_t at, int64_t vectors, int64_t rest) {
  Doubles sum[LINE / 8], w;
  memset(sum, 0, sizeof sum);
  memcpy(sum, out + at, (size_t)rest * sizeof *out);
  for (uint32_t i = 0; i < n; i++)
    for (int64_t j = 0; j < vectors; j++) {
      memcpy(&w, rows[i] + at + 8 * j, sizeof w);
      sum[j] += w * by[i];
    }
  memcpy(out + at, sum, (size_t)rest * sizeof *out);
}

TARGET static void NAME(add_features)(const Program *t, const Vectorizer *v, const Counts *c, double *sums) {
  enum { TOGETHER = 32 };
  double *out = sums + v->out, by[TOGETHER];
  const double *rows[TOGETHER];
  const int64_t width = v->width, whole = width / LINE * LINE, rest = width - whole, vectors = (rest + 7) / 8;
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
    for (int64_t at = 0; at < whole; at += LINE) NAME(add_line)(out, rows, by, n, at, LINE / 8, LINE);
    if (whole + 8 * vectors > v->stride) { /* rows without padding */
      for (uint32_t j = 0; j < n; j++) NAME(add_row)(out + whole, rows[j] + whole, by[j], rest);
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

/* exp(x) to about one unit in the last place; 0 below -708. Without branches, so that a loop of it becomes vectors. */
static inline __attribute__((always_inline)) double NAME(exp)(double x) {
  const double y = x < -708 ? -708 : x > 709 ? 709 : x;
  const double shifted = y * 1.4426950408889634 + 6755399441055744.0, k = shifted - 6755399441055744.0;
  const double r = (y - k * 0.693147180369123816490) - k * 1.90821492927058770002e-10;
  double p = 1.6059043836821613e-10;
  p = p * r + 2.08767569878681e-09;
  p = p * r + 2.505210838544172e-08;
  p = p * r + 2.755731922398589e-07;
  p = p * r + 2.7557319223985893e-06;
  p = p * r + 2.48015873015873e-05;
  p = p * r + 1.984126984126984e-04;
  p = p * r + 1.388888888888889e-03;
  p = p * r + 8.333333333333333e-03;
  p = p * r + 4.1666666666666664e-02;
  p = p * r + 1.6666666666666666e-01;
  p = p * r + 0.5;
  p = p * r + 1;
  p = p * r + 1;
  uint64_t bits, scale;
  memcpy(&bits, &p, 8);
  memcpy(&scale, &shifted, 8);
  bits += scale << 52;
  memcpy(&p, &bits, 8);
  return x != x ? x : x < -708 ? 0 : p;
}

TARGET static void NAME(softmax)(const double *a, double *out, int64_t n) {
  double top[8], part[LINE], line[LINE], shift = a[0], total = 0;
  for (int j = 0; j < 8; j++) top[j] = a[0];
  for (int j = 0; j < LINE; j++) part[j] = 0;
  for (int64_t i = 0; i + 8 <= n; i += 8) for (int j = 0; j < 8; j++) top[j] = a[i + j] > top[j] ? a[i + j] : top[j];
  for (int64_t i = n & ~(int64_t)7; i < n; i++) shift = a[i] > shift ? a[i] : shift;
  for (int j = 0; j < 8; j++) shift = top[j] > shift ? top[j] : shift;
  for (int64_t i = 0; i < n; i += LINE) {
    const int64_t size = n - i < LINE ? n - i : LINE;
    if (size < LINE) for (int j = 0; j < LINE; j++) line[j] = -INFINITY;
    memcpy(line, a + i, (size_t)size * sizeof *line);
    for (int j = 0; j < LINE; j++) line[j] = NAME(exp)(line[j] - shift);
    for (int j = 0; j < LINE; j++) part[j] += line[j];
    memcpy(out + i, line, (size_t)size * sizeof *line);
  }
  for (int by = LINE / 2; by; by /= 2) for (int j = 0; j < by; j++) part[j] += part[j + by];
  total = 1 / part[0];
  for (int64_t i = 0; i < n; i++) out[i] *= total;
}

static inline __attribute__((always_inline)) double NAME(sigmoid)(double x) {
  const double inside = x > 700 ? 700 : x < -700 ? -700 : x;
  return 1 / (1 + NAME(exp)(-inside));
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
