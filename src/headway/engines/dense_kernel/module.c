/* headway.engines._dense: run small dense networks as programs of steps. */
#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030b0000
#include <Python.h>

#include "../kernel/buffers.h"
#include "answer.h"

#define CAPSULE "headway.engines._dense.Program"

typedef struct {
  Program program;
  Py_buffer views[ARRAYS];
  Array arrays[ARRAYS];
  Held held;
} Opened;

static void let_go(Opened *opened) {
  free_program(&opened->program);
  release(&opened->held);
  free(opened);
}

static void destroy(PyObject *capsule) { let_go(PyCapsule_GetPointer(capsule, CAPSULE)); }

static PyObject *open_program(PyObject *self, PyObject *arrays) {
  (void)self;
  Opened *opened = calloc(1, sizeof *opened);
  if (!opened) return PyErr_NoMemory();
  opened->held.views = opened->views;
  opened->held.arrays = opened->arrays;
  if (!hold(&opened->held, arrays, ITEM, ARRAYS)) { let_go(opened); return NULL; }
  const char *fault;
  Py_BEGIN_ALLOW_THREADS
  fault = take(&opened->program, opened->arrays);
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

static int by(const void *program, const double *x, int64_t n, double *out) { return answer_rows(program, x, n, out); }

static PyObject *answer(PyObject *self, PyObject *const *args, Py_ssize_t n) {
  (void)self;
  if (n != 3) { PyErr_SetString(PyExc_TypeError, "expected a program, rows and an output array"); return NULL; }
  const Opened *opened = PyCapsule_GetPointer(args[0], CAPSULE);
  return opened ? answered(args, &opened->program, opened->program.width, opened->program.outputs, by) : NULL;
}

static int sparse_by(const void *program, const Sparse *s, int64_t n, double *out) { return answer_sparse_rows(program, s, n, out); }

static PyObject *answer_sparse(PyObject *self, PyObject *const *args, Py_ssize_t n) {
  (void)self;
  if (n != 6) { PyErr_SetString(PyExc_TypeError, "expected a program, offsets, indices, values, an output array, and whether absent cells are missing"); return NULL; }
  const Opened *opened = PyCapsule_GetPointer(args[0], CAPSULE);
  return opened ? answered_sparse(args, &opened->program, opened->program.outputs, sparse_by) : NULL;
}

static PyObject *level(PyObject *self, PyObject *none) {
  (void)self; (void)none;
  return PyLong_FromLong(best_level());
}

static PyMethodDef METHODS[] = {
  {"open", open_program, METH_O, "Open a program from its arrays; raise ValueError, with the reason, if it is invalid."},
  {"answer", (PyCFunction)(void (*)(void))answer, METH_FASTCALL, "Write the answers of rows float64 [n, width] into float64 [n, outputs]; return False if a row reads outside a table."},
  {"answer_sparse", (PyCFunction)(void (*)(void))answer_sparse, METH_FASTCALL, "Write the answers of sparse rows into float64 [n, outputs]; return False as `answer`, or None if a row stores a cell twice."},
  {"level", level, METH_NOARGS, "Return the best level of this machine: 0 portable C, 1 AVX2 with FMA, 2 AVX-512, 3 AMX; on ARM 1 NEON."},
  {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot SLOTS[] = {{0, NULL}};

static struct PyModuleDef MODULE = {PyModuleDef_HEAD_INIT, "_dense", "Kernels of dense networks.", 0, METHODS, SLOTS, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__dense(void) { return PyModuleDef_Init(&MODULE); }
