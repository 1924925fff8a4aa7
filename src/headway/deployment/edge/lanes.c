/* The trees of a forest in the lanes of vector registers, 64 in a group. Leaves are numbered from left to right, and the
   nodes of a tree by the first leaf r of their right subtree, from 1 on. Step r takes node r of every tree: e, the leftmost
   leaf that a row can still reach, becomes r if the code is above the key and the node is on the path, which it is if e is
   not left of its first leaf. A step is the places of codes, keys and first leaves. */
#define STEP_BYTES 192
#define GROUP(g) (lane_steps + (size_t)(g) * LANE_STEPS * STEP_BYTES)

/* Count the sixteen ascending values that are below v. */
static unsigned below(const input *p, input v) {
#if INPUT_IS_FLOAT && defined(__AVX512VBMI__)
  return (unsigned)_mm_popcnt_u32(_mm512_cmp_ps_mask(_mm512_loadu_ps(p), _mm512_set1_ps(v), _CMP_LT_OQ));
#elif INPUT_IS_FLOAT && defined(__AVX2__)
  const __m256 x = _mm256_set1_ps(v);
  const int low = _mm256_movemask_ps(_mm256_cmp_ps(_mm256_loadu_ps(p), x, _CMP_LT_OQ)), high = _mm256_movemask_ps(_mm256_cmp_ps(_mm256_loadu_ps(p + 8), x, _CMP_LT_OQ));
  return (unsigned)_mm_popcnt_u32((unsigned)(low | high << 8));
#elif defined(__AVX512VBMI__)
  const __m512d x = _mm512_set1_pd(v);
  const unsigned low = _mm512_cmp_pd_mask(_mm512_loadu_pd(p), x, _CMP_LT_OQ), high = _mm512_cmp_pd_mask(_mm512_loadu_pd(p + 8), x, _CMP_LT_OQ);
  return (unsigned)_mm_popcnt_u32(low | high << 8);
#elif defined(__AVX2__)
  const __m256d x = _mm256_set1_pd(v);
  const int a = _mm256_movemask_pd(_mm256_cmp_pd(_mm256_loadu_pd(p), x, _CMP_LT_OQ)), b = _mm256_movemask_pd(_mm256_cmp_pd(_mm256_loadu_pd(p + 4), x, _CMP_LT_OQ));
  const int c = _mm256_movemask_pd(_mm256_cmp_pd(_mm256_loadu_pd(p + 8), x, _CMP_LT_OQ)), d = _mm256_movemask_pd(_mm256_cmp_pd(_mm256_loadu_pd(p + 12), x, _CMP_LT_OQ));
  return (unsigned)_mm_popcnt_u32((unsigned)(a | b << 4 | c << 8 | d << 12));
#else
  unsigned n = 0;
  int i;
  for (i = 0; i < 16; i++) n += p[i] < v;
  return n;
#endif
}

/* Count the values of a column below v: first the runs of sixteen of it, by their last values, then those of the next run. */
static unsigned rank_in_runs(const input *last, const input *run, input v) {
  const unsigned first = 16 * below(last, v);
  return first + below(run + first, v);
}

#if defined(__AVX512VBMI__)

typedef __m512i lanes;
#define ABREAST 2 /* groups at once, since a step waits for the one before */
#define ALL(B) _mm512_set1_epi8(B)
#define PLUS(X, Y) _mm512_add_epi8(X, Y)
#define LOAD(P) _mm512_loadu_si512(P)
#define STORE(P, X) _mm512_storeu_si512(P, X)
#define TABLE(I) LOAD(codes + 64 * (I))
#if CODES <= 64
#define CODES_AT(I) _mm512_permutexvar_epi8(I, TABLE(0))
#elif CODES <= 128
#define CODES_AT(I) _mm512_permutex2var_epi8(TABLE(0), I, TABLE(1))
#else
#define CODES_AT(I) \
  _mm512_mask_blend_epi8(_mm512_movepi8_mask(I), _mm512_permutex2var_epi8(TABLE(0), I, TABLE(1)), _mm512_permutex2var_epi8(TABLE(2), I, TABLE(3)))
#endif
#define EACH(DO) DO(e0, GROUP(g), reached + 64 * g) DO(e1, GROUP(second), reached + 64 * second)
#define TAKE(e, at, to) \
  e = _mm512_mask_mov_epi8(e, _mm512_mask_cmpge_epu8_mask(_mm512_cmpgt_epu8_mask(CODES_AT(LOAD(at + s)), LOAD(at + s + 64)), e, LOAD(at + s + 128)), r);

#elif defined(__AVX2__)

typedef __m256i lanes;
#define ABREAST 1
#define ALL(B) _mm256_set1_epi8(B)
#define PLUS(X, Y) _mm256_add_epi8(X, Y)
#define LOAD(P) _mm256_loadu_si256((const __m256i *)(const void *)(P))
#define STORE(P, X) _mm256_storeu_si256((__m256i *)(void *)(P), X)
#define TABLE(I) _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)(codes + 16 * (I))))
/* A look-up reads four bits of a place; the others select by shifts to the sign of a byte. */
#define AMONG_32(I, A) _mm256_blendv_epi8(_mm256_shuffle_epi8(TABLE(A), I), _mm256_shuffle_epi8(TABLE(A + 1), I), _mm256_slli_epi16(I, 3))
#if CODES <= 32
#define CODES_AT(I) AMONG_32(I, 0)
#else
#define CODES_AT(I) _mm256_blendv_epi8(AMONG_32(I, 0), AMONG_32(I, 2), _mm256_slli_epi16(I, 2))
#endif
#define EACH(DO) DO(e0, GROUP(g), reached + 64 * g) DO(e1, GROUP(g) + 32, reached + 64 * g + 32)
static lanes step(lanes e, lanes r, lanes code_of, lanes key, lanes first) {
  const lanes stays = _mm256_cmpeq_epi8(_mm256_max_epu8(code_of, key), key), is_on_path = _mm256_cmpeq_epi8(_mm256_max_epu8(e, first), e);
  return _mm256_blendv_epi8(e, r, _mm256_andnot_si256(stays, is_on_path));
}
#define TAKE(e, at, to) { const lanes places = LOAD(at + s); e = step(e, r, CODES_AT(places), LOAD(at + s + 64), LOAD(at + s + 128)); }

#else

typedef uint8x16_t lanes;
#define ABREAST 1
#define ALL(B) vdupq_n_u8(B)
#define PLUS(X, Y) vaddq_u8(X, Y)
#define LOAD(P) vld1q_u8(P)
#define STORE(P, X) vst1q_u8(P, X)
#define EACH(DO) \
  DO(e0, GROUP(g), reached + 64 * g) DO(e1, GROUP(g) + 16, reached + 64 * g + 16) \
  DO(e2, GROUP(g) + 32, reached + 64 * g + 32) DO(e3, GROUP(g) + 48, reached + 64 * g + 48)
#define TAKE(e, at, to) \
  e = vbslq_u8(vandq_u8(vcgtq_u8(vqtbl4q_u8(table, LOAD(at + s)), LOAD(at + s + 64)), vcgeq_u8(e, LOAD(at + s + 128))), r, e);
#define HAS_TABLE 1

#endif
#define DECLARE(e, at, to) lanes e = ALL(0);
#define KEEP(e, at, to) STORE(to, e);

#if MODEL_OUTPUTS == 1 && LEAF_SIZE == 1
#define ADD_LEAF { total = ROUNDED(total + leaves[leaf_start[next] + reached[next]]); next++; }
#else
#define ADD_LEAF next++;
#endif

/* Find the leaf of each tree. If there is one output, add those of the groups before in the meantime, in the order of the
   trees: an addition waits for the one before as well. */
static sum walk_lanes(const code *codes, code *reached, sum total) {
  const lanes one = ALL(1);
  int g, next = 0;
#ifdef HAS_TABLE
  uint8x16x4_t table;
  table.val[0] = LOAD(codes); table.val[1] = LOAD(codes + 16); table.val[2] = LOAD(codes + 32); table.val[3] = LOAD(codes + 48);
#endif
  for (g = 0; g < LANE_GROUPS; g += ABREAST) {
#if ABREAST == 2
    const int second = g + 1 < LANE_GROUPS ? g + 1 : g;
#endif
    size_t s;
    lanes r = one;
    EACH(DECLARE)
    for (s = 0; s < (size_t)LANE_STEPS * STEP_BYTES; s += STEP_BYTES, r = PLUS(r, one)) {
      EACH(TAKE)
      if (next + 2 <= 64 * g) { ADD_LEAF ADD_LEAF }
    }
    EACH(KEEP)
  }
  while (next < TREES) ADD_LEAF
  return total;
}
