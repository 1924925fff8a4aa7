/* Write numbers as JSON, with the fewest digits that read back the same; of those, the nearest to the number.

   The digits are found as in "The Schubfach way to render doubles" (Giulietti 2020): the number and both ends of the
   interval that rounds to it are multiplied by a power of ten that is rounded up to 128 bits, and the products are rounded
   to odd, so that comparing them is exact. */

#define MAX_NUMBER 25            /* characters: -2.2250738585072014e-308 and a comma */
#define FIELD 24                 /* digits that are written at once; a number has 17 at most */
#define MAX_TEN 324              /* of 10^k: the smallest double is 5e-324 */
#define TEN_LIMBS 26             /* of 32 bits: 5^324 has 753 */
#define TEN_16 ((uint64_t)10000000000000000)
#define FIXED_LOW -5             /* the smallest decimal exponent of a number that is written without one */
#define HIDDEN ((uint64_t)1 << 52)
#define BITS_OF_2_53 ((uint64_t)(1023 + 53) << 52)

typedef unsigned __int128 Wide;

static Wide tens[MAX_TEN + 1];   /* 10^k to 128 bits, rounded up */

/* Fill the powers of ten: 5^k as a large integer, of which the first 128 bits are kept. */
static void make_tens(void) {
  uint32_t limbs[TEN_LIMBS] = {1};
  int used = 1;
  for (int k = 0; k <= MAX_TEN; k++) {
    Wide top = 0;
    const int spare = __builtin_clz(limbs[used - 1]);
    int rest = 0;
    for (int i = 0; i < 5; i++) { /* five limbs, shifted left by the leading zeros of the first: 128 bits and the rest */
      const uint32_t limb = used - 1 - i >= 0 ? limbs[used - 1 - i] : 0;
      if (i < 4) top = top << 32 | limb;
      else {
        top = spare ? top << spare | limb >> (32 - spare) : top;
        rest = (uint32_t)((uint64_t)limb << spare) != 0;
      }
    }
    for (int i = used - 6; i >= 0; i--) rest |= limbs[i] != 0;
    tens[k] = top + (rest != 0);
    uint64_t carry = 0;
    for (int i = 0; i < used; i++) {
      carry += (uint64_t)limbs[i] * 5;
      limbs[i] = (uint32_t)carry;
      carry >>= 32;
    }
    if (carry) limbs[used++] = (uint32_t)carry;
  }
}

/* Return floor(e * log10(2)), floor(log10(3/4 * 2^e)) and floor(e * log2(10)), for all exponents of a double. */
static int log10_of_2(int e) { return (int)(((int64_t)e * 1262611) >> 22); }
static int log10_of_3_4(int e) { return (int)(((int64_t)e * 1262611 - 524031) >> 22); }
static int log2_of_10(int e) { return (int)(((int64_t)e * 1741647) >> 19); }

static uint64_t product(Wide ten, uint64_t by) {
  const Wide low = (Wide)(uint64_t)ten * by, sum = (Wide)(uint64_t)(ten >> 64) * by + (uint64_t)(low >> 64);
  return (uint64_t)(sum >> 64) | ((uint64_t)sum > 1);
}

/* Find the digits of a number of `bits`, finite, positive and below 2^53; return its power of ten. */
static int shortest(uint64_t bits, uint64_t *digits) {
  const int field = (int)(bits >> 52), is_normal = field != 0;
  const uint64_t fraction = bits & (HIDDEN - 1), c = is_normal ? fraction | HIDDEN : fraction;
  const int q = (is_normal ? field : 1) - 1075, is_odd = (int)(c & 1), is_even_gap = fraction || field <= 1;
  const int k = is_even_gap ? log10_of_2(q) : log10_of_3_4(q), h = q + log2_of_10(-k) + 1;
  const Wide ten = tens[-k];
  const uint64_t low = product(ten, (4 * c - 1 - (uint64_t)is_even_gap) << h) + (uint64_t)is_odd;
  const uint64_t middle = product(ten, (4 * c) << h), high = product(ten, (4 * c + 2) << h) - (uint64_t)is_odd;
  const uint64_t s = middle / 4, tenth = s / 10, half = 4 * s + 2;
  const int tenth_below = low <= 40 * tenth, tenth_above = 40 * tenth + 40 <= high;
  const int below = low <= 4 * s, above = 4 * s + 4 <= high;
  const int is_shorter = (s >= 10) & (tenth_below != tenth_above);
  const int is_nearer = (middle > half) | ((middle == half) & (int)(s & 1));
  const int is_up = ((below != above) & above) | ((below == above) & is_nearer);
  const uint64_t mask = -(uint64_t)is_shorter; /* no branch: the length of the next number cannot be predicted */
  *digits = ((tenth + (uint64_t)tenth_above) & mask) | ((s + (uint64_t)is_up) & ~mask);
  return k + is_shorter;
}

static const char PAIRS[] =
    "0001020304050607080910111213141516171819202122232425262728293031323334353637383940414243444546474849"
    "5051525354555657585960616263646566676869707172737475767778798081828384858687888990919293949596979899";

static void eight_digits(char *to, uint32_t value) {
  const uint32_t high = value / 10000, low = value % 10000;
  memcpy(to, PAIRS + 2 * (high / 100), 2);
  memcpy(to + 2, PAIRS + 2 * (high % 100), 2);
  memcpy(to + 4, PAIRS + 2 * (low / 100), 2);
  memcpy(to + 6, PAIRS + 2 * (low % 100), 2);
}

/* Write digits and the power of ten that they are multiplied by; return the position behind. Up to 24 bytes behind that are
   written as well: copies of a constant size are faster. */
static char *write_decimal(char *to, uint64_t digits, int power) {
  char field[2 * FIELD];
  while (digits % 10 == 0) digits /= 10, power++;
  const uint64_t upper = digits / 100000000;
  eight_digits(field + 16, (uint32_t)(digits % 100000000));
  eight_digits(field + 8, (uint32_t)(upper % 100000000));
  field[7] = (char)('0' + upper / 100000000); /* there are 17 digits at most */
  const char *from = field + 7 + (digits < TEN_16) + (digits < TEN_16 / 10);
  while (*from == '0') from++;
  const int n = (int)(field + FIELD - from), exponent = power + n - 1;
  if (exponent < FIXED_LOW) {
    *to++ = *from;
    *to = '.';
    memcpy(to + 1, from + 1, FIELD);
    to += n > 1 ? n : 0;
    memcpy(to, "e-", 2);
    to += 2;
    if (exponent <= -100) *to++ = (char)('0' + -exponent / 100);
    memcpy(to, PAIRS + 2 * (-exponent % 100), 2);
    if (exponent > -10) *to = to[1];
    return to + 2 - (exponent > -10);
  }
  if (exponent < 0) {
    memcpy(to, "0.0000", 6);
    to += 1 - exponent;
    memcpy(to, from, FIELD);
    return to + n;
  }
  const int whole = exponent + 1;
  memcpy(to, from, FIELD);
  if (whole >= n) {
    memset(to + n, '0', (size_t)(whole - n + 2));
    to[whole] = '.';
    return to + whole + 2;
  }
  to[whole] = '.';
  memcpy(to + whole + 1, from + whole, FIELD);
  return to + n + 1;
}

/* Write a number as msgspec does, and null if it is not finite; return the position behind it, or NULL from 2^53. */
static char *write_number(char *to, double value) {
  uint64_t bits, digits;
  memcpy(&bits, &value, sizeof bits);
  if (!isfinite(value)) return (char *)memcpy(to, "null", 4) + 4;
  if (bits >> 63) *to++ = '-';
  bits &= ~((uint64_t)1 << 63);
  if (!bits) return (char *)memcpy(to, "0.0", 3) + 3;
  if (bits >= BITS_OF_2_53) return NULL;
  const int power = shortest(bits, &digits);
  return write_decimal(to, digits, power);
}

/* Return start, a list of numbers in JSON and end, in one bytes object; None if a number is 2^53 or more, or not a double. */
static PyObject *write_numbers(PyObject *self, PyObject *const *args, Py_ssize_t n) {
  (void)self;
  Py_buffer view;
  if (n != 3 || !PyBytes_Check(args[0]) || !PyBytes_Check(args[2])) {
    PyErr_SetString(PyExc_TypeError, "bytes, float64 numbers and bytes are expected");
    return NULL;
  }
  if (PyObject_GetBuffer(args[1], &view, PyBUF_FORMAT)) return NULL;
  const int is_for_us = view.format && !strcmp(view.format, "d");
  const Py_ssize_t count = view.len / (Py_ssize_t)sizeof(double), head = PyBytes_Size(args[0]), tail = PyBytes_Size(args[2]);
  char *const start = is_for_us ? malloc((size_t)(head + count * MAX_NUMBER + tail + 2 + FIELD)) : NULL, *to = start;
  if (to) {
    memcpy(to, PyBytes_AsString(args[0]), (size_t)head);
    to += head;
    *to++ = '[';
  }
  for (Py_ssize_t i = 0; to && i < count; i++) {
    double value;
    memcpy(&value, (const char *)view.buf + i * (Py_ssize_t)sizeof value, sizeof value);
    if (i) *to++ = ',';
    to = write_number(to, value);
  }
  PyBuffer_Release(&view);
  PyObject *made = NULL;
  if (to) {
    *to++ = ']';
    memcpy(to, PyBytes_AsString(args[2]), (size_t)tail);
    made = PyBytes_FromStringAndSize(start, to + tail - start);
  }
  free(start);
  if (to) return made;
  Py_RETURN_NONE; /* also without memory: then Python writes it, or says so */
}

#define MAX_TOP 64               /* classes of a row; for more, sorting is better */

/* Find the indexes of the largest of `width` numbers, the largest first; NaN is the smallest. */
static void find_top(const char *row, Py_ssize_t width, Py_ssize_t top_k, Py_ssize_t *found) {
  double best[MAX_TOP];
  Py_ssize_t used = 0;
  for (Py_ssize_t i = 0; i < width; i++) {
    double value;
    memcpy(&value, row + i * (Py_ssize_t)sizeof value, sizeof value);
    if (isnan(value)) value = -INFINITY;
    if (used == top_k && value <= best[used - 1]) continue;
    Py_ssize_t at = used < top_k ? used++ : used - 1;
    for (; at && best[at - 1] < value; at--) best[at] = best[at - 1], found[at] = found[at - 1];
    best[at] = value;
    found[at] = i;
  }
}

/* Write the classes of a row, each a string of its number and of what is behind that, of at most `longest` bytes; return the
   position behind, or NULL. */
static char *write_classes(char *to, const char *row, const Py_ssize_t *found, Py_ssize_t top_k, PyObject *ends, Py_ssize_t longest) {
  for (Py_ssize_t k = 0; to && k < top_k; k++) {
    PyObject *const end = PyTuple_GetItem(ends, found[k]);
    if (!PyBytes_Check(end) || PyBytes_Size(end) > longest) return NULL;
    double value;
    memcpy(&value, row + found[k] * (Py_ssize_t)sizeof value, sizeof value);
    *to++ = '"';
    if ((to = write_number(to, value))) {
      memcpy(to, PyBytes_AsString(end), (size_t)PyBytes_Size(end));
      to += PyBytes_Size(end);
      *to++ = ',';
    }
  }
  return to;
}

static PyObject *write_top(PyObject *self, PyObject *const *args, Py_ssize_t n) {
  (void)self;
  Py_buffer view;
  if (n != 7 || !PyBytes_Check(args[0]) || !PyBytes_Check(args[2]) || !PyTuple_Check(args[5])) {
    PyErr_SetString(PyExc_TypeError, "bytes, float64 numbers, bytes, two integers, a tuple and an integer are expected");
    return NULL;
  }
  const Py_ssize_t width = PyLong_AsSsize_t(args[3]), top_k = PyLong_AsSsize_t(args[4]), longest = PyLong_AsSsize_t(args[6]);
  if (PyErr_Occurred() || PyObject_GetBuffer(args[1], &view, PyBUF_FORMAT)) return NULL;
  const Py_ssize_t count = view.len / (Py_ssize_t)sizeof(double), head = PyBytes_Size(args[0]), tail = PyBytes_Size(args[2]);
  const int is_for_us = view.format && !strcmp(view.format, "d") && width > 0 && top_k > 0 && top_k <= MAX_TOP && longest >= 0 &&
                        top_k <= width && count && count % width == 0 && PyTuple_Size(args[5]) == width;
  const size_t size = is_for_us ? (size_t)(head + tail + FIELD + 2) + (size_t)(count / width * top_k) * (size_t)(longest + MAX_NUMBER + 2) : 0;
  char *const start = is_for_us ? malloc(size) : NULL, *to = start;
  if (to) {
    memcpy(to, PyBytes_AsString(args[0]), (size_t)head);
    to += head;
    *to++ = '[';
  }
  for (Py_ssize_t i = 0; to && i < count; i += width) {
    const char *const row = (const char *)view.buf + i * (Py_ssize_t)sizeof(double);
    Py_ssize_t found[MAX_TOP];
    find_top(row, width, top_k, found);
    to = write_classes(to, row, found, top_k, args[5], longest);
  }
  PyBuffer_Release(&view);
  PyObject *made = NULL;
  if (to) {
    to[-1] = ']';
    memcpy(to, PyBytes_AsString(args[2]), (size_t)tail);
    made = PyBytes_FromStringAndSize(start, to + tail - start);
  }
  free(start);
  if (to) return made;
  Py_RETURN_NONE; /* also without memory */
}
