/* Answer rows, or time single rows: `driver ROWS COLUMNS OUT` writes a float64 for each row; `driver ROWS COLUMNS` reads
   the first and the last row of a turn from each line, and prints the CPU time of a row in ns. GLUE defines score_row. */
#define _POSIX_C_SOURCE 199309L
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include GLUE

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return 1e9 * (double)t.tv_sec + (double)t.tv_nsec;
}

int main(int argc, char **argv) {
  FILE *file = fopen(argv[1], "rb");
  const long width = atol(argv[2]);
  long size, first, last, row;
  double *rows, score, total = 0;
  fseek(file, 0, SEEK_END);
  size = ftell(file);
  rewind(file);
  rows = malloc((size_t)size);
  if (!rows || fread(rows, 1, (size_t)size, file) != (size_t)size || prepare()) return 1;
  if (argc > 3) {
    file = fopen(argv[3], "wb");
    for (row = 0; row < size / (long)sizeof *rows / width; row++) {
      score = score_row(rows + row * width);
      fwrite(&score, sizeof score, 1, file);
    }
    return fclose(file);
  }
  while (scanf("%ld %ld", &first, &last) == 2) {
    const double began = now();
    for (row = first; row < last; row++) total += score_row(rows + row * width);
    printf("%.17g %d\n", (now() - began) / (double)(last - first), total == 0.5);
    fflush(stdout);
  }
  return 0;
}
