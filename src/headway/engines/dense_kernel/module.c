/* headway.engines._dense: small dense networks as tapes of steps, and rows answered by them. */
#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030b0000
#include <Python.h>

#include "../kernel/buffers.h"
#include "answer.h"

#define ARRAYS 4
#define NUMBERS 5
#define CAPSULE "headway.engines._dense.Tape"

typedef struct {
  Tape tape;
  Py_buffer views[ARRAYS];
  Held held;
} Opened;

static const Py_ssize_t ITEM[ARRAYS] = {8, sizeof(Step), 4, 4};

static void let_go(Opened *opened) {
  forget(&opened->tape);
  release(&opened->held);
  free(opened);
}

static void destroy(PyObject *capsule) { let_go(PyCapsule_GetPointer(capsule, CAPSULE)); }

static int best_level(void) {
#if defined(__x86_64__)
  const int fma = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const int wide = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw");
  if (fma && wide && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq")) return AVX512;
  if (fma) return AVX2;
#endif
  return PORTABLE;
}

static const char *take(Opened *o) {
  Tape *t = &o->tape;
  if (o->views[0].len != NUMBERS * 8) return "five numbers come first";
  const int64_t *number = o->views[0].buf;
  t->width = number[0]; t->outputs = number[1]; t->answer = number[2]; t->size = number[3]; t->level = number[4];
  if (t->level < PORTABLE || t->level > best_level()) return "this machine has no such level";
  if (t->width < 1 || t->width > MOST_FLOATS || t->outputs < 1 || t->outputs > MOST_FLOATS) return "rows or answers are of no such size";
  if (t->answer < 0 || t->answer > MOST_FLOATS) return "the answer lies beside the file";
  t->steps = o->views[1].buf; t->n_steps = o->views[1].len / ITEM[1];
  t->pool = o->views[2].buf; t->n_pool = o->views[2].len / ITEM[2];
  t->places = o->views[3].buf; t->n_places = o->views[3].len / ITEM[3];
  const char *fault = check(t);
  return fault ? fault : make_ready(t) ? NULL : "there is no memory for it";
}

static PyObject *open_tape(PyObject *self, PyObject *arrays) {
  (void)self;
  Opened *opened = calloc(1, sizeof *opened);
  if (!opened) return PyErr_NoMemory();
  opened->held.views = opened->views;
  if (!hold(&opened->held, arrays, ITEM, ARRAYS)) { let_go(opened); return NULL; }
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

static int by(const void *tape, const double *x, int64_t n, double *out) { return answer_rows(tape, x, n, out); }

static PyObject *answer(PyObject *self, PyObject *const *args, Py_ssize_t n) {
  (void)self;
  if (n != 3) { PyErr_SetString(PyExc_TypeError, "a tape, rows and room for answers are wanted"); return NULL; }
  const Opened *opened = PyCapsule_GetPointer(args[0], CAPSULE);
  return opened ? answered(args, &opened->tape, opened->tape.width, opened->tape.outputs, by) : NULL;
}

static PyObject *level(PyObject *self, PyObject *none) {
  (void)self; (void)none;
  return PyLong_FromLong(best_level());
}

static PyMethodDef METHODS[] = {
  {"open", open_tape, METH_O, "A tape of these arrays, ready to answer; raises ValueError, with why not."},
  {"answer", (PyCFunction)(void (*)(void))answer, METH_FASTCALL, "Answers of rows, float64 [n, width] into float64 [n, outputs]; False where a row asks a table for a place that is not there."},
  {"level", level, METH_NOARGS, "What this machine can: 0 portable C, 1 AVX2 with FMA, 2 AVX-512."},
  {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot SLOTS[] = {{0, NULL}};

static struct PyModuleDef MODULE = {PyModuleDef_HEAD_INIT, "_dense", "Kernels of dense networks.", 0, METHODS, SLOTS, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__dense(void) { return PyModuleDef_Init(&MODULE); }
