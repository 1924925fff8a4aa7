/* headway.features._windows: find the requests that see each event, and add its values to them.

   `windows.py` does the same with arrays, and says what the arguments are. All arrays are contiguous and aligned. Each
   function checks every index that it follows, and runs without the GIL: no other thread may change the arrays. */
#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030b0000
#include <Python.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>

enum { MOST = 12 };

typedef struct { Py_buffer views[MOST]; int n; } Held;

static void release(Held *held) { while (held->n) PyBuffer_Release(&held->views[--held->n]); }

/* Hold arrays by a string of a letter each: the size of an item (4 or 8, or `w` and `W` for one that is written). */
static int hold(Held *held, PyObject *const *args, const char *kinds) {
  for (int i = 0; kinds[i]; i++) {
    const int written = kinds[i] == 'w' || kinds[i] == 'W', item = kinds[i] == '4' || kinds[i] == 'w' ? 4 : 8;
    Py_buffer *view = held->views + i;
    if (PyObject_GetBuffer(args[i], view, written ? PyBUF_WRITABLE : PyBUF_SIMPLE)) { release(held); return 0; }
    held->n++;
    if (view->len % item || (uintptr_t)view->buf % (uintptr_t)item) {
      PyErr_Format(PyExc_ValueError, "array %d does not have aligned items of %d bytes", i, item);
      release(held);
      return 0;
    }
  }
  return 1;
}

static int64_t length(const Held *held, int i, int item) { return (int64_t)held->views[i].len / item; }

static PyObject *outside(void) {
  PyErr_SetString(PyExc_ValueError, "arrays do not fit together");
  return NULL;
}

static int whole(PyObject *number, int64_t *found) {
  *found = PyLong_AsLongLong(number);
  return *found != -1 || !PyErr_Occurred();
}

typedef struct {
  const int64_t *shift, *base, *starts, *since;
  const uint32_t *table;
  int64_t entities, spans, requests, end;
} Times;

/* Return the times of requests, which are the first arrays of several functions; `entities` is -1 if they do not fit. */
static Times times_of(const Held *held, int64_t end) {
  const int64_t n = length(held, 0, 8), fit = length(held, 1, 8) == n && length(held, 2, 8) == n + 1;
  return (Times){held->views[0].buf, held->views[1].buf, held->views[2].buf, held->views[4].buf, held->views[3].buf,
                 fit ? n : -1, length(held, 3, 4), length(held, 4, 8), end};
}

/* Return the first request of an entity that is not before a time, where `first` is that of the first; -1 if outside. */
static inline int64_t first_from(const Times *t, uint32_t who, int64_t time, int64_t first) {
  if (who >= t->entities) return -1;
  const int64_t since = time <= first ? 0 : (uint64_t)time - (uint64_t)first >= (uint64_t)t->end ? t->end : time - first;
  const uint64_t span = (uint64_t)((since >> (t->shift[who] & 63)) + t->base[who]);
  if (span + 1 >= (uint64_t)t->spans) return -1;
  int64_t low = t->table[span], high = t->table[span + 1];
  if (high > t->requests) return -1;
  while (low < high) {
    const int64_t middle = (low + high) >> 1;
    if (t->since[middle] < since) low = middle + 1;
    else high = middle;
  }
  return low;
}

/* The last answer for an entity, which holds for times in (after, until]: events mostly come in the order of time. */
typedef struct { int64_t after, until; uint32_t found; } Last;

static inline int64_t until(const Times *t, uint32_t who, int64_t found, int64_t first) {
  return found < t->starts[who + 1] && found < t->requests ? first + t->since[found] : INT64_MAX;
}

static int renew(const Times *t, Last *last, uint32_t who, int64_t time, int64_t first) {
  for (int step = 0; step < 4 && last->until < time && last->after < last->until; step++) { /* mostly the next one */
    last->after = last->until;
    last->until = until(t, who, ++last->found, first);
    if (last->after < time && time <= last->until) return 1;
  }
  const int64_t found = first_from(t, who, time, first);
  if (found < 0) return 0;
  last->found = (uint32_t)found;
  last->after = found > t->starts[who] && found ? first + t->since[found - 1] : INT64_MIN;
  last->until = until(t, who, found, first);
  return 1;
}

static PyObject *first(PyObject *self, PyObject *const *args, Py_ssize_t n_args) {
  (void)self;
  Held held = {0};
  int64_t end, from;
  if (n_args != 10 || !whole(args[8], &end) || !whole(args[9], &from)) return PyErr_Occurred() ? NULL : outside();
  if (!hold(&held, args, "8884848w")) return NULL;
  const Times t = times_of(&held, end);
  const int64_t n = length(&held, 5, 4), *times = held.views[6].buf;
  const uint32_t *who = held.views[5].buf;
  uint32_t *found = held.views[7].buf;
  int fits = t.entities >= 0 && length(&held, 6, 8) == n && length(&held, 7, 4) == n;
  Py_BEGIN_ALLOW_THREADS
  for (int64_t i = 0; fits && i < n; i++) {
    const int64_t at = first_from(&t, who[i], times[i], from);
    found[i] = (uint32_t)at;
    fits = at >= 0;
  }
  Py_END_ALLOW_THREADS
  release(&held);
  if (!fits) return outside();
  Py_RETURN_NONE;
}

typedef struct {
  const void *keys;
  const uint32_t *codes;
  int64_t smallest, known; /* the code of a key is codes[key - smallest]; known is -1 if keys are codes */
  const int64_t *event, *created;
  uint32_t *begins, *ends;
  int64_t *steps, n, from, from_end;
} Events;

static inline int64_t find_ranges(const Times *t, const Events *e, Last *last, const int looked_up) {
  int64_t seen = 0;
  for (int64_t i = 0; i < 2 * t->entities; i++) last[i] = (Last){INT64_MAX, INT64_MIN, 0};
  for (int64_t i = 0; i < e->n; i++) {
    uint32_t who = looked_up ? UINT32_MAX : ((const uint32_t *)e->keys)[i];
    if (looked_up) {
      const uint64_t at = (uint64_t)((const int64_t *)e->keys)[i] - (uint64_t)e->smallest;
      if (at < (uint64_t)e->known) who = e->codes[at];
    }
    e->begins[i] = e->ends[i] = 0;
    if (who == UINT32_MAX) continue;
    if (who >= t->entities) return -1;
    Last *begin = last + 2 * (size_t)who, *past = begin + 1;
    const int64_t event = e->event[i], known = e->created[i] > event ? e->created[i] : event;
    if (!(begin->after < known && known <= begin->until) && !renew(t, begin, who, known, e->from)) return -1;
    if (!(past->after < event && event <= past->until) && !renew(t, past, who, event, e->from_end)) return -1;
    if (begin->found >= past->found) continue;
    e->begins[i] = begin->found;
    e->ends[i] = past->found;
    e->steps[begin->found]++;
    e->steps[past->found]--;
    seen++;
  }
  return seen;
}

static PyObject *ranges(PyObject *self, PyObject *const *args, Py_ssize_t n_args) {
  (void)self;
  Held held = {0};
  Events e = {0};
  int64_t end, seen = -1;
  if (n_args != 16 || !whole(args[12], &end) || !whole(args[13], &e.from) || !whole(args[14], &e.from_end)) return PyErr_Occurred() ? NULL : outside();
  const int looked_up = args[15] != Py_None;
  if (looked_up && !whole(args[15], &e.smallest)) return NULL;
  if (!hold(&held, args, looked_up ? "88848888wwW4" : "88848488wwW4")) return NULL;
  const Times t = times_of(&held, end);
  e.keys = held.views[5].buf;
  e.codes = held.views[11].buf;
  e.known = length(&held, 11, 4);
  e.event = held.views[6].buf;
  e.created = held.views[7].buf;
  e.begins = held.views[8].buf;
  e.ends = held.views[9].buf;
  e.steps = held.views[10].buf;
  e.n = length(&held, 6, 8);
  const int fits = t.entities >= 0 && length(&held, 5, looked_up ? 8 : 4) == e.n && length(&held, 7, 8) == e.n &&
                   length(&held, 8, 4) == e.n && length(&held, 9, 4) == e.n && length(&held, 10, 8) == t.requests + 1;
  Last *last = fits ? malloc(((size_t)t.entities * 2 + 1) * sizeof *last) : NULL;
  Py_BEGIN_ALLOW_THREADS
  if (last) seen = looked_up ? find_ranges(&t, &e, last, 1) : find_ranges(&t, &e, last, 0);
  Py_END_ALLOW_THREADS
  free(last);
  release(&held);
  if (fits && !last) return PyErr_NoMemory();
  return seen < 0 ? outside() : PyLong_FromLongLong(seen);
}

static PyObject *counts(PyObject *self, PyObject *const *args, Py_ssize_t n_args) {
  (void)self;
  Held held = {0};
  int fits = 1;
  if (n_args != 3) return outside();
  if (!hold(&held, args, "44W")) return NULL;
  const int64_t n = length(&held, 0, 4), steps = length(&held, 2, 8);
  const uint32_t *begins = held.views[0].buf, *ends = held.views[1].buf;
  int64_t *step = held.views[2].buf;
  if (length(&held, 1, 4) != n) fits = 0;
  Py_BEGIN_ALLOW_THREADS
  for (int64_t i = 0; fits && i < n; i++) {
    if (begins[i] >= steps || ends[i] >= steps) { fits = 0; break; }
    step[begins[i]]++;
    step[ends[i]]--;
  }
  Py_END_ALLOW_THREADS
  release(&held);
  if (!fits) return outside();
  Py_RETURN_NONE;
}

static PyObject *largest(PyObject *self, PyObject *array) {
  (void)self;
  Held held = {0};
  double found[4] = {0};
  if (!hold(&held, &array, "8")) return NULL;
  const int64_t n = length(&held, 0, 8);
  const double *value = held.views[0].buf;
  Py_BEGIN_ALLOW_THREADS
  for (int64_t i = 0; i + 4 <= n; i += 4) {
    for (int k = 0; k < 4; k++) {
      const double size = fabs(value[i + k]);
      found[k] = size > found[k] ? size : found[k];
    }
  }
  for (int64_t i = n & ~(int64_t)3; i < n; i++) found[0] = fabs(value[i]) > found[0] ? fabs(value[i]) : found[0];
  Py_END_ALLOW_THREADS
  for (int k = 1; k < 4; k++) found[0] = found[k] > found[0] ? found[k] : found[0];
  release(&held);
  return PyFloat_FromDouble(found[0]);
}

/* The first four arrays of a sum: values, their rows (none if these are all), and the range of requests of each row. */
typedef struct { const uint32_t *row, *begins, *ends; int64_t values, rows, n, steps; } Ranges;

static Ranges ranges_of(const Held *held, int64_t steps) {
  const int64_t n = length(held, 2, 4), rows = length(held, 1, 4), fit = length(held, 3, 4) == n && (!rows || rows == n);
  return (Ranges){held->views[1].buf, held->views[2].buf, held->views[3].buf, length(held, 0, 8), rows, fit ? n : -1, steps};
}

/* Return where the value of a range is; -1 if it, or the range, is outside the arrays. */
static inline int64_t value_of(const Ranges *r, int64_t i) {
  const int64_t at = r->rows ? r->row[i] : i;
  return at < r->values && r->begins[i] < r->steps && r->ends[i] < r->steps ? at : -1;
}

static PyObject *add_floats(PyObject *self, PyObject *const *args, Py_ssize_t n_args) {
  (void)self;
  Held held = {0};
  double rest_of_first = 0, rest_of_second = 0;
  if (n_args != 6) return outside();
  if (!hold(&held, args, "84448W")) return NULL;
  const Ranges r = ranges_of(&held, length(&held, 5, 16));
  const int64_t before = length(&held, 4, 8) - 2;
  const double *value = held.views[0].buf, *rounder = held.views[4].buf;
  double *step = held.views[5].buf;
  int fits = r.n >= 0 && before >= 0;
  Py_BEGIN_ALLOW_THREADS
  const double first = fits ? rounder[before] : 0, second = fits ? rounder[before + 1] : 0;
  for (int64_t i = 0; fits && i < r.n; i++) {
    const int64_t at = value_of(&r, i);
    if (at < 0) { fits = 0; break; }
    if (r.begins[i] == r.ends[i]) continue; /* no request sees it, and it may be NaN */
    double v = value[at];
    for (int64_t k = 0; k < before; k++) v -= (v + rounder[k]) - rounder[k];
    const double high = (v + first) - first, rest = v - high, low = (rest + second) - second;
    const double size = fabs(rest), left = fabs(rest - low);
    rest_of_first = size > rest_of_first ? size : rest_of_first;
    rest_of_second = left > rest_of_second ? left : rest_of_second;
    double *begin = step + 2 * (int64_t)r.begins[i], *end = step + 2 * (int64_t)r.ends[i];
    begin[0] += high;
    begin[1] += low;
    end[0] -= high;
    end[1] -= low;
  }
  Py_END_ALLOW_THREADS
  release(&held);
  return fits ? Py_BuildValue("dd", rest_of_first, rest_of_second) : outside();
}

static PyObject *add_totals(PyObject *self, PyObject *const *args, Py_ssize_t n_args) {
  (void)self;
  Held held = {0};
  int64_t parts;
  if (n_args != 4 || !whole(args[3], &parts)) return PyErr_Occurred() ? NULL : outside();
  if (!hold(&held, args, "8WW")) return NULL;
  const int64_t n = length(&held, 1, 8);
  const double *step = held.views[0].buf;
  double *total = held.views[1].buf, *error = held.views[2].buf, sums[2] = {0};
  const int fits = length(&held, 0, 16) > n && length(&held, 2, 8) == n && parts >= 1 && parts <= 2;
  Py_BEGIN_ALLOW_THREADS
  for (int64_t i = 0; fits && i < n; i++) {
    for (int64_t k = 0; k < parts; k++) {
      sums[k] += step[2 * i + k];
      const double before = total[i], together = before + sums[k], of_sums = together - before;
      error[i] += (before - (together - of_sums)) + (sums[k] - of_sums);
      total[i] = together;
    }
  }
  Py_END_ALLOW_THREADS
  release(&held);
  if (!fits) return outside();
  Py_RETURN_NONE;
}

static PyObject *add_integers(PyObject *self, PyObject *const *args, Py_ssize_t n_args) {
  (void)self;
  Held held = {0};
  if (n_args != 6) return outside();
  const int is_unsigned = PyObject_IsTrue(args[5]);
  if (is_unsigned < 0 || !hold(&held, args, "8444W")) return NULL;
  const Ranges r = ranges_of(&held, length(&held, 4, 16));
  const int64_t *value = held.views[0].buf;
  int64_t *step = held.views[4].buf;
  int fits = r.n >= 0;
  Py_BEGIN_ALLOW_THREADS
  for (int64_t i = 0; fits && i < r.n; i++) {
    const int64_t at = value_of(&r, i);
    if (at < 0) { fits = 0; break; }
    const int64_t v = value[at], low = v & 0xFFFFFFFF;
    int64_t high = (v - low) / 4294967296; /* exact; a negative number is not shifted */
    if (is_unsigned && high < 0) high += 4294967296;
    int64_t *begin = step + 2 * (int64_t)r.begins[i], *end = step + 2 * (int64_t)r.ends[i];
    begin[0] += high;
    begin[1] += low;
    end[0] -= high;
    end[1] -= low;
  }
  Py_END_ALLOW_THREADS
  release(&held);
  if (!fits) return outside();
  Py_RETURN_NONE;
}

#define METHOD(function, text) {#function, (PyCFunction)(void (*)(void))function, METH_FASTCALL, text}
static PyMethodDef METHODS[] = {
  METHOD(first, "Find the first request of an entity that is not before each time."),
  METHOD(ranges, "Find the range of requests that see each event, and count the events of each; return how many have a range."),
  METHOD(counts, "Add 1 where a range begins, and subtract it where it ends."),
  {"largest", largest, METH_O, "Return the largest absolute value; NaN does not count."},
  METHOD(add_floats, "Add two parts of values where ranges begin, and subtract them where they end; return the largest rests."),
  METHOD(add_totals, "Add the sums of one or two parts to totals, and what these round to errors."),
  METHOD(add_integers, "Add the halves of values where ranges begin, and subtract them where they end."),
  {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot SLOTS[] = {{0, NULL}};
static struct PyModuleDef MODULE = {PyModuleDef_HEAD_INIT, "_windows", "Kernels of windowed aggregations.", 0, METHODS, SLOTS, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__windows(void) { return PyModuleDef_Init(&MODULE); }
