/* headway.engines._text: from texts to the scores of a fitted text pipeline. */
#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030b0000
#include <Python.h>

#include "../kernel/buffers.h"
#include "answer.h"

#define CAPSULE "headway.engines._text.Program"

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

static int true_of(PyObject *character, const char *method) {
  PyObject *found = PyObject_CallMethod(character, method, NULL);
  const int is = found ? PyObject_IsTrue(found) : -1;
  Py_XDECREF(found);
  return is;
}

/* Ask Python which of 256 code points are of words (`\w` of its `re`) and which are white space. */
static int make_page(uint32_t number) {
  Page page = {{0}, {0}}, *kept;
  for (uint32_t low = 0; low < 256; low++) {
    const uint32_t c = number << 8 | low;
    PyObject *character = PyUnicode_FromOrdinal((int)c);
    const int word = character ? true_of(character, "isalnum") : -1, space = character ? true_of(character, "isspace") : -1;
    Py_XDECREF(character);
    if (word < 0 || space < 0) return 0;
    if (word || c == '_') page.word[low >> 6] |= 1ull << (low & 63);
    if (space) page.space[low >> 6] |= 1ull << (low & 63);
  }
  if (!(kept = malloc(sizeof *kept))) { PyErr_NoMemory(); return 0; }
  *kept = page;
  if (PAGE[number]) free(kept); /* another thread made it while Python was asked */
  else PAGE[number] = kept;
  return 1;
}

static int make_pages(const Span *s) {
  for (const uint8_t *p = s->at, *end = p + s->length; p < end;) {
    uint32_t c;
    p += decode(p, &c);
    if (!PAGE[c >> 8] && !make_page(c >> 8)) return 0;
  }
  return 1;
}

static int span_of(PyObject *text, Span *s) {
  Py_ssize_t length;
  const char *at = PyUnicode_AsUTF8AndSize(text, &length);
  if (!at) return 0;
  *s = (Span){(const uint8_t *)at, length, 0, PyUnicode_GetLength(text) == length};
  return 1;
}

/* Fill the spans of a vectorizer; texts beyond ASCII are lowered and stripped by `prepare`, and the results kept. */
static int fill(const Vectorizer *v, PyObject *texts, Span *spans, Py_ssize_t n, PyObject *prepare, PyObject *kept) {
  for (Py_ssize_t i = 0; i < n; i++) {
    PyObject *text = PyTuple_GetItem(texts, i);
    if (!text || !PyUnicode_Check(text)) { PyErr_Format(PyExc_TypeError, "text %zd is not a str", i); return 0; }
    if (!span_of(text, spans + i)) return 0;
    spans[i].lower = spans[i].ascii && v->lowercase;
    if (spans[i].ascii) continue;
    if (v->lowercase || v->accents) {
      PyObject *made = PyObject_CallFunction(prepare, "OLL", text, (long long)v->lowercase, (long long)v->accents);
      if (!made) return 0;
      const int failed = !PyUnicode_Check(made) || PyList_Append(kept, made);
      Py_DECREF(made); /* the list keeps it */
      if (failed) { if (!PyErr_Occurred()) PyErr_SetString(PyExc_TypeError, "a prepared text is not a str"); return 0; }
      if (!span_of(made, spans + i)) return 0;
    }
    if (!spans[i].ascii && !make_pages(spans + i)) return 0;
  }
  return 1;
}

static int fill_all(const Program *t, PyObject *columns, Span *spans, Py_ssize_t n, PyObject *prepare, PyObject *kept) {
  for (int64_t i = 0; i < t->n_vectorizers; i++) {
    const Vectorizer *v = t->vectorizers + i;
    int64_t j = 0;
    for (; j < i; j++) {
      const Vectorizer *u = t->vectorizers + j;
      if (u->column == v->column && u->lowercase == v->lowercase && u->accents == v->accents) break;
    }
    if (j < i) memcpy(spans + i * n, spans + j * n, (size_t)n * sizeof *spans);
    else if (!fill(v, PyTuple_GetItem(columns, (Py_ssize_t)v->column), spans + i * n, n, prepare, kept)) return 0;
  }
  return 1;
}

/* Hold each column as a tuple: a caller's list may change while the GIL is released. */
static PyObject *hold_columns(PyObject *columns, const Program *t, Py_ssize_t *n) {
  if (!PyTuple_Check(columns) || PyTuple_Size(columns) != t->columns) { PyErr_Format(PyExc_ValueError, "expected a tuple of %lld columns of texts", (long long)t->columns); return NULL; }
  PyObject *held = PyTuple_New((Py_ssize_t)t->columns);
  for (Py_ssize_t i = 0; held && i < t->columns; i++) {
    PyObject *texts = PySequence_Tuple(PyTuple_GetItem(columns, i));
    if (!texts || PyTuple_SetItem(held, i, texts)) { Py_CLEAR(held); break; }
    if (i && PyTuple_Size(texts) != *n) { PyErr_SetString(PyExc_ValueError, "columns of texts do not have one length"); Py_CLEAR(held); break; }
    *n = PyTuple_Size(texts);
  }
  return held;
}

static PyObject *answer(PyObject *self, PyObject *const *args, Py_ssize_t n_args) {
  (void)self;
  if (n_args != 5) { PyErr_SetString(PyExc_TypeError, "expected a program, columns of texts, rows, scores and a function that prepares a text"); return NULL; }
  const Opened *opened = PyCapsule_GetPointer(args[0], CAPSULE);
  if (!opened) return NULL;
  const Program *t = &opened->program;
  Py_ssize_t n = 0;
  int done = 1;
  Py_buffer rows, out;
  PyObject *columns = hold_columns(args[1], t, &n), *kept = NULL;
  if (!columns) return NULL;
  if (PyObject_GetBuffer(args[2], &rows, PyBUF_SIMPLE)) { Py_DECREF(columns); return NULL; }
  if (PyObject_GetBuffer(args[3], &out, PyBUF_WRITABLE)) { PyBuffer_Release(&rows); Py_DECREF(columns); return NULL; }
  Span *spans = malloc(((size_t)t->n_vectorizers * (size_t)n + 1) * sizeof *spans);
  if (rows.len != n * t->width * 8 || out.len != n * t->outputs * 8) PyErr_SetString(PyExc_ValueError, "rows or scores do not have the shape of this model");
  else if (!spans || !(kept = PyList_New(0))) PyErr_NoMemory();
  else if (fill_all(t, columns, spans, n, args[4], kept)) {
    Py_BEGIN_ALLOW_THREADS
    done = answer_texts(t, spans, rows.buf, n, out.buf);
    Py_END_ALLOW_THREADS
    if (!done) PyErr_NoMemory();
  }
  free(spans);
  Py_XDECREF(kept);
  PyBuffer_Release(&rows);
  PyBuffer_Release(&out);
  Py_DECREF(columns);
  if (PyErr_Occurred()) return NULL;
  Py_RETURN_NONE;
}

static PyObject *level(PyObject *self, PyObject *none) {
  (void)self; (void)none;
  return PyLong_FromLong(best_level());
}

static PyMethodDef METHODS[] = {
  {"open", open_program, METH_O, "Open a program from its arrays; raise ValueError, with the reason, if it is invalid."},
  {"answer", (PyCFunction)(void (*)(void))answer, METH_FASTCALL, "Write the answers of columns of texts and rows float64 [n, width] into float64 [n, outputs]."},
  {"level", level, METH_NOARGS, "Return the best level of this machine: 0 portable C, 1 AVX2 with FMA, 2 AVX-512; on ARM 1 NEON."},
  {NULL, NULL, 0, NULL},
};

static int start(PyObject *module) {
  (void)module;
  if (!PAGE[0] && !make_page(0)) return -1;
  classify_ascii();
  return 0;
}

static PyModuleDef_Slot SLOTS[] = {{Py_mod_exec, start}, {0, NULL}};

static struct PyModuleDef MODULE = {PyModuleDef_HEAD_INIT, "_text", "Kernels of text pipelines.", 0, METHODS, SLOTS, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__text(void) { return PyModuleDef_Init(&MODULE); }
