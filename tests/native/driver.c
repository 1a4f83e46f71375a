/* The C layer without Python: lanes from a file of hexadecimal vectors, run with every subset of CPU features, and the calls
 * that Python cannot make (wrong output lengths, overlapping buffers). Every byte string has a heap block of exactly its
 * size, so that a sanitizer sees one byte too many. Prints the first mismatch and exits 1.
 *
 * A line: operation, status, inputs, expected output; `-` is the empty string.
 *   encrypt S n plain padding out | unwrap S der n reply out | decrypt S der cipher out | wrap S der n material padding out
 *   private S der value out | seal S key iv data out
 */
#include "mb.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_LANES 64
#define MAX_FIELDS 8

typedef struct {
    char op[16];
    int status;
    mb_bytes field[MAX_FIELDS];
    int fields;
    mb_key *device, *server;
} vector;

static vector vectors[512];
static size_t vector_count;

static void check(int good, const char *what, size_t line)
{
    if (!good) {
        printf("%s: vector %zu, features %#x, %s\n", what, line, mb_features(), mb_rsa_active()->name);
        exit(1);
    }
}

static mb_bytes from_hex(const char *text)
{
    mb_bytes b = {NULL, strcmp(text, "-") == 0 ? 0 : strlen(text) / 2};
    uint8_t *data = malloc(b.len);
    for (size_t i = 0; i < b.len; i++) {
        unsigned byte;
        check(sscanf(text + 2 * i, "%2x", &byte) == 1, "not hexadecimal", vector_count);
        data[i] = (uint8_t)byte;
    }
    b.data = data;
    return b;
}

static mb_key *private_from(unsigned bytes, mb_bytes der)
{
    mb_key_numbers numbers;
    const char *why = NULL;
    mb_key *key = mb_der_private(der, &numbers, &why) == 0 ? mb_key_private(bytes, &numbers, &why) : NULL;
    check(key != NULL, why, vector_count);
    return key;
}

static mb_key *public_from(unsigned bytes, mb_bytes n)
{
    const char *why = NULL;
    mb_key *key = mb_key_public(bytes, n, &why);
    check(key != NULL, why, vector_count);
    return key;
}

static void read_vectors(const char *path)
{
    static char line[16384];
    FILE *file = fopen(path, "r");
    check(file != NULL, "cannot open the vectors", 0);
    while (fgets(line, sizeof line, file) != NULL) {
        vector *v = &vectors[vector_count];
        char *word = strtok(line, " \n");
        snprintf(v->op, sizeof v->op, "%s", word);
        v->status = atoi(strtok(NULL, " \n"));
        while ((word = strtok(NULL, " \n")) != NULL)
            v->field[v->fields++] = from_hex(word);
        if (strcmp(v->op, "encrypt") == 0) {
            v->server = public_from(256, v->field[0]);
        } else if (strcmp(v->op, "unwrap") == 0) {
            v->device = private_from(128, v->field[0]);
            v->server = public_from(256, v->field[1]);
        } else if (strcmp(v->op, "decrypt") == 0) {
            v->server = private_from(256, v->field[0]);
        } else if (strcmp(v->op, "wrap") == 0) {
            v->server = private_from(256, v->field[0]);
            v->device = public_from(128, v->field[1]);
        } else if (strcmp(v->op, "private") == 0) {
            v->device = private_from(v->field[1].len == 128 ? 128 : 256, v->field[0]);
        }
        vector_count++;
    }
    fclose(file);
}

static void compare(const vector *v, size_t at, int status, const uint8_t *out, size_t len)
{
    const mb_bytes want = v->field[v->fields - 1];
    check(status == v->status, "status", at);
    check(status != MB_OK || (want.len == len && memcmp(out, want.data, len) == 0), "result", at);
}

/* All lanes of one operation as one batch of `n`. */
static void run_encrypt(vector **v, size_t n)
{
    mb_encrypt_lane *lanes = calloc(n, sizeof *lanes);
    uint8_t *out = malloc(n * 256);
    for (size_t i = 0; i < n; i++) {
        const mb_bytes *f = v[i]->field;
        lanes[i] = (mb_encrypt_lane){v[i]->server, f[1].data, f[1].len, f[2].data, f[2].len, 0};
    }
    check(mb_encrypt_nonce(lanes, n, out, n * 256) == MB_CALL_OK, "call", n);
    for (size_t i = 0; i < n; i++)
        compare(v[i], i, lanes[i].status, out + 256 * i, 256);
    check(mb_encrypt_nonce(lanes, n, out, n * 256 - 1) == MB_CALL_LENGTH, "short output", n);
    lanes[n - 1].plain = out + n * 256 - 1;
    check(mb_encrypt_nonce(lanes, n, out, n * 256) == MB_CALL_ALIAS, "plaintext in the output", n);
    lanes[n - 1].plain = v[n - 1]->field[1].data;
    lanes[0].padding = out;
    check(mb_encrypt_nonce(lanes, n, out, n * 256) == MB_CALL_ALIAS, "padding in the output", n);
    for (size_t i = 0; i < n; i++)
        lanes[i].padding = NULL;
    check(mb_encrypt_nonce(lanes, n, out, n * 256) == MB_CALL_OK, "random padding", n);
    free(lanes);
    free(out);
}

static void run_unwrap(vector **v, size_t n)
{
    mb_unwrap_lane *lanes = calloc(n, sizeof *lanes);
    uint8_t *out = malloc(n * 40);
    for (size_t i = 0; i < n; i++)
        lanes[i] = (mb_unwrap_lane){v[i]->device, v[i]->server, v[i]->field[2].data, v[i]->field[2].len, 0};
    check(mb_unwrap_key(lanes, n, out, n * 40) == MB_CALL_OK, "call", n);
    for (size_t i = 0; i < n; i++)
        compare(v[i], i, lanes[i].status, out + 40 * i, 40);
    check(mb_unwrap_key(lanes, n, out, n * 40 + 1) == MB_CALL_LENGTH, "long output", n);
    mb_key *device = v[0]->device, *server = v[0]->server;
    lanes[0].device = server;
    check(mb_unwrap_key(lanes, 1, out, 40) == MB_CALL_OK && lanes[0].status == MB_BAD_INPUT, "wrong key", n);
    lanes[0].device = NULL;
    check(mb_unwrap_key(lanes, 1, out, 40) == MB_CALL_OK && lanes[0].status == MB_BAD_INPUT, "no key", n);
    lanes[0].device = device;
    uint8_t *both = malloc(384 + 39);
    lanes[0].reply = both;
    lanes[0].reply_len = 384;
    check(mb_unwrap_key(lanes, 1, both + 383, 40) == MB_CALL_ALIAS, "reply in the output", n);
    free(both);
    free(lanes);
    free(out);
}

static void run_decrypt(vector **v, size_t n)
{
    mb_decrypt_lane *lanes = calloc(n, sizeof *lanes);
    uint8_t *out = malloc(n * 256);
    for (size_t i = 0; i < n; i++)
        lanes[i] = (mb_decrypt_lane){v[i]->server, v[i]->field[1].data, v[i]->field[1].len, 0, 0};
    check(mb_decrypt_nonce(lanes, n, out, n * 256) == MB_CALL_OK, "call", n);
    for (size_t i = 0; i < n; i++)
        compare(v[i], i, lanes[i].status, out + 256 * i, lanes[i].plain_len);
    check(mb_decrypt_nonce(lanes, n, out, 0) == MB_CALL_LENGTH, "no output", n);
    lanes[0].cipher = out;
    lanes[0].cipher_len = 256;
    check(mb_decrypt_nonce(lanes, n, out, n * 256) == MB_CALL_ALIAS, "in place", n);
    free(lanes);
    free(out);
}

static void run_wrap(vector **v, size_t n)
{
    mb_wrap_lane *lanes = calloc(n, sizeof *lanes);
    uint8_t *out = malloc(n * 384);
    for (size_t i = 0; i < n; i++) {
        const mb_bytes *f = v[i]->field;
        lanes[i] = (mb_wrap_lane){v[i]->server, v[i]->device, f[2].data, f[2].len, f[3].data, f[3].len, 0};
    }
    check(mb_wrap_key(lanes, n, out, n * 384) == MB_CALL_OK, "call", n);
    for (size_t i = 0; i < n; i++)
        compare(v[i], i, lanes[i].status, out + 384 * i, 384);
    check(mb_wrap_key(lanes, n, out, n * 383) == MB_CALL_LENGTH, "short output", n);
    lanes[n - 1].material = out;
    check(mb_wrap_key(lanes, n, out, n * 384) == MB_CALL_ALIAS, "material in the output", n);
    free(lanes);
    free(out);
}

static void run_private(vector **v, size_t n)
{
    mb_raw_lane *lanes = calloc(n, sizeof *lanes);
    const size_t bytes = v[0]->device->bytes;
    uint8_t *out = malloc(n * bytes);
    for (size_t i = 0; i < n; i++)
        lanes[i] = (mb_raw_lane){v[i]->device, v[i]->field[1].data, NULL, v[i]->field[1].len, 0, 0};
    check(mb_raw(MB_RAW_PRIVATE, 1, lanes, n, out, n * bytes) == MB_CALL_OK, "call", n);
    for (size_t i = 0; i < n; i++)
        compare(v[i], i, lanes[i].status, out + bytes * i, bytes);
    check(mb_raw(MB_RAW_SQR, 3, lanes, n, out, n * bytes - 1) == MB_CALL_LENGTH, "short output", n);
    check(mb_raw(MB_RAW_SQR, 3, lanes, n, out, n * bytes) == MB_CALL_OK, "squaring", n);
    lanes[0].a = out;
    check(mb_raw(MB_RAW_SQR, 1, lanes, n, out, n * bytes) == MB_CALL_ALIAS, "in place", n);
    free(lanes);
    free(out);
}

static void run_seal(vector **v, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const mb_bytes *f = v[i]->field;
        uint8_t *out = malloc(f[2].len), *again = malloc(f[2].len);
        check(mb_seal(f[0].data, f[1].data, f[2].data, f[2].len, out, f[2].len) == MB_CALL_OK, "call", i);
        compare(v[i], i, MB_OK, out, f[2].len);
        check(mb_open(f[0].data, f[1].data, out, f[2].len, again, f[2].len) == MB_CALL_OK, "call", i);
        check(memcmp(again, f[2].data, f[2].len) == 0, "open", i);
        check(mb_seal(f[0].data, f[1].data, out, f[2].len, out, f[2].len) == MB_CALL_ALIAS, "in place", i);
        check(mb_seal(f[0].data, out, f[2].data, f[2].len, out, f[2].len) == MB_CALL_ALIAS, "iv in the output", i);
        check(mb_seal(f[0].data, f[1].data, again, 15, out, 15) == MB_CALL_LENGTH, "half a block", i);
        mb_seal_lane lane = {f[0].data, f[1].data, again, 16, 16, 16, 0};
        check(mb_seal_hello(&lane, 1, out, 15) == MB_CALL_LENGTH, "short output", i);
        check(mb_seal_hello(&lane, 1, again, 16) == MB_CALL_ALIAS, "in place", i);
        free(out);
        free(again);
    }
}

static const struct {
    const char *op;
    void (*run)(vector **, size_t);
} runs[] = {{"encrypt", run_encrypt}, {"unwrap", run_unwrap},   {"decrypt", run_decrypt},
            {"wrap", run_wrap},       {"private", run_private}, {"seal", run_seal}};

int main(int argc, char **argv)
{
    check(argc == 2, "need the file of vectors", 0);
    read_vectors(argv[1]);
    for (unsigned mask = 0; mask <= MB_FEATURE_ALL; mask++) {
        mb_features_mask(mask);
        for (size_t r = 0; r < sizeof runs / sizeof *runs; r++) {
            vector *batch[MAX_LANES];
            size_t n = 0;
            for (size_t i = 0; i < vector_count && n < MAX_LANES; i++)
                if (strcmp(vectors[i].op, runs[r].op) == 0)
                    batch[n++] = &vectors[i];
            if (n > 0)
                runs[r].run(batch, n);
        }
    }
    for (size_t i = 0; i < vector_count; i++) {
        for (int f = 0; f < vectors[i].fields; f++)
            free((void *)vectors[i].field[f].data);
        mb_key_free(vectors[i].device);
        mb_key_free(vectors[i].server);
    }
    printf("%zu vectors\n", vector_count);
    return 0;
}
