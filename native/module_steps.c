/* The batch operations: what each protocol step takes, lane by lane, as a table, and one function that runs it in three
 * parts: references to keys and byte strings are taken and checked (with the GIL); the C layer runs (without it); the list
 * of results is built (with it again).
 */
#include "module.h"

#include <string.h>

#define MAX_COLUMNS 4

/* Where an argument goes: keys of a type, or bytes with their length, into these members of a lane. */
typedef struct {
    const char *name;
    enum key_type type;
    size_t data, length;
} argument;

typedef struct {
    argument arguments[MAX_COLUMNS];
    size_t arguments_used, required;
    size_t lane_size, slot, status;
    size_t length; /* of the result, a member of the lane, or NO_LENGTH: the whole slot */
    int (*run)(void *lanes, size_t count, uint8_t *out, size_t out_len);
} step;

#define KEY_OF(lane, member, name, type) {name, type, offsetof(lane, member), NO_LENGTH}
#define BYTES_OF(lane, member, name) {name, BYTES, offsetof(lane, member), offsetof(lane, member##_len)}
#define RUN(fn, lane)                                                                                                  \
    static int run_##fn(void *lanes, size_t count, uint8_t *out, size_t out_len)                                       \
    {                                                                                                                  \
        return mb_##fn((lane *)lanes, count, out, out_len);                                                            \
    }

RUN(encrypt_nonce, mb_encrypt_lane)
RUN(unwrap_key, mb_unwrap_lane)
RUN(decrypt_nonce, mb_decrypt_lane)
RUN(wrap_key, mb_wrap_lane)
RUN(seal_hello, mb_seal_lane)

static const step encrypt_nonce = {
    .arguments = {KEY_OF(mb_encrypt_lane, server, "keys", SERVER_PUBLIC_KEY),
                  BYTES_OF(mb_encrypt_lane, plain, "plaintexts"),
                  BYTES_OF(mb_encrypt_lane, padding, "paddings")},
    .arguments_used = 3,
    .required = 2,
    .lane_size = sizeof(mb_encrypt_lane),
    .slot = MB_SERVER_BYTES,
    .status = offsetof(mb_encrypt_lane, status),
    .length = NO_LENGTH,
    .run = run_encrypt_nonce,
};

static const step unwrap_key = {
    .arguments = {KEY_OF(mb_unwrap_lane, device, "device_keys", DEVICE_KEY),
                  KEY_OF(mb_unwrap_lane, server, "server_keys", SERVER_PUBLIC_KEY),
                  BYTES_OF(mb_unwrap_lane, reply, "replies")},
    .arguments_used = 3,
    .required = 3,
    .lane_size = sizeof(mb_unwrap_lane),
    .slot = MB_MATERIAL_BYTES,
    .status = offsetof(mb_unwrap_lane, status),
    .length = NO_LENGTH,
    .run = run_unwrap_key,
};

static const step decrypt_nonce = {
    .arguments = {KEY_OF(mb_decrypt_lane, server, "server_keys", SERVER_KEY),
                  BYTES_OF(mb_decrypt_lane, cipher, "ciphertexts")},
    .arguments_used = 2,
    .required = 2,
    .lane_size = sizeof(mb_decrypt_lane),
    .slot = MB_SERVER_BYTES,
    .status = offsetof(mb_decrypt_lane, status),
    .length = offsetof(mb_decrypt_lane, plain_len),
    .run = run_decrypt_nonce,
};

static const step wrap_key = {
    .arguments = {KEY_OF(mb_wrap_lane, server, "server_keys", SERVER_KEY),
                  KEY_OF(mb_wrap_lane, device, "device_public_keys", DEVICE_PUBLIC_KEY),
                  BYTES_OF(mb_wrap_lane, material, "materials"),
                  BYTES_OF(mb_wrap_lane, padding, "paddings")},
    .arguments_used = 4,
    .required = 3,
    .lane_size = sizeof(mb_wrap_lane),
    .slot = MB_REPLY_BYTES,
    .status = offsetof(mb_wrap_lane, status),
    .length = NO_LENGTH,
    .run = run_wrap_key,
};

static const step seal_hello = {
    .arguments = {BYTES_OF(mb_seal_lane, key, "keys"),
                  BYTES_OF(mb_seal_lane, iv, "ivs"),
                  BYTES_OF(mb_seal_lane, padded, "padded")},
    .arguments_used = 3,
    .required = 3,
    .lane_size = sizeof(mb_seal_lane),
    .slot = MB_AES_BLOCK,
    .status = offsetof(mb_seal_lane, status),
    .length = NO_LENGTH,
    .run = run_seal_hello,
};

/* The sequences of a call, None for those left out; 0, or -1 with an exception. */
static int step_arguments(const step *s, PyObject *args, PyObject *kwargs, PyObject **sequences)
{
    static const char *const formats[MAX_COLUMNS + 1] = {"", "O", "OO", "OOO", "OOOO"};
    char *names[MAX_COLUMNS + 1] = {NULL};
    char format[MAX_COLUMNS + 2];
    for (size_t i = 0; i < s->arguments_used; i++) {
        names[i] = (char *)s->arguments[i].name;
        sequences[i] = Py_None;
    }
    PyOS_snprintf(format, sizeof format, "%s%s%s", formats[s->required], s->required < s->arguments_used ? "|" : "",
                  formats[s->arguments_used - s->required]);
    return PyArg_ParseTupleAndKeywords(args, kwargs, format, names, &sequences[0], &sequences[1], &sequences[2],
                                       &sequences[3])
               ? 0
               : -1;
}

/* Members are written with memcpy: the table knows where they stand, not what type they have. */
static void fill_lane(const step *s, const batch *b, size_t lane)
{
    char *const to = (char *)b->lanes + lane * b->lane_size;
    for (size_t i = 0; i < b->columns; i++) {
        const argument *a = &s->arguments[i];
        if (a->type != BYTES) {
            const mb_key *key = item_key(b, i, lane);
            memcpy(to + a->data, &key, sizeof key);
        } else {
            size_t len;
            const uint8_t *data = item_bytes(b, i, lane, &len);
            memcpy(to + a->data, &data, sizeof data);
            memcpy(to + a->length, &len, sizeof len);
        }
    }
}

static PyObject *run_step(const step *s, PyObject *module, PyObject *args, PyObject *kwargs)
{
    PyObject *sequences[MAX_COLUMNS], *results = NULL;
    column_spec columns[MAX_COLUMNS];
    size_t used = 0;
    batch b;
    int call;
    if (step_arguments(s, args, kwargs, sequences) != 0)
        return NULL;
    for (; used < s->arguments_used && (used < s->required || sequences[used] != Py_None); used++) {
        const enum key_type type = s->arguments[used].type;
        columns[used] = (column_spec){sequences[used], type == BYTES ? NULL : state_of(module)->types[type],
                                      s->arguments[used].name};
    }
    if (batch_init(&b, columns, used, s->lane_size, s->slot) == 0) {
        for (size_t i = 0; i < b.count; i++)
            fill_lane(s, &b, i);
        Py_BEGIN_ALLOW_THREADS;
        call = s->run(b.lanes, b.count, b.out, b.out_len);
        Py_END_ALLOW_THREADS;
        if (raise_call(call) == 0)
            results = batch_results(&b, s->slot, s->status, s->length);
    }
    batch_free(&b);
    return results;
}

PyObject *py_encrypt_nonce(PyObject *module, PyObject *args, PyObject *kwargs)
{
    return run_step(&encrypt_nonce, module, args, kwargs);
}

PyObject *py_unwrap_key(PyObject *module, PyObject *args, PyObject *kwargs)
{
    return run_step(&unwrap_key, module, args, kwargs);
}

PyObject *py_decrypt_nonce(PyObject *module, PyObject *args, PyObject *kwargs)
{
    return run_step(&decrypt_nonce, module, args, kwargs);
}

PyObject *py_wrap_key(PyObject *module, PyObject *args, PyObject *kwargs)
{
    return run_step(&wrap_key, module, args, kwargs);
}

PyObject *py_seal_hello(PyObject *module, PyObject *args, PyObject *kwargs)
{
    return run_step(&seal_hello, module, args, kwargs);
}

/* --- raw operations */

static PyObject *run_raw(batch *b, enum mb_raw_op op, unsigned repeat, size_t bytes)
{
    int call;
    Py_BEGIN_ALLOW_THREADS;
    call = mb_raw(op, repeat, b->lanes, b->count, b->out, b->out_len);
    Py_END_ALLOW_THREADS;
    return raise_call(call) == 0 ? batch_results(b, bytes, offsetof(mb_raw_lane, status), NO_LENGTH) : NULL;
}

PyObject *py_private_raw(PyObject *module, PyObject *args)
{
    PyObject *keys, *inputs, *results = NULL;
    batch b;
    if (!PyArg_ParseTuple(args, "OO", &keys, &inputs))
        return NULL;
    PyObject *first = PySequence_Size(keys) > 0 ? PySequence_GetItem(keys, 0) : NULL;
    if (PyErr_Occurred())
        return NULL;
    const int device = first != NULL && Py_IS_TYPE(first, state_of(module)->types[DEVICE_KEY]);
    Py_XDECREF(first);
    const size_t bytes = device ? MB_DEVICE_BYTES : MB_SERVER_BYTES;
    const column_spec columns[] = {{keys, state_of(module)->types[device ? DEVICE_KEY : SERVER_KEY], "keys"},
                                   {inputs, NULL, "inputs"}};
    if (batch_init(&b, columns, 2, sizeof(mb_raw_lane), bytes) == 0) {
        mb_raw_lane *lanes = b.lanes;
        for (size_t i = 0; i < b.count; i++) {
            lanes[i].key = item_key(&b, 0, i);
            lanes[i].a = item_bytes(&b, 1, i, &lanes[i].a_len);
        }
        results = run_raw(&b, MB_RAW_PRIVATE, 1, bytes);
    }
    batch_free(&b);
    return results;
}

/* x^65537, a * b^count and a^(2^count) modulo bare moduli: columns moduli, a and, for the product, b. */
static PyObject *raw_on_moduli(enum mb_raw_op op, unsigned bits, unsigned repeat, const column_spec *columns, size_t used)
{
    PyObject *results = NULL;
    const char *why = NULL;
    batch b;
    if (batch_init(&b, columns, used, sizeof(mb_raw_lane), bits / 8) == 0) {
        mb_raw_lane *lanes = b.lanes;
        mb_key **keys = PyMem_Calloc(b.count + 1, sizeof *keys);
        if (keys == NULL)
            PyErr_NoMemory();
        for (size_t i = 0; keys != NULL && i < b.count && why == NULL; i++) {
            mb_bytes n;
            n.data = item_bytes(&b, 0, i, &n.len);
            lanes[i].key = keys[i] = mb_key_modulus(bits, n, &why);
            lanes[i].a = item_bytes(&b, 1, i, &lanes[i].a_len);
            if (used == 3)
                lanes[i].b = item_bytes(&b, 2, i, &lanes[i].b_len);
        }
        if (why != NULL)
            PyErr_SetString(PyExc_ValueError, why);
        else if (keys != NULL)
            results = run_raw(&b, op, repeat, bits / 8);
        for (size_t i = 0; keys != NULL && i < b.count; i++)
            mb_key_free(keys[i]);
        PyMem_Free(keys);
    }
    batch_free(&b);
    return results;
}

static int check_size(unsigned bits)
{
    if (bits == 512 || bits == 1024 || bits == 2048)
        return 0;
    PyErr_SetString(PyExc_ValueError, "the size is not 512, 1024 or 2048 bits");
    return -1;
}

PyObject *py_modexp_public(PyObject *module, PyObject *args)
{
    unsigned bits;
    column_spec columns[] = {{NULL, NULL, "moduli"}, {NULL, NULL, "bases"}};
    (void)module;
    if (!PyArg_ParseTuple(args, "IOO", &bits, &columns[0].sequence, &columns[1].sequence) || check_size(bits) != 0)
        return NULL;
    return raw_on_moduli(MB_RAW_PUBLIC, bits, 1, columns, 2);
}

PyObject *py_mul_mod(PyObject *module, PyObject *args)
{
    unsigned bits, count = 1;
    column_spec columns[] = {{NULL, NULL, "moduli"}, {NULL, NULL, "a"}, {NULL, NULL, "b"}};
    (void)module;
    if (!PyArg_ParseTuple(args, "IOOO|I", &bits, &columns[0].sequence, &columns[1].sequence, &columns[2].sequence,
                          &count) ||
        check_size(bits) != 0)
        return NULL;
    return raw_on_moduli(MB_RAW_MUL, bits, count, columns, 3);
}

PyObject *py_sqr_mod(PyObject *module, PyObject *args)
{
    unsigned bits, count = 1;
    column_spec columns[] = {{NULL, NULL, "moduli"}, {NULL, NULL, "a"}};
    (void)module;
    if (!PyArg_ParseTuple(args, "IOO|I", &bits, &columns[0].sequence, &columns[1].sequence, &count) ||
        check_size(bits) != 0)
        return NULL;
    return raw_on_moduli(MB_RAW_SQR, bits, count, columns, 2);
}
