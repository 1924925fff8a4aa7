/* Python glue: read items of lists and floats, and NumPy's arrays, where they are in memory. The limited API needs a call for
   each item, and a buffer for each array, which took a third of the time of a row. The memory is that of every CPython
   with this stable ABI, and of NumPy's ABI 2; `find_layouts` verifies both, and without it the API is called. */
#ifndef HEADWAY_LAYOUTS_H
#define HEADWAY_LAYOUTS_H

#include <Python.h>
#include <stdint.h>
#include <string.h>

#define NUMPY_ABI 0x02000000u
#define NUMPY_DOUBLE 12
#define NUMPY_INT64 (sizeof(long) == 8 ? 7 : 9)
#define IN_ORDER 1              /* flags of an array: C-contiguous, */
#define ALIGNED 0x100           /* and its items at multiples of their size */
enum { API_VERSION = 0, API_ARRAY_TYPE = 2, API_NEW = 93 };

typedef struct { PyVarObject head; PyObject **items; Py_ssize_t allocated; } ListLayout;
typedef struct { PyObject head; double value; } FloatLayout;
typedef struct { PyObject head; PyTypeObject *type; char kind, letter, order, unused; int number; } DtypeLayout;
typedef struct { PyObject head; double *data; int ndim; Py_ssize_t *shape, *strides; PyObject *base; DtypeLayout *dtype; int flags; } ArrayLayout;

typedef PyObject *NewArray(PyTypeObject *, int, const Py_ssize_t *, int, const Py_ssize_t *, void *, int, int, PyObject *);

static int knows_items;              /* lists and floats have their layouts */
static PyTypeObject *array_type;     /* NULL if NumPy has another ABI */
static NewArray *new_array;

static int64_t basic_size(PyTypeObject *type) {
  PyObject *size = PyObject_GetAttrString((PyObject *)type, "__basicsize__");
  const int64_t found = size ? PyLong_AsLongLong(size) : -1;
  Py_XDECREF(size);
  PyErr_Clear();
  return found;
}

/* Whether a list of two has its length and room, and therefore its items, where they are expected, and a float its value. */
static int have_layouts(PyObject *list, PyObject *number) {
  const ListLayout *l = (const ListLayout *)list;
  if (basic_size(&PyList_Type) != sizeof *l || basic_size(&PyFloat_Type) != sizeof(FloatLayout)) return 0;
  return l->head.ob_size == 2 && l->allocated >= 2 && l->allocated < 64 && ((const FloatLayout *)number)->value == 1.5;
}

/* Find the layouts of this process; always succeed. */
static int find_layouts(PyObject *module) {
  (void)module;
#if !defined(PYPY_VERSION) && !defined(Py_GIL_DISABLED)
  PyObject *number = PyFloat_FromDouble(1.5), *list = PyList_New(2);
  knows_items = number && list && have_layouts(list, number);
  Py_XDECREF(number);
  Py_XDECREF(list);
  PyObject *numpy = PyImport_ImportModule("numpy._core._multiarray_umath");
  PyObject *capsule = numpy ? PyObject_GetAttrString(numpy, "_ARRAY_API") : NULL;
  void **api = capsule ? PyCapsule_GetPointer(capsule, NULL) : NULL;
  if (api && ((unsigned (*)(void))api[API_VERSION])() == NUMPY_ABI) {
    array_type = api[API_ARRAY_TYPE];
    new_array = (NewArray *)api[API_NEW];
  }
  Py_XDECREF(capsule);
  Py_XDECREF(numpy);
  PyErr_Clear();
#endif
  return 0;
}

static inline double float_of(PyObject *cell) { return knows_items ? ((const FloatLayout *)cell)->value : PyFloat_AsDouble(cell); }

/* A borrowed reference; NULL, with the error set, if the list is shorter. */
static inline PyObject *list_item(PyObject *list, int64_t i) {
  const ListLayout *l = (const ListLayout *)list;
  return knows_items && i < l->head.ob_size ? l->items[i] : PyList_GetItem(list, i);
}

/* Read the floats of a list from item c on, in columns whose code is None; return the index of the first other item. */
static inline int64_t read_floats(PyObject *list, PyObject *const *code, int64_t c, int64_t width, double *to) {
  const ListLayout *l = (const ListLayout *)list;
  PyObject *const none = Py_None, *const *items = l->items;
  const PyTypeObject *type = &PyFloat_Type;
  const int64_t end = !knows_items ? c : l->head.ob_size < width ? l->head.ob_size : width;
  for (; c < end && code[c] == none && Py_TYPE(items[c]) == type; c++) to[c] = ((const FloatLayout *)items[c])->value;
  return c;
}

/* The rows of an array float64 [n, width] that needs no copy; NULL for any other object. `by` is 0, or, if the array has its
   cells column by column, how many cells a column is from the next. */
static inline const double *rows_of(PyObject *object, int64_t width, int64_t *n, int64_t *by) {
  const ArrayLayout *a = (const ArrayLayout *)object;
  if (!array_type || Py_TYPE(object) != array_type || a->ndim != 2 || a->shape[1] != width) return NULL;
  if (!(a->flags & ALIGNED) || a->dtype->number != NUMPY_DOUBLE || (a->dtype->order != '=' && a->dtype->order != '|')) return NULL;
  *n = a->shape[0];
  *by = 0;
  if (a->flags & IN_ORDER) return a->data;
  *by = a->strides[1] / (int64_t)sizeof(double);
  return *by > 0 && a->strides[0] == sizeof(double) && a->strides[1] % (int64_t)sizeof(double) == 0 ? a->data : NULL;
}

/* Make a new array float64 [n, outputs], or int64 [n] if there are 0 outputs; return NULL with the error set if memory is short. */
static inline PyObject *new_answers(int64_t n, int64_t outputs, double **at) {
  const Py_ssize_t shape[2] = {n, outputs};
  if (array_type) {
    PyObject *made = new_array(array_type, outputs ? 2 : 1, shape, outputs ? NUMPY_DOUBLE : NUMPY_INT64, NULL, NULL, 0, 0, NULL);
    if (made) *at = ((ArrayLayout *)made)->data;
    return made;
  }
  /* `rows_of` knows no array then, so only scores of cells are made here */
  PyObject *numpy = PyImport_ImportModule("numpy"), *made = numpy ? PyObject_CallMethod(numpy, "empty", "((nn))", shape[0], shape[1]) : NULL;
  Py_XDECREF(numpy);
  Py_buffer view;
  if (!made || PyObject_GetBuffer(made, &view, PyBUF_WRITABLE)) { Py_XDECREF(made); return NULL; }
  *at = view.buf; /* valid while this is the only reference */
  PyBuffer_Release(&view);
  return made;
}

#endif
