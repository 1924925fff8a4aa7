/* Python glue: read rows of Python objects, numbers and strings, into float64. Strings are looked up in the dict of their
   column, which gives a row's number for each; one with the attribute `hashes` holds the others by their hash. */
#ifndef HEADWAY_CELLS_H
#define HEADWAY_CELLS_H

#include <Python.h>

#include "categories.h"
#include "layouts.h"

/* The rows: a list or tuple of such, or the items of an array of objects. */
typedef struct { PyObject *rows; Py_buffer view; int is_array; int64_t n; } Cells;

static void close_cells(Cells *cells) { if (cells->is_array) PyBuffer_Release(&cells->view); }

static int64_t length_of(PyObject *items) { return PyList_Check(items) ? PyList_Size(items) : PyTuple_Check(items) ? PyTuple_Size(items) : -1; }

/* A borrowed reference; NULL, with the error set, if a list got shorter. */
static inline PyObject *item_of(PyObject *items, int64_t i) {
  return Py_IS_TYPE(items, &PyList_Type) ? list_item(items, i) : PyList_Check(items) ? PyList_GetItem(items, i) : PyTuple_GetItem(items, i);
}

/* Open rows; return 0, with the error set, if they are neither of both, or do not have `width` columns. */
static int open_cells(Cells *cells, PyObject *rows, int64_t width) {
  *cells = (Cells){.rows = rows, .n = length_of(rows)};
  if (cells->n >= 0) return 1;
  if (PyObject_GetBuffer(rows, &cells->view, PyBUF_RECORDS_RO)) return 0;
  const Py_buffer *view = &cells->view;
  cells->is_array = 1;
  if (view->ndim == 2 && view->shape[1] == width && view->format && !strcmp(view->format, "O")) cells->n = view->shape[0];
  else {
    PyErr_SetString(PyExc_ValueError, "expected a list of rows, or an array of objects with the columns of this model");
    close_cells(cells);
  }
  return cells->n >= 0;
}

/* Whether a column holds strings that no list has by their hash, as its dict says. */
static int holds_hashes(PyObject *codes) {
  PyObject *found = PyObject_GetAttrString(codes, "hashes");
  const int is = found && PyObject_IsTrue(found) > 0;
  PyErr_Clear();
  Py_XDECREF(found);
  return is;
}

/* The number of a string that is not in the dict of its column; return 0 with the error set. */
static int read_unlisted(PyObject *cell, PyObject *codes, double *to) {
  Py_ssize_t size = 0;
  const char *bytes = PyUnicode_Check(cell) && holds_hashes(codes) ? PyUnicode_AsUTF8AndSize(cell, &size) : NULL;
  if (bytes) {
    *to = (double)PyDict_Size(codes) + (double)(uint32_t)hash_string(bytes, (uint64_t)size);
    return 1;
  }
  PyErr_Clear(); /* a lone surrogate */
  PyObject *code = PyObject_GetItem(codes, cell);
  if (code) *to = PyFloat_AsDouble(code);
  Py_XDECREF(code);
  return code && (*to != -1 || !PyErr_Occurred());
}

/* Convert a cell; return 0, with the error set, if it is neither a number nor in the dict of its column. */
static int read_cell(PyObject *cell, PyObject *codes, double *to) {
  const int is_float = PyFloat_CheckExact(cell);
  if (is_float || codes == Py_None) {
    *to = PyFloat_AsDouble(cell);
    if (codes == Py_None) return *to != -1 || !PyErr_Occurred();
    if (*to != *to) return 1; /* a missing category */
  }
  PyObject *code = PyDict_GetItemWithError(codes, cell);
  if (!code) return !PyErr_Occurred() && read_unlisted(cell, codes, to);
  if (PyFloat_CheckExact(code)) { *to = float_of(code); return 1; }
  Py_INCREF(code);
  *to = PyFloat_AsDouble(code);
  Py_DECREF(code);
  return *to != -1 || !PyErr_Occurred();
}

/* The dict or None of each column, as borrowed references; return 0 with the error set. */
static int take_codes(PyObject *codes, int64_t width, PyObject **code) {
  if (!PyTuple_Check(codes) || PyTuple_Size(codes) != width) { PyErr_SetString(PyExc_ValueError, "expected a tuple with a dict or None for each column"); return 0; }
  for (int64_t c = 0; c < width; c++) code[c] = PyTuple_GetItem(codes, c);
  return 1;
}

/* Read a row; `row` is its list or tuple, or NULL if its cells are `stride` bytes apart. */
static int read_row(PyObject *row, const char *at, int64_t stride, PyObject *const *code, int64_t width, double *to) {
  const int is_list = row && Py_IS_TYPE(row, &PyList_Type);
  for (int64_t c = 0; c < width; c++) {
    if (is_list && (c = read_floats(row, code, c, width, to)) == width) break;
    PyObject *cell = row ? item_of(row, c) : *(PyObject *const *)(at + c * stride);
    if (!cell && row) return 0;
    if (!cell) cell = Py_None; /* an array that was not filled */
    if (code[c] == Py_None && PyFloat_CheckExact(cell)) { to[c] = float_of(cell); continue; }
    Py_INCREF(cell);
    const int read = read_cell(cell, code[c], to + c);
    Py_DECREF(cell);
    if (!read) return 0;
  }
  return 1;
}

/* Read all cells to float64 [n][width], by the dict or None of each column. Return 0 with the error set. */
static int read_cells(const Cells *cells, PyObject *const *code, int64_t width, double *to) {
  for (int64_t r = 0; r < cells->n; r++, to += width) {
    if (cells->is_array) {
      if (!read_row(NULL, (const char *)cells->view.buf + r * cells->view.strides[0], cells->view.strides[1], code, width, to)) return 0;
      continue;
    }
    PyObject *row = item_of(cells->rows, r);
    if (!row || length_of(row) != width) {
      if (!PyErr_Occurred()) PyErr_SetString(PyExc_ValueError, "a row is not a list of the columns of this model");
      return 0;
    }
    Py_INCREF(row); /* converting a cell may run code that changes the list */
    const int read = read_row(row, NULL, 0, code, width, to);
    Py_DECREF(row);
    if (!read) return 0;
  }
  return 1;
}

#endif
