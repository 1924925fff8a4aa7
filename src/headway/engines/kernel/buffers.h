/* Python glue of the extensions: hold arrays as long as a model lives, and predict rows without the GIL. */
#ifndef HEADWAY_BUFFERS_H
#define HEADWAY_BUFFERS_H

#include <Python.h>

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

/* Write the scores of rows float64 [n, width] to float64 [n, outputs]; return True, or False if the model rejects a row. */
static inline PyObject *answered(PyObject *const *args, const void *model, int64_t width, int64_t outputs,
                          int (*by)(const void *, const double *, int64_t, double *)) {
  Py_buffer rows, out;
  if (PyObject_GetBuffer(args[1], &rows, PyBUF_SIMPLE)) return NULL;
  if (PyObject_GetBuffer(args[2], &out, PyBUF_WRITABLE)) { PyBuffer_Release(&rows); return NULL; }
  const int64_t count = rows.len / 8 / width;
  int done = ANSWERED;
  if (rows.len != count * width * 8 || out.len != count * outputs * 8) PyErr_SetString(PyExc_ValueError, "rows or scores do not have the shape of this model");
  else if (count) {
    Py_BEGIN_ALLOW_THREADS
    done = by(model, rows.buf, count, out.buf);
    Py_END_ALLOW_THREADS
    if (done == NO_MEMORY) PyErr_NoMemory();
  }
  PyBuffer_Release(&rows);
  PyBuffer_Release(&out);
  if (PyErr_Occurred()) return NULL;
  return PyBool_FromLong(done == ANSWERED);
}

#endif
