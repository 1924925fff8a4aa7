/* Products in bfloat16 by AMX: 16 rows by 16 outputs by 32 inputs an instruction. The sums are in float32, over the inputs
   in order, so that a row and a batch give equal bits. A full group of rows is multiplied pixel by pixel, with a row of
   the group in each line of a tile; any other row alone, with a pixel in each line. */
#ifndef HEADWAY_AMX_H
#define HEADWAY_AMX_H

#include "levels.h"

#if defined(__x86_64__) && defined(__linux__) && (defined(__clang__) ? __clang_major__ >= 12 : __GNUC__ >= 11)
#define HAS_AMX 1

#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#define ARCH_GET_XCOMP_SUPP 0x1021
#define ARCH_REQ_XCOMP_PERM 0x1023
#define XTILEDATA 18
#define TILE_FLOATS (ROWS_TOGETHER * VECTOR_SIZE)
#define TARGET_AMX __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,fma,avx512bf16,amx-tile,amx-bf16")))
#define MEMORY_BARRIER __asm__ volatile("" ::: "memory") /* not all compilers know that tiles are read from memory */

/* Whether the processor has AMX and AVX-512 for bfloat16, and the system saves its registers. */
static int has_amx(void) {
  unsigned a, b, c, d, is_saved = 0;
  uint64_t supported = 0;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(d >> 22 & 1) || !(d >> 24 & 1)) return 0;
  if (!__get_cpuid_count(7, 1, &a, &b, &c, &d) || !(a >> 5 & 1)) return 0;
  if (!syscall(SYS_arch_prctl, ARCH_GET_XCOMP_SUPP, &supported)) is_saved = supported >> XTILEDATA & 1;
  return (int)is_saved;
}

/* Ask the system for its registers, once per process. */
static int may_use_amx(void) { return !syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XTILEDATA); }

static int64_t inputs_of(const Program *t, const Step *s) {
  if (s->op == DENSE) return s->k;
  const Extent e = extent(window_of(t, s));
  return e.height * e.width * window_of(t, s)->channels;
}

/* The weights as of AVX-512, and in bfloat16: of each 16 outputs and 32 inputs a tile, whose lines are two inputs of each output. */
static int amx_pack(const Program *t, const Step *s, Packed *d) {
  if (!avx512_pack(t, s, d)) return 0;
  if (!is_rounded(t, s)) return 1;
  const int64_t n = s->op == DENSE ? s->n : window_of(t, s)->outputs, panels = (n + VECTOR_SIZE - 1) / VECTOR_SIZE;
  const Run whole = {0, s->k, 1}, *runs = s->op == DENSE ? &whole : d->runs;
  const int64_t n_runs = s->op == DENSE ? 1 : d->n_runs;
  for (int64_t r = 0; r < n_runs; r++) d->n_chunks += (runs[r].length + CHUNK - 1) / CHUNK;
  void *at = NULL;
  const size_t bytes = (size_t)(panels * d->n_chunks * CHUNK * VECTOR_SIZE) * sizeof(uint16_t);
  d->chunks = malloc((size_t)d->n_chunks * sizeof *d->chunks);
  if (!d->chunks || posix_memalign(&at, 64, bytes)) return 0;
  d->halves = memset(at, 0, bytes);
  const float *from = t->pool + s->b;
  int64_t chunk = 0, first = 0;
  for (int64_t r = 0; r < n_runs; first += runs[r++].length)
    for (int64_t start = 0; start < runs[r].length; start += CHUNK, chunk++) {
      d->chunks[chunk] = (int32_t)(runs[r].offset + start);
      for (int64_t i = 0; i < CHUNK && start + i < runs[r].length; i++)
        for (int64_t o = 0; o < n; o++) {
          const float weight = rounded(from[(first + start + i) * n + o]);
          uint32_t bits;
          memcpy(&bits, &weight, sizeof bits);
          d->halves[((o / VECTOR_SIZE * d->n_chunks + chunk) * CHUNK + i / 2 * 2) * VECTOR_SIZE + o % VECTOR_SIZE * 2 + i % 2] = (uint16_t)(bits >> 16);
        }
    }
  return 1;
}

/* Numbers to bfloat16. */
TARGET_AMX static inline void amx_round(const float *x, int64_t n, uint16_t *to) {
  for (; n >= CHUNK; n -= CHUNK, x += CHUNK, to += CHUNK)
    _mm512_storeu_si512(to, (__m512i)_mm512_cvtne2ps_pbh(_mm512_loadu_ps(x + 16), _mm512_loadu_ps(x)));
  const __mmask16 low = (__mmask16)((1u << (n < 16 ? n : 16)) - 1), high = (__mmask16)(n < 16 ? 0 : (1u << (n - 16)) - 1);
  if (n) _mm512_mask_storeu_epi16(to, (__mmask32)((1ull << n) - 1), (__m512i)_mm512_cvtne2ps_pbh(_mm512_maskz_loadu_ps(high, x + 16), _mm512_maskz_loadu_ps(low, x)));
}

/* An image in bfloat16 with its border of zeros, and zeros after it. */
TARGET_AMX static void amx_image(const Window *w, Extent e, const float *x, uint16_t *to, int64_t stride) {
  const int64_t line = (int64_t)w->width * w->channels, wide = e.width * w->channels, left = (int64_t)w->left * w->channels;
  uint16_t *end = to + stride;
  memset(to, 0, (size_t)(w->top * wide) * sizeof *to);
  to += w->top * wide;
  for (int64_t y = 0; y < w->height; y++, to += wide, x += line) {
    memset(to, 0, (size_t)left * sizeof *to);
    amx_round(x, line, to + left);
    memset(to + left + line, 0, (size_t)(wide - left - line) * sizeof *to);
  }
  memset(to, 0, (size_t)(end - to) * sizeof *to);
}

typedef struct { uint8_t palette, start, reserved[14]; uint16_t bytes[16]; uint8_t rows[16]; } TileSizes;

/* Sums and inputs have so many rows. */
TARGET_AMX static void amx_configure(int64_t rows, int64_t *now) {
  if (*now == rows) return;
  TileSizes sizes = {.palette = 1};
  for (int i = 0; i < 8; i++) {
    sizes.bytes[i] = 64;
    sizes.rows[i] = (uint8_t)(i < 6 ? rows : 16);
  }
  MEMORY_BARRIER;
  _tile_loadconfig(&sizes);
  *now = rows;
}

/* Four times the lines of a tile, from `stride` bytes to the next, by 16 outputs. */
TARGET_AMX static inline void amx_4_by_1(const Packed *d, const uint16_t *const *x, int64_t stride, const uint16_t *w, float *sums) {
  MEMORY_BARRIER;
  _tile_zero(0); _tile_zero(1); _tile_zero(2); _tile_zero(3);
  for (int64_t i = 0; i < d->n_chunks; i++, w += CHUNK * VECTOR_SIZE) {
    const int32_t at = d->chunks[i];
    _tile_loadd(6, w, 64);
    _tile_loadd(4, x[0] + at, stride); _tile_dpbf16ps(0, 4, 6);
    _tile_loadd(5, x[1] + at, stride); _tile_dpbf16ps(1, 5, 6);
    _tile_loadd(4, x[2] + at, stride); _tile_dpbf16ps(2, 4, 6);
    _tile_loadd(5, x[3] + at, stride); _tile_dpbf16ps(3, 5, 6);
  }
  _tile_stored(0, sums, 64); _tile_stored(1, sums + TILE_FLOATS, 64); _tile_stored(2, sums + 2 * TILE_FLOATS, 64); _tile_stored(3, sums + 3 * TILE_FLOATS, 64);
  MEMORY_BARRIER;
}

/* The lines of a tile by four times 16 outputs. */
TARGET_AMX static inline void amx_1_by_4(const Packed *d, const uint16_t *x, int64_t stride, const uint16_t *const *w, float *sums) {
  MEMORY_BARRIER;
  _tile_zero(0); _tile_zero(1); _tile_zero(2); _tile_zero(3);
  for (int64_t i = 0; i < d->n_chunks; i++) {
    const int64_t from = i * CHUNK * VECTOR_SIZE;
    _tile_loadd(4, x + d->chunks[i], stride);
    _tile_loadd(6, w[0] + from, 64); _tile_dpbf16ps(0, 4, 6);
    _tile_loadd(7, w[1] + from, 64); _tile_dpbf16ps(1, 4, 7);
    _tile_loadd(6, w[2] + from, 64); _tile_dpbf16ps(2, 4, 6);
    _tile_loadd(7, w[3] + from, 64); _tile_dpbf16ps(3, 4, 7);
  }
  _tile_stored(0, sums, 64); _tile_stored(1, sums + TILE_FLOATS, 64); _tile_stored(2, sums + 2 * TILE_FLOATS, 64); _tile_stored(3, sums + 3 * TILE_FLOATS, 64);
  MEMORY_BARRIER;
}

TARGET_AMX static void amx_dense(const Program *t, const Step *s, const Packed *d, float *file, int64_t rows, float *scratch, int64_t *now) {
  uint16_t *inputs = (uint16_t *)scratch;
  const int64_t stride = halves_of(s->k), panels = (s->n + VECTOR_SIZE - 1) / VECTOR_SIZE;
  float *sums = scratch + ROWS_TOGETHER * stride / 2;
  for (int64_t start = 0; start < rows; start += ROWS_TOGETHER) {
    const int64_t count = rows - start < ROWS_TOGETHER ? rows - start : ROWS_TOGETHER;
    float *row = file + start * t->size;
    for (int64_t r = 0; r < count; r++) {
      memset(inputs + r * stride + s->k / CHUNK * CHUNK, 0, CHUNK * sizeof *inputs);
      amx_round(row + r * t->size + s->a, s->k, inputs + r * stride);
    }
    amx_configure(count, now);
    for (int64_t v = 0; v < panels; v += 4) {
      const uint16_t *w[4];
      for (int64_t j = 0; j < 4; j++) w[j] = d->halves + (v + j < panels ? v + j : v) * d->n_chunks * CHUNK * VECTOR_SIZE;
      amx_1_by_4(d, inputs, stride * (int64_t)sizeof *inputs, w, sums);
      for (int64_t j = 0; j < 4 && v + j < panels; j++) {
        const avx512_Floats bias = avx512_load(d->weights + (v + j) / 4 * d->line + (v + j) % 4 * VECTOR_SIZE);
        for (int64_t r = 0; r < count; r++)
          avx512_store(row + r * t->size + s->out + (v + j) * VECTOR_SIZE, avx512_load(sums + j * TILE_FLOATS + r * VECTOR_SIZE) + bias);
      }
    }
  }
}

/* A full group of rows, four pixels at once. */
TARGET_AMX static void amx_convolve_rows(const Program *t, const Step *s, const Packed *d, const uint16_t *images, int64_t stride, float *file, float *sums, int64_t *now) {
  const Window *w = window_of(t, s);
  amx_configure(ROWS_TOGETHER, now);
  for (int64_t v = 0; v < d->panels; v++) {
    const uint16_t *weights = d->halves + v * d->n_chunks * CHUNK * VECTOR_SIZE;
    const avx512_Floats bias = avx512_load(d->weights + v * d->line);
    for (int64_t q = 0; q < d->n_pixels; q += 4) {
      const int64_t left = d->n_pixels - q;
      const uint16_t *x[4];
      for (int p = 0; p < 4; p++) x[p] = images + d->pixels[p < left ? q + p : q];
      amx_4_by_1(d, x, stride * (int64_t)sizeof *images, weights, sums);
      float *to = file + s->out + (w->pooled ? q / 4 : q) * w->outputs + v * VECTOR_SIZE;
      for (int64_t r = 0; r < ROWS_TOGETHER; r++, to += t->size) {
        avx512_Floats sum[4];
        for (int p = 0; p < 4; p++) sum[p] = avx512_load(sums + p * TILE_FLOATS + r * VECTOR_SIZE);
        avx512_store_pixels(sum, left < 4 ? left : 4, bias, s, w, to, w->outputs - v * VECTOR_SIZE);
      }
    }
  }
}

/* One row, four lines of up to 16 pixels at once. */
TARGET_AMX static void amx_convolve_row(const Program *t, const Step *s, const Packed *d, const uint16_t *image, float *out, float *sums, int64_t *now) {
  const Window *w = window_of(t, s);
  const Extent e = extent(w);
  const int64_t wide = w->pooled ? w->out_w / 2 * 2 : w->out_w, high = w->pooled ? w->out_h / 2 * 2 : w->out_h;
  const int64_t count = wide < ROWS_TOGETHER ? wide : ROWS_TOGETHER, each = w->pooled ? 2 : 1;
  amx_configure(count, now);
  for (int64_t v = 0; v < d->panels; v++)
    for (int64_t y = 0; y < high; y += 4)
      for (int64_t start = 0; start < wide; start += count) {
        const int64_t first = start + count > wide ? wide - count : start; /* the last columns, some of them again */
        const avx512_Floats bias = avx512_load(d->weights + v * d->line);
        const uint16_t *x[4];
        for (int64_t p = 0; p < 4; p++)
          x[p] = image + ((y + p < high ? y + p : y) * w->stride_h * e.width + first * w->stride_w) * w->channels;
        amx_4_by_1(d, x, (int64_t)w->stride_w * w->channels * (int64_t)sizeof *image, d->halves + v * d->n_chunks * CHUNK * VECTOR_SIZE, sums);
        for (int64_t p = 0; p < 4 && y + p < high; p += each)
          for (int64_t j = 0; j < count; j += each) {
            const float *at = sums + p * TILE_FLOATS + j * VECTOR_SIZE;
            const avx512_Floats one = avx512_load(at);
            const avx512_Floats sum[4] = {one, each == 2 ? avx512_load(at + VECTOR_SIZE) : one, each == 2 ? avx512_load(at + TILE_FLOATS) : one, each == 2 ? avx512_load(at + TILE_FLOATS + VECTOR_SIZE) : one};
            const int64_t pixel = (y + p) / each * (w->out_w / each) + (first + j) / each;
            avx512_store_pixels(sum, 1, bias, s, w, out + pixel * w->outputs + v * VECTOR_SIZE, w->outputs - v * VECTOR_SIZE);
          }
      }
}

/* Rows with numbers that are not finite, or are too large, are computed in float32 of rounded numbers: the end of a tile may hold pixels
   that an output does not read, times zero. */
TARGET_AMX static void amx_convolve(const Program *t, const Step *s, const Packed *d, float *file, int64_t rows, float *scratch, int64_t *now) {
  const Window *w = window_of(t, s);
  const Extent e = extent(w);
  const int64_t stride = halves_of(inputs_of(t, s));
  uint16_t *images = (uint16_t *)scratch;
  float *sums = scratch + ROWS_TOGETHER * stride / 2;
  for (int64_t start = 0; start < rows; start += ROWS_TOGETHER) {
    const int64_t count = rows - start < ROWS_TOGETHER ? rows - start : ROWS_TOGETHER;
    float *row = file + start * t->size;
    int is_small[ROWS_TOGETHER], all = count == ROWS_TOGETHER;
    for (int64_t r = 0; r < count; r++) {
      is_small[r] = avx512_are_small(row + r * t->size + s->a, (int64_t)w->height * w->width * w->channels);
      all &= is_small[r];
    }
    for (int64_t r = 0; all && r < count; r++) amx_image(w, e, row + r * t->size + s->a, images + r * stride, stride);
    if (all) { amx_convolve_rows(t, s, d, images, stride, row, sums, now); continue; }
    for (int64_t r = 0; r < count; r++) {
      const float *x = row + r * t->size + s->a;
      float *out = row + r * t->size + s->out;
      if (!is_small[r]) { avx512_convolve(t, s, d, x, out, scratch); continue; }
      amx_image(w, e, x, images, stride);
      amx_convolve_row(t, s, d, images, out, sums, now);
    }
  }
}

TARGET_AMX static int amx_run(const Program *t, float *file, int64_t rows, float *scratch) {
  const Packed *packed = t->packed;
  int64_t now = 0;
  int done = 1;
  for (const Step *s = t->steps, *end = s + t->n_steps; s < end && done; s++) {
    const Packed *d = s->op == DENSE || s->op == CONV ? packed++ : NULL;
    if (d && d->halves && s->op == DENSE) amx_dense(t, s, d, file, rows, scratch, &now);
    else if (d && d->halves) amx_convolve(t, s, d, file, rows, scratch, &now);
    else done = avx512_one_step(t, s, d, file, rows, scratch);
  }
  if (now) _tile_release();
  return done;
}
#else
#define HAS_AMX 0
#endif

#endif
