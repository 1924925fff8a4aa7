/* The steps of a program, compiled once per level. */
#undef ALL
#define ALL(VALUE) \
  for (int64_t i = 0; i < n; i += SPAN) \
    for (int lane = 0; lane < SPAN; lane += LANES) { \
      const F x = NAME(load)(a + (i & a_moves) + lane), y = NAME(load)(b + (i & b_moves) + lane); \
      (void)y; \
      NAME(store)(out + i + lane, VALUE); \
    } \
  return 1;

static inline const float *NAME(operand)(const Program *t, const float *file, int32_t at, int kind) {
  return (kind == IN_BUFFER ? file : t->pool) + at;
}

TARGET static int NAME(look_up)(const Program *t, const Step *s, float *file) {
  const float *ranks = file + s->a, *table = t->pool + s->b;
  const int64_t k = s->k, rows = s->m;
  for (int64_t i = 0; i < s->n; i++) {
    if (!(ranks[i] >= (float)-rows && ranks[i] < (float)rows)) return 0;
    const int64_t rank = (int64_t)ranks[i] + (ranks[i] < 0 ? rows : 0);
    memcpy(file + s->out + i * k, table + rank * k, (size_t)k * sizeof(float));
  }
  return 1;
}

TARGET static void NAME(softmax)(const float *x, float *out, int64_t m, float *scratch) {
  float largest = x[0], sum = 0;
  for (int64_t i = 1; i < m; i++) largest = x[i] > largest ? x[i] : largest;
  for (int64_t i = 0; i < padded(m); i++) scratch[i] = i < m ? x[i] - largest : 0;
  for (int64_t i = 0; i < m; i += LANES) NAME(store)(scratch + i, NAME(exp)(NAME(load)(scratch + i)));
  for (int64_t i = 0; i < m; i++) sum += scratch[i];
  for (int64_t i = 0; i < m; i++) out[i] = scratch[i] / sum;
}

/* Element-wise steps of one row. */
TARGET static int NAME(move)(const Program *t, const Step *s, float *file, float *scratch) {
  const float *a = NAME(operand)(t, file, s->a, s->op == COPY ? s->m & 3 : IN_BUFFER);
  const int64_t n = s->n, m = s->m;
  float *out = file + s->out;
  switch (s->op) {
    case COPY: for (int64_t i = 0; i < n; i++) out[i] = a[(s->m & 3) == SCALAR ? 0 : i]; return 1;
    case TAKE: for (int64_t i = 0; i < n; i++) out[i] = a[t->indices[s->b + i]]; return 1;
    case LOOKUP: return NAME(look_up)(t, s, file);
    case SOFTMAX: for (int64_t i = 0; i < n; i += m) NAME(softmax)(a + i, out + i, m, scratch); return 1;
    default: break;
  }
  for (int64_t i = 0; i < n; i++) {
    double sum = 0; /* SUM: over m numbers, divided by k */
    for (int64_t j = 0; j < m; j++) sum += a[i * m + j];
    out[i] = (float)(sum / s->k);
  }
  return 1;
}

/* Run a step of one row; return 0 if it reads outside a table. */
TARGET static int NAME(step)(const Program *t, const Step *s, float *file, float *scratch) {
  if (s->op >= COPY) return NAME(move)(t, s, file, scratch);
  const int kind = s->m & 3, second = s->op <= TRUNC ? s->m >> 2 & 3 : kind, third = s->m >> 4 & 3;
  const float *a = NAME(operand)(t, file, s->a, kind), *b = s->op <= TRUNC ? NAME(operand)(t, file, s->b, second) : a;
  const int64_t n = s->n, a_moves = kind == SCALAR ? 0 : -1, b_moves = second == SCALAR ? 0 : -1;
  float *out = file + s->out;
  switch (s->op) {
    case ADD: ALL(x + y)
    case SUB: ALL(x - y)
    case MUL: ALL(x * y)
    case DIV: ALL(x / y)
    case OP_MIN: ALL(NAME(select)(y < x, y, x))
    case OP_MAX: ALL(NAME(select)(y > x, y, x))
    case LESS: ALL(NAME(flag)(x < y))
    case LESS_EQUAL: ALL(NAME(flag)(x <= y))
    case EQUAL: ALL(NAME(flag)(x == y))
    case TRUNC: ALL(NAME(trunc_to)(x, y))
    case ABS: ALL(NAME(abs)(x))
    case FLOOR: ALL(NAME(floor)(x))
    case ROUND: ALL(NAME(round)(x))
    case IS_NAN: ALL(NAME(flag)(x != x))
    case EXP: ALL(NAME(exp)(x))
    case SIGMOID: ALL(NAME(sigmoid)(x))
    case TANH: ALL(NAME(tanh)(x))
    case ERF: ALL(NAME(erf)(x))
    case SQRT: for (int64_t i = 0; i < n; i++) out[i] = sqrtf(a[i & a_moves]); return 1;
    case LOG: for (int64_t i = 0; i < n; i++) out[i] = logf(a[i & a_moves]); return 1;
    default: break;
  }
  const float *c = NAME(operand)(t, file, s->c, third);
  const int64_t c_moves = third == SCALAR ? 0 : -1;
  ALL(NAME(select)(x != 0, y, NAME(load)(c + (i & c_moves) + lane)))
}

static int NAME(one_step)(const Program *t, const Step *s, const Packed *d, float *file, int64_t rows, float *scratch) {
  if (s->op == DENSE) NAME(dense)(t, s, d, file, rows, scratch);
  else if (s->op == CONV) for (int64_t r = 0; r < rows; r++) NAME(convolve)(t, s, d, file + r * t->size + s->a, file + r * t->size + s->out, scratch);
  else if (s->op == POOL) for (int64_t r = 0; r < rows; r++) NAME(pool)(t, s, file + r * t->size + s->a, file + r * t->size + s->out);
  else for (int64_t r = 0; r < rows; r++) if (!NAME(step)(t, s, file + r * t->size, scratch)) return 0;
  return 1;
}

static int NAME(run)(const Program *t, float *file, int64_t rows, float *scratch) {
  const Packed *packed = t->packed;
  for (const Step *s = t->steps, *end = s + t->n_steps; s < end; s++)
    if (!NAME(one_step)(t, s, s->op == DENSE || s->op == CONV ? packed++ : NULL, file, rows, scratch)) return 0;
  return 1;
}
