/* A ModelInferRequest in protobuf's wire format, of the common form: inputs with packed values or with raw bytes behind
   them, an id, the output by its name, and `key`. Whatever else is in a message is for the decoder in Python. */

enum { VARINT = 0, FIXED64 = 1, BLOCK = 2, FIXED32 = 5 }; /* wire types */

typedef struct {
  int number, type;
  uint64_t value; /* of a varint */
  Text block;
} Part;

static const char *varint(const char *p, const char *end, uint64_t *value) {
  *value = 0;
  for (int shift = 0; p < end && shift < 63; shift += 7, p++) {
    *value |= (uint64_t)(*p & 0x7f) << shift;
    if (!(*p & 0x80)) return p + 1;
  }
  return NULL; /* of 10 bytes: a negative number */
}

/* Read a field that is a varint or a block; return the position behind it, or NULL. */
static const char *next_part(const char *p, const char *end, Part *part) {
  uint64_t tag, size;
  if (!(p = varint(p, end, &tag)) || tag >> 3 > 15) return NULL;
  part->number = (int)(tag >> 3);
  part->type = (int)(tag & 7);
  if (part->type == VARINT) return varint(p, end, &part->value);
  if (part->type != BLOCK || !(p = varint(p, end, &size)) || size > (uint64_t)(end - p)) return NULL;
  part->block = (Text){p, (Py_ssize_t)size, 0};
  return p + size;
}

/* Set a string that may occur once; return 0 if it was there already. */
static int set_text(Text *text, const Part *part) {
  if (part->type != BLOCK || text->size >= 0) return 0;
  *text = part->block;
  text->ascii = 1;
  for (Py_ssize_t i = 0; i < text->size; i++)
    if ((unsigned char)text->at[i] >= 0x80) text->ascii = 0;
  return 1;
}

static int add_size(Input *in, uint64_t size) {
  if (in->dims == 2 || !size || size >= 1000000000) return 0;
  in->shape[in->dims++] = (Py_ssize_t)size;
  return 1;
}

static int set_shape(Input *in, const Part *part) {
  if (part->type == VARINT) return add_size(in, part->value);
  for (const char *p = part->block.at; p < end_of(part->block);) {
    uint64_t size;
    if (!(p = varint(p, end_of(part->block), &size)) || !add_size(in, size)) return 0;
  }
  return 1;
}

/* Set the values of an input: `raw` holds them with the datatype of `typed`. */
static int set_contents(Text contents, Text *raw, Text *typed) {
  Part part;
  const char *p = next_part(contents.at, end_of(contents), &part);
  if (!p || p != end_of(contents) || part.type != BLOCK) return 0;
  *raw = part.block;
  *typed = part.number == 7 ? (Text){"FP64", 4, 1} : (Text){"FP32", 4, 1};
  return part.number == 7 || part.number == 6;
}

static int read_tensor(Text block, Input *in, Text *raw, Text *typed) {
  *in = (Input){.name.size = -1, .datatype.size = -1};
  for (const char *p = block.at; p < end_of(block);) {
    Part part;
    if (!(p = next_part(p, end_of(block), &part))) return 0;
    if (part.number == 1 ? !set_text(&in->name, &part)
        : part.number == 2 ? !set_text(&in->datatype, &part)
        : part.number == 3 ? !set_shape(in, &part)
        : part.number != 5 || part.type != BLOCK || raw->size >= 0 || !set_contents(part.block, raw, typed))
      return 0;
  }
  return 1;
}

/* Append raw numbers; return 0 for an infinity, for integers that a double may not hold, and for other datatypes. */
#define ADD_EACH(type, fits)                                                            \
  do {                                                                                  \
    if (raw.size % (Py_ssize_t)sizeof(type)) return 0;                                  \
    for (const char *p = raw.at; p < end_of(raw); p += sizeof(type)) {                  \
      type value;                                                                       \
      memcpy(&value, p, sizeof value);                                                  \
      if (!(fits) || !add(v, (double)value)) return 0;                                  \
    }                                                                                   \
    return 1;                                                                           \
  } while (0)

static int add_raw(Text raw, Text datatype, Values *v) {
  if (equals(datatype, "FP64")) ADD_EACH(double, !isinf(value));
  if (equals(datatype, "FP32")) ADD_EACH(float, !isinf(value));
  if (equals(datatype, "INT64")) ADD_EACH(int64_t, value >= -((int64_t)1 << 53) && value <= (int64_t)1 << 53);
  if (equals(datatype, "INT32")) ADD_EACH(int32_t, 1);
  return 0;
}

/* Take an input with its raw values. */
static int take_raw(Columns *to, Input *in, Text raw) {
  if (__BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__) return 0;
  in->has_data = 1;
  in->first = to->v.count;
  if (equals(in->datatype, "BYTES")) in->packed = raw;
  else {
    if (!add_raw(raw, in->datatype, &to->v)) return 0;
    in->count = to->v.count - in->first;
  }
  return take(to, in, NULL);
}

/* Read the parameter `key`, an InferParameter with a string. */
static int read_parameter(Text block, Text *key) {
  Text name = {.size = -1}, value = {.size = -1};
  for (const char *p = block.at; p < end_of(block);) {
    Part part;
    if (!(p = next_part(p, end_of(block), &part)) || part.number > 2) return 0;
    if (!set_text(part.number == 1 ? &name : &value, &part)) return 0;
  }
  Part choice;
  if (name.size < 0 || !equals(name, "key") || value.size < 0) return 0;
  return next_part(value.at, end_of(value), &choice) == end_of(value) && choice.number == 3 && set_text(key, &choice);
}

/* A requested output must be the one that there is, without parameters. */
static int is_output(Text block, Text output) {
  Part part;
  return next_part(block.at, end_of(block), &part) == end_of(block) && part.number == 1 && part.type == BLOCK &&
         part.block.size == output.size && !memcmp(part.block.at, output.at, (size_t)output.size);
}

typedef struct {
  Text name, version, id, key;
  Input *inputs;
  Text *raw; /* of each input: in its contents, or behind all inputs */
  Py_ssize_t n_inputs, n_raw;
  int is_typed, has_output;
} Message;

/* Read an input; one with its own values is only followed by such. */
static int add_input(Message *to, Py_ssize_t most, Text block) {
  Text raw = {.size = -1}, typed = {.size = -1};
  if (to->n_inputs == most || to->n_raw != (to->is_typed ? to->n_inputs : 0)) return 0;
  Input *const in = to->inputs + to->n_inputs++;
  if (!read_tensor(block, in, &raw, &typed)) return 0;
  if (raw.size < 0) return 1;
  to->is_typed = 1;
  to->raw[to->n_raw++] = raw;
  return equals(in->datatype, typed.at);
}

static int read_parts(const char *p, const char *end, Py_ssize_t most, Text output, Message *to) {
  while (p < end) {
    Part part;
    if (!(p = next_part(p, end, &part)) || part.type != BLOCK) return 0;
    if (part.number == 1 ? !set_text(&to->name, &part)
        : part.number == 2 ? !set_text(&to->version, &part)
        : part.number == 3 ? !set_text(&to->id, &part)
        : part.number == 4 ? !read_parameter(part.block, &to->key)
        : part.number == 5 ? !add_input(to, most, part.block)
        : part.number == 6 ? to->has_output++ || !is_output(part.block, output)
                           : part.number != 7 || to->is_typed || to->n_raw == most)
      return 0;
    if (part.number == 7) to->raw[to->n_raw++] = part.block;
  }
  return to->n_raw == to->n_inputs;
}

/* Return what was read from a message, and whether its values were raw bytes behind its inputs; or NULL. */
static PyObject *read_message(const char *start, const char *end, Columns *to) {
  const Py_ssize_t most = to->width + 1;
  Message message = {.name.size = -1, .version.size = -1, .id.size = -1, .key.size = -1};
  message.inputs = malloc((size_t)most * sizeof *message.inputs);
  message.raw = malloc((size_t)most * sizeof *message.raw);
  int read = message.inputs && message.raw && read_parts(start, end, most, to->output, &message);
  for (Py_ssize_t j = 0; read && j < message.n_inputs; j++) read = take_raw(to, message.inputs + j, message.raw[j]);
  PyObject *found = read ? as_tuple(to, message.id, message.key, !message.is_typed) : NULL;
  free(message.inputs);
  free(message.raw);
  return found;
}

/* Return the names of the model and the version that a message asks for, or None if it is of another form. */
static PyObject *message_target(PyObject *self, PyObject *body) {
  (void)self;
  Py_buffer view;
  if (PyObject_GetBuffer(body, &view, PyBUF_SIMPLE)) return NULL;
  const char *p = view.len <= MAX_BODY ? view.buf : NULL, *const end = p ? p + view.len : NULL;
  Text texts[2] = {{.size = -1}, {.size = -1}};
  while (p && p < end) {
    Part part;
    p = next_part(p, end, &part);
    if (p && (part.number == 1 || part.number == 2) && !set_text(&texts[part.number - 1], &part)) p = NULL;
  }
  PyObject *name = p ? as_str(texts[0]) : NULL, *version = p ? as_str(texts[1]) : NULL;
  PyObject *found = name && version ? PyTuple_Pack(2, name, version) : NULL;
  Py_XDECREF(name);
  Py_XDECREF(version);
  PyBuffer_Release(&view);
  if (found || PyErr_Occurred()) return found;
  Py_RETURN_NONE;
}
