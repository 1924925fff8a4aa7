/* Run a kernel on recorded models and rows, without Python, and compare every byte of its answers.

     cc -DKERNEL_TREES (or _DENSE, _TEXT) kernel_driver.c -lm -o driver && ./driver FILE LEVEL EXPECTED

   FILE is what kernel_vectors.py wrote, numbers int64 little-endian: records of a kind, a number and their content.
     0 model   the expected fault, the number of arrays, the arrays; each is a length in bytes, then the bytes
     1 free    of the model
     2 rows    numbers, then the number of levels and the expected scores at each, none if the model rejects a row; of
               texts, the number of rows, for each vectorizer and row a text and two bytes (lowercase it, it is ASCII),
               and then the same
     3 page    of characters: 256 bits of words, 256 bits of white space
     4 decide  a threshold, float64, then as 2: the expected decisions instead of scores
   LEVEL replaces the level of the models, EXPECTED is the recorded level to compare with. The last line is the number of
   models, calls, numbers and differences. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(KERNEL_TREES)
#include "kernel/model.h"
#define TAKE(m, arrays, n) take(m, arrays, n)
#define ROW_WIDTH(m) width_of(m)
#define OUTPUTS(m) ((m)->forest.outputs)
#define FREE(m) forget(&(m)->forest)
#define SCORE(m, rows, n, out) answer_rows(m, rows, n, out)
#define DECIDE(m, rows, n, threshold, out) decide_rows(m, rows, n, threshold, out)
#elif defined(KERNEL_DENSE)
#include "dense_kernel/answer.h"
typedef Program Model;
#define TAKE(m, arrays, n) take(m, arrays)
#define OUTPUTS(m) ((m)->outputs)
#define ROW_WIDTH(m) ((m)->width)
#define FREE(m) free_program(m)
#define SCORE(m, rows, n, out) answer_rows(m, rows, n, out)
#else
#include "text_kernel/answer.h"
typedef Program Model;
#define TAKE(m, arrays, n) take(m, arrays)
#define OUTPUTS(m) ((m)->outputs)
#define ROW_WIDTH(m) ((m)->width)
#define FREE(m) free_program(m)
#define SCORE(m, rows, n, out) answer_texts(m, spans, rows, n, out)
#endif
#if !defined(DECIDE)
#define DECIDE(m, rows, n, threshold, out) NO_MEMORY /* only trees decide */
#endif

typedef struct { Model model; Array arrays[ARRAYS]; int open; } Opened; /* `open`: number of arrays */

static FILE *file;

static void must(int holds, const char *what) {
  if (holds) return;
  fprintf(stderr, "%s at byte %ld\n", what, ftell(file));
  exit(2);
}

static void read_bytes(void *to, int64_t n) { must(!n || fread(to, 1, (size_t)n, file) == (size_t)n, "the file ends early"); }

static int64_t number(void) { int64_t n; read_bytes(&n, 8); return n; }

static Array array(void) {
  const int64_t bytes = number();
  void *at = NULL;
  must(bytes >= 0 && !posix_memalign(&at, 64, (size_t)bytes + 64), "no memory");
  read_bytes(at, bytes);
  return (Array){at, bytes};
}

static void let_go(Opened *o) {
  if (!o->open) return;
  FREE(&o->model);
  for (int i = 0; i < o->open; i++) free((void *)o->arrays[i].at);
  memset(o, 0, sizeof *o);
}

/* Whether two numbers have the same bits, or are both NaN: processors differ in the sign of a NaN that they make. */
static int is_same(double a, double b) { return !memcmp(&a, &b, sizeof a) || (a != a && b != b); }

int main(int argc, char **argv) {
  int64_t models = 0, calls = 0, numbers = 0, differences = 0, room = 0, kind;
  Opened *opened = NULL;
  if (argc < 4 || !(file = fopen(argv[1], "rb"))) { fprintf(stderr, "usage: driver FILE LEVEL EXPECTED\n"); return 2; }
  const int64_t level = atoi(argv[2]), wanted = atoi(argv[3]);
  while (fread(&kind, 8, 1, file) == 1) {
    const int64_t at = number();
    while (at >= room && kind != 3) {
      must((opened = realloc(opened, (size_t)(room + 1024) * sizeof *opened)) != NULL, "no memory");
      memset(opened + room, 0, 1024 * sizeof *opened);
      room += 1024;
    }
    Opened *o = opened + at;
    if (kind == 0) {
      const Array fault = array();
      o->open = (int)number();
      must(o->open > 0 && o->open <= ARRAYS, "another number of arrays");
      for (int i = 0; i < o->open; i++) o->arrays[i] = array();
      const int64_t bytes = o->arrays[0].bytes;
      const int by_level = fault.bytes && !memcmp(fault.at, "this machine", 12);
      if (bytes >= 8 && !by_level) ((int64_t *)o->arrays[0].at)[bytes / 8 - 1] = level;
      const char *found = TAKE(&o->model, o->arrays, o->open);
      const int64_t length = found ? (int64_t)strlen(found) : 0;
      if (length != fault.bytes || (length && memcmp(found, fault.at, (size_t)length))) {
        differences++;
        printf("model %lld: fault '%s', expected '%.*s'\n", (long long)at, found ? found : "", (int)fault.bytes, (const char *)fault.at);
      }
      models++;
      free((void *)fault.at);
      if (found) let_go(o);
    } else if (kind == 1) {
      let_go(o);
    } else if (kind == 2 || kind == 4) {
      double threshold = 0;
      must(o->open, "a model that is not open");
      if (kind == 4) read_bytes(&threshold, 8);
#if defined(KERNEL_TREES) || defined(KERNEL_DENSE)
      const Array rows = array();
      const int64_t n = rows.bytes / 8 / ROW_WIDTH(&o->model);
#else
      const int64_t n = number(), count = n * o->model.n_vectorizers;
      Span *spans = calloc((size_t)count + 1, sizeof *spans);
      for (int64_t i = 0; i < count; i++) {
        const Array text = array();
        uint8_t flags[2];
        read_bytes(flags, 2);
        spans[i] = (Span){text.at, text.bytes, flags[0], flags[1]};
      }
      const Array rows = array();
#endif
      const int64_t levels = number();
      Array expected = {0};
      must(wanted < levels, "the level was not recorded");
      for (int64_t i = 0; i < levels; i++) {
        const Array scores = array();
        if (i == wanted) expected = scores;
        else free((void *)scores.at);
      }
      const int64_t size = n * (kind == 4 ? 1 : OUTPUTS(&o->model));
      double *out = calloc((size_t)size + 1, sizeof *out);
      const int done = kind == 4 ? DECIDE(&o->model, rows.at, n, threshold, out) : SCORE(&o->model, rows.at, n, out);
      if (done == NO_MEMORY || (done == ANSWERED) != (expected.bytes == size * 8)) {
        differences++;
        printf("model %lld, call %lld: result %d\n", (long long)at, (long long)calls, done);
      } else if (done == ANSWERED) {
        int64_t different = 0;
        for (int64_t i = 0; i < size; i++) different += !is_same(out[i], ((const double *)expected.at)[i]);
        if (different) printf("model %lld, call %lld, %lld rows: %lld of %lld numbers differ\n", (long long)at, (long long)calls, (long long)n, (long long)different, (long long)size);
        differences += different;
        numbers += size;
      }
      calls++;
#if defined(KERNEL_TEXT)
      for (int64_t i = 0; i < count; i++) free((void *)spans[i].at);
      free(spans);
#endif
      free((void *)rows.at);
      free((void *)expected.at);
      free(out);
    } else {
#if defined(KERNEL_TEXT)
      must(at >= 0 && at < PAGES && (PAGE[at] = malloc(sizeof(Page))) != NULL, "no such page");
      read_bytes(PAGE[at], sizeof(Page));
      if (!at) classify_ascii();
#endif
    }
  }
  printf("%lld models, %lld calls, %lld numbers, %lld differences\n", (long long)models, (long long)calls, (long long)numbers, (long long)differences);
  return differences != 0;
}
