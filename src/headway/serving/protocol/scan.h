/* Count what a body in JSON contains before it is decoded, without the interpreter's lock. Malformed JSON is read on: a
   decoder ends at its first fault, so it creates no more than is counted. `scan_in_python` of admission.py does the same. */

#define MAX_NAMES 8
#define MAX_LEVELS 256

typedef struct {
  Py_ssize_t commas;
  int filled, is_object, name;
} Level;

typedef struct {
  const char *names[MAX_NAMES];
  Py_ssize_t sizes[MAX_NAMES], named[MAX_NAMES];
  int n_names, max_depth, depth;
  Py_ssize_t texts, scalars, members, items;
} Scan;

static int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  c = (char)(c | 0x20);
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Whether a key, which may spell letters as \u0061, is a name. */
static int is_name(const char *p, const char *end, const char *name, Py_ssize_t size) {
  for (Py_ssize_t i = 0; i < size; i++) {
    if (p == end) return 0;
    int letter = (unsigned char)*p++;
    if (letter == '\\') {
      if (end - p < 5 || memcmp(p, "u00", 3)) return 0;
      const int high = hex_digit(p[3]), low = hex_digit(p[4]);
      if (high < 0 || high > 7 || low < 0) return 0;
      letter = 16 * high + low;
      p += 5;
    }
    if (letter != (unsigned char)name[i]) return 0;
  }
  return p == end;
}

static void close_level(Scan *to, const Level *level, int is_outermost) {
  const Py_ssize_t count = level->commas + level->filled;
  if (level->is_object && count > to->members) to->members = count;
  if (is_outermost) to->items = count;
  if (level->name >= 0 && count > to->named[level->name]) to->named[level->name] = count;
}

static void scan(const char *p, const char *end, Scan *to) {
  Level stack[MAX_LEVELS];
  const char *key = p, *key_end = p;
  int open = 0, name = -1, in_scalar = 0;
  for (; p < end; p++) {
    const char c = *p;
    if (c == ' ' || c == '\n' || c == '\r' || c == '\t') {
      in_scalar = 0;
    } else if (c == ',') {
      in_scalar = 0;
      name = -1;
      if (open) stack[open - 1].commas++;
    } else if (c == ']' || c == '}') {
      in_scalar = 0;
      if (open) {
        open--;
        close_level(to, stack + open, !open);
      }
    } else if (c == ':') {
      in_scalar = 0;
      for (name = to->n_names - 1; name >= 0 && !is_name(key, key_end, to->names[name], to->sizes[name]);) name--;
      if (open) stack[open - 1].is_object = 1;
    } else if (c == '"') {
      in_scalar = 0;
      if (open) stack[open - 1].filled = 1;
      to->texts++;
      int escaped;
      key = p + 1;
      const char *close = end_of_string(key, end, &escaped);
      key_end = p = close ? close : end;
      if (!close) break;
    } else if (c == '[' || c == '{') {
      in_scalar = 0;
      if (open) stack[open - 1].filled = 1;
      to->texts++;
      if (open + 1 > to->depth) to->depth = open + 1;
      if (open + 1 > to->max_depth) break;
      stack[open++] = (Level){.name = name};
      name = -1;
    } else if (!in_scalar) {
      in_scalar = 1;
      if (open) stack[open - 1].filled = 1;
      to->scalars++;
    }
  }
  while (open--) close_level(to, stack + open, !open);
}

static PyObject *scan_json(PyObject *self, PyObject *const *args, Py_ssize_t n) {
  (void)self;
  Scan to = {0};
  if (n == 3 && PyTuple_Check(args[1])) {
    to.n_names = PyTuple_Size(args[1]) <= MAX_NAMES ? (int)PyTuple_Size(args[1]) : MAX_NAMES + 1;
    to.max_depth = (int)PyLong_AsLong(args[2]);
  }
  for (int i = 0; i < to.n_names && i < MAX_NAMES; i++) {
    PyObject *name = PyTuple_GetItem(args[1], i);
    to.names[i] = PyBytes_AsString(name);
    if (!to.names[i]) return NULL;
    to.sizes[i] = PyBytes_Size(name);
  }
  if (PyErr_Occurred()) return NULL;
  if (n != 3 || !PyTuple_Check(args[1]) || to.n_names > MAX_NAMES || to.max_depth < 1 || to.max_depth > MAX_LEVELS) {
    PyErr_SetString(PyExc_TypeError, "a body, a tuple of at most 8 names as bytes and a depth of at most 256 are expected");
    return NULL;
  }
  Py_buffer view;
  if (PyObject_GetBuffer(args[0], &view, PyBUF_SIMPLE)) return NULL;
  Py_BEGIN_ALLOW_THREADS
  scan(view.buf, (const char *)view.buf + view.len, &to);
  Py_END_ALLOW_THREADS
  PyBuffer_Release(&view);
  PyObject *found = PyTuple_New(5 + to.n_names);
  const Py_ssize_t counts[5] = {to.depth, to.texts, to.scalars, to.members, to.items};
  for (int i = 0; found && i < 5 + to.n_names; i++) {
    PyObject *count = PyLong_FromSsize_t(i < 5 ? counts[i] : to.named[i - 5]);
    if (!count || PyTuple_SetItem(found, i, count)) {
      Py_DECREF(found);
      return NULL;
    }
  }
  return found;
}
