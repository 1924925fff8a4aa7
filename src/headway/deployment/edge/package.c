
int name_scores(const double *row@texts@, double *scores) {
#if NAME_TEXTS
  const int unread = check_texts(texts);
  if (unread) return unread;
#endif
  return run_model(row@passed@, scores) ? NAME_OK : NAME_REJECTED;
}

int name_predict(const double *row@texts@, double *scores, int *decision) {
  int i;
#if HAS_REFUSALS
  for (i = 0; i < NAME_INPUTS; i++) {
    const int refused = input_refuses[i];
    if ((refused & REFUSES_MISSING) && row[i] != row[i]) return NAME_REJECTED;
    if ((refused & REFUSES_INFINITE) && fabs(row[i]) == INFINITY) return NAME_REJECTED;
    if ((refused & REFUSES_LARGE) && fabs(row[i]) >= LARGE && fabs(row[i]) != INFINITY) return NAME_REJECTED;
  }
#endif
  i = name_scores(row@passed@, scores);
  if (i != NAME_OK) return i;
  calibrate(scores);
  for (i = 0; i < NAME_OUTPUTS; i++) if (!(fabs(scores[i]) < INFINITY)) return NAME_REJECTED;
  if (decision) *decision = decide(scores);
  return NAME_OK;
}

const char *name_input(int input) { return input >= 0 && input < NAME_INPUTS ? input_names[input] : NULL; }

const char *name_class(int number) { return number >= 0 && number < NAME_CLASSES ? class_names[number] : NULL; }

#if NAME_TEXTS
int name_text(int input) { return input >= 0 && input < NAME_INPUTS ? input_text[input] : -1; }
#endif

int name_is_category(int input) {
  return input >= 0 && input < NAME_INPUTS && category_start[input] < category_start[input + 1];
}

int name_category(int input, const char *text, double *value) {
  int i;
  if (!name_is_category(input)) return NAME_REJECTED;
  for (i = category_start[input]; i < category_start[input + 1]; i++)
    if (!strcmp(category_names[i], text)) {
      *value = i - category_start[input];
      return NAME_OK;
    }
  if (input_unseen[input] == UNSEEN_IS_REFUSED) return NAME_REJECTED;
  *value = input_unseen[input] == UNSEEN_IS_OTHER ? category_start[input + 1] - category_start[input] : NAN;
  return NAME_OK;
}

#ifndef NAME_WITHOUT_SELF_TEST
int name_self_test(void) {
  double scores[NAME_OUTPUTS];
  int row, o, decision;
  for (row = 0; row < TEST_ROWS; row++) {
    const double *expected = test_scores + row * NAME_OUTPUTS;
#if NAME_TEXTS
    const char *const *texts = test_texts + row * NAME_TEXTS;
#endif
    if (name_scores(test_rows + row * NAME_INPUTS@passed@, scores) != NAME_OK) return row + 1;
    for (o = 0; o < NAME_OUTPUTS; o++)
      if (memcmp(scores + o, expected + o, sizeof *scores) && (scores[o] == scores[o] || expected[o] == expected[o])) return row + 1;
    decision = test_decisions[row];
    if (name_predict(test_rows + row * NAME_INPUTS@passed@, scores, &decision) == NAME_OK && decision != test_decisions[row]) return row + 1;
  }
  return 0;
}
#endif
