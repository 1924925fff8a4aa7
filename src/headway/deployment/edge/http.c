/* Serve one row per request over HTTP, in JSON of the Open Inference Protocol: `NAME_FILE_http PORT [ADDRESS]`, by default on
   127.0.0.1. It answers GET /v2/health/live, /v2/health/ready, /v2/models/NAME/ready and POST /v2/models/NAME/infer, where
   NAME is the name of the release. Connections are answered one after the other and closed; sizes and waits are bounded. */
#define _POSIX_C_SOURCE 200809L
#include <arpa/inet.h>
#include <math.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "NAME_FILE.h"

#define MAX_HEAD 8192
#if NAME_TEXTS
#define MAX_BODY ((1 << 16) + 512 * NAME_INPUTS + 6 * NAME_TEXTS * NAME_MAX_TEXT)
#else
#define MAX_BODY ((1 << 16) + 512 * NAME_INPUTS)
#endif
#define MAX_DEPTH 32
#define MAX_ID 256
#define MAX_SECONDS 5 /* to read a request, and to write a response */
#define MAX_MESSAGE 256
#define PATH @path@ /* of the model */
#define READY @ready@
#define RESPONSE_MODEL @response_model@
#define RESPONSE_OUTPUT @response_output@

#if NAME_TEXTS
static const char *texts[NAME_TEXTS]; /* of the row, in the request */
#endif
static char request[MAX_HEAD + MAX_BODY + 1], message[MAX_MESSAGE];
static char response[64 + 8 * MAX_ID + 8 * MAX_MESSAGE + 32 * NAME_OUTPUTS + sizeof READY + sizeof RESPONSE_MODEL + sizeof RESPONSE_OUTPUT];

/* JSON: `at` is the next character of the body, which ends with 0; NULL once it cannot be read. Strings are decoded in place. */
static char *at;

static void fail(const char *why, ...) {
  va_list values;
  if (!at) return; /* the first fault is reported */
  va_start(values, why);
  vsnprintf(message, sizeof message, why, values);
  va_end(values);
  for (at = message; *at; at++) if (*at & 0x80) *at = '?'; /* a character may have been cut */
  at = NULL;
}

static char next(void) {
  if (!at) return 0;
  at += strspn(at, " \t\r\n");
  return *at;
}

static int take(char expected) {
  if (!at || next() != expected) return 0;
  at++;
  return 1;
}

static void expect(char expected) {
  if (!take(expected)) fail("the body is not the JSON of a request: '%c' is missing", expected);
}

static int hex4(const char *text, unsigned *code) {
  int i;
  for (*code = 0, i = 0; i < 4; i++) {
    const char c = text[i];
    const int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
    if (digit < 0) return 0;
    *code = *code * 16 + (unsigned)digit;
  }
  return 1;
}

static char *put_utf8(char *to, unsigned code) {
  if (code < 0x80) *to++ = (char)code;
  else if (code < 0x800) *to++ = (char)(0xc0 | code >> 6);
  else if (code < 0x10000) { *to++ = (char)(0xe0 | code >> 12); *to++ = (char)(0x80 | (code >> 6 & 63)); }
  else { *to++ = (char)(0xf0 | code >> 18); *to++ = (char)(0x80 | (code >> 12 & 63)); *to++ = (char)(0x80 | (code >> 6 & 63)); }
  if (code >= 0x80) *to++ = (char)(0x80 | (code & 63));
  return to;
}

/* Read a string and return it, ended by 0; "" after a fault. */
static char *read_string(void) {
  static const char escapes[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
  static char nothing[1];
  char *text, *to;
  expect('"');
  if (!at) return nothing;
  for (text = to = at; *at != '"';) {
    const char *escape;
    unsigned code, second;
    if ((unsigned char)*at < 0x20) { fail("a string of the JSON does not end"); return nothing; }
    if (*at != '\\') { *to++ = *at++; continue; }
    escape = at[1] ? strchr(escapes, at[1]) : NULL;
    if (escape) { *to++ = meant[escape - escapes]; at += 2; continue; }
    if (at[1] != 'u' || !hex4(at + 2, &code) || !code) { fail("a string of the JSON has an invalid escape"); return nothing; }
    at += 6;
    if (code >= 0xd800 && code < 0xe000) {
      if (code >= 0xdc00 || at[0] != '\\' || at[1] != 'u' || !hex4(at + 2, &second) || second < 0xdc00 || second >= 0xe000) {
        fail("a string of the JSON has half a surrogate pair");
        return nothing;
      }
      code = 0x10000 + ((code - 0xd800) << 10) + (second - 0xdc00);
      at += 6;
    }
    to = put_utf8(to, code);
  }
  at++;
  *to = 0; /* behind it is the quote, or what was decoded */
  return text;
}

static double read_number(void) {
  char *end = at;
  double value;
  if (!at) return 0;
  next();
  end = at + (*at == '-');
  if (*end == '0') end++;
  else if (*end >= '1' && *end <= '9') end += strspn(end, "0123456789");
  else { fail("a value is not a number, a string or null"); return 0; }
  if (*end == '.') {
    const size_t digits = strspn(end + 1, "0123456789");
    if (!digits) { fail("a number of the JSON is malformed"); return 0; }
    end += 1 + digits;
  }
  if (*end == 'e' || *end == 'E') {
    const size_t sign = end[1] == '+' || end[1] == '-', digits = strspn(end + 1 + sign, "0123456789");
    if (!digits) { fail("a number of the JSON is malformed"); return 0; }
    end += 1 + sign + digits;
  }
  value = strtod(at, &at);
  if (at != end) { fail("a number of the JSON is malformed"); return 0; }
  if (!(fabs(value) < INFINITY)) fail("a number of the JSON is beyond float64");
  return value;
}

static int take_word(const char *word) {
  if (!at || (next(), strncmp(at, word, strlen(word)))) return 0;
  at += strlen(word);
  return 1;
}

/* Skip a value that is not read. */
static void skip_value(int depth) {
  const char c = next();
  if (depth > MAX_DEPTH) fail("the JSON is nested more than %d times", MAX_DEPTH);
  if (!at) return;
  if (c == '"') { read_string(); return; }
  if (c == '{' || c == '[') {
    at++;
    if (take(c == '{' ? '}' : ']')) return;
    do {
      if (c == '{') { read_string(); expect(':'); }
      skip_value(depth + 1);
    } while (take(','));
    expect(c == '{' ? '}' : ']');
    return;
  }
  if (!take_word("true") && !take_word("false") && !take_word("null")) read_number();
}

enum { FP64, FP32, INT64, INT32, BYTES, DATATYPES };
static const char *const datatypes[DATATYPES] = {"FP64", "FP32", "INT64", "INT32", "BYTES"};

/* Read one value of an input into the row. */
static void read_value(int input, int datatype, double *value) {
#if NAME_TEXTS
  if (name_text(input) >= 0) {
    const char **text = texts + name_text(input);
    *text = NULL;
    *value = NAN;
    if (take_word("null")) return;
    if (datatype != BYTES) { fail("input '%s' is a text: send a string with datatype BYTES", name_input(input)); return; }
    *text = read_string();
    if (at && !memchr(*text, 0, NAME_MAX_TEXT + 1)) fail("input '%s' is longer than %d bytes", name_input(input), NAME_MAX_TEXT);
    return;
  }
#endif
  if (take_word("null")) { *value = NAN; return; }
  if (name_is_category(input)) {
    const char *text = datatype == BYTES ? read_string() : "";
    if (at && datatype != BYTES) fail("input '%s' is a category: send strings with datatype BYTES", name_input(input));
    if (at && name_category(input, text, value) != NAME_OK) fail("input '%s' has a category that the release refuses", name_input(input));
    return;
  }
  if (datatype == BYTES) fail("input '%s' is a number: its datatype is BYTES", name_input(input));
  *value = read_number();
  if (datatype == FP32) *value = (float)*value;
  if (!(fabs(*value) < INFINITY) || (datatype == INT64 && !(floor(*value) == *value && fabs(*value) < 9007199254740992.0)) ||
      (datatype == INT32 && !(floor(*value) == *value && *value >= -2147483648.0 && *value <= 2147483647.0)))
    fail("input '%s' has a value that its datatype does not hold exactly", name_input(input));
}

/* Read an object of `inputs`. Its values may come before its name, so they are read last. */
static void read_input(double *row, char *seen) {
  const char *name = NULL, *datatype = NULL;
  char *data = NULL, *end;
  double shape[2] = {0, 0};
  int dimensions = 0, input, kind, i, count;
  expect('{');
  do {
    const char *key = read_string();
    expect(':');
    if (!at) return;
    if (!strcmp(key, "name")) name = read_string();
    else if (!strcmp(key, "datatype")) datatype = read_string();
    else if (!strcmp(key, "shape")) {
      expect('[');
      for (dimensions = 0; at && dimensions < 2; dimensions++) {
        shape[dimensions] = read_number();
        if (!take(',')) { dimensions++; break; }
      }
      expect(']');
    } else if (!strcmp(key, "data")) {
      next();
      if (data) fail("an input has its values twice");
      data = at;
      for (i = 0, expect('['); at && i >= 0 && next() != ']'; i++) { /* strings are decoded below, so only their ends are found */
        if (*at == '"') for (at++; *at && *at != '"'; at++) at += *at == '\\' && at[1];
        if (*at == '"') at++;
        at += strcspn(at, ",]\"");
        if (!take(',')) break;
      }
      expect(']');
    } else skip_value(1);
  } while (take(','));
  expect('}');
  if (!at) return;
  end = at;
  if (!name || !datatype || !data || !dimensions) { fail("an input needs name, shape, datatype and data"); return; }
  for (kind = 0; kind < DATATYPES && strcmp(datatype, datatypes[kind]);) kind++;
  if (kind == DATATYPES) { fail("datatype '%.20s' is not supported: FP64, FP32, INT64, INT32 or BYTES", datatype); return; }
  for (input = 0; input < NAME_INPUTS && strcmp(name, name_input(input));) input++;
  if (input < NAME_INPUTS) count = 1;
  else if (dimensions == 2 && shape[1] == NAME_INPUTS) { input = 0; count = NAME_INPUTS; } /* a matrix of all inputs */
  else { fail("unknown column '%.60s'", name); return; }
  if (shape[0] != 1 || (dimensions == 2 && shape[1] != count)) { fail("input '%.60s' must have one row: shape [1] or [1, %d]", name, count); return; }
  at = data;
  expect('[');
  for (i = 0; at && i < count; i++) {
    if (i) expect(',');
    if (seen[input + i]) { fail("column '%.60s' occurs twice", name_input(input + i)); return; }
    seen[input + i] = 1;
    if (at) read_value(input + i, kind, row + input + i);
  }
  if (!at) return;
  if (!take(']')) { fail("input '%.60s' has other values than its shape", name); return; }
  at = end;
}

static int is_utf8(const unsigned char *text) {
  while (*text) {
    const unsigned first = *text++;
    const int more = first < 0x80 ? 0 : first >= 0xc2 && first < 0xe0 ? 1 : first >= 0xe0 && first < 0xf0 ? 2 : first >= 0xf0 && first < 0xf5 ? 3 : -1;
    int i;
    if (more < 0) return 0;
    if ((first == 0xe0 && *text < 0xa0) || (first == 0xed && *text > 0x9f) || (first == 0xf0 && *text < 0x90) || (first == 0xf4 && *text > 0x8f)) return 0;
    for (i = 0; i < more; i++) if ((*text++ & 0xc0) != 0x80) return 0;
  }
  return 1;
}

/* Read the body of a request into a row; return 0, with `message`, if it is none. `id` becomes NULL if it has none. */
static int read_row(char *body, double *row, const char **id) {
  static char seen[NAME_INPUTS];
  int inputs = 0, i;
  memset(seen, 0, sizeof seen);
  *id = NULL;
  at = body;
  if (!is_utf8((const unsigned char *)body)) fail("the body is not UTF-8");
  expect('{');
  do {
    const char *key = read_string();
    expect(':');
    if (!at) return 0;
    if (!strcmp(key, "id")) *id = read_string();
    else if (!strcmp(key, "inputs")) {
      if (inputs++) fail("the request has its inputs twice");
      expect('[');
      do read_input(row, seen);
      while (take(','));
      expect(']');
    } else skip_value(1);
  } while (take(','));
  expect('}');
  if (at && next()) fail("something follows the JSON of the request");
  if (*id && strlen(*id) > MAX_ID) fail("the id is longer than %d bytes", MAX_ID);
  for (i = 0; at && i < NAME_INPUTS; i++) if (!seen[i]) fail("column '%.60s' is missing: send null where a value is missing", name_input(i));
  return at != NULL;
}

/* Write a string as JSON. */
static char *put_string(char *to, const char *text) {
  *to++ = '"';
  for (; *text; text++) {
    if (*text == '"' || *text == '\\') *to++ = '\\';
    if ((unsigned char)*text < 0x20) to += sprintf(to, "\\u%04x", (unsigned)*text);
    else *to++ = *text;
  }
  *to++ = '"';
  *to = 0;
  return to;
}

static char *put_number(char *to, double value) {
  int digits, length = 0;
  for (digits = 1; digits <= 17; digits++) {
    length = sprintf(to, "%.*g", digits, value);
    if (strtod(to, NULL) == value) break;
  }
  return to + length;
}

/* Answer the body of an inference; return the status. */
static int infer(char *body) {
  static double row[NAME_INPUTS], scores[NAME_OUTPUTS];
  const char *id;
  char *to = response;
  int i;
  if (!read_row(body, row, &id)) return 400;
  if (name_predict(row@passed@, scores, NULL) != NAME_OK) {
    strcpy(message, "the release does not answer this row");
    return 400;
  }
  to += sprintf(to, "%s", RESPONSE_MODEL);
  if (id) to = put_string(to + sprintf(to, ",\"id\":"), id);
  to += sprintf(to, "%s", RESPONSE_OUTPUT);
  for (i = 0; i < NAME_OUTPUTS; i++) {
    if (i) *to++ = ',';
    to = put_number(to, scores[i]);
  }
  strcpy(to, "]}]}");
  return 200;
}

/* Return the length that the header of a request declares, -1 if it is malformed or declared twice, -2 if there is none. */
static long content_length(const char *head) {
  static const char name[] = "content-length:";
  long length = -2;
  const char *line;
  for (line = strstr(head, "\r\n"); strncmp(line, "\r\n\r\n", 4); line = strstr(line, "\r\n")) {
    size_t i, digits;
    line += 2;
    for (i = 0; i + 1 < sizeof name && (line[i] | 32) == name[i]; i++) continue;
    if (i + 1 < sizeof name) continue;
    line += i;
    line += strspn(line, " \t");
    digits = strspn(line, "0123456789");
    if (length != -2 || !digits || digits > 9 || strncmp(line + digits, "\r\n", 2)) return -1;
    length = atol(line);
  }
  return length;
}

static double seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Let the next recv or send of a connection end at `until`; return 0 if that has passed. */
static int limit_wait(int connection, int option, double until) {
  const double left = until - seconds();
  struct timeval wait;
  if (!(left > 0)) return 0;
  wait.tv_sec = (time_t)left;
  wait.tv_usec = 1 + (suseconds_t)(999998 * (left - floor(left))); /* 0 would be no limit */
  return !setsockopt(connection, SOL_SOCKET, option, &wait, sizeof wait);
}

/* Read until `wanted` bytes of the request are there, or until its header is if `wanted` is 0; return 0 if that fails. */
static int receive(int connection, size_t *length, size_t wanted, size_t room, double until) {
  while (wanted ? *length < wanted : !strstr(request, "\r\n\r\n")) {
    ssize_t more;
    if (*length == room || !limit_wait(connection, SO_RCVTIMEO, until)) return 0;
    more = recv(connection, request + *length, room - *length, 0);
    if (more <= 0) return 0;
    *length += (size_t)more;
    request[*length] = 0;
    if (!wanted && strlen(request) < *length && !strstr(request, "\r\n\r\n")) return 0; /* a 0 in the header */
  }
  return 1;
}

/* Read and answer a request; return the status, with the body in `response` or the reason in `message`; 0 for no request. */
static int answer(int connection, double until) {
  static const char infer_path[] = "POST " PATH "/infer ", ready_path[] = "GET " PATH "/ready ";
  size_t length = 0, head;
  long body;
  request[0] = 0;
  if (!receive(connection, &length, 0, MAX_HEAD, until)) {
    strcpy(message, "the header cannot be read");
    return length ? 400 : 0;
  }
  head = (size_t)(strstr(request, "\r\n\r\n") - request) + 4;
  if (!strncmp(request, "GET /v2/health/live ", 20)) { strcpy(response, "{\"live\":true}"); return 200; }
  if (!strncmp(request, "GET /v2/health/ready ", 21)) { strcpy(response, "{\"ready\":true}"); return 200; }
  if (!strncmp(request, ready_path, sizeof ready_path - 1)) {
    strcpy(response, READY);
    return 200;
  }
  if (strncmp(request, infer_path, sizeof infer_path - 1)) { snprintf(message, sizeof message, "%s", "not found: POST " PATH "/infer"); return 404; }
  body = content_length(request);
  if (body == -2) { strcpy(message, "Content-Length is missing"); return 411; }
  if (body < 0) { strcpy(message, "Content-Length is invalid"); return 400; }
  if (body > MAX_BODY) { sprintf(message, "the body is longer than %d bytes", MAX_BODY); return 413; }
  if (!receive(connection, &length, head + (size_t)body, MAX_HEAD + MAX_BODY, until)) {
    strcpy(message, "the body cannot be read");
    return 400;
  }
  request[head + (size_t)body] = 0;
  if (strlen(request + head) != (size_t)body) { strcpy(message, "the body is not the JSON of a request"); return 400; }
  return infer(request + head);
}

static void write_all(int connection, const char *text, size_t length, double until) {
  while (length && limit_wait(connection, SO_SNDTIMEO, until)) {
    const ssize_t written = send(connection, text, length, 0);
    if (written <= 0) return;
    text += written;
    length -= (size_t)written;
  }
}

static void serve(int connection) {
  char head[256];
  const int status = answer(connection, seconds() + MAX_SECONDS);
  const double until = seconds() + MAX_SECONDS;
  if (!status) return;
  if (status != 200) {
    strcpy(put_string(response + sprintf(response, "{\"error\":"), message), "}");
  }
  sprintf(head, "HTTP/1.1 %d %s\r\nContent-Type: application/json\r\nContent-Length: %lu\r\nConnection: close\r\n\r\n", status,
          status == 200 ? "OK" : "Error", (unsigned long)strlen(response));
  write_all(connection, head, strlen(head), until);
  write_all(connection, response, strlen(response), until);
  shutdown(connection, SHUT_WR);
  if (status != 200) while (limit_wait(connection, SO_RCVTIMEO, until) && recv(connection, request, MAX_HEAD, 0) > 0) continue; /* else the client may lose the answer */
}

int main(int argc, char **argv) {
  struct sockaddr_in address = {0};
  socklen_t size = sizeof address;
  const int listener = socket(AF_INET, SOCK_STREAM, 0), yes = 1;
  char *end = argc < 2 ? NULL : argv[1];
  const long port = end ? strtol(argv[1], &end, 10) : 0;
  if (argc < 2 || argc > 3 || end == argv[1] || *end || port < 0 || port > 65535) { fprintf(stderr, "%s: pass PORT [ADDRESS]\n", argv[0]); return 2; }
  if (name_self_test()) { fputs("the self-test of the release fails on this machine\n", stderr); return 2; }
  signal(SIGPIPE, SIG_IGN);
  address.sin_family = AF_INET;
  address.sin_port = htons((unsigned short)port);
  if (inet_pton(AF_INET, argc > 2 ? argv[2] : "127.0.0.1", &address.sin_addr) != 1) { fputs("the address is not one of IPv4\n", stderr); return 2; }
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 64) ||
      getsockname(listener, (struct sockaddr *)&address, &size)) {
    perror("the port cannot be used");
    return 2;
  }
  printf("serving %s/infer on port %d\n", PATH, ntohs(address.sin_port));
  fflush(stdout);
  for (;;) {
    const int connection = accept(listener, NULL, NULL);
    if (connection < 0) continue;
    serve(connection);
    close(connection);
  }
}
