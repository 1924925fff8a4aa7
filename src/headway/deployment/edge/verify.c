/* Verify a package without Python, by libsodium: `verify FOLDER TRUSTED_KEYS`. It may be any package of headway. Exit 0 if a trusted key signed edge.json and
   each file that it lists has its digest; else 1, with a message on standard error. Files that a build adds are not covered.
   TRUSTED_KEYS has a key per line, `ed25519:BASE64 COMMENT`; copy it and this program to the device by a way that you trust. */
#define _POSIX_C_SOURCE 200809L
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define MAX_BYTES (1 << 20) /* of edge.json and of the trusted keys */
#define MAX_PATH 4096
#define DIGEST_CHARACTERS (7 + 2 * crypto_hash_sha256_BYTES) /* sha256: and hex */
#define KEY_CHARACTERS 52                                    /* ed25519: and base64 of 32 bytes */
#define SIGNATURE_CHARACTERS 88

static const char head[] = "{\"kind\":\"edge_package\",\"record\":{\"files\":{";
static char content[MAX_BYTES], signature[512], trusted[MAX_BYTES], path[MAX_PATH];

static int refuse(const char *where, const char *why) {
  fprintf(stderr, "%s: %s\n", where, why);
  return 1;
}

/* Return whether a name is that of a file of the folder, or of a folder in it; none begins with a dot. */
static int is_inside(const char *name, size_t length) {
  const char *slash = memchr(name, '/', length);
  if (!length || *name == '.' || *name == '/') return 0;
  return !slash || (slash + 1 < name + length && slash[1] != '.' && !memchr(slash + 1, '/', (size_t)(name + length - slash - 1)));
}

/* Open a file of the folder, and no link; NULL if there is none. */
static FILE *open_file(const char *folder, const char *name, size_t length) {
  const char *slash = memchr(name, '/', length);
  struct stat found;
  if (snprintf(path, sizeof path, "%s/%.*s", folder, (int)length, name) >= (int)sizeof path) return NULL;
  if (slash) {
    char *end = path + strlen(folder) + 1 + (slash - name);
    *end = 0;
    if (lstat(path, &found) || !S_ISDIR(found.st_mode)) return NULL;
    *end = '/';
  }
  return lstat(path, &found) || !S_ISREG(found.st_mode) ? NULL : fopen(path, "rb");
}

/* Read a whole file and end it by 0; return its length, or -1 if it cannot be read, has a 0 or is too long. */
static long read_text(FILE *file, char *to, size_t room) {
  size_t length;
  int failed;
  if (!file) return -1;
  length = fread(to, 1, room, file);
  failed = ferror(file) || length == room;
  fclose(file);
  if (failed || memchr(to, 0, length)) return -1;
  to[length] = 0;
  return (long)length;
}

/* The SHA-256 of a file as `sha256:` and hex; return 0 if it cannot be read. */
static int digest_file(FILE *file, char *text) {
  static unsigned char buffer[1 << 16], digest[crypto_hash_sha256_BYTES];
  crypto_hash_sha256_state state;
  size_t length;
  int failed;
  if (!file) return 0;
  crypto_hash_sha256_init(&state);
  while ((length = fread(buffer, 1, sizeof buffer, file)) > 0) crypto_hash_sha256_update(&state, buffer, length);
  failed = ferror(file);
  fclose(file);
  crypto_hash_sha256_final(&state, digest);
  memcpy(text, "sha256:", 7);
  sodium_bin2hex(text + 7, 2 * sizeof digest + 1, digest, sizeof digest);
  return !failed;
}

/* Go past a literal text; return NULL if something else is there. */
static const char *skip(const char *at, const char *expected) {
  const size_t length = strlen(expected);
  return at && !strncmp(at, expected, length) ? at + length : NULL;
}

/* Go past the value of a field, which is kept in `value`, and the literal text behind it. */
static const char *field(const char *at, size_t length, const char **value, const char *behind) {
  if (!at || strlen(at) < length) return NULL;
  *value = at;
  return skip(at + length, behind);
}

static int is_trusted(const char *key) {
  const char *line = trusted;
  while (line) {
    line += strspn(line, " \t\r\n");
    if (!strncmp(line, key, KEY_CHARACTERS) && strchr(" \t\r\n#", line[KEY_CHARACTERS])) return 1;
    line = strchr(line, '\n');
  }
  return 0;
}

static int decode(const char *text, size_t characters, unsigned char *to, size_t size) {
  size_t length;
  return !sodium_base642bin(to, size, text, characters, NULL, &length, NULL, sodium_base64_VARIANT_ORIGINAL) && length == size;
}

int main(int argc, char **argv) {
  unsigned char key_bytes[crypto_sign_PUBLICKEYBYTES], signature_bytes[crypto_sign_BYTES];
  char digest[DIGEST_CHARACTERS + 1];
  const char *at, *signed_digest = "", *key = "", *signed_text = "";
  FILE *keys;
  long length;
  int files = 0;
  if (argc != 3) return refuse(argv[0], "pass the folder of the package and the file of trusted keys");
  if (sodium_init() < 0) return refuse("libsodium", "it cannot start");
  keys = fopen(argv[2], "rb");
  if (read_text(keys, trusted, sizeof trusted) < 0) return refuse(argv[2], "the trusted keys cannot be read");
  length = read_text(open_file(argv[1], "edge.json", 9), content, sizeof content);
  if (length < 0) return refuse(argv[1], "edge.json is missing or cannot be read");
  if (read_text(open_file(argv[1], "edge.sig", 8), signature, sizeof signature) < 0)
    return refuse(argv[1], "edge.sig is missing or cannot be read");
  at = field(skip(signature, "{\"digest\":\""), DIGEST_CHARACTERS, &signed_digest, "\",\"key\":\"");
  at = field(at, KEY_CHARACTERS, &key, "\",\"signature\":\"");
  at = field(at, SIGNATURE_CHARACTERS, &signed_text, "\"}");
  if (!at || *at || strncmp(key, "ed25519:", 8) || !decode(key + 8, KEY_CHARACTERS - 8, key_bytes, sizeof key_bytes) ||
      !decode(signed_text, SIGNATURE_CHARACTERS, signature_bytes, sizeof signature_bytes))
    return refuse(argv[1], "edge.sig is damaged");
  if (!is_trusted(key)) return refuse(argv[1], "the key that signed edge.json is not trusted");
  if (crypto_sign_verify_detached(signature_bytes, (const unsigned char *)content, (unsigned long long)length, key_bytes) ||
      !digest_file(open_file(argv[1], "edge.json", 9), digest) || strncmp(digest, signed_digest, DIGEST_CHARACTERS))
    return refuse(argv[1], "edge.json was changed after it was signed");
  for (at = skip(content, head); at && *at == '"'; files++, at += *at == ',') { /* what is signed is in canonical form */
    const char *name = at + 1, *expected = "";
    const size_t size = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.+-/");
    at = field(skip(name + size, "\":\""), DIGEST_CHARACTERS, &expected, "\"");
    if (!at || !is_inside(name, size)) return refuse(argv[1], "edge.json names a file that this program does not read");
    if (!digest_file(open_file(argv[1], name, size), digest) || strncmp(digest, expected, DIGEST_CHARACTERS)) {
      fprintf(stderr, "%s: %.*s is missing, or was changed after the package was signed\n", argv[1], (int)size, name);
      return 1;
    }
  }
  if (!at || *at != '}' || !files) return refuse(argv[1], "edge.json lists no files");
  printf("verified: %d files, signed by %.*s\n", files, KEY_CHARACTERS, key);
  return 0;
}
