/* The kernels at each level: vectors of 4 floats (portable, NEON), 8 (AVX2 and FMA) or 16 (AVX-512). AMX is as AVX-512, with the
   products in bfloat16 of amx.h. Few outputs are summed in SPAN lanes, and steps write as many numbers at once; NEON has as many as AVX2, and answers the same to the bit. FUSED is x * y + z, rounded
   once where the level has such an instruction. No compiler may fuse others (-ffp-contract=off), so that the answers of a
   level do not depend on the compiler, nor those of `portable` on the processor. */
#ifndef HEADWAY_LEVELS_H
#define HEADWAY_LEVELS_H

#include <math.h>

#include "program.h"

#define TOGETHER 6 /* rows of a batch that share the reads of a panel */

#define NAME(n) portable_##n
#define LANES 4
#define SPAN 4
#define TILE 2
#define TARGET
#define FUSED(x, y, z) ((x) * (y) + (z))
#include "vectors.h"
#include "products.h"
#include "convolutions.h"
#include "steps.h"
#undef NAME
#undef LANES
#undef SPAN
#undef TILE
#undef TARGET
#undef FUSED

#if defined(__x86_64__)
#include <immintrin.h>

#define NAME(n) avx2_##n
#define LANES 8
#define SPAN 8
#define TILE 2
#define TARGET __attribute__((target("avx2,fma")))
#define FUSED(x, y, z) _mm256_fmadd_ps(x, y, z)
#include "vectors.h"
#include "products.h"
#include "convolutions.h"
#include "steps.h"
#undef NAME
#undef LANES
#undef SPAN
#undef TILE
#undef TARGET
#undef FUSED

#define NAME(n) avx512_##n
#define LANES 16
#define SPAN 16
#define TILE 4
#define TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,fma")))
#define FUSED(x, y, z) _mm512_fmadd_ps(x, y, z)
#include "vectors.h"
#include "products.h"
#include "convolutions.h"
#include "steps.h"
#undef NAME
#undef LANES
#undef SPAN
#undef TILE
#undef TARGET
#undef FUSED
#elif defined(__aarch64__)
#include <arm_neon.h>

#define NAME(n) neon_##n
#define LANES 4
#define SPAN 8
#define TILE 4
#define TARGET
#define FUSED(x, y, z) ((F)vfmaq_f32((float32x4_t)(z), (float32x4_t)(x), (float32x4_t)(y)))
#include "vectors.h"
#include "products.h"
#include "convolutions.h"
#include "steps.h"
#undef NAME
#undef LANES
#undef SPAN
#undef TILE
#undef TARGET
#undef FUSED
#endif

#endif
