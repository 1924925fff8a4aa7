/* Read rows as CSV, with a header, from standard input; write scores and decision of each as CSV. Exit 0, or 2 for a
   message on standard error. Columns are found by name, others are ignored; an empty field is missing. A quoted field may
   hold commas and quotes, but no end of line. A row that the release does not answer has "rejected" as its decision, and
   one with a text of more than NAME_MAX_TEXT bytes "too long". For a release that reads one text alone, `NAME_FILE_cli
   --lines` reads a text from each line, without a header. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "NAME_FILE.h"

#define MAX_LINE (1 << 20)
#define MAX_FIELDS (1 << 14)

static char line[MAX_LINE + 1];
static char *fields[MAX_FIELDS];
static int column_of[NAME_INPUTS];
#if NAME_TEXTS
static const char *texts[NAME_TEXTS];
#endif

/* Read a line and split it in place; return the number of fields, 0 at the end, or -1 if it cannot be read. */
static int read_fields(int is_text) {
  char *from = line, *to;
  int count = 0;
  size_t length = 0;
  int c;
  while ((c = getc(stdin)) != EOF && c != '\n') {
    if (!c || length == MAX_LINE) return -1;
    line[length++] = (char)c;
  }
  if (ferror(stdin)) return -1;
  if (c == EOF && !length) return 0;
  while (length && line[length - 1] == '\r') length--;
  line[length] = 0;
  if (is_text) { fields[0] = line; return 1; }
  for (;;) {
    if (count == MAX_FIELDS) return -1;
    fields[count++] = to = from;
    if (*from == '"') {
      for (from++; *from && !(*from == '"' && from[1] != '"'); from++) {
        if (*from == '"') from++;
        *to++ = *from;
      }
      if (*from++ != '"' || (*from && *from != ',')) return -1;
    } else {
      while (*from && *from != ',') from++;
      to = from;
    }
    if (!*from) { *to = 0; return count; }
    *to = 0;
    from++;
  }
}

static int read_value(int input, const char *text, double *value) {
  char *end;
  *value = NAN;
#if NAME_TEXTS
  if (name_text(input) >= 0) {
    texts[name_text(input)] = *text ? text : NULL;
    return 1;
  }
#endif
  if (!*text) return 1;
  if (name_is_category(input)) return name_category(input, text, value) == NAME_OK ? 1 : 0;
  *value = strtod(text, &end);
  return *end ? -1 : 1;
}

int main(int argc, char **argv) {
  const int is_lines = NAME_TEXTS && NAME_INPUTS == 1 && argc == 2 && !strcmp(argv[1], "--lines");
  static double row[NAME_INPUTS], scores[NAME_OUTPUTS];
  int columns, count, decision, i, j;
  long number;
  if (name_self_test()) {
    fputs("the self-test of the release fails on this machine\n", stderr);
    return 2;
  }
  if (argc > 1 && !is_lines) {
    fprintf(stderr, "%s: unknown argument '%s'\n", argv[0], argv[1]);
    return 2;
  }
  columns = is_lines ? 1 : read_fields(0);
  if (columns < 1) {
    fputs("the header of columns cannot be read\n", stderr);
    return 2;
  }
  for (i = 0; i < NAME_INPUTS && !is_lines; i++) {
    for (j = 0; j < columns && strcmp(fields[j], name_input(i)); j++) continue;
    if (j == columns) {
      fprintf(stderr, "column '%s' is missing\n", name_input(i));
      return 2;
    }
    column_of[i] = j;
  }
  for (i = 0; i < NAME_OUTPUTS; i++) printf("score_%d,", i);
  puts("decision");
  for (number = 1; (count = read_fields(is_lines)) > 0; number++) {
    int status = NAME_OK;
    if (count != columns) {
      fprintf(stderr, "row %ld has %d fields, the header %d\n", number, count, columns);
      return 2;
    }
    for (i = 0; i < NAME_INPUTS; i++) {
      const int found = read_value(i, fields[column_of[i]], row + i);
      if (found < 0) {
        fprintf(stderr, "row %ld: column '%s' is '%s', not a number\n", number, name_input(i), fields[column_of[i]]);
        return 2;
      }
      if (!found) status = NAME_REJECTED;
    }
    if (status == NAME_OK) status = name_predict(row@passed@, scores, &decision);
    for (i = 0; i < NAME_OUTPUTS; i++) status == NAME_OK ? printf("%.17g,", scores[i]) : printf(",");
    if (status == NAME_OK) printf("%d\n", decision);
    else puts(status == NAME_TOO_LONG ? "too long" : "rejected");
  }
  if (count < 0) {
    fprintf(stderr, "row %ld cannot be read: a line has at most %d bytes, none of them 0, and %d fields; quotes are around a whole field\n",
            number, MAX_LINE, MAX_FIELDS);
    return 2;
  }
  if (fflush(stdout) || ferror(stdout)) {
    perror("the scores cannot be written");
    return 2;
  }
  return 0;
}
