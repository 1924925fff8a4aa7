/* Python glue of the extensions: hold arrays as long as a model lives, and predict rows without the GIL. */
#ifndef HEADWAY_BUFFERS_H
#define HEADWAY_BUFFERS_H

#include <Python.h>
#include <stdlib.h>
#include <string.h>

#include "arrays.h"

typedef struct { Py_buffer *views; Array *arrays; int n; } Held;

static void release(Held *held) { while (held->n) PyBuffer_Release(&held->views[--held->n]); }

/* Hold a tuple of `count` arrays whose items have these sizes in bytes; return 0, with the error set, if it is not one. */
static int hold(Held *held, PyObject *arrays, const int64_t *item, int count) {
  if (!PyTuple_Check(arrays) || PyTuple_Size(arrays) != count) {
    PyErr_Format(PyExc_ValueError, "expected a tuple of %d arrays", count);
    return 0;
  }
  for (int i = 0; i < count; i++) {
    if (PyObject_GetBuffer(PyTuple_GetItem(arrays, i), &held->views[i], PyBUF_SIMPLE)) return 0;
    held->n++;
    held->arrays[i] = (Array){held->views[i].buf, held->views[i].len};
    if (held->views[i].len % item[i]) {
      PyErr_Format(PyExc_ValueError, "array %d does not have items of %lld bytes", i, (long long)item[i]);
      return 0;
    }
  }
  return 1;
}

/* Write the scores of rows, an array float64 [n, width] that is copied if it is not aligned, to an array float64
   [n, outputs]; return True, or False if the model rejects a row. */
static inline PyObject *answered(PyObject *const *args, const void *model, int64_t width, int64_t outputs,
                                 int (*by)(const void *, const double *, int64_t, double *)) {
  Py_buffer rows, out;
  int done = ANSWERED;
  if (PyObject_GetBuffer(args[1], &rows, PyBUF_SIMPLE)) return NULL;
  const int64_t n = rows.len / 8 / width;
  double *copy = (uintptr_t)rows.buf % sizeof(double) ? malloc((size_t)rows.len) : NULL;
  const double *x = copy ? memcpy(copy, rows.buf, (size_t)rows.len) : rows.buf;
  if (rows.len != n * width * 8) PyErr_SetString(PyExc_ValueError, "rows do not have the shape of this model");
  else if (!PyObject_GetBuffer(args[2], &out, PyBUF_WRITABLE)) {
    if (out.len != n * outputs * 8) PyErr_SetString(PyExc_ValueError, "scores do not have the shape of this model");
    else if (n) {
      Py_BEGIN_ALLOW_THREADS
      done = by(model, x, n, out.buf);
      Py_END_ALLOW_THREADS
      if (done == NO_MEMORY) PyErr_NoMemory();
    }
    PyBuffer_Release(&out);
  }
  free(copy);
  PyBuffer_Release(&rows);
  return PyErr_Occurred() ? NULL : PyBool_FromLong(done == ANSWERED);
}

/* Hold the three arrays of a sparse matrix and find their types; return how many are held, with the error set if not all. */
static inline int hold_sparse(PyObject *const *args, Py_buffer *held, Sparse *s) {
  int is64[3];
  for (int i = 0; i < 3; i++) {
    if (PyObject_GetBuffer(args[i], held + i, PyBUF_FORMAT | PyBUF_ND)) return i;
    const char *format = held[i].format, kind = format && format[0] && !format[1] ? format[0] : 'x';
    is64[i] = held[i].itemsize == 8;
    if (held[i].ndim != 1 || !strchr(i < 2 ? "ilq" : "fd", kind)) {
      PyErr_SetString(PyExc_ValueError, "expected offsets and indices of int32 or int64, and values of float32 or float64");
      return i + 1;
    }
  }
  const int64_t indices = held[1].shape[0], values = held[2].shape[0];
  *s = (Sparse){held[0].buf, held[1].buf, held[2].buf, is64[0], is64[1], !is64[2], 0, indices < values ? indices : values};
  return 3;
}

/* Write the scores of sparse rows to float64 [n, outputs]; return as `answered`, or None if a row stores a cell twice. The
   arguments are the model, offsets, indices, values, scores, and whether cells that are not stored are missing. */
static inline PyObject *answered_sparse(PyObject *const *args, const void *model, int64_t outputs,
                                        int (*by)(const void *, const Sparse *, int64_t, double *)) {
  Py_buffer held[4];
  Sparse s = {0};
  int done = ANSWERED, n_held = hold_sparse(args + 1, held, &s);
  if (!PyErr_Occurred() && !PyObject_GetBuffer(args[4], held + 3, PyBUF_WRITABLE)) {
    n_held = 4;
    s.missing = PyObject_IsTrue(args[5]) > 0;
    const int64_t rows = held[0].shape[0] - 1;
    if (rows < 0 || held[3].len != rows * outputs * 8) PyErr_SetString(PyExc_ValueError, "offsets or scores do not have the shape of this model");
    else {
      Py_BEGIN_ALLOW_THREADS
      done = are_offsets(&s, rows) ? by(model, &s, rows, held[3].buf) : OUTSIDE;
      Py_END_ALLOW_THREADS
      if (done == NO_MEMORY) PyErr_NoMemory();
      if (done == OUTSIDE) PyErr_SetString(PyExc_ValueError, "an offset or a column of the sparse rows is outside their shape");
    }
  }
  while (n_held) PyBuffer_Release(held + --n_held);
  if (PyErr_Occurred()) return NULL;
  if (done == STORED_TWICE) return Py_NewRef(Py_None);
  return PyBool_FromLong(done == ANSWERED);
}

#endif
