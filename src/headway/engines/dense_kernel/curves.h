/* exp, sigmoid, tanh and erf of a vector, compiled once per level. The polynomials minimize the relative error over their
   ranges; in float all results are within 2.5 units in the last place, except denormals. */

INLINE F NAME(next)(F p, F x, float coefficient) { return FUSED(p, x, NAME(splat)(coefficient)); }

/* exp(x) as a product of two factors, so that a sum with it can be rounded once. */
INLINE F NAME(exp_of)(F x, F *scale) {
  x = NAME(select)(x > 89.0f, NAME(splat)(89.0f), x); /* outside this range the result is infinite, or 0 */
  x = NAME(select)(x < -104.0f, NAME(splat)(-104.0f), x);
  const F shifted = FUSED(x, NAME(splat)(1.44269504f), NAME(splat)(12582912.0f)); /* the last bits now hold the number of octaves */
  const I octaves = (I)shifted - 0x4b400000;
  const F k = shifted - 12582912.0f;
  const F r = FUSED(k, NAME(splat)(2.12194440e-4f), FUSED(-k, NAME(splat)(0.693359375f), x));
  F p = NAME(splat)(1.3813161e-3f);
  p = NAME(next)(p, r, 8.3694104e-3f);
  p = NAME(next)(p, r, 4.1668456e-2f);
  p = NAME(next)(p, r, 0.16666515f);
  p = NAME(next)(p, r, 0.49999994f);
  p = FUSED(p * r, r, r) + 1.0f;
  const I half = octaves >> 1;
  *scale = (F)((octaves - half + 127) << 23);
  return p * (F)((half + 127) << 23);
}

INLINE F NAME(exp)(F x) { F scale; const F p = NAME(exp_of)(x, &scale); return p * scale; }

INLINE F NAME(exp_and_one)(F x) { F scale; const F p = NAME(exp_of)(x, &scale); return NAME(next)(p, scale, 1.0f); }

INLINE F NAME(sigmoid)(F x) { return 1.0f / NAME(exp_and_one)(-x); }

INLINE F NAME(tanh)(F x) {
  const I sign = (I)x & INT32_MIN;
  const F y = (F)((I)x & INT32_MAX), s = y * y;
  F p = NAME(splat)(-5.6669773e-3f);
  p = NAME(next)(p, s, 2.0606177e-2f);
  p = NAME(next)(p, s, -5.3730007e-2f);
  p = NAME(next)(p, s, 0.13331331f);
  p = NAME(next)(p, s, -0.33333278f);
  const F near = FUSED(p * s, y, y), far = 1.0f - 2.0f / NAME(exp_and_one)(2.0f * y);
  return (F)((I)NAME(select)(y < 0.625f, near, far) | sign);
}

INLINE F NAME(erf)(F x) {
  const I sign = (I)x & INT32_MIN;
  const F y = (F)((I)x & INT32_MAX), s = y * y, z = NAME(select)(y > 4.0f, NAME(splat)(4.0f), y);
  F p = NAME(splat)(7.8538963e-5f), q = NAME(splat)(1.8557407e-4f), scale;
  p = NAME(next)(p, s, -8.0102053e-4f);
  p = NAME(next)(p, s, 5.1883291e-3f);
  p = NAME(next)(p, s, -2.6853813e-2f);
  p = NAME(next)(p, s, 0.11283585f);
  p = NAME(next)(p, s, -0.37612626f);
  p = NAME(next)(p, s, 1.1283791f);
  q = NAME(next)(q, z, -2.9396079e-3f);
  q = NAME(next)(q, z, 2.1805320e-2f);
  q = NAME(next)(q, z, -0.10303737f);
  q = NAME(next)(q, z, -0.63822567f);
  q = NAME(next)(q, z, -1.1270400f);
  q = NAME(next)(q, z, -3.5371879e-4f);
  const F below = -NAME(exp_of)(q, &scale);
  return (F)((I)NAME(select)(y < 1.0f, p * y, NAME(next)(below, scale, 1.0f)) | sign);
}
