/* The kernels at each level: vectors of 4 floats (portable), 8 (AVX2 and FMA) or 16 (AVX-512). */
#ifndef HEADWAY_LEVELS_H
#define HEADWAY_LEVELS_H

#include <math.h>

#include "program.h"

#define TOGETHER 6 /* rows of a batch that share the reads of a panel */

#define NAME(n) portable_##n
#define LANES 4
#define TILE 2
#define TARGET
#include "vectors.h"
#include "products.h"
#include "steps.h"
#undef NAME
#undef LANES
#undef TILE
#undef TARGET

#if defined(__x86_64__)
#include <immintrin.h>

#define NAME(n) avx2_##n
#define LANES 8
#define TILE 2
#define TARGET __attribute__((target("avx2,fma")))
#include "vectors.h"
#include "products.h"
#include "steps.h"
#undef NAME
#undef LANES
#undef TILE
#undef TARGET

#define NAME(n) avx512_##n
#define LANES 16
#define TILE 4
#define TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,fma")))
#include "vectors.h"
#include "products.h"
#include "steps.h"
#undef NAME
#undef LANES
#undef TILE
#undef TARGET
#endif

#endif
