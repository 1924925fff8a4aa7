/* headway.engines._trees: compile forests to the forms of this folder, and predict rows with them. */
#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030b0000
#include <Python.h>

#include "buffers.h"
#include "cells.h"
#include "layouts.h"
#include "model.h"

#define CELLS_ON_STACK 256
#define FEW 1024                 /* rows times trees */
#define CAPSULE "headway.engines._trees.Forest"

typedef struct {
  Model model;
  Py_buffer views[ARRAYS];
  Array arrays[ARRAYS];
  Held held;
} Opened;

static void let_go(Opened *opened) {
  forget(&opened->model.forest);
  release(&opened->held);
  free(opened);
}

static void destroy(PyObject *capsule) { let_go(PyCapsule_GetPointer(capsule, CAPSULE)); }

static PyObject *open_forest(PyObject *self, PyObject *arrays) {
  (void)self;
  Opened *opened = calloc(1, sizeof *opened);
  if (!opened) return PyErr_NoMemory();
  opened->held.views = opened->views;
  opened->held.arrays = opened->arrays;
  if (!hold(&opened->held, arrays, ITEM, PyTuple_Check(arrays) && PyTuple_Size(arrays) > FOREST_ARRAYS ? ARRAYS : FOREST_ARRAYS)) { let_go(opened); return NULL; }
  const char *fault;
  Py_BEGIN_ALLOW_THREADS
  fault = take(&opened->model, opened->arrays, opened->held.n);
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

static int by(const void *model, const double *x, int64_t n, double *out) { return answer_rows(model, x, n, out); }

typedef struct { const Model *model; double threshold; } Deciding;

static int decide_by(const void *deciding, const double *x, int64_t n, double *out) {
  const Deciding *d = deciding;
  return decide_rows(d->model, x, n, d->threshold, out);
}

static PyObject *answer(PyObject *self, PyObject *const *args, Py_ssize_t n) {
  (void)self;
  if (n != 3) { PyErr_SetString(PyExc_TypeError, "expected a forest, rows and an output array"); return NULL; }
  const Opened *opened = PyCapsule_GetPointer(args[0], CAPSULE);
  return opened ? answered(args, &opened->model, width_of(&opened->model), opened->model.forest.outputs, by) : NULL;
}

/* Rows: `x` [n][width], or, unless `by` is 0, column by column [width][by]. */
typedef struct { const double *x; int64_t n, by; } InputRows;

static int score_input(const Model *m, const InputRows *a, double *to) {
  return a->by ? answer_columns(m, a->x, a->by, a->n, to) : answer_rows(m, a->x, a->n, to);
}

/* Write scores, or decisions if `deciding` is not NULL, to `to` in a new array, and return it, or None. The GIL is kept if they
   are few: releasing it takes as long as several of them. */
static PyObject *answers_in(PyObject *made, const Model *m, const Deciding *deciding, const InputRows *a, double *to) {
  const int64_t trees = m->has_categories && m->categories.trees ? m->categories.trees : m->forest.trees;
  int done = ANSWERED;
  if (a->n * trees <= FEW) done = deciding ? decide_by(deciding, a->x, a->n, to) : score_input(m, a, to);
  else {
    Py_BEGIN_ALLOW_THREADS
    done = deciding ? decide_by(deciding, a->x, a->n, to) : score_input(m, a, to);
    Py_END_ALLOW_THREADS
  }
  if (done == ANSWERED) return made;
  Py_DECREF(made);
  return done == NO_MEMORY ? PyErr_NoMemory() : Py_NewRef(Py_None);
}

static PyObject *answers_of(const Model *m, const Deciding *deciding, const InputRows *a) {
  double *to = NULL;
  PyObject *made = new_answers(a->n, deciding ? 0 : m->forest.outputs, &to);
  return made ? answers_in(made, m, deciding, a, to) : NULL;
}

static PyObject *scores(PyObject *self, PyObject *const *args, Py_ssize_t n) {
  (void)self;
  if (n != 2) { PyErr_SetString(PyExc_TypeError, "expected a forest and rows"); return NULL; }
  const Opened *opened = PyCapsule_GetPointer(args[0], CAPSULE);
  InputRows input = {0};
  input.x = opened ? rows_of(args[1], width_of(&opened->model), &input.n, &input.by) : NULL;
  return input.x ? answers_of(&opened->model, NULL, &input) : opened ? Py_NewRef(Py_NotImplemented) : NULL;
}

/* Spread n scores that follow n free numbers to pairs: one minus a score, and the score. */
static void pair(double *to, int64_t n) {
  for (int64_t r = 0; r < n; r++) {
    const double score = to[n + r];
    to[2 * r] = 1 - score;
    to[2 * r + 1] = score;
  }
}

static PyObject *class_probabilities(PyObject *self, PyObject *const *args, Py_ssize_t n) {
  (void)self;
  if (n != 2) { PyErr_SetString(PyExc_TypeError, "expected a forest and rows"); return NULL; }
  const Opened *opened = PyCapsule_GetPointer(args[0], CAPSULE);
  if (!opened) return NULL;
  const Model *m = &opened->model;
  InputRows input = {0};
  input.x = m->forest.outputs == 1 ? rows_of(args[1], width_of(m), &input.n, &input.by) : NULL;
  double *to = NULL;
  PyObject *made = input.x ? new_answers(input.n, 2, &to) : NULL;
  if (!made) return input.x ? NULL : Py_NewRef(Py_None);
  PyObject *found = answers_in(made, m, NULL, &input, to + input.n);
  if (found == made) pair(to, input.n);
  return found;
}

static PyObject *decisions(PyObject *self, PyObject *const *args, Py_ssize_t n) {
  (void)self;
  if (n != 3) { PyErr_SetString(PyExc_TypeError, "expected a forest, rows and a threshold"); return NULL; }
  const Opened *opened = PyCapsule_GetPointer(args[0], CAPSULE);
  const double threshold = opened ? PyFloat_AsDouble(args[2]) : 0;
  if (PyErr_Occurred()) return NULL;
  const Deciding deciding = {&opened->model, threshold};
  InputRows input = {0};
  input.x = rows_of(args[1], width_of(&opened->model), &input.n, &input.by);
  return input.x && !input.by ? answers_of(&opened->model, &deciding, &input) : Py_NewRef(Py_NotImplemented);
}

static int sparse_by(const void *model, const Sparse *s, int64_t n, double *out) { return score_sparse(&((const Model *)model)->forest, s, n, out); }

static PyObject *answer_sparse(PyObject *self, PyObject *const *args, Py_ssize_t n) {
  (void)self;
  if (n != 6) { PyErr_SetString(PyExc_TypeError, "expected a forest, offsets, indices, values, an output array, and whether absent cells are missing"); return NULL; }
  Opened *opened = PyCapsule_GetPointer(args[0], CAPSULE);
  if (opened && opened->model.has_categories) { PyErr_SetString(PyExc_ValueError, "a forest with categories reads no sparse rows"); return NULL; }
  if (!opened) return NULL;
  Forest *f = &opened->model.forest;
  const int missing = PyObject_IsTrue(args[5]) > 0;
  if (!f->absent[missing].is_made && make_absent(f, missing)) return PyErr_NoMemory();
  return answered_sparse(args, &opened->model, f->outputs, sparse_by);
}

static PyObject *answer_cells(PyObject *self, PyObject *const *args, Py_ssize_t n) {
  (void)self;
  if (n != 3) { PyErr_SetString(PyExc_TypeError, "expected a forest, rows and a tuple of dicts"); return NULL; }
  const Opened *opened = PyCapsule_GetPointer(args[0], CAPSULE);
  Cells cells;
  if (!opened || !open_cells(&cells, args[1], width_of(&opened->model))) return NULL;
  const int64_t width = width_of(&opened->model), size = cells.n < PY_SSIZE_T_MAX / 8 / width ? (cells.n + 1) * width : -1;
  double here[CELLS_ON_STACK], *x = size < 0 ? NULL : size <= CELLS_ON_STACK ? here : malloc((size_t)size * sizeof *x);
  PyObject *found = NULL;
  if (!x) PyErr_NoMemory();
  else {
    PyObject **code = (PyObject **)(x + size - width);
    if (take_codes(args[2], width, code) && read_cells(&cells, code, width, x)) found = answers_of(&opened->model, NULL, &(InputRows){.x = x, .n = cells.n});
  }
  if (x != here) free(x);
  close_cells(&cells);
  return found;
}

static PyObject *decide(PyObject *self, PyObject *const *args, Py_ssize_t n) {
  (void)self;
  if (n != 4) { PyErr_SetString(PyExc_TypeError, "expected a forest, rows, an output array and a threshold"); return NULL; }
  const Opened *opened = PyCapsule_GetPointer(args[0], CAPSULE);
  const double threshold = opened ? PyFloat_AsDouble(args[3]) : 0;
  if (PyErr_Occurred()) return NULL;
  const Deciding deciding = {&opened->model, threshold};
  return answered(args, &deciding, width_of(&opened->model), 1, decide_by);
}

static PyObject *level(PyObject *self, PyObject *none) {
  (void)self; (void)none;
  return PyLong_FromLong(best_level());
}

static PyMethodDef METHODS[] = {
  {"open", open_forest, METH_O, "Open a forest from its arrays; raise ValueError, with the reason, if it is invalid."},
  {"scores", (PyCFunction)(void (*)(void))scores, METH_FASTCALL, "Return the scores of an array of rows float64 [n, width], in either order, None if the model's library rejects a row, or NotImplemented if the array must be converted."},
  {"class_probabilities", (PyCFunction)(void (*)(void))class_probabilities, METH_FASTCALL, "Return one minus the score and the score of each row of an array, float64 [n, 2], or None where `scores` returns no array, and for forests of several outputs."},
  {"answer", (PyCFunction)(void (*)(void))answer, METH_FASTCALL, "Write the scores of rows float64 [n, width] into float64 [n, outputs]; return False if the model's library rejects a row."},
  {"answer_cells", (PyCFunction)(void (*)(void))answer_cells, METH_FASTCALL, "Return the scores of rows of objects, their strings looked up in a dict per column, or None as `scores`."},
  {"answer_sparse", (PyCFunction)(void (*)(void))answer_sparse, METH_FASTCALL, "Write the scores of sparse rows into float64 [n, outputs]; return False as `answer`, or None if a row stores a cell twice."},
  {"decisions", (PyCFunction)(void (*)(void))decisions, METH_FASTCALL, "Return the decisions of `decide` for an array of rows float64 [n, width]; return None or NotImplemented as `scores`."},
  {"decide", (PyCFunction)(void (*)(void))decide, METH_FASTCALL, "Write 1 into int64 [n] for each row whose score is at least a threshold, else 0; of several outputs the class of the highest score, whatever the threshold. Return False as `answer`."},
  {"level", level, METH_NOARGS, "Return the best level of this machine: 0 portable C, 1 AVX2, 2 AVX-512; on ARM 1 NEON."},
  {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot SLOTS[] = {{Py_mod_exec, find_layouts}, {0, NULL}};

static struct PyModuleDef MODULE = {PyModuleDef_HEAD_INIT, "_trees", "Kernels of forests.", 0, METHODS, SLOTS, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__trees(void) { return PyModuleDef_Init(&MODULE); }
