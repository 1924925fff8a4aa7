/* headway.serving.protocol._numbers: lift the numbers of a JSON body out of it, directly to doubles.

   No errors are reported here. An array that holds anything but numbers and nulls, or that breaks the grammar, stays in
   the body unchanged, and decoding the rest reports what is wrong with it. */
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

static PyMethodDef METHODS[] = {
  {"lift", lift, METH_O, "Return a body with each array of numbers under \"data\" replaced by its index, their values as float64, and the end of each. None if it is not worth it."},
  {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot SLOTS[] = {{0, NULL}};

static struct PyModuleDef MODULE = {PyModuleDef_HEAD_INIT, "_numbers", "Numbers of a JSON body.", 0, METHODS, SLOTS, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__numbers(void) { return PyModuleDef_Init(&MODULE); }
