/* Functions of the WebAssembly module, whose rows and scores are in its memory. The code of the release follows; its `exp`
   is the one below, since that of a C library for WebAssembly rounds products and sums apart. */
#include <math.h>
#include <stdint.h>
#include <string.h>

#define EXPORT(NAME) __attribute__((export_name(NAME)))

/* a * b + c, rounded once, of numbers whose products and sums are far from the ends of the range (Boldo, Melquiond 2008). */
static double fused(double a, double b, double c) {
  const double product = a * b, ca = 134217729.0 * a, cb = 134217729.0 * b;
  const double a_high = ca - (ca - a), a_low = a - a_high, b_high = cb - (cb - b), b_low = b - b_high;
  const double rest = ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low;
  const double upper = rest + c, part = upper - rest, lower = (rest - (upper - part)) + (c - part);
  const double high = product + upper, other = high - product, low = (product - (high - other)) + (upper - other);
  double odd = low + lower;
  const double change = odd - low, left = (low - (odd - change)) + (lower - change);
  int64_t bits;
  memcpy(&bits, &odd, sizeof bits);
  if (left != 0 && !(bits & 1)) {
    bits += (left > 0) == (odd > 0) ? 1 : -1;
    memcpy(&odd, &bits, sizeof odd);
  }
  return high + odd;
}

/* exp(x) with the bits of glibc on processors that multiply and add at once: 2^(k / 128) is a table, a polynomial the rest. */
static double fused_exp(double x) {
  const double shifted = fused(0x1.71547652b82fep+7, x, 0x1.8p52), k = shifted - 0x1.8p52;
  const double r = fused(k, -0x1.cf79abc9e3b39p-47, fused(k, -0x1.62e42fefa0000p-8, x)), r2 = r * r;
  const double a = fused(r, 0x1.555555555543cp-3, 0x1.ffffffffffdbdp-2);
  const double b = fused(r, 0x1.1111167a4d017p-7, 0x1.55555cf172b91p-5);
  int32_t i;
  int64_t bits;
  double power;
  if (!(fabs(x) < 700) || fabs(x) < 0x1p-54) return exp(x); /* NaN, and what may be infinite or subnormal */
  i = (int32_t)k;
  bits = (int64_t)(1023 + (i >> 7)) << 52;
  memcpy(&power, &bits, sizeof power);
  i &= 127;
  return fused(exp_near[i], fused(r2 * r2, b, fused(r2, a, exp_rest[i] + r)), exp_near[i]) * power;
}
#define exp fused_exp

#include "NAME_FILE.c"

static double rows[ROWS * NAME_INPUTS], scores[ROWS * NAME_OUTPUTS];
static int32_t decisions[ROWS];

EXPORT("rows") double *address_of_rows(void) { return rows; }
EXPORT("scores") double *address_of_scores(void) { return scores; }
EXPORT("decisions") int32_t *address_of_decisions(void) { return decisions; }

/* Predict the first rows; one that the release does not answer has the decision -1 and scores of NaN. */
EXPORT("predict") void predict(int count) {
  int i, o;
  for (i = 0; i < count; i++) {
    int decision;
    if (name_predict(rows + i * NAME_INPUTS, scores + i * NAME_OUTPUTS, &decision) != NAME_OK) {
      for (o = 0; o < NAME_OUTPUTS; o++) scores[i * NAME_OUTPUTS + o] = NAN;
      decision = -1;
    }
    decisions[i] = decision;
  }
}

EXPORT("self_test") int self_test(void) { return name_self_test(); }
