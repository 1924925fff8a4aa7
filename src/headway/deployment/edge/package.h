#ifndef NAME_H
#define NAME_H

#ifdef __cplusplus
extern "C" {
#endif

enum { NAME_OK = 0, NAME_REJECTED = 1, NAME_TOO_LONG = 2 };

/* Compute the scores of a row as the model does, before the calibrator. Return NAME_REJECTED if the model rejects the row. */
int name_scores(const double *row@texts@, double *scores);

/* Compute the calibrated scores of a row and, unless `decision` is NULL, its decision: of two classes 1 if the score
   reaches the threshold of the release, else 0; of more the index of the class; of a number 0. Return NAME_REJECTED for a
   row that the release does not answer; what `scores` then holds means nothing. */
int name_predict(const double *row@texts@, double *scores, int *decision);

/* Return the name of an input, or of a class; NULL if there is none of this number. */
const char *name_input(int input);
const char *name_class(int number);

#if NAME_TEXTS
/* A row has its texts apart: `texts` are NAME_TEXTS strings of UTF-8 that end with a 0, in the order of their inputs; NULL
   is missing, and rejected. A text of more than NAME_MAX_TEXT bytes returns NAME_TOO_LONG. Return the position of an input
   among the texts, -1 if it is none. */
int name_text(int input);
#endif

/* Return whether an input is a category, and write its number, by which a row holds it, into `value`. A category that the
   model has not seen is NaN, or a number of its own; if the release refuses it, NAME_REJECTED is returned. */
int name_is_category(int input);
int name_category(int input, const char *text, double *value);

/* Compute the self-test of the release. Return 0 if every score has the expected bits and every decision is the expected
   one, else the number of the first row that differs, from 1. Leave it out by -DNAME_WITHOUT_SELF_TEST. */
int name_self_test(void);

#ifdef __cplusplus
}
#endif
#endif
