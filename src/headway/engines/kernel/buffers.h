/* What the extensions do with Python: arrays are held as long as a model lives, and rows answered with the GIL released. */
#ifndef HEADWAY_BUFFERS_H
#define HEADWAY_BUFFERS_H

#include <Python.h>
#include <stdint.h>

enum { NO_MEMORY, ANSWERED, REFUSED }; /* what comes of answering rows */

typedef struct { Py_buffer *views; int n; } Held;

static void release(Held *held) { while (held->n) PyBuffer_Release(&held->views[--held->n]); }

/* Hold a tuple of `count` arrays, of so many bytes an item each; 0, with the error set, where it is none. */
static int hold(Held *held, PyObject *arrays, const Py_ssize_t *item, int count) {
  if (!PyTuple_Check(arrays) || PyTuple_Size(arrays) != count) {
    PyErr_Format(PyExc_ValueError, "a tuple of %d arrays is wanted", count);
    return 0;
  }
  for (int i = 0; i < count; i++) {
    if (PyObject_GetBuffer(PyTuple_GetItem(arrays, i), &held->views[i], PyBUF_SIMPLE)) return 0;
    held->n++;
    if (held->views[i].len % item[i]) {
      PyErr_Format(PyExc_ValueError, "array %d is not of %zd bytes an item", i, item[i]);
      return 0;
    }
  }
  return 1;
}

/* Answers of rows, float64 [n, width], into float64 [n, outputs]: True, or False where the model refuses a row. */
static PyObject *answered(PyObject *const *args, const void *model, int64_t width, int64_t outputs,
                          int (*by)(const void *, const double *, int64_t, double *)) {
  Py_buffer rows, out;
  if (PyObject_GetBuffer(args[1], &rows, PyBUF_SIMPLE)) return NULL;
  if (PyObject_GetBuffer(args[2], &out, PyBUF_WRITABLE)) { PyBuffer_Release(&rows); return NULL; }
  const int64_t count = rows.len / 8 / width;
  int done = ANSWERED;
  if (rows.len != count * width * 8 || out.len != count * outputs * 8) PyErr_SetString(PyExc_ValueError, "rows or answers are not of the size of this model");
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
