# `make` builds the library libNAME_FILE.a, NAME_FILE_cli, which reads rows as CSV and writes scores, and NAME_FILE_http, which
# answers rows over HTTP on POSIX systems; `make verify` builds a program that verifies this folder by libsodium. For another
# machine: make CC=aarch64-linux-gnu-gcc AR=aarch64-linux-gnu-ar
CFLAGS = -O2
EXACT = -std=c99 -ffp-contract=off

all: libNAME_FILE.a NAME_FILE_cli NAME_FILE_http

NAME_FILE.o: NAME_FILE.c NAME_FILE.h
	$(CC) $(CFLAGS) $(EXACT) -c NAME_FILE.c -o $@

libNAME_FILE.a: NAME_FILE.o
	$(AR) rcs $@ NAME_FILE.o

NAME_FILE_cli: NAME_FILE_cli.c NAME_FILE.h libNAME_FILE.a
	$(CC) $(CFLAGS) $(EXACT) NAME_FILE_cli.c libNAME_FILE.a -lm -o $@

NAME_FILE_http: NAME_FILE_http.c NAME_FILE.h libNAME_FILE.a
	$(CC) $(CFLAGS) $(EXACT) NAME_FILE_http.c libNAME_FILE.a -lm -o $@

verify: verify.c
	$(CC) $(CFLAGS) -std=c99 verify.c -lsodium -o $@

clean:
	rm -f NAME_FILE.o libNAME_FILE.a NAME_FILE_cli NAME_FILE_http verify

.PHONY: all clean
