/* Convolutions and pooling, compiled once per level. The channels of a pixel are stored next to each other, and the outputs
   of a pixel are the lanes. A 3 x 3 convolution of stride 1 computes 2 x 2 outputs by 16 products instead of 36, or
   2 x 4 by 24 instead of 72 (Winograd's minimal filtering, Lavin and Gray 2016). Images with a value that is not finite, or so large that a sum
   could overflow, take the direct form. Every image is computed alone, so that a row and a batch give equal bits. */
#undef PIXELS_BY
#undef MAX_PIXELS
#define MAX_PIXELS 8

static void NAME(pack_tiles)(const Window *w, const float *from, float *to, int rounds) {
  static const double OF_2[6][3] = {{1, 0, 0}, {.5, .5, .5}, {.5, -.5, .5}, {0, 0, 1}};
  static const double OF_4[6][3] = {{1. / 4, 0, 0}, {-1. / 6, -1. / 6, -1. / 6}, {-1. / 6, 1. / 6, -1. / 6}, {1. / 24, 1. / 12, 1. / 6}, {1. / 24, -1. / 12, 1. / 6}, {0, 0, 1}};
  const int64_t n = w->outputs, k = w->channels, vectors = (n + LANES - 1) / LANES, columns = tile_columns(w) + 2;
  const double(*across)[3] = columns == 6 ? OF_4 : OF_2;
  for (int64_t position = 0; position < 4 * columns; position++)
    for (int64_t c = 0; c < k; c++)
      for (int64_t o = 0; o < n; o++) {
        double sum = 0;
        for (int64_t tap = 0; tap < 9; tap++) sum += OF_2[position / columns][tap / 3] * across[position % columns][tap % 3] * (rounds ? rounded(from[(tap * k + c) * n + o]) : from[(tap * k + c) * n + o]);
        to[((position * vectors + o / LANES) * k + c) * LANES + o % LANES] = (float)sum;
      }
}

/* Weights: of each group and vector of outputs the biases, then the weights of each input. Of a convolution channel by
   channel: the biases, then the weights of each tap, of all channels. */
static int NAME(pack_conv)(const Program *t, const Step *s, Packed *d) {
  const Window *w = window_of(t, s);
  const Extent e = extent(w);
  const int64_t taps = (int64_t)w->kernel_h * w->kernel_w, inputs = w->channels / w->groups, outputs = w->outputs / w->groups, k = taps * inputs;
  const int each = by_channel(w), rounds = is_rounded(t, s);
  const float *from = t->pool + s->b, *bias = t->pool + s->c;
  d->panels = each ? (w->channels + LANES - 1) / LANES : (outputs + LANES - 1) / LANES;
  d->line = (k + 1) * LANES;
  void *at = NULL;
  const int64_t size = (each ? 1 : w->groups) * d->panels * d->line, tiles = tile_columns(w) ? 4 * (tile_columns(w) + 2) * d->panels * w->channels * LANES : 0;
  if (posix_memalign(&at, 64, (size_t)(size + tiles) * sizeof(float))) return 0;
  d->weights = memset(at, 0, (size_t)(size + tiles) * sizeof(float));
  for (int64_t o = 0; o < w->outputs; o++) {
    const int64_t group = each ? 0 : o / outputs, within = each ? o : o % outputs;
    float *to = d->weights + (group * d->panels + within / LANES) * d->line + within % LANES;
    *to = bias[o];
    for (int64_t i = 0; i < k; i++) to[(i + 1) * LANES] = rounds ? rounded(from[i * w->outputs + o]) : from[i * w->outputs + o];
  }
  if (tiles) NAME(pack_tiles)(w, from, d->tiles = d->weights + size, rounds);
  const int64_t windows = w->pooled ? (int64_t)(w->out_h / 2) * (w->out_w / 2) : (int64_t)w->out_h * w->out_w, of = w->pooled ? w->out_w / 2 : w->out_w;
  d->n_pixels = w->pooled ? windows * 4 : windows;
  d->pixels = malloc((size_t)d->n_pixels * sizeof *d->pixels);
  d->runs = malloc((size_t)taps * sizeof *d->runs);
  if (!d->pixels || !d->runs) return 0;
  for (int64_t q = 0; q < d->n_pixels; q++) {
    const int64_t at_window = w->pooled ? q / 4 : q;
    const int64_t y = w->pooled ? at_window / of * 2 + q % 4 / 2 : at_window / of, x = w->pooled ? at_window % of * 2 + q % 2 : at_window % of;
    d->pixels[q] = (int32_t)((y * w->stride_h * e.width + x * w->stride_w) * w->channels);
  }
  int64_t since = 0;
  for (int64_t tap = 0; tap < taps; tap++) {
    const int32_t offset = (int32_t)((tap / w->kernel_w * w->dilation_h * e.width + tap % w->kernel_w * w->dilation_w) * w->channels);
    Run *last = d->n_runs ? d->runs + d->n_runs - 1 : NULL;
    if (!each && last && last->offset + last->length == offset) last->length += (int32_t)inputs;
    else d->runs[d->n_runs++] = (Run){offset, (int32_t)inputs, 0};
  }
  for (int64_t r = 0; r < d->n_runs; r++) {
    since += d->runs[r].length;
    d->runs[r].ends = since >= BLOCK || r == d->n_runs - 1;
    if (d->runs[r].ends) since = 0;
  }
  return 1;
}

static int NAME(pack)(const Program *t, const Step *s, Packed *d) { return s->op == DENSE ? NAME(pack_dense)(t, s, d) : NAME(pack_conv)(t, s, d); }

/* P pixels by V vectors of outputs: P * V sums in registers, added to `out` where a run ends a block. */
#define PIXELS_BY(P, V) \
  TARGET static void NAME(pixels_##P##_by_##V)(const float *w, int64_t line, const float *const *x, const Run *run, int64_t n, float *out, int64_t stride) { \
    F sum[P * V] = {{0}}; \
    for (const Run *first = run, *end = run + n; run < end; run++) { \
      const float *at[P]; \
      for (int p = 0; p < P; p++) at[p] = x[p] + run->offset; \
      for (int64_t i = 0; i < run->length; i++, w += LANES) { \
        F weight[V]; \
        for (int v = 0; v < V; v++) weight[v] = NAME(load)(w + v * line); \
        for (int p = 0; p < P; p++) { \
          const F one = NAME(splat)(at[p][i]); \
          for (int v = 0; v < V; v++) sum[p * V + v] = FUSED(weight[v], one, sum[p * V + v]); \
        } \
      } \
      if (!run->ends) continue; \
      if (first) for (int p = 0; p < P; p++) for (int v = 0; v < V; v++) NAME(store)(out + p * stride + v * LANES, sum[p * V + v]); \
      else for (int p = 0; p < P; p++) for (int v = 0; v < V; v++) NAME(store)(out + p * stride + v * LANES, NAME(load)(out + p * stride + v * LANES) + sum[p * V + v]); \
      for (int j = 0; j < P * V; j++) sum[j] = (F){0}; \
      first = NULL; \
    } \
  }
PIXELS_BY(8, 1)
PIXELS_BY(4, 2)
#if TILE == 4
PIXELS_BY(4, 4)
#endif

typedef void (*NAME(Pixels))(const float *, int64_t, const float *const *, const Run *, int64_t, float *, int64_t);

/* The kernel for so many vectors of outputs, and how many vectors and pixels it computes. */
static inline NAME(Pixels) NAME(pixels_for)(int64_t vectors, int *v, int *p) {
  *p = 4;
#if TILE == 4
  if (vectors >= 4) { *v = 4; return NAME(pixels_4_by_4); }
#endif
  if (vectors >= 2) { *v = 2; return NAME(pixels_4_by_2); }
  *v = 1;
  *p = 8;
  return NAME(pixels_8_by_1);
}

INLINE void NAME(store_some)(float *to, F value, int64_t left) {
  if (left >= LANES) NAME(store)(to, value);
  else memcpy(to, &value, (size_t)left * sizeof(float));
}

INLINE F NAME(larger)(F x, F y) { return NAME(select)(y > x, y, x); }

INLINE F NAME(activated)(F x, int relu) { return relu ? NAME(larger)(x, NAME(splat)(0.0f)) : x; }

/* Store a vector of outputs of up to four pixels, or of the window that they are. */
INLINE void NAME(store_pixels)(const F *sum, int64_t count, F bias, const Step *s, const Window *w, float *to, int64_t left) {
  if (w->pooled) {
    const F largest = NAME(larger)(NAME(larger)(sum[0], sum[1]), NAME(larger)(sum[2], sum[3]));
    NAME(store_some)(to, NAME(activated)(largest + bias, s->m), left);
    return;
  }
  for (int64_t p = 0; p < count; p++) NAME(store_some)(to + p * w->outputs, NAME(activated)(sum[p] + bias, s->m), left);
}

TARGET static void NAME(direct)(const Step *s, const Window *w, const Packed *d, const float *x, float *out) {
  const int64_t outputs = w->outputs / w->groups, inputs = w->channels / w->groups;
  const float *at[MAX_PIXELS];
  float sums[4 * TILE * LANES > 8 * LANES ? 4 * TILE * LANES : 8 * LANES] __attribute__((aligned(64)));
  for (int64_t group = 0; group < w->groups; group++)
    for (int64_t v = 0; v < d->panels;) {
      const float *weights = d->weights + (group * d->panels + v) * d->line;
      int n, pixels;
      const NAME(Pixels) kernel = NAME(pixels_for)(d->panels - v, &n, &pixels);
      for (int64_t q = 0; q < d->n_pixels; q += pixels) {
        for (int p = 0; p < pixels; p++) at[p] = x + d->pixels[q + p < d->n_pixels ? q + p : d->n_pixels - 1] + group * inputs;
        kernel(weights + LANES, d->line, at, d->runs, d->n_runs, sums, n * LANES);
        for (int64_t first = 0; first < pixels && q + first < d->n_pixels; first += 4)
          for (int j = 0; j < n; j++) {
            F sum[4];
            for (int p = 0; p < 4; p++) sum[p] = NAME(load)(sums + ((first + p) * n + j) * LANES);
            const int64_t o = (v + j) * LANES, to = w->pooled ? (q + first) / 4 : q + first, left = d->n_pixels - q - first;
            NAME(store_pixels)(sum, left < 4 ? left : 4, NAME(load)(weights + j * d->line), s, w, out + to * w->outputs + group * outputs + o, outputs - o);
          }
      }
      v += n;
    }
}

/* Every output reads its own channel alone. */
TARGET static void NAME(direct_by_channel)(const Step *s, const Window *w, const Packed *d, const float *x, float *out) {
  for (int64_t q = 0; q < d->n_pixels; q += 4)
    for (int64_t v = 0; v < d->panels; v++) {
      const float *weights = d->weights + v * d->line, *at[4];
      const int64_t left = d->n_pixels - q;
      F sum[4] = {{0}};
      for (int p = 0; p < 4; p++) at[p] = x + d->pixels[p < left ? q + p : q] + v * LANES;
      for (int64_t r = 0; r < d->n_runs; r++) {
        const F weight = NAME(load)(weights + (r + 1) * LANES);
        for (int p = 0; p < 4; p++) sum[p] = FUSED(weight, NAME(load)(at[p] + d->runs[r].offset), sum[p]);
      }
      NAME(store_pixels)(sum, left < 4 ? left : 4, NAME(load)(weights), s, w, out + (w->pooled ? q / 4 : q) * w->outputs + v * LANES, w->outputs - v * LANES);
    }
}

/* The pixels of a tile of 4 rows and `columns`, transformed: down its columns, then along its rows. */
INLINE void NAME(transform_pixels)(const float *x, int64_t line, int64_t channels, float *to, int64_t stride, const int columns) {
  F part[4][6] = {{{0}}};
  for (int c = 0; c < columns; c++) {
    const F a = NAME(load)(x + c * channels), b = NAME(load)(x + line + c * channels), e = NAME(load)(x + 2 * line + c * channels), f = NAME(load)(x + 3 * line + c * channels);
    part[0][c] = a - e;
    part[1][c] = b + e;
    part[2][c] = e - b;
    part[3][c] = b - f;
  }
  for (int r = 0; r < 4; r++, to += columns * stride) {
    const F *d = part[r];
    if (columns == 4) {
      NAME(store)(to, d[0] - d[2]);
      NAME(store)(to + stride, d[1] + d[2]);
      NAME(store)(to + 2 * stride, d[2] - d[1]);
      NAME(store)(to + 3 * stride, d[1] - d[3]);
      continue;
    }
    const F four = NAME(splat)(4.0f), five = NAME(splat)(-5.0f), two = NAME(splat)(2.0f);
    const F even = FUSED(-four, d[2], d[4]), odd = FUSED(-four, d[1], d[3]), inner = d[4] - d[2], outer = d[3] - d[1];
    NAME(store)(to, FUSED(four, d[0], FUSED(five, d[2], d[4])));
    NAME(store)(to + stride, even + odd);
    NAME(store)(to + 2 * stride, even - odd);
    NAME(store)(to + 3 * stride, FUSED(two, outer, inner));
    NAME(store)(to + 4 * stride, FUSED(-two, outer, inner));
    NAME(store)(to + 5 * stride, FUSED(four, d[1], FUSED(five, d[3], d[5])));
  }
}

/* The outputs of a tile: 2 x 2 of its left half, then of its right half. */
INLINE void NAME(transform_products)(const float *m, int64_t stride, F *found, const int columns) {
  F part[2][6] = {{{0}}};
  for (int c = 0; c < columns; c++, m += stride) {
    const F a = NAME(load)(m), b = NAME(load)(m + columns * stride), e = NAME(load)(m + 2 * columns * stride), f = NAME(load)(m + 3 * columns * stride);
    part[0][c] = (a + b) + e;
    part[1][c] = (b - e) - f;
  }
  for (int r = 0; r < 2; r++, found += 2) {
    const F *d = part[r];
    if (columns == 4) {
      found[0] = (d[0] + d[1]) + d[2];
      found[1] = (d[1] - d[2]) - d[3];
      continue;
    }
    const F near = d[1] + d[2], across = d[1] - d[2], far = d[3] + d[4], beyond = d[3] - d[4];
    found[0] = (d[0] + near) + far;
    found[1] = FUSED(NAME(splat)(2.0f), beyond, across);
    found[4] = FUSED(NAME(splat)(4.0f), far, near);
    found[5] = FUSED(NAME(splat)(8.0f), beyond, across) + d[5];
  }
}

/* TILES_TOGETHER tiles at once: their pixels, transformed, times the weights, position by position of the tile. */
INLINE void NAME(tiled_by)(const Step *s, const Window *w, const Packed *d, const float *x, float *out, float *scratch, const int columns) {
  const Extent e = extent(w);
  const int wide = columns - 2;
  const int64_t c = padded(w->channels), o = d->panels * LANES, across = (w->out_w + wide - 1) / wide, tiles = (w->out_h + 1) / 2 * across;
  const Run run = {0, w->channels, 1};
  /* Of a position of the tile to the next: not a multiple of 4 KB, whose lines compete for the same places in the cache. */
  const int64_t next_pixels = TILES_TOGETHER * c + VECTOR_SIZE, next_products = TILES_TOGETHER * o + VECTOR_SIZE;
  float *pixels = scratch, *products = scratch + 4 * columns * next_pixels;
  for (int64_t start = 0; start < tiles; start += TILES_TOGETHER) {
    const int64_t count = tiles - start < TILES_TOGETHER ? tiles - start : TILES_TOGETHER;
    for (int64_t j = 0; j < count; j++) {
      const float *from = x + ((start + j) / across * 2 * e.width + (start + j) % across * wide) * w->channels;
      for (int64_t i = 0; i < w->channels; i += LANES)
        NAME(transform_pixels)(from + i, e.width * w->channels, w->channels, pixels + j * c + i, next_pixels, columns);
    }
    for (int64_t position = 0; position < 4 * columns; position++)
      for (int64_t v = 0; v < d->panels;) {
        const float *at[MAX_PIXELS];
        int n, by;
        const NAME(Pixels) kernel = NAME(pixels_for)(d->panels - v, &n, &by);
        for (int64_t j = 0; j < count; j += by) {
          for (int p = 0; p < by; p++) at[p] = pixels + position * next_pixels + (j + p) * c;
          kernel(d->tiles + (position * d->panels + v) * w->channels * LANES, w->channels * LANES, at, &run, 1, products + position * next_products + j * o + v * LANES, o);
        }
        v += n;
      }
    for (int64_t j = 0; j < count; j++)
      for (int64_t v = 0; v < d->panels; v++) {
        const F bias = NAME(load)(d->weights + v * d->line);
        const int64_t y = (start + j) / across * 2, first = (start + j) % across * wide, channels_left = w->outputs - v * LANES;
        F found[8] = {{0}};
        NAME(transform_products)(products + j * o + v * LANES, next_products, found, columns);
        for (int64_t half = 0, left = first; half < wide / 2 && left < w->out_w; half++, left += 2) {
          float *to = out + v * LANES;
          if (!w->pooled)
            for (int64_t r = 0; r < 2 && y + r < w->out_h; r++)
              NAME(store_pixels)(found + 4 * half + 2 * r, left + 1 < w->out_w ? 2 : 1, bias, s, w, to + ((y + r) * w->out_w + left) * w->outputs, channels_left);
          else if (y + 1 < w->out_h && left + 1 < w->out_w)
            NAME(store_pixels)(found + 4 * half, 4, bias, s, w, to + (y / 2 * (w->out_w / 2) + left / 2) * w->outputs, channels_left);
        }
      }
  }
}

TARGET static void NAME(tiled)(const Step *s, const Window *w, const Packed *d, const float *x, float *out, float *scratch) {
  if (tile_columns(w) == 4) NAME(tiled_by)(s, w, d, x, out, scratch, 6);
  else NAME(tiled_by)(s, w, d, x, out, scratch, 4);
}

/* Whether all numbers are small enough that no sum of a tile overflows. */
TARGET static int NAME(are_small)(const float *x, int64_t n) {
  I large = {0};
  int64_t i = 0;
  int32_t any = 0;
  for (; i + LANES <= n; i += LANES) large |= ~(I)(NAME(abs)(NAME(load)(x + i)) < 1e30f);
  for (; i < n; i++) any |= !(fabsf(x[i]) < 1e30f);
  for (int lane = 0; lane < LANES; lane++) any |= large[lane];
  return !any;
}

TARGET static void NAME(convolve)(const Program *t, const Step *s, const Packed *d, const float *x, float *out, float *scratch) {
  const Window *w = window_of(t, s);
  const Extent e = extent(w);
  const int64_t line = (int64_t)w->width * w->channels, wide = e.width * w->channels, size = e.height * wide;
  const int tiled = d->tiles && NAME(are_small)(x, w->height * line);
  const int rounds = is_rounded(t, s);
  if (size != w->height * line || by_channel(w) || rounds) {
    memset(scratch, 0, (size_t)(size + VECTOR_SIZE) * sizeof(float));
    for (int64_t y = 0; y < w->height; y++) {
      float *to = scratch + (w->top + y) * wide + (int64_t)w->left * w->channels;
      if (rounds) for (int64_t i = 0; i < line; i++) to[i] = rounded(x[y * line + i]);
      else memcpy(to, x + y * line, (size_t)line * sizeof(float));
    }
    x = scratch;
  }
  if (tiled) NAME(tiled)(s, w, d, x, out, scratch + padded(size + VECTOR_SIZE));
  else if (by_channel(w)) NAME(direct_by_channel)(s, w, d, x, out);
  else NAME(direct)(s, w, d, x, out);
}

/* The largest number of each window, or the mean (m: 1 without the border, 2 with it). */
TARGET static void NAME(pool)(const Program *t, const Step *s, const float *x, float *out) {
  const Window *w = window_of(t, s);
  for (int64_t q = 0; q < (int64_t)w->out_h * w->out_w; q++)
    for (int64_t c = 0; c < w->channels; c += LANES) {
      F found = NAME(splat)(s->m ? 0 : -INFINITY);
      int64_t count = 0;
      for (int64_t tap = 0; tap < (int64_t)w->kernel_h * w->kernel_w; tap++) {
        const int64_t y = q / w->out_w * w->stride_h + tap / w->kernel_w * w->dilation_h - w->top;
        const int64_t column = q % w->out_w * w->stride_w + tap % w->kernel_w * w->dilation_w - w->left;
        if (y < 0 || y >= w->height || column < 0 || column >= w->width) continue;
        const F value = NAME(load)(x + (y * w->width + column) * w->channels + c);
        found = s->m ? found + value : NAME(larger)(found, value);
        count++;
      }
      if (s->m == 2) count = (int64_t)w->kernel_h * w->kernel_w;
      NAME(store_some)(out + q * w->channels + c, s->m ? found / NAME(splat)((float)count) : found, w->channels - c);
    }
}
