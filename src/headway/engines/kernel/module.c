/* headway.engines._trees: compile forests to the forms of this folder, and predict rows with them. */
#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030b0000
#include <Python.h>

#include "buffers.h"
#include "build.h"
#include "categories.h"
#include "decide.h"

#define ARRAYS 19
#define CAPSULE "headway.engines._trees.Forest"

typedef struct {
  Forest forest;
  Categories categories;
  int has_categories;
  Py_buffer views[ARRAYS + CATEGORY_ARRAYS];
  Held held;
} Opened;

static const Py_ssize_t ITEM[ARRAYS] = {8, 8, 8, 4, 1, 8, 8, 8, 8, 8, 4, 4, 4, 4, 4, 1, 8, 8, 4};

/* Hold the arrays of a forest, and those of categories if there are more; return 0, with the error set, if they are not. */
static int hold_all(Opened *o, PyObject *arrays) {
  Py_ssize_t item[ARRAYS + CATEGORY_ARRAYS];
  memcpy(item, ITEM, sizeof ITEM);
  memcpy(item + ARRAYS, CATEGORY_ITEM, sizeof CATEGORY_ITEM);
  o->has_categories = PyTuple_Check(arrays) && PyTuple_Size(arrays) > ARRAYS;
  return hold(&o->held, arrays, item, o->has_categories ? ARRAYS + CATEGORY_ARRAYS : ARRAYS);
}

static void let_go(Opened *opened) {
  forget(&opened->forest);
  release(&opened->held);
  free(opened);
}

static void destroy(PyObject *capsule) { let_go(PyCapsule_GetPointer(capsule, CAPSULE)); }

static int best_level(void) {
#if defined(__x86_64__)
  const int bits = __builtin_cpu_supports("bmi2");
  const int bytes = __builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512bw");
  if (bits && bytes && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq")) return AVX512;
  if (bits && __builtin_cpu_supports("avx2")) return AVX2;
#endif
  return PORTABLE;
}

static int64_t count(const Opened *o, int i) { return o->views[i].len / ITEM[i]; }

/* Check offsets [n + 1], which must increase from 0 to `end`. */
static int rises(const int64_t *offsets, int64_t n, int64_t end) {
  if (offsets[0] != 0 || offsets[n] != end) return 0;
  for (int64_t i = 0; i < n; i++) if (offsets[i + 1] < offsets[i]) return 0;
  return 1;
}

static const char *take(Opened *o) {
  Forest *f = &o->forest;
  if (count(o, 0) != 8) return "the header must hold eight numbers";
  const int64_t *number = o->views[0].buf;
  f->width = number[0]; f->rows_float32 = (int)number[1]; f->sums_float32 = (int)number[2]; f->whole = (int)number[3];
  f->ordered = (int)number[4]; f->link = (int)number[5]; f->interval = (int)number[6]; f->level = (int)number[7];
  if (f->level > best_level()) return "this machine does not support the level";
  if (count(o, 1) != 2 || count(o, 2) < 1 || count(o, 5) < 1 || count(o, 7) < 1) return "an array is too short";
  f->missing = ((const double *)o->views[1].buf)[0];
  f->reach = ((const double *)o->views[1].buf)[1];
  f->base = o->views[2].buf; f->outputs = count(o, 2);
  f->column = o->views[3].buf; f->columns = count(o, 3);
  f->kind = o->views[4].buf; f->table_start = o->views[5].buf; f->table = o->views[6].buf;
  f->tree_start = o->views[7].buf; f->trees = count(o, 7) - 1;
  f->value_start = o->views[8].buf; f->output_start = o->views[9].buf; f->output = o->views[10].buf;
  f->feature = o->views[11].buf; f->key = o->views[12].buf; f->left = o->views[13].buf; f->right = o->views[14].buf;
  f->flag = o->views[15].buf; f->leaf = o->views[16].buf; f->set_start = o->views[17].buf; f->member = o->views[18].buf;
  f->nodes = count(o, 11); f->sets = count(o, 17) - 1;
  if (f->width < 1 || f->sets < 0 || count(o, 4) != f->columns || count(o, 5) != f->columns + 1) return "the arrays of columns differ in length";
  if (count(o, 8) != f->trees + 1 || count(o, 9) != f->trees + 1) return "the arrays of trees differ in length";
  for (int i = 12; i <= 15; i++) if (count(o, i) != f->nodes) return "the arrays of nodes differ in length";
  if (f->nodes > INT32_MAX / 4 || count(o, 6) > INT32_MAX / 2 || f->width > INT32_MAX) return "the forest is too large";
  const int rise = rises(f->table_start, f->columns, count(o, 6)) && rises(f->tree_start, f->trees, f->nodes) &&
                   rises(f->value_start, f->trees, count(o, 16)) && rises(f->output_start, f->trees, count(o, 10)) &&
                   rises(f->set_start, f->sets, count(o, 18));
  if (!rise) return "offsets do not increase to the length of their array";
  for (int64_t c = 0; c < f->columns; c++) {
    if (f->column[c] < 0 || f->column[c] >= f->width) return "a column is outside the row";
    f->refuses |= f->kind[c] & (COLUMN_IS_FINITE | COLUMN_IS_PRESENT);
  }
  for (int64_t i = 0; i < count(o, 10); i++)
    if (f->output[i] < 0 || f->output[i] >= f->outputs) return "a tree adds to an output that does not exist";
  for (int64_t t = 0; t < f->trees; t++) {
    const int64_t leaves = f->tree_start[t + 1] - f->tree_start[t] + 1, outputs = f->output_start[t + 1] - f->output_start[t];
    if (leaves * outputs != f->value_start[t + 1] - f->value_start[t]) return "a tree does not have one value per leaf and output";
  }
  if (o->has_categories) TRY(take_categories(&o->categories, o->views + ARRAYS, f));
  if (f->interval && (f->ordered || f->columns > MOST_PLANES)) return "the interval form requires ranks and fewer columns";
  return build(f);
}

static PyObject *open_forest(PyObject *self, PyObject *arrays) {
  (void)self;
  Opened *opened = calloc(1, sizeof *opened);
  if (!opened) return PyErr_NoMemory();
  opened->held.views = opened->views;
  if (!hold_all(opened, arrays)) { let_go(opened); return NULL; }
  const char *fault;
  Py_BEGIN_ALLOW_THREADS
  fault = take(opened);
  Py_END_ALLOW_THREADS
  if (fault) {
    PyErr_SetString(PyExc_ValueError, fault);
    let_go(opened);
    return NULL;
  }
  PyObject *capsule = PyCapsule_New(opened, CAPSULE, destroy);
  if (!capsule) let_go(opened);
  return capsule;
}

static int by(const void *opened, const double *x, int64_t n, double *out) {
  const Opened *o = opened;
  return o->has_categories ? score_categories(&o->forest, &o->categories, x, n, out) : score(&o->forest, x, n, out);
}

typedef struct { const Opened *opened; double threshold; } Deciding;

static int decide_by(const void *deciding, const double *x, int64_t n, double *out) {
  const Deciding *d = deciding;
  if (!d->opened->has_categories && stops_early(&d->opened->forest, n)) return decide(&d->opened->forest, x, n, d->threshold, out);
  const int done = by(d->opened, x, n, out);
  for (int64_t r = 0; done == ANSWERED && r < n; r++) put_decision(out + r, out[r] >= d->threshold);
  return done;
}

static PyObject *answer(PyObject *self, PyObject *const *args, Py_ssize_t n) {
  (void)self;
  if (n != 3) { PyErr_SetString(PyExc_TypeError, "expected a forest, rows and an output array"); return NULL; }
  const Opened *opened = PyCapsule_GetPointer(args[0], CAPSULE);
  if (!opened) return NULL;
  return answered(args, opened, opened->has_categories ? opened->categories.width : opened->forest.width, opened->forest.outputs, by);
}

static PyObject *decide_rows(PyObject *self, PyObject *const *args, Py_ssize_t n) {
  (void)self;
  if (n != 4) { PyErr_SetString(PyExc_TypeError, "expected a forest, rows, an output array and a threshold"); return NULL; }
  const Opened *opened = PyCapsule_GetPointer(args[0], CAPSULE);
  const double threshold = opened ? PyFloat_AsDouble(args[3]) : 0;
  if (PyErr_Occurred()) return NULL;
  const Deciding deciding = {opened, threshold};
  if (opened->forest.outputs != 1) { PyErr_SetString(PyExc_ValueError, "the forest has several outputs"); return NULL; }
  return answered(args, &deciding, opened->has_categories ? opened->categories.width : opened->forest.width, 1, decide_by);
}

static PyObject *level(PyObject *self, PyObject *none) {
  (void)self; (void)none;
  return PyLong_FromLong(best_level());
}

static PyMethodDef METHODS[] = {
  {"open", open_forest, METH_O, "Open a forest from its arrays; raise ValueError, with the reason, if it is invalid."},
  {"answer", (PyCFunction)(void (*)(void))answer, METH_FASTCALL, "Write the scores of rows float64 [n, width] into float64 [n, outputs]; return False if the model's library rejects a row."},
  {"decide", (PyCFunction)(void (*)(void))decide_rows, METH_FASTCALL, "Write 1 into int64 [n] for each row whose score is at least a threshold, else 0; return False as `answer`."},
  {"level", level, METH_NOARGS, "Return the best level of this machine: 0 portable C, 1 AVX2, 2 AVX-512."},
  {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot SLOTS[] = {{0, NULL}};

static struct PyModuleDef MODULE = {PyModuleDef_HEAD_INIT, "_trees", "Kernels of forests.", 0, METHODS, SLOTS, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__trees(void) { return PyModuleDef_Init(&MODULE); }
