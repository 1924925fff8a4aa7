/* The arrays that a model is opened from, and the results of predicting rows. No kernel needs Python: the extensions hold
   the arrays for it, and tests link the same headers to a program without Python. */
#ifndef HEADWAY_ARRAYS_H
#define HEADWAY_ARRAYS_H

#include <stdint.h>

enum { NO_MEMORY, ANSWERED, REFUSED }; /* result of predicting rows */

typedef struct { const void *at; int64_t bytes; } Array;

#endif
