/* Operations on a vector of LANES floats, compiled once per level. */
#undef F
#undef I
#undef INLINE
#define F NAME(Floats)
#define I NAME(Ints)
#define INLINE TARGET static inline __attribute__((always_inline))

typedef float F __attribute__((vector_size(LANES * 4)));
typedef int32_t I __attribute__((vector_size(LANES * 4)));

INLINE F NAME(splat)(float x) { return x - (F){0}; }
INLINE F NAME(load)(const float *from) { F x; memcpy(&x, from, sizeof x); return x; }
INLINE void NAME(store)(float *to, F x) { memcpy(to, &x, sizeof x); }
INLINE F NAME(select)(I mask, F yes, F no) { return (F)(((I)yes & mask) | ((I)no & ~mask)); }
INLINE F NAME(flag)(I mask) { return (F)(mask & 0x3f800000); }
INLINE F NAME(abs)(F x) { return (F)((I)x & INT32_MAX); }

/* Truncate towards zero, as C converts a float to an integer whose minimum is -limit; other values become -limit. */
INLINE F NAME(trunc_to)(F x, F limit) {
  const F y = NAME(abs)(x), few = NAME(select)(y < 8388608.0f, x, NAME(splat)(0.0f));
  const F cut = NAME(select)(y < 8388608.0f, __builtin_convertvector(__builtin_convertvector(few, I), F), x);
  return NAME(select)(y < limit, cut, -limit);
}

INLINE F NAME(floor)(F x) {
  const F cut = NAME(trunc_to)(x, NAME(splat)(8388608.0f));
  const F down = NAME(select)(cut > x, cut - 1.0f, cut);
  return NAME(select)(NAME(abs)(x) < 8388608.0f, down, x);
}

INLINE F NAME(round)(F x) { /* to the nearest, ties to even */
  const F y = NAME(abs)(x), near = (F)((I)((y + 8388608.0f) - 8388608.0f) | ((I)x & INT32_MIN));
  return NAME(select)(y < 8388608.0f, near, x);
}

#include "curves.h"
