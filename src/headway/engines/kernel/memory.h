/* Memory of a forest, freed all together. */
#ifndef HEADWAY_MEMORY_H
#define HEADWAY_MEMORY_H

#include "forest.h"

#if defined(__linux__)
#include <sys/mman.h>
#endif

/* Allocate memory that `forget` frees; NULL if there is none. */
static void *make(Forest *f, int64_t count, int64_t size) {
  void *found = NULL;
  void **more = realloc(f->made, (size_t)(f->n_made + 1) * sizeof(void *));
  if (!more) return NULL;
  f->made = more;
  const size_t bytes = (size_t)(count * size + 64);
  if (posix_memalign(&found, bytes >= HUGE_PAGE ? HUGE_PAGE : 64, bytes)) return NULL;
#if defined(MADV_HUGEPAGE)
  if (bytes >= HUGE_PAGE) madvise(found, bytes, MADV_HUGEPAGE); /* only advice: failure is harmless */
#endif
  memset(found, 0, bytes);
  return f->made[f->n_made++] = found;
}

static void forget(Forest *f) {
  for (int64_t i = 0; i < f->n_made; i++) free(f->made[i]);
  free(f->made);
  f->made = NULL;
  f->n_made = 0;
}

#define MAKE(to, count) do { if (!((to) = make(f, (count), sizeof *(to)))) return "out of memory"; } while (0)
#define TRY(call) do { const char *fault_ = (call); if (fault_) return fault_; } while (0)

typedef struct { int32_t node, leaf, rank; } Entry;    /* a node, the leftmost leaf below it, and its rank in the order */

static int by_rank(const void *a, const void *b) { return ((const Entry *)a)->rank - ((const Entry *)b)->rank; }

#endif
