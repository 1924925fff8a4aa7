/* Dense products, compiled once per level. The inputs of an output are added in order, BLOCK of them to a partial sum and
   the partial sums to a total, which keeps rounding errors small. A single row and a batch use the same order, so their
   answers are equal to the bit. */
#undef PANEL
#undef VECTORS
#undef ROW_BY
#undef STORE_SUMS
#define PANEL (LANES * TILE)
#define VECTORS (SPAN / LANES)

static int NAME(pack_dense)(const Program *t, const Step *s, Packed *d) {
  const int64_t n = s->n, k = s->k;
  const int rounds = is_rounded(t, s);
  const float *from = t->pool + s->b, *bias = t->pool + s->c;
  d->dots = n <= SPAN;
  d->panels = (n + PANEL - 1) / PANEL;
  d->line = d->dots ? (k + SPAN - 1) / SPAN * SPAN : (k + 1) * PANEL;
  const int64_t size = d->dots ? n * (d->line + 1) : d->panels * d->line;
  void *at = NULL;
  if (posix_memalign(&at, 64, (size_t)size * sizeof(float))) return 0;
  float *w = d->weights = memset(at, 0, (size_t)size * sizeof(float));
  for (int64_t o = 0; o < n; o++) {
    float *to = d->dots ? w + o * d->line : w + o / PANEL * d->line + o % PANEL;
    if (d->dots) w[n * d->line + o] = bias[o];
    else { *to = bias[o]; to += PANEL; }
    for (int64_t i = 0; i < k; i++) to[d->dots ? i : i * PANEL] = rounds ? rounded(from[i * n + o]) : from[i * n + o];
  }
  return 1;
}

/* Few outputs: inputs are spread over the lanes. */
TARGET static void NAME(dot_row)(const Packed *d, const float *x, int64_t k, float *out, int64_t n) {
  float last[SPAN] = {0}, part[SPAN];
  const int64_t full = k / SPAN * SPAN;
  memcpy(last, x + full, (size_t)(k - full) * sizeof(float));
  for (int64_t o = 0; o < n; o++) {
    const float *w = d->weights + o * d->line;
    F sum[4 * VECTORS] = {{0}};
    int64_t i = 0;
    for (; i + 4 * SPAN <= full; i += 4 * SPAN)
      for (int j = 0; j < 4 * VECTORS; j++) sum[j] = FUSED(NAME(load)(w + i + j * LANES), NAME(load)(x + i + j * LANES), sum[j]);
    for (; i < full; i += SPAN) /* rounded twice, as in earlier releases */
      for (int v = 0; v < VECTORS; v++) sum[v] += NAME(load)(w + i + v * LANES) * NAME(load)(x + i + v * LANES);
    for (int v = 0; v < VECTORS; v++) {
      F *part_sum = sum + VECTORS + v;
      if (full < k) *part_sum = FUSED(NAME(load)(w + full + v * LANES), NAME(load)(last + v * LANES), *part_sum);
      NAME(store)(part + v * LANES, (sum[v] + *part_sum) + (sum[2 * VECTORS + v] + sum[3 * VECTORS + v]));
    }
    for (int half = SPAN / 2; half; half /= 2) for (int j = 0; j < half; j++) part[j] += part[j + half];
    out[o] = part[0] + d->weights[n * d->line + o];
  }
}

/* The inputs that are not 0 and where their weights begin, block by block, each after the number of them: after a relu
   half of the weights need not be read at all. */
TARGET static void NAME(present)(const float *x, int64_t k, int32_t *at, float *found) {
  for (int64_t start = 0; start < k; start += BLOCK, at += BLOCK + 1, found += BLOCK) {
    const int64_t end = k - start < BLOCK ? k : start + BLOCK;
    int32_t count = 0;
#if LANES == 16
    __m512i place = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    place = _mm512_mullo_epi32(_mm512_add_epi32(place, _mm512_set1_epi32((int32_t)start)), _mm512_set1_epi32(PANEL));
    for (int64_t i = start; i < end; i += 16, place = _mm512_add_epi32(place, _mm512_set1_epi32(16 * PANEL))) {
      const __m512 v = _mm512_loadu_ps(x + i);
      const __mmask16 here = end - i < 16 ? (__mmask16)((1u << (end - i)) - 1) : (__mmask16)0xffff;
      const __mmask16 some = _mm512_mask_cmp_ps_mask(here, v, _mm512_setzero_ps(), _CMP_NEQ_UQ);
      _mm512_storeu_ps(found + count, _mm512_maskz_compress_ps(some, v));
      _mm512_storeu_si512(at + 1 + count, _mm512_maskz_compress_epi32(some, place));
      count += __builtin_popcount(some);
    }
#else
    for (int64_t i = start; i < end; i++) {
      found[count] = x[i];
      at[1 + count] = (int32_t)(i * PANEL);
      count += x[i] != 0;
    }
#endif
    at[0] = count;
  }
}

#define STORE_SUMS(sums, of, to, left) \
  for (int v = 0; v < (of); v++) if (v / VECTORS * SPAN < (left)) NAME(store)((to) + v * LANES, (sums)[v]);

/* One row through PANELS panels at once: their sums stay in registers, with short dependency chains. */
#define ROW_BY(PANELS) \
  TARGET static void NAME(row_by_##PANELS)(const float *w, int64_t line, const int32_t *at, const float *x, int64_t k, float *out, int64_t left) { \
    const float *panel[PANELS]; \
    F total[PANELS * TILE]; \
    for (int p = 0; p < PANELS; p++) panel[p] = w + p * line; \
    for (int v = 0; v < PANELS * TILE; v++) total[v] = NAME(load)(panel[v / TILE] + v % TILE * LANES); \
    for (int p = 0; p < PANELS; p++) panel[p] += PANEL; \
    for (int64_t start = 0; start < k; start += BLOCK, at += BLOCK + 1, x += BLOCK) { \
      F sum[PANELS * TILE] = {{0}}; \
      const int64_t count = at[0]; \
      for (int64_t i = 0; i < count; i++) { \
        const F one = NAME(splat)(x[i]); \
        const int64_t from = at[1 + i]; \
        for (int v = 0; v < PANELS * TILE; v++) sum[v] = FUSED(NAME(load)(panel[v / TILE] + from + v % TILE * LANES), one, sum[v]); \
      } \
      for (int v = 0; v < PANELS * TILE; v++) total[v] += sum[v]; \
    } \
    STORE_SUMS(total, PANELS * TILE, out, left) \
  }
ROW_BY(1)
ROW_BY(2)
ROW_BY(4)

TARGET static void NAME(dense_row)(const Packed *d, const float *x, int64_t k, float *out, int64_t n, float *scratch) {
  int32_t *at = (int32_t *)scratch;
  float *found = scratch + (k + BLOCK) / BLOCK * (BLOCK + 1) + VECTOR_SIZE;
  int64_t p = 0;
  NAME(present)(x, k, at, found);
  for (; p + 4 <= d->panels; p += 4) NAME(row_by_4)(d->weights + p * d->line, d->line, at, found, k, out + p * PANEL, n - p * PANEL);
  for (; p + 2 <= d->panels; p += 2) NAME(row_by_2)(d->weights + p * d->line, d->line, at, found, k, out + p * PANEL, n - p * PANEL);
  if (p < d->panels) NAME(row_by_1)(d->weights + p * d->line, d->line, at, found, k, out + p * PANEL, n - p * PANEL);
}

/* TOGETHER rows through a panel, which is read once for all of them. */
TARGET static void NAME(panel_rows)(const float *w, const float *x, int64_t stride, int64_t k, float *out, int64_t left) {
  F total[TOGETHER][TILE];
  for (int r = 0; r < TOGETHER; r++) for (int v = 0; v < TILE; v++) total[r][v] = NAME(load)(w + v * LANES);
  for (int64_t start = 0; start < k; start += BLOCK) {
    const int64_t end = k - start < BLOCK ? k : start + BLOCK;
    F sum[TOGETHER][TILE] = {{{0}}};
    for (int64_t i = start; i < end; i++) {
      F weight[TILE];
      w += PANEL;
      for (int v = 0; v < TILE; v++) weight[v] = NAME(load)(w + v * LANES);
      for (int r = 0; r < TOGETHER; r++) {
        const F one = NAME(splat)(x[r * stride + i]);
        for (int v = 0; v < TILE; v++) sum[r][v] = FUSED(weight[v], one, sum[r][v]);
      }
    }
    for (int r = 0; r < TOGETHER; r++) for (int v = 0; v < TILE; v++) total[r][v] += sum[r][v];
  }
  for (int r = 0; r < TOGETHER; r++) STORE_SUMS(total[r], TILE, out + r * stride, left)
}

TARGET static void NAME(dense)(const Program *t, const Step *s, const Packed *d, float *file, int64_t rows, float *scratch) {
  const int64_t stride = t->size;
  const int rounds = is_rounded(t, s); /* row by row, whose inputs are copied */
  int64_t r = 0;
  if (!d->dots && !rounds)
    for (; r + TOGETHER <= rows; r += TOGETHER)
      for (int64_t p = 0; p < d->panels; p++)
        NAME(panel_rows)(d->weights + p * d->line, file + r * stride + s->a, stride, s->k, file + r * stride + s->out + p * PANEL, s->n - p * PANEL);
  for (; r < rows; r++) {
    const float *x = file + r * stride + s->a;
    float *out = file + r * stride + s->out, *copy = scratch + 2 * ((s->k + BLOCK) / BLOCK * (BLOCK + 1) + (int64_t)VECTOR_SIZE);
    if (rounds) {
      for (int64_t i = 0; i < s->k; i++) copy[i] = rounded(x[i]);
      x = copy;
    }
    if (d->dots) NAME(dot_row)(d, x, s->k, out, s->n);
    else NAME(dense_row)(d, x, s->k, out, s->n, scratch);
  }
}
