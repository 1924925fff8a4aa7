/* A small network in float32: the steps of its program, one row at a time, in the order of the kernel at level portable. */

enum {
  ADD, SUB, MUL, DIV, OP_MIN, OP_MAX, LESS, LESS_EQUAL, EQUAL, WHERE, TRUNC,
  ABS, FLOOR, ROUND, IS_NAN, SQRT, LOG, EXP, SIGMOID, TANH, ERF,
  COPY, TAKE, LOOKUP, SOFTMAX, SUM, DENSE_FEW, DENSE_MANY
};
enum { IN_BUFFER, IN_POOL, SCALAR }; /* where an operand is stored, two bits each of `m` */
#define LARGEST_FRACTION 8388608.0f  /* from this magnitude on a float is an integer */
#define BLOCK 64                     /* inputs of a dense step that are added to one partial sum */
#define LANES 4                      /* sums of a dense step of few outputs */

#if USES_TRUNC || USES_FLOOR
/* Truncate as C converts to an integer whose minimum is -limit; other values become -limit. */
static float trunc_to(float x, float limit) {
  const float y = fabsf(x), cut = y < LARGEST_FRACTION ? (float)(int32_t)x : x;
  return y < limit ? cut : -limit;
}
#endif

#if USES_FLOOR
static float floor_of(float x) {
  const float cut = trunc_to(x, LARGEST_FRACTION);
  return fabsf(x) < LARGEST_FRACTION ? cut > x ? cut - 1.0f : cut : x;
}
#endif

#if USES_ROUND
static float round_of(float x) { /* to the nearest, ties to even */
  const float y = fabsf(x);
  return y < LARGEST_FRACTION ? copysignf((y + LARGEST_FRACTION) - LARGEST_FRACTION, x) : x;
}
#endif

#if USES_EXP || USES_SIGMOID || USES_TANH || USES_ERF || USES_SOFTMAX
static float power_of_2(int32_t exponent) {
  const uint32_t bits = (uint32_t)(exponent + 127) << 23;
  float x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

static float exp_of(float x) {
  float shifted, k, r, p;
  int32_t octaves, half;
  x = x > 89.0f ? 89.0f : x; /* outside this range the result is infinite, or 0 */
  x = x < -104.0f ? -104.0f : x;
  if (x != x) return x;
  shifted = x * 1.44269504f + 12582912.0f; /* the last bits now hold the number of octaves */
  memcpy(&octaves, &shifted, sizeof octaves);
  octaves -= 0x4b400000;
  k = shifted - 12582912.0f;
  r = x - k * 0.693359375f + k * 2.12194440e-4f;
  p = 1.3813161e-3f;
  p = p * r + 8.3694104e-3f;
  p = p * r + 4.1668456e-2f;
  p = p * r + 0.16666515f;
  p = p * r + 0.49999994f;
  p = p * r * r + r + 1.0f;
  half = octaves >> 1;
  return p * power_of_2(half) * power_of_2(octaves - half);
}
#endif

#if USES_SIGMOID
static float sigmoid_of(float x) { return 1.0f / (1.0f + exp_of(-x)); }
#endif

#if USES_TANH
static float tanh_of(float x) {
  const float y = fabsf(x), s = y * y;
  float p = -5.6669773e-3f;
  if (!(y < 0.625f)) return copysignf(1.0f - 2.0f / (exp_of(2.0f * y) + 1.0f), x);
  p = p * s + 2.0606177e-2f;
  p = p * s - 5.3730007e-2f;
  p = p * s + 0.13331331f;
  p = p * s - 0.33333278f;
  return copysignf(p * s * y + y, x);
}
#endif

#if USES_ERF
static float erf_of(float x) {
  const float y = fabsf(x), s = y * y, z = y > 4.0f ? 4.0f : y;
  float p = 7.8538963e-5f, q = 1.8557407e-4f;
  p = p * s - 8.0102053e-4f;
  p = p * s + 5.1883291e-3f;
  p = p * s - 2.6853813e-2f;
  p = p * s + 0.11283585f;
  p = p * s - 0.37612626f;
  p = p * s + 1.1283791f;
  q = q * z - 2.9396079e-3f;
  q = q * z + 2.1805320e-2f;
  q = q * z - 0.10303737f;
  q = q * z - 0.63822567f;
  q = q * z - 1.1270400f;
  q = q * z - 3.5371879e-4f;
  return copysignf(y < 1.0f ? p * y : 1.0f - exp_of(q), x);
}
#endif

#if USES_DENSE_FEW
/* Few outputs: inputs are spread over four sums of four lanes. */
static void dense_few(const step *s, const float *x, float *out) {
  const float *weights = pool + s->b;
  const int k = s->k, n = s->n, full = k / LANES * LANES, even = full / (4 * LANES) * (4 * LANES);
  int o, i, lane;
  for (o = 0; o < n; o++) {
    float sums[4 * LANES] = {0}, part[LANES];
    for (i = 0; i < k; i++) {
      const int at = i < even ? i % (4 * LANES) : i < full ? i % LANES : LANES + i % LANES;
      sums[at] += weights[i * n + o] * x[i];
    }
    for (lane = 0; lane < LANES; lane++)
      part[lane] = (sums[lane] + sums[LANES + lane]) + (sums[2 * LANES + lane] + sums[3 * LANES + lane]);
    out[o] = ((part[0] + part[2]) + (part[1] + part[3])) + pool[s->c + o];
  }
}
#endif

#if USES_DENSE_MANY
/* Many outputs: the inputs that are not 0 are added in order, BLOCK of them to a partial sum. */
static void dense_many(const step *s, const float *x, float *out) {
  const float *weights = pool + s->b;
  const int k = s->k, n = s->n;
  float sums[MAX_OUTPUTS];
  int start, i, o;
  for (o = 0; o < n; o++) out[o] = pool[s->c + o];
  for (start = 0; start < k; start += BLOCK) {
    const int end = k - start < BLOCK ? k : start + BLOCK;
    for (o = 0; o < n; o++) sums[o] = 0;
    for (i = start; i < end; i++) {
      const float one = x[i], *weight = weights + (size_t)i * n;
      if (one != 0) for (o = 0; o < n; o++) sums[o] += weight[o] * one;
    }
    for (o = 0; o < n; o++) out[o] += sums[o];
  }
}
#endif

#if USES_SOFTMAX
static void softmax_of(const float *x, float *out, int m) {
  float largest = x[0], total = 0;
  int i;
  for (i = 1; i < m; i++) largest = x[i] > largest ? x[i] : largest;
  for (i = 0; i < m; i++) out[i] = exp_of(x[i] - largest);
  for (i = 0; i < m; i++) total += out[i];
  for (i = 0; i < m; i++) out[i] /= total;
}
#endif

#if USES_LOOKUP
static int look_up(const step *s, float *file) {
  const float *ranks = file + s->a;
  int i;
  for (i = 0; i < s->n; i++) {
    int32_t rank;
    if (!(ranks[i] >= (float)-s->m && ranks[i] < (float)s->m)) return 0;
    rank = (int32_t)ranks[i] + (ranks[i] < 0 ? s->m : 0);
    memcpy(file + s->out + i * s->k, pool + s->b + rank * s->k, (size_t)s->k * sizeof(float));
  }
  return 1;
}
#endif

#define EACH(VALUE) for (i = 0; i < n; i++) { const float x = a[i & a_moves], y = b[i & b_moves]; (void)y; out[i] = (VALUE); } return 1;

/* Run a step; return 0 if it reads outside a table. */
static int run_step(const step *s, float *file) {
  const int kind = s->op <= COPY ? s->m & 3 : IN_BUFFER, second = s->op <= TRUNC ? s->m >> 2 & 3 : kind;
  const float *a = (kind == IN_BUFFER ? file : pool) + s->a;
  const float *b = s->op <= TRUNC ? (second == IN_BUFFER ? file : pool) + s->b : a;
  const int a_moves = kind == SCALAR ? 0 : -1, b_moves = second == SCALAR ? 0 : -1, n = s->n;
  float *out = file + s->out;
  int i = 0;
  (void)i; (void)n; (void)out; (void)b; (void)a_moves; (void)b_moves; /* not every program uses all */
  switch (s->op) {
@cases@    default: return 0;
  }
}

/* Compute the scores of a row; return 0 if the model rejects it. */
static int run_model(const double *row, double *scores) {
  float file[BUFFER] = {0};
  int i;
  for (i = 0; i < WIDTH; i++) file[i] = (float)row[i];
  for (i = 0; i < STEPS; i++) if (!run_step(steps + i, file)) return 0;
  for (i = 0; i < MODEL_OUTPUTS; i++) scores[i] = file[OUTPUT + i];
  return 1;
}
