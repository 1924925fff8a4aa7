/* headway.serving.protocol._numbers: read an infer request of the common form, lift the numbers out of any other body, and
   compare rows with bounds.

   No errors are reported here. A request of another form is left alone; an array that holds anything but numbers and nulls,
   or that breaks the grammar, stays in the body unchanged, and decoding the rest reports what is wrong with it. */
#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030b0000
#include <Python.h>

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define MIN_NUMBERS 8            /* an array of fewer numbers is not worth lifting, nor are the others of its body */
#define EXACT_POWER 22           /* 10^22 is the largest power of ten that a double holds */
#define MAX_DIGITS 19            /* any integer of 19 digits fits in 64 bits */
#define MAX_FIVES 27             /* and so does 5^27 */
#define MAX_LENGTH 512           /* characters of a number on the slow path */

typedef struct {
  double *values;
  Py_ssize_t count, room;
} Values;

static const double POWER[EXACT_POWER + 1] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                              1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
static const uint64_t TEN[9] = {1u, 10u, 100u, 1000u, 10000u, 100000u, 1000000u, 10000000u, 100000000u};
static const uint64_t FIVE[MAX_FIVES + 1] = {
    1u, 5u, 25u, 125u, 625u, 3125u, 15625u, 78125u, 390625u, 1953125u, 9765625u, 48828125u, 244140625u, 1220703125u,
    6103515625u, 30517578125u, 152587890625u, 762939453125u, 3814697265625u, 19073486328125u, 95367431640625u,
    476837158203125u, 2384185791015625u, 11920928955078125u, 59604644775390625u, 298023223876953125u,
    1490116119384765625u, 7450580596923828125u};

static const char *past_space(const char *p, const char *end) {
  while (p < end && (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t')) p++;
  return p;
}

static int is_at(const char *p, const char *end, char wanted) { return p < end && *p == wanted; }

static int is_digit(const char *p, const char *end) { return p < end && *p >= '0' && *p <= '9'; }

/* Return digits / 10^power, correctly rounded: 63 bits or more of the quotient, the last one set if more bits follow. */
static double divided(uint64_t digits, int power) {
  const int up = __builtin_clzll(digits), down = __builtin_clzll(FIVE[power]);
  const uint64_t by = FIVE[power] << down;
  const unsigned __int128 shifted = (unsigned __int128)(digits << up) << 63;
  const uint64_t quotient = (uint64_t)(shifted / by);
  return ldexp((double)(quotient | (shifted % by != 0)), down - up - 63 - power);
}

/* Convert a magnitude with the interpreter, correctly rounded; infinite if it is too large or too long. */
static double converted(const char *start, const char *end) {
  char text[MAX_LENGTH + 1];
  if (end - start > MAX_LENGTH) return INFINITY;
  memcpy(text, start, (size_t)(end - start));
  text[end - start] = 0;
  const double value = PyOS_string_to_double(text, NULL, NULL);
  if (value != -1.0 || !PyErr_Occurred()) return fabs(value);
  PyErr_Clear(); /* no memory */
  return INFINITY;
}

/* Append digits to `digits`, eight at a time if there are as many; return the position behind them. */
static const char *past_digits(const char *p, const char *end, uint64_t *digits) {
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
  while (end - p >= 8) {
    uint64_t eight;
    memcpy(&eight, p, 8);
    eight ^= 0x3030303030303030u; /* each digit is now its value, any other byte is 10 or more */
    const uint64_t others = ((eight + 0x7676767676767676u) | eight) & 0x8080808080808080u;
    const int n = others ? __builtin_ctzll(others) / 8 : 8;
    if (!n) return p;
    eight <<= 8 * (8 - n); /* leading zeros replace what follows the digits */
    eight = (eight * 10 + (eight >> 8)) & 0x00ff00ff00ff00ffu;
    eight = (eight * 100 + (eight >> 16)) & 0x0000ffff0000ffffu;
    eight = (eight * 10000 + (eight >> 32)) & 0xffffffffu;
    *digits = *digits * TEN[n] + eight;
    p += n;
    if (n < 8) return p;
  }
#endif
  for (; is_digit(p, end); p++) *digits = *digits * 10 + (uint64_t)(*p - '0');
  return p;
}

/* Read a JSON number; return the position behind it, or NULL if there is none or it is beyond a double. */
static const char *number(const char *p, const char *end, double *value) {
  const char *const start = p;
  const int negative = is_at(p, end, '-');
  p += negative;
  const char *const first = p;
  uint64_t digits = 0;
  if (!is_digit(p, end)) return NULL;
  for (; is_digit(p, end); p++) {
    if (p > first && *first == '0') return NULL;
    digits = digits * 10 + (uint64_t)(*p - '0');
  }
  int64_t count = p - first - (*first == '0'), power = 0;
  int is_integer = 1;
  if (is_at(p, end, '.')) {
    const char *const point = ++p;
    while (!digits && is_at(p, end, '0')) p++;
    const char *const counts = p;
    p = past_digits(p, end, &digits);
    if (p == point) return NULL;
    count += p - counts;
    power = point - p;
    is_integer = 0;
  }
  if (p < end && (*p == 'e' || *p == 'E')) {
    p++;
    const int down = is_at(p, end, '-');
    p += down || is_at(p, end, '+');
    if (!is_digit(p, end)) return NULL;
    int64_t more = 0;
    for (; is_digit(p, end); p++) more = more < MAX_LENGTH * 10 ? more * 10 + (*p - '0') : more;
    power += down ? -more : more;
    is_integer = 0;
  }
  double size;
  if (count > MAX_DIGITS) size = converted(start, p);
  else if (!digits) size = 0.0;
  else if (!power) size = (double)digits;
  else if (digits <= (uint64_t)1 << 53 && power >= -EXACT_POWER && power <= EXACT_POWER)
    size = power < 0 ? (double)digits / POWER[-power] : (double)digits * POWER[power];
  else if (power < 0 && power >= -MAX_FIVES) size = divided(digits, (int)-power);
  else size = converted(start, p);
  if (isinf(size)) return NULL;
  *value = negative && !(is_integer && !digits) ? -size : size; /* -0 is an integer, which has no negative zero */
  return p;
}

static int add(Values *v, double value) {
  if (v->count == v->room) {
    const Py_ssize_t room = 2 * v->room + 1024;
    double *more = realloc(v->values, (size_t)room * sizeof *more);
    if (!more) return 0;
    v->values = more;
    v->room = room;
  }
  v->values[v->count++] = value;
  return 1;
}

/* Read numbers and nulls up to the closing bracket; return the position behind it, or NULL. `p` is behind the opening one. */
static const char *list(const char *p, const char *end, Values *v) {
  p = past_space(p, end);
  if (is_at(p, end, ']')) return p + 1;
  for (;;) {
    double value = NAN;
    if (end - p >= 4 && !memcmp(p, "null", 4)) p += 4;
    else if (!(p = number(p, end, &value))) return NULL;
    if (!add(v, value)) return NULL;
    p = past_space(p, end);
    if (is_at(p, end, ']')) return p + 1;
    if (!is_at(p, end, ',')) return NULL;
    p = past_space(p + 1, end);
  }
}

/* Read a list of numbers, or of lists of numbers; return the position behind it, or NULL. */
static const char *array(const char *p, const char *end, Values *v) {
  p = past_space(p + 1, end);
  if (!is_at(p, end, '[')) return list(p, end, v);
  for (;;) {
    if (!is_at(p, end, '[') || !(p = list(p + 1, end, v))) return NULL;
    p = past_space(p, end);
    if (is_at(p, end, ']')) return p + 1;
    if (!is_at(p, end, ',')) return NULL;
    p = past_space(p + 1, end);
  }
}

/* Return the closing quote of a string that begins before `p`, or NULL; `escaped` counts the escapes in it. */
static const char *end_of_string(const char *p, const char *end, int *escaped) {
  *escaped = 0;
  for (; p < end && *p != '"'; p++)
    if (*p == '\\' && ++*escaped && ++p == end) return NULL;
  return p < end ? p : NULL;
}

enum { STAYS, LIFTED, NOT_WORTH_IT };

/* Lift the array at `*p` if it holds numbers and the value ends there; then `*p` is behind it. An array of only nulls may
   be one of strings, and stays. */
static int lift_array(const char **p, const char *end, Values *v) {
  const Py_ssize_t before = v->count;
  const char *const after = array(*p, end, v), *const next = after ? past_space(after, end) : end;
  const Py_ssize_t more = v->count - before;
  Py_ssize_t nulls = 0;
  while (nulls < more && isnan(v->values[before + nulls])) nulls++;
  if ((is_at(next, end, ',') || is_at(next, end, '}')) && more >= MIN_NUMBERS && nulls < more) {
    *p = after;
    return LIFTED;
  }
  v->count = before;
  return after && !before && more < MIN_NUMBERS ? NOT_WORTH_IT : STAYS;
}

/* Copy the body to `rest` (as large as the body), with the index of each lifted array under "data" in its place; the end
   of its values goes to `ends`. Return the end of the copy, or NULL if nothing was lifted, or it is not worth it. */
static char *lift_all(const char *p, const char *end, char *rest, Values *v, PyObject *ends) {
  const char *copied = p, *quote;
  while (p < end && (quote = memchr(p, '"', (size_t)(end - p)))) {
    int escaped;
    const char *close = end_of_string(quote + 1, end, &escaped);
    if (!close) return NULL;
    p = past_space(close + 1, end);
    if (!is_at(p, end, ':')) continue;
    if (escaped) return NULL; /* it may spell "data" with escapes */
    if (close - quote != 5 || memcmp(quote + 1, "data", 4)) continue;
    p = past_space(p + 1, end);
    if (!is_at(p, end, '[')) return NULL; /* it may be a number, which must only mean a lifted array */
    const char *const start = p;
    const int done = lift_array(&p, end, v);
    if (done == NOT_WORTH_IT) return NULL;
    if (done == STAYS) continue;
    memcpy(rest, copied, (size_t)(start - copied));
    rest += start - copied;
    rest += PyOS_snprintf(rest, (size_t)(p - start), "%zd", PyList_Size(ends));
    copied = p;
    PyObject *stop = PyLong_FromSsize_t(v->count);
    const int failed = !stop || PyList_Append(ends, stop);
    Py_XDECREF(stop);
    if (failed) return NULL;
  }
  memcpy(rest, copied, (size_t)(end - copied));
  return v->count ? rest + (end - copied) : NULL;
}

static PyObject *lift(PyObject *self, PyObject *body) {
  (void)self;
  Py_buffer view;
  if (PyObject_GetBuffer(body, &view, PyBUF_SIMPLE)) return NULL;
  Values v = {0};
  PyObject *ends = PyList_New(0), *found = NULL;
  char *rest = malloc((size_t)view.len + 1);
  if (ends && rest) {
    const char *const start = view.buf;
    const char *const after = lift_all(start, start + view.len, rest, &v, ends);
    if (after) {
      PyObject *text = PyBytes_FromStringAndSize(rest, after - rest);
      PyObject *values = PyByteArray_FromStringAndSize((const char *)v.values, v.count * (Py_ssize_t)sizeof *v.values);
      if (text && values) found = PyTuple_Pack(3, text, values, ends);
      Py_XDECREF(text);
      Py_XDECREF(values);
    }
  }
  free(rest);
  free(v.values);
  Py_XDECREF(ends);
  PyBuffer_Release(&view);
  if (found) return found;
  if (PyErr_Occurred()) return NULL;
  Py_RETURN_NONE;
}

/* -- A whole request of the common form ---------------------------------------------------------------------------------

   One object with `inputs`, and perhaps `id` and `parameters` with `key`; each input has its four members, once each and in
   any order. Whatever else is in a body, or is not plainly valid, is for the decoder in Python: no reason is given here. */

#define MAX_BODY (1 << 18)       /* bytes; a longer body is not worth a call that cannot be interrupted */
#define MIN_MAX_TEXT 16          /* with a lower limit, the names of the protocol might be too long themselves */
#define MAX_SIZE_DIGITS 9        /* of a dimension */
#define EXACT_INTEGER 9007199254740992.0

typedef struct {
  const char *at;
  Py_ssize_t size; /* -1: there is none */
  int ascii;
} Text;

typedef struct {
  Text name, datatype;
  Py_ssize_t shape[2], dims, first, count, inner; /* its numbers in `Values`; `inner` of them in each list, 0 if flat */
  const char *strings;                             /* its values, if they are not all numbers and nulls */
  Text packed;                                     /* or strings of a message, each behind its length of 4 bytes */
  int has_data;
} Input;

typedef struct {
  PyObject *names, *order, *codes; /* names as bytes, their positions by string; codes or None of each, or () for none */
  Text output;
  int has_outputs;
  long top_k; /* classes that are requested, 0 for all outputs */
  Py_ssize_t max_text, max_rows; /* bytes of an id, a key or a name, and rows */
  Py_ssize_t width, rows, inputs;
  Py_ssize_t *firsts; /* of each column in `v`, -1 before it was read */
  int is_matrix;
  Values v;
} Columns;

static const char *end_of(Text text) { return text.at + text.size; }

static int equals(Text text, const char *wanted) {
  return text.size == (Py_ssize_t)strlen(wanted) && !memcmp(text.at, wanted, (size_t)text.size);
}

/* Read a string without escapes; return the position behind it, or NULL. */
static const char *plain_text(const char *p, const char *end, Text *found) {
  if (found->size >= 0 || !is_at(p, end, '"')) return NULL;
  const char *const start = ++p;
  unsigned char any = 0;
  for (; p < end && *p != '"'; p++) {
    const unsigned char byte = (unsigned char)*p;
    if (byte == '\\' || byte < 0x20) return NULL;
    any |= byte;
  }
  *found = (Text){start, p - start, any < 0x80};
  return p < end ? p + 1 : NULL;
}

static PyObject *as_str(Text text) {
  PyObject *made = PyUnicode_DecodeUTF8(text.at, text.size < 0 ? 0 : text.size, NULL);
  if (!made) PyErr_Clear();
  return made;
}

/* Read the key of a member and its colon; return the position of its value, or NULL. */
static const char *member(const char *p, const char *end, Text *key) {
  key->size = -1;
  p = plain_text(past_space(p, end), end, key);
  if (!p || !is_at(p = past_space(p, end), end, ':')) return NULL;
  return past_space(p + 1, end);
}

/* Behind a value of an object or list: return the position behind its comma or `close`, of which `*more` says; or NULL. */
static const char *past_value(const char *p, const char *end, char close, int *more) {
  p = past_space(p, end);
  *more = is_at(p, end, ',');
  return *more || is_at(p, end, close) ? p + 1 : NULL;
}

static const char *read_shape(const char *p, const char *end, Input *in) {
  int more = !in->dims && is_at(p, end, '[');
  if (!more) return NULL;
  for (p++; more; in->dims++) {
    if (in->dims == 2) return NULL;
    const char *const start = p = past_space(p, end);
    Py_ssize_t size = 0;
    for (; is_digit(p, end) && p - start < MAX_SIZE_DIGITS; p++) size = size * 10 + (*p - '0');
    if (!size || *start == '0') return NULL;
    in->shape[in->dims] = size;
    if (!(p = past_value(p, end, ']', &more))) return NULL;
  }
  return p;
}

/* Return the position behind a list of strings and nulls, or NULL. */
static const char *past_strings(const char *p, const char *end) {
  int more = is_at(p, end, '[');
  if (!more) return NULL;
  for (p++; more;) {
    Text skipped = {.size = -1};
    p = past_space(p, end);
    if (end - p >= 4 && !memcmp(p, "null", 4)) p += 4;
    else if (!(p = plain_text(p, end, &skipped))) return NULL;
    if (!(p = past_value(p, end, ']', &more))) return NULL;
  }
  return p;
}

/* Read the values of an input: numbers and nulls to `v`, flat or in lists of equal length; strings are only passed over. */
static const char *read_data(const char *p, const char *end, Columns *to, Input *in) {
  if (in->has_data || !is_at(p, end, '[')) return NULL;
  const char *const start = p;
  in->has_data = 1;
  in->first = to->v.count;
  p = past_space(p + 1, end);
  if (!is_at(p, end, '[')) {
    p = list(p, end, &to->v);
    if (!p) {
      to->v.count = in->first;
      in->strings = start;
      p = past_strings(start, end);
    }
  } else
    for (int more = 1; more;) {
      const Py_ssize_t before = to->v.count;
      if (!is_at(p = past_space(p, end), end, '[') || !(p = list(p + 1, end, &to->v))) return NULL;
      const Py_ssize_t found = to->v.count - before;
      if (!found || (before > in->first && found != in->inner)) return NULL;
      in->inner = found;
      if (!(p = past_value(p, end, ']', &more))) return NULL;
    }
  in->count = to->v.count - in->first;
  return p;
}

/* Apply a datatype to numbers as it is named; return 0 if it is another one, or if a number does not fit in it. */
static int cast(Text datatype, double *values, Py_ssize_t n) {
  static const struct { const char *name; double low, high; } WHOLE[] = {
      {"INT64", -EXACT_INTEGER, EXACT_INTEGER}, {"INT32", -2147483648.0, 2147483647.0}, {"INT16", -32768.0, 32767.0},
      {"INT8", -128.0, 127.0}, {"UINT64", 0.0, EXACT_INTEGER}, {"UINT32", 0.0, 4294967295.0},
      {"UINT16", 0.0, 65535.0}, {"UINT8", 0.0, 255.0}};
  if (equals(datatype, "FP64")) return 1;
  if (equals(datatype, "FP32")) {
    for (Py_ssize_t i = 0; i < n; i++) {
      values[i] = (double)(float)values[i];
      if (isinf(values[i])) return 0;
    }
    return 1;
  }
  for (size_t k = 0; k < sizeof WHOLE / sizeof *WHOLE; k++)
    if (equals(datatype, WHOLE[k].name)) {
      for (Py_ssize_t i = 0; i < n; i++)
        if (!isnan(values[i]) && !(values[i] >= WHOLE[k].low && values[i] <= WHOLE[k].high && values[i] == rint(values[i])))
          return 0;
      return 1;
    }
  return 0;
}

static PyObject *grows, *integers; /* names of the attributes below */

/* Whether these are codes of texts, which may get a new one, and whether an integer is the text of its digits. */
static int is_true(PyObject *codes, PyObject *name) {
  PyObject *found = PyObject_GetAttr(codes, name);
  const int is = found ? PyObject_IsTrue(found) : 0;
  if (!found) PyErr_Clear();
  Py_XDECREF(found);
  return is;
}

/* Append the code of a string; return 0 for an unknown category, or a text that is refused. */
static int add_code(Text text, PyObject *codes, Values *v) {
  PyObject *category = as_str(text);
  if (!category) return 0;
  PyObject *known = PyDict_GetItemWithError(codes, category);
  Py_XINCREF(known);
  if (!known && is_true(codes, grows) && !(known = PyObject_GetItem(codes, category))) PyErr_Clear();
  Py_DECREF(category);
  const int added = known && add(v, PyFloat_AsDouble(known));
  Py_XDECREF(known);
  return added;
}

/* Append the codes of strings and nulls, `p` being their list that was passed over before. */
static int add_codes(const char *p, const char *end, PyObject *codes, Values *v) {
  for (int more = 1; more; p = past_value(p, end, ']', &more)) {
    Text text = {.size = -1};
    p = past_space(p + (*p == '['), end);
    const int is_null = *p == 'n';
    p = is_null ? p + 4 : plain_text(p, end, &text);
    if (!(is_null ? add(v, NAN) : add_code(text, codes, v))) return 0;
  }
  return 1;
}

/* Replace integers by the codes of their digits; return 0 for an unknown one, or if a double may not hold its digits. */
static int code_integers(double *values, Py_ssize_t n, PyObject *codes) {
  for (Py_ssize_t i = 0; i < n; i++) {
    if (isnan(values[i])) continue;
    if (fabs(values[i]) >= EXACT_INTEGER) return 0;
    PyObject *digits = PyUnicode_FromFormat("%lld", (long long)values[i]);
    PyObject *known = digits ? PyDict_GetItemWithError(codes, digits) : NULL;
    Py_XDECREF(digits);
    if (!known) return 0;
    values[i] = PyFloat_AsDouble(known);
  }
  return 1;
}

static int add_packed_codes(Text packed, PyObject *codes, Values *v) {
  for (const char *p = packed.at; p < end_of(packed);) {
    uint32_t size;
    if (end_of(packed) - p < (Py_ssize_t)sizeof size) return 0;
    memcpy(&size, p, sizeof size);
    p += sizeof size;
    if (size > end_of(packed) - p || !add_code((Text){p, size, 0}, codes, v)) return 0;
    p += size;
  }
  return 1;
}

/* Return the column of a name, -1 if there is none, -2 if it is not for us. The names often come in order. */
static Py_ssize_t column_of(const Columns *to, Text name) {
  if (to->inputs < to->width) {
    PyObject *next = PyTuple_GetItem(to->names, to->inputs);
    if (PyBytes_Size(next) == name.size && !memcmp(PyBytes_AsString(next), name.at, (size_t)name.size)) return to->inputs;
  }
  PyObject *key = as_str(name);
  if (!key) return -2;
  PyObject *known = PyDict_GetItemWithError(to->order, key);
  Py_DECREF(key);
  return known ? PyLong_AsSsize_t(known) : -1;
}

/* Take an input that was read; return 0 if it is not simply a column, or the matrix of all. */
static int take(Columns *to, Input *in, const char *end) {
  if (in->name.size < 0 || in->datatype.size < 0 || !in->dims || !in->has_data || to->is_matrix) return 0;
  if (in->name.size > to->max_text || in->shape[0] > to->max_rows) return 0;
  const Py_ssize_t column = column_of(to, in->name);
  const int is_numbers = !in->strings && !in->packed.at;
  double *const values = to->v.values + in->first;
  if (column < 0) {
    to->is_matrix = column == -1 && !to->inputs++ && in->name.ascii && in->dims == 2 && in->shape[1] == to->width &&
                    !PyTuple_Size(to->codes);
    to->rows = in->shape[0];
    return to->is_matrix && is_numbers && in->count == to->rows * to->width && (!in->inner || in->inner == to->width) &&
           cast(in->datatype, values, in->count);
  }
  if (!to->inputs++) to->rows = in->shape[0];
  if (to->firsts[column] >= 0 || in->shape[0] != to->rows || (in->dims == 2 && in->shape[1] != 1) || in->inner > 1) return 0;
  to->firsts[column] = in->first;
  PyObject *codes = PyTuple_Size(to->codes) ? PyTuple_GetItem(to->codes, column) : Py_None;
  if (codes == Py_None) return is_numbers && in->count == to->rows && cast(in->datatype, values, in->count);
  if (in->datatype.size > 3 && (in->datatype.at[0] == 'I' || in->datatype.at[0] == 'U'))
    return is_true(codes, integers) && is_numbers && in->count == to->rows &&
           cast(in->datatype, values, in->count) && code_integers(values, in->count, codes);
  if (!equals(in->datatype, "BYTES") || in->inner) return 0;
  if (in->strings && !add_codes(in->strings, end, codes, &to->v)) return 0;
  if (in->packed.at && !add_packed_codes(in->packed, codes, &to->v)) return 0;
  for (Py_ssize_t i = 0; is_numbers && i < in->count; i++)
    if (!isnan(values[i])) return 0;
  return to->v.count - in->first == to->rows;
}

static const char *read_input(const char *p, const char *end, Columns *to) {
  Input in = {.name.size = -1, .datatype.size = -1};
  if (!is_at(p, end, '{')) return NULL;
  p++;
  for (int more = 1; more;) {
    Text key;
    if (!(p = member(p, end, &key))) return NULL;
    if (equals(key, "name")) p = plain_text(p, end, &in.name);
    else if (equals(key, "shape")) p = read_shape(p, end, &in);
    else if (equals(key, "datatype")) p = plain_text(p, end, &in.datatype);
    else if (equals(key, "data")) p = read_data(p, end, to, &in);
    else return NULL;
    if (!p || !(p = past_value(p, end, '}', &more))) return NULL;
  }
  return take(to, &in, end) ? p : NULL;
}

static const char *read_inputs(const char *p, const char *end, Columns *to) {
  if (to->inputs || !is_at(p, end, '[')) return NULL;
  p++;
  for (int more = 1; more;) {
    if (!(p = read_input(past_space(p, end), end, to)) || !(p = past_value(p, end, ']', &more))) return NULL;
  }
  return p;
}

static const char *read_key(const char *p, const char *end, Text *key) {
  Text found;
  int more;
  if (!is_at(p, end, '{') || !(p = member(p + 1, end, &found)) || !equals(found, "key")) return NULL;
  p = plain_text(p, end, key);
  return p && (p = past_value(p, end, '}', &more)) && !more ? p : NULL;
}

/* Read the parameters of an output, of which only the number of classes is known here. */
static const char *read_classification(const char *p, const char *end, Columns *to) {
  Text found;
  int more;
  if (to->top_k || !is_at(p, end, '{') || !(p = member(p + 1, end, &found)) || !equals(found, "classification")) return NULL;
  const char *const start = p;
  for (; is_digit(p, end) && p - start < MAX_SIZE_DIGITS; p++) to->top_k = to->top_k * 10 + (*p - '0');
  return p > start && *start != '0' && (p = past_value(p, end, '}', &more)) && !more ? p : NULL;
}

/* Read requested outputs: that of the model, once. */
static const char *read_outputs(const char *p, const char *end, Columns *to) {
  Text name = {.size = -1};
  int more = 1, others = 1;
  if (to->has_outputs++ || !is_at(p, end, '[') || !is_at(p = past_space(p + 1, end), end, '{')) return NULL;
  for (p++; more;) {
    Text key;
    if (!(p = member(p, end, &key))) return NULL;
    if (equals(key, "name")) p = plain_text(p, end, &name);
    else if (equals(key, "parameters")) p = read_classification(p, end, to);
    else return NULL;
    if (!p || !(p = past_value(p, end, '}', &more))) return NULL;
  }
  const int is_ours = name.size == to->output.size && !memcmp(name.at, to->output.at, (size_t)name.size);
  return is_ours && (p = past_value(p, end, ']', &others)) && !others ? p : NULL;
}

static int read_members(const char *p, const char *end, Columns *to, Text *id, Text *key) {
  if (!is_at(p = past_space(p, end), end, '{')) return 0;
  p++;
  for (int more = 1; more;) {
    Text found;
    if (!(p = member(p, end, &found))) return 0;
    if (equals(found, "inputs")) p = read_inputs(p, end, to);
    else if (equals(found, "id")) p = plain_text(p, end, id);
    else if (equals(found, "parameters")) p = read_key(p, end, key);
    else if (equals(found, "outputs")) p = read_outputs(p, end, to);
    else return 0;
    if (!p || !(p = past_value(p, end, '}', &more))) return 0;
  }
  return past_space(p, end) == end;
}

/* Return the rows in C order; a matrix is in this order already. */
static PyObject *rows_of(const Columns *from) {
  const Py_ssize_t n = from->rows, d = from->width;
  if (from->is_matrix) return PyByteArray_FromStringAndSize((const char *)from->v.values, n * d * (Py_ssize_t)sizeof(double));
  PyObject *made = PyByteArray_FromStringAndSize(NULL, n * d * (Py_ssize_t)sizeof(double));
  if (!made) return NULL;
  double *const rows = (double *)(void *)PyByteArray_AsString(made);
  for (Py_ssize_t j = 0; j < d; j++)
    for (Py_ssize_t i = 0; i < n; i++) rows[i * d + j] = from->v.values[from->firsts[j] + i];
  return made;
}

/* Return the rows, the id, the key, `is_raw` and the number of classes; or NULL if not all columns were read. */
static PyObject *as_tuple(const Columns *from, Text id, Text key, int is_raw) {
  if (!from->is_matrix && (!from->width || from->inputs != from->width)) return NULL;
  if (id.size > from->max_text || key.size > from->max_text) return NULL;
  PyObject *rows = rows_of(from), *its_id = as_str(id), *its_key = as_str(key), *found = NULL;
  PyObject *top_k = PyLong_FromLong(from->top_k);
  if (rows && its_id && its_key && top_k) found = PyTuple_Pack(5, rows, its_id, its_key, is_raw ? Py_True : Py_False, top_k);
  Py_XDECREF(top_k);
  Py_XDECREF(rows);
  Py_XDECREF(its_id);
  Py_XDECREF(its_key);
  return found;
}

static PyObject *read_json(const char *start, const char *end, Columns *to) {
  Text id = {.size = -1}, key = {.size = -1};
  return read_members(start, end, to, &id, &key) ? as_tuple(to, id, key, 0) : NULL;
}

#include "message.h"
#include "scan.h"
#include "shortest.h"

/* Read a request in one of the two forms; None if it is not a common one. */
static PyObject *read_common(PyObject *self, PyObject *const *args, Py_ssize_t n) {
  (void)self;
  if (n != 8 || !PyTuple_Check(args[2]) || !PyDict_Check(args[3]) || !PyTuple_Check(args[4]) || !PyBytes_Check(args[5])) {
    PyErr_SetString(PyExc_TypeError, "a body, a bool, a tuple, a dict, a tuple, bytes and two integers are expected");
    return NULL;
  }
  Columns to = {.names = args[2], .order = args[3], .codes = args[4]};
  to.output = (Text){PyBytes_AsString(args[5]), PyBytes_Size(args[5]), 0};
  to.max_text = PyLong_AsSsize_t(args[6]);
  to.max_rows = PyLong_AsSsize_t(args[7]);
  if (PyErr_Occurred()) return NULL;
  Py_buffer view;
  if (PyObject_GetBuffer(args[0], &view, PyBUF_SIMPLE)) return NULL;
  to.width = PyTuple_Size(to.names);
  const int is_for_us = view.len <= MAX_BODY && to.max_text >= MIN_MAX_TEXT && to.output.size <= to.max_text;
  to.firsts = is_for_us ? malloc((size_t)(to.width + 1) * sizeof *to.firsts) : NULL;
  for (Py_ssize_t j = 0; to.firsts && j < to.width; j++) to.firsts[j] = -1;
  const char *const start = view.buf;
  PyObject *found = NULL;
  if (to.firsts) found = (args[1] == Py_True ? read_message : read_json)(start, start + view.len, &to);
  free(to.firsts);
  free(to.v.values);
  PyBuffer_Release(&view);
  if (found || PyErr_Occurred()) return found;
  Py_RETURN_NONE;
}

/* Return whether all values of rows are within the bounds of their columns; False too if that is not certain. */
static PyObject *within(PyObject *self, PyObject *const *args, Py_ssize_t n) {
  (void)self;
  Py_buffer views[3];
  Py_ssize_t held = 0;
  if (n != 3) {
    PyErr_SetString(PyExc_TypeError, "rows, lowest and highest values are expected");
    return NULL;
  }
  while (held < 3 && !PyObject_GetBuffer(args[held], &views[held], PyBUF_SIMPLE)) held++;
  int inside = held == 3 && views[0].itemsize == (Py_ssize_t)sizeof(double) && views[1].len > 0 &&
               views[1].len == views[2].len && views[0].len % views[1].len == 0;
  if (inside) {
    const double *const rows = views[0].buf, *const low = views[1].buf, *const high = views[2].buf;
    const Py_ssize_t size = views[0].len / (Py_ssize_t)sizeof(double), width = views[1].len / (Py_ssize_t)sizeof(double);
    for (Py_ssize_t start = 0; inside && start < size; start += width)
      for (Py_ssize_t j = 0; j < width; j++) inside &= rows[start + j] >= low[j] && rows[start + j] <= high[j];
  }
  while (held) PyBuffer_Release(&views[--held]);
  PyErr_Clear(); /* rows that are not contiguous */
  return PyBool_FromLong(inside);
}

static PyMethodDef METHODS[] = {
  {"lift", lift, METH_O, "Return a body with each array of numbers under \"data\" replaced by its index, their values as float64, and the end of each. None if it is not worth it."},
  {"read_common", (PyCFunction)(void (*)(void))read_common, METH_FASTCALL, "Return the rows of an infer request as float64, its id, its key, whether its values are raw bytes, and the number of classes that it asks for: from its body, whether that is a protobuf message, the names of the columns as bytes, their positions by name, the codes of each, the name of the output, and the most bytes of a text and the most rows. None if it has another form."},
  {"within", (PyCFunction)(void (*)(void))within, METH_FASTCALL, "Return whether all values of float64 rows are at least the lowest and at most the highest of their columns."},
  {"write_numbers", (PyCFunction)(void (*)(void))write_numbers, METH_FASTCALL, "Return bytes, a list of float64 numbers in JSON and more bytes as one. None if a number is 2^53 or more, or the array is not of float64."},
  {"write_top", (PyCFunction)(void (*)(void))write_top, METH_FASTCALL, "Return bytes, a list in JSON of the classes with the largest of float64 numbers, and more bytes as one: from the start, the numbers, the end, how many are in a row, how many classes a row has, the end of the string of each class, and the bytes of the longest. None if it has another form."},
  {"scan_json", (PyCFunction)(void (*)(void))scan_json, METH_FASTCALL, "Return what a body in JSON contains: its depth, its strings, lists and objects, its other values, the members of its largest object, the elements of its outermost list, and those of the largest container under each name: from the body, the names as bytes and the greatest depth. It ends beyond that depth."},
  {"message_target", message_target, METH_O, "Return the names of the model and the version of a ModelInferRequest. None if it has another form."},
  {NULL, NULL, 0, NULL},
};

static int prepare(PyObject *module) {
  (void)module;
  make_tens();
  if (!grows) grows = PyUnicode_InternFromString("grows");
  if (!integers) integers = PyUnicode_InternFromString("integers");
  return grows && integers ? 0 : -1;
}

static PyModuleDef_Slot SLOTS[] = {{Py_mod_exec, (void *)prepare}, {0, NULL}};

static struct PyModuleDef MODULE = {PyModuleDef_HEAD_INIT, "_numbers", "Numbers of a JSON body.", 0, METHODS, SLOTS, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__numbers(void) { return PyModuleDef_Init(&MODULE); }
