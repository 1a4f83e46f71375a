/* The extension module loadgen._native: Python objects to lanes and back, once a batch.
 *
 * Every batch function works in three steps: take references to keys and byte strings and check types and list lengths
 * (with the GIL); run the C layer (without it); build the list of results (with it again). Only `bytes` are accepted
 * as lane data: they cannot change while the GIL is released, so nothing has to be copied, and the output is always
 * a fresh buffer. A wrong length is the fault of its lane, a wrong type or unequal lists the fault of the caller.
 *
 * seal and open are called on the event loop for a few blocks. They keep the GIL: giving it up costs more than the
 * operation, and getting it back can take a switch interval while another thread computes.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "mb.h"

#include <string.h>

#define KEEP_GIL_BYTES 4096

enum key_type { DEVICE_KEY, DEVICE_PUBLIC_KEY, SERVER_KEY, SERVER_PUBLIC_KEY, KEY_TYPES };

typedef struct {
    PyTypeObject *types[KEY_TYPES];
} module_state;

typedef struct {
    PyObject_HEAD
    mb_key *key;
} key_object;



/* --- keys */

static void key_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    mb_key_free(((key_object *)self)->key);
    type->tp_free(self);
    Py_DECREF(type);
}

/* Takes over `key`, which may be NULL with `why`. */
static PyObject *key_wrap(PyTypeObject *type, mb_key *key, const char *why)
{
    if (key == NULL) {
        PyErr_SetString(PyExc_ValueError, why);
        return NULL;
    }
    key_object *self = (key_object *)type->tp_alloc(type, 0);
    if (self == NULL)
        mb_key_free(key);
    else
        self->key = key;
    return (PyObject *)self;
}

static PyObject *public_new(PyTypeObject *type, PyObject *args, PyObject *kwargs, unsigned bytes)
{
    static char *names[] = {"n", NULL};
    Py_buffer n;
    const char *why = NULL;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "y*", names, &n))
        return NULL;
    mb_key *key = mb_key_public(bytes, (mb_bytes){n.buf, (size_t)n.len}, &why);
    PyBuffer_Release(&n);
    return key_wrap(type, key, why);
}

static PyObject *private_new(PyTypeObject *type, PyObject *args, PyObject *kwargs, unsigned bytes)
{
    static char *names[] = {"n", "p", "q", "dp", "dq", "qinv", NULL};
    Py_buffer b[6];
    const char *why = NULL;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "y*y*y*y*y*y*", names, &b[0], &b[1], &b[2], &b[3], &b[4], &b[5]))
        return NULL;
    mb_bytes v[6];
    for (int i = 0; i < 6; i++)
        v[i] = (mb_bytes){b[i].buf, (size_t)b[i].len};
    const mb_key_numbers numbers = {.n = v[0], .p = v[1], .q = v[2], .dp = v[3], .dq = v[4], .qinv = v[5]};
    mb_key *key = mb_key_private(bytes, &numbers, &why);
    for (int i = 0; i < 6; i++)
        PyBuffer_Release(&b[i]);
    return key_wrap(type, key, why);
}

static PyObject *private_from_der(PyObject *type, PyObject *arg, unsigned bytes)
{
    Py_buffer der;
    const char *why = NULL;
    mb_key_numbers numbers;
    mb_key *key = NULL;
    if (PyObject_GetBuffer(arg, &der, PyBUF_SIMPLE) != 0)
        return NULL;
    if (mb_der_private((mb_bytes){der.buf, (size_t)der.len}, &numbers, &why) == 0)
        key = mb_key_private(bytes, &numbers, &why);
    PyBuffer_Release(&der);
    return key_wrap((PyTypeObject *)type, key, why);
}

static PyObject *device_key_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    return private_new(type, args, kwargs, MB_DEVICE_BYTES);
}

static PyObject *server_key_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    return private_new(type, args, kwargs, MB_SERVER_BYTES);
}

static PyObject *device_public_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    return public_new(type, args, kwargs, MB_DEVICE_BYTES);
}

static PyObject *server_public_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    return public_new(type, args, kwargs, MB_SERVER_BYTES);
}

static PyObject *device_from_der(PyObject *type, PyObject *arg)
{
    return private_from_der(type, arg, MB_DEVICE_BYTES);
}

static PyObject *server_from_der(PyObject *type, PyObject *arg)
{
    return private_from_der(type, arg, MB_SERVER_BYTES);
}

static PyObject *key_modulus(PyObject *self, void *closure)
{
    (void)closure;
    const mb_key *key = ((key_object *)self)->key;
    PyObject *out = PyBytes_FromStringAndSize(NULL, key->bytes);
    if (out != NULL)
        mb_limbs_to_bytes((uint8_t *)PyBytes_AS_STRING(out), key->bytes, key->n.n, key->n.limbs);
    return out;
}

static PyObject *key_sizeof(PyObject *self, PyObject *unused)
{
    (void)unused;
    const mb_key *key = ((key_object *)self)->key;
    return PyLong_FromSize_t(sizeof(key_object) + sizeof *key + key->store_limbs * sizeof(uint64_t));
}

static PyGetSetDef key_getset[] = {
    {"modulus", key_modulus, NULL, "The modulus as big-endian bytes of full length.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

#define SIZEOF_METHOD {"__sizeof__", key_sizeof, METH_NOARGS, "Bytes of memory, Montgomery constants included."}
#define FROM_DER_DOC "A key from PKCS#1 or PKCS#8 DER; ValueError with one sentence where it cannot be used."

static PyMethodDef public_methods[] = {SIZEOF_METHOD, {NULL, NULL, 0, NULL}};
static PyMethodDef device_key_methods[] = {
    {"from_der", device_from_der, METH_O | METH_CLASS, FROM_DER_DOC}, SIZEOF_METHOD, {NULL, NULL, 0, NULL}};
static PyMethodDef server_key_methods[] = {
    {"from_der", server_from_der, METH_O | METH_CLASS, FROM_DER_DOC}, SIZEOF_METHOD, {NULL, NULL, 0, NULL}};

#define KEY_SPEC(variable, python_name, new_fn, method_table, doc)                                                      \
    static PyType_Slot variable##_slots[] = {                                                                          \
        {Py_tp_new, new_fn},          {Py_tp_dealloc, key_dealloc}, {Py_tp_getset, key_getset},                        \
        {Py_tp_methods, method_table}, {Py_tp_doc, doc},             {0, NULL},                                        \
    };                                                                                                                 \
    static PyType_Spec variable = {                                                                                    \
        .name = "loadgen._native." python_name,                                                                        \
        .basicsize = sizeof(key_object),                                                                               \
        .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,                                                        \
        .slots = variable##_slots,                                                                                     \
    }

KEY_SPEC(device_key_spec, "DeviceKey", device_key_new, device_key_methods,
         "RSA-1024 private key of a device, from big-endian integers.");
KEY_SPEC(device_public_spec, "DevicePublicKey", device_public_new, public_methods,
         "RSA-1024 modulus of a device; the exponent is 65537.");
KEY_SPEC(server_key_spec, "ServerKey", server_key_new, server_key_methods,
         "RSA-2048 private key of a cloud, from big-endian integers.");
KEY_SPEC(server_public_spec, "ServerPublicKey", server_public_new, public_methods,
         "RSA-2048 modulus of a cloud; the exponent is 65537.");

/* --- batches */

/* Up to four parallel sequences of one length, each of keys of a type or of bytes. References are held in `items`
 * (column after column): the lists themselves may change while the GIL is released. */
typedef struct {
    size_t count;
    size_t columns;
    PyObject **items;
    void *lanes;
    size_t lane_size;
    uint8_t *out;
    size_t out_len;
} batch;

static void batch_free(batch *b)
{
    for (size_t i = 0; b->items != NULL && i < b->count * b->columns; i++)
        Py_XDECREF(b->items[i]);
    PyMem_Free(b->items);
    PyMem_Free(b->lanes);
    if (b->out != NULL)
        mb_wipe(b->out, b->out_len);
    PyMem_Free(b->out);
}

/* A column is wanted as keys of `type`, or as bytes where that is NULL. */
static int batch_column(batch *b, size_t column, PyObject *sequence, PyTypeObject *type, const char *name)
{
    PyObject *fast = PySequence_Fast(sequence, "a batch needs sequences");
    if (fast == NULL)
        return -1;
    if ((size_t)PySequence_Fast_GET_SIZE(fast) != b->count) {
        PyErr_Format(PyExc_ValueError, "%s: the sequences of a batch differ in length", name);
        Py_DECREF(fast);
        return -1;
    }
    for (size_t i = 0; i < b->count; i++) {
        PyObject *item = PySequence_Fast_GET_ITEM(fast, (Py_ssize_t)i);
        if (type != NULL ? !Py_IS_TYPE(item, type) : !PyBytes_Check(item)) {
            PyErr_Format(PyExc_TypeError, "%s[%zu]: need %s, not %.100s", name, i,
                         type != NULL ? type->tp_name : "bytes", Py_TYPE(item)->tp_name);
            Py_DECREF(fast);
            return -1;
        }
        Py_INCREF(item);
        b->items[column * b->count + i] = item;
    }
    Py_DECREF(fast);
    return 0;
}

typedef struct {
    PyObject *sequence;
    PyTypeObject *type;
    const char *name;
} column_spec;

static int batch_init(batch *b, const column_spec *specs, size_t columns, size_t lane_size, size_t slot)
{
    memset(b, 0, sizeof *b);
    const Py_ssize_t count = PySequence_Size(specs[0].sequence);
    if (count < 0)
        return -1;
    b->columns = columns;
    b->lane_size = lane_size;
    b->out_len = (size_t)count * slot;
    b->items = PyMem_Calloc((size_t)count * columns + 1, sizeof *b->items);
    b->lanes = PyMem_Calloc((size_t)count + 1, lane_size);
    b->out = PyMem_Malloc(b->out_len + 1);
    if (b->items == NULL || b->lanes == NULL || b->out == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    b->count = (size_t)count;
    for (size_t i = 0; i < columns; i++)
        if (batch_column(b, i, specs[i].sequence, specs[i].type, specs[i].name) != 0)
            return -1;
    return 0;
}

static const mb_key *item_key(const batch *b, size_t column, size_t lane)
{
    return ((key_object *)b->items[column * b->count + lane])->key;
}

static const uint8_t *item_bytes(const batch *b, size_t column, size_t lane, size_t *len)
{
    PyObject *item = b->items[column * b->count + lane];
    *len = (size_t)PyBytes_GET_SIZE(item);
    return (const uint8_t *)PyBytes_AS_STRING(item);
}

static int raise_call(int call)
{
    switch (call) {
    case MB_CALL_OK:
        return 0;
    case MB_CALL_RANDOM:
        PyErr_SetString(PyExc_OSError, "the system's random generator failed");
        break;
    case MB_CALL_MEMORY:
        PyErr_NoMemory();
        break;
    case MB_CALL_ALIAS:
        PyErr_SetString(PyExc_ValueError, "a result would overlap its input");
        break;
    default:
        PyErr_SetString(PyExc_ValueError, "a length is wrong");
    }
    return -1;
}

static PyObject *result_item(const uint8_t *slot, size_t len, int status)
{
    return status == MB_OK ? PyBytes_FromStringAndSize((const char *)slot, (Py_ssize_t)len) : PyLong_FromLong(status);
}

/* The list of results; `slot` bytes of each lane. */
static PyObject *batch_results(const batch *b, size_t slot, size_t status_offset)
{
    PyObject *list = PyList_New((Py_ssize_t)b->count);
    for (size_t i = 0; list != NULL && i < b->count; i++) {
        int status;
        memcpy(&status, (const char *)b->lanes + i * b->lane_size + status_offset, sizeof status);
        PyObject *item = result_item(b->out + i * slot, slot, status);
        if (item == NULL)
            Py_CLEAR(list);
        else
            PyList_SET_ITEM(list, (Py_ssize_t)i, item);
    }
    return list;
}

static module_state *state_of(PyObject *module)
{
    return (module_state *)PyModule_GetState(module);
}

static PyObject *py_encrypt_nonce(PyObject *module, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"keys", "plaintexts", "paddings", NULL};
    PyObject *keys, *plains, *paddings = Py_None, *results = NULL;
    batch b;
    int call;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OO|O", names, &keys, &plains, &paddings))
        return NULL;
    const column_spec columns[] = {{keys, state_of(module)->types[SERVER_PUBLIC_KEY], "keys"},
                                   {plains, NULL, "plaintexts"},
                                   {paddings, NULL, "paddings"}};
    const int padded = paddings != Py_None;
    if (batch_init(&b, columns, padded ? 3 : 2, sizeof(mb_encrypt_lane), MB_SERVER_BYTES) == 0) {
        mb_encrypt_lane *lanes = b.lanes;
        for (size_t i = 0; i < b.count; i++) {
            lanes[i].server = item_key(&b, 0, i);
            lanes[i].plain = item_bytes(&b, 1, i, &lanes[i].plain_len);
            if (padded)
                lanes[i].padding = item_bytes(&b, 2, i, &lanes[i].padding_len);
        }
        Py_BEGIN_ALLOW_THREADS;
        call = mb_encrypt_nonce(lanes, b.count, b.out, b.out_len);
        Py_END_ALLOW_THREADS;
        if (raise_call(call) == 0)
            results = batch_results(&b, MB_SERVER_BYTES, offsetof(mb_encrypt_lane, status));
    }
    batch_free(&b);
    return results;
}

static PyObject *py_unwrap_key(PyObject *module, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"device_keys", "server_keys", "replies", NULL};
    PyObject *devices, *servers, *replies, *results = NULL;
    batch b;
    int call;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OOO", names, &devices, &servers, &replies))
        return NULL;
    const column_spec columns[] = {{devices, state_of(module)->types[DEVICE_KEY], "device_keys"},
                                   {servers, state_of(module)->types[SERVER_PUBLIC_KEY], "server_keys"},
                                   {replies, NULL, "replies"}};
    if (batch_init(&b, columns, 3, sizeof(mb_unwrap_lane), MB_MATERIAL_BYTES) == 0) {
        mb_unwrap_lane *lanes = b.lanes;
        for (size_t i = 0; i < b.count; i++) {
            lanes[i].device = item_key(&b, 0, i);
            lanes[i].server = item_key(&b, 1, i);
            lanes[i].reply = item_bytes(&b, 2, i, &lanes[i].reply_len);
        }
        Py_BEGIN_ALLOW_THREADS;
        call = mb_unwrap_key(lanes, b.count, b.out, b.out_len);
        Py_END_ALLOW_THREADS;
        if (raise_call(call) == 0)
            results = batch_results(&b, MB_MATERIAL_BYTES, offsetof(mb_unwrap_lane, status));
    }
    batch_free(&b);
    return results;
}

static PyObject *py_decrypt_nonce(PyObject *module, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"server_keys", "ciphertexts", NULL};
    PyObject *servers, *ciphers, *results = NULL;
    batch b;
    int call;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OO", names, &servers, &ciphers))
        return NULL;
    const column_spec columns[] = {{servers, state_of(module)->types[SERVER_KEY], "server_keys"},
                                   {ciphers, NULL, "ciphertexts"}};
    if (batch_init(&b, columns, 2, sizeof(mb_decrypt_lane), MB_SERVER_BYTES) == 0) {
        mb_decrypt_lane *lanes = b.lanes;
        for (size_t i = 0; i < b.count; i++) {
            lanes[i].server = item_key(&b, 0, i);
            lanes[i].cipher = item_bytes(&b, 1, i, &lanes[i].cipher_len);
        }
        Py_BEGIN_ALLOW_THREADS;
        call = mb_decrypt_nonce(lanes, b.count, b.out, b.out_len);
        Py_END_ALLOW_THREADS;
        if (raise_call(call) == 0)
            results = PyList_New((Py_ssize_t)b.count);
        for (size_t i = 0; results != NULL && i < b.count; i++) {
            PyObject *item = result_item(b.out + i * MB_SERVER_BYTES, lanes[i].plain_len, lanes[i].status);
            if (item == NULL)
                Py_CLEAR(results);
            else
                PyList_SET_ITEM(results, (Py_ssize_t)i, item);
        }
    }
    batch_free(&b);
    return results;
}

static PyObject *py_wrap_key(PyObject *module, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"server_keys", "device_public_keys", "materials", "paddings", NULL};
    PyObject *servers, *devices, *materials, *paddings = Py_None, *results = NULL;
    batch b;
    int call;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OOO|O", names, &servers, &devices, &materials, &paddings))
        return NULL;
    const column_spec columns[] = {{servers, state_of(module)->types[SERVER_KEY], "server_keys"},
                                   {devices, state_of(module)->types[DEVICE_PUBLIC_KEY], "device_public_keys"},
                                   {materials, NULL, "materials"},
                                   {paddings, NULL, "paddings"}};
    const int padded = paddings != Py_None;
    if (batch_init(&b, columns, padded ? 4 : 3, sizeof(mb_wrap_lane), MB_REPLY_BYTES) == 0) {
        mb_wrap_lane *lanes = b.lanes;
        for (size_t i = 0; i < b.count; i++) {
            lanes[i].server = item_key(&b, 0, i);
            lanes[i].device = item_key(&b, 1, i);
            lanes[i].material = item_bytes(&b, 2, i, &lanes[i].material_len);
            if (padded)
                lanes[i].padding = item_bytes(&b, 3, i, &lanes[i].padding_len);
        }
        Py_BEGIN_ALLOW_THREADS;
        call = mb_wrap_key(lanes, b.count, b.out, b.out_len);
        Py_END_ALLOW_THREADS;
        if (raise_call(call) == 0)
            results = batch_results(&b, MB_REPLY_BYTES, offsetof(mb_wrap_lane, status));
    }
    batch_free(&b);
    return results;
}

static PyObject *py_seal_hello(PyObject *module, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"keys", "ivs", "padded", NULL};
    PyObject *keys, *ivs, *padded, *results = NULL;
    batch b;
    int call;
    (void)module;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OOO", names, &keys, &ivs, &padded))
        return NULL;
    const column_spec columns[] = {{keys, NULL, "keys"}, {ivs, NULL, "ivs"}, {padded, NULL, "padded"}};
    if (batch_init(&b, columns, 3, sizeof(mb_seal_lane), MB_AES_BLOCK) == 0) {
        mb_seal_lane *lanes = b.lanes;
        for (size_t i = 0; i < b.count; i++) {
            lanes[i].key = item_bytes(&b, 0, i, &lanes[i].key_len);
            lanes[i].iv = item_bytes(&b, 1, i, &lanes[i].iv_len);
            lanes[i].padded = item_bytes(&b, 2, i, &lanes[i].padded_len);
        }
        Py_BEGIN_ALLOW_THREADS;
        call = mb_seal_hello(lanes, b.count, b.out, b.out_len);
        Py_END_ALLOW_THREADS;
        if (raise_call(call) == 0)
            results = batch_results(&b, MB_AES_BLOCK, offsetof(mb_seal_lane, status));
    }
    batch_free(&b);
    return results;
}

/* --- one message */

typedef int (*cbc_call)(const uint8_t *, const uint8_t *, const uint8_t *, size_t, uint8_t *, size_t);

static PyObject *run_cbc(PyObject *const *args, Py_ssize_t nargs, cbc_call run)
{
    Py_buffer v[3];
    PyObject *out = NULL;
    int have = 0;
    if (nargs != 3) {
        PyErr_SetString(PyExc_TypeError, "need key, iv and data");
        return NULL;
    }
    while (have < 3 && PyObject_GetBuffer(args[have], &v[have], PyBUF_SIMPLE) == 0)
        have++;
    if (have == 3) {
        if (v[0].len != 16 || v[1].len != 16)
            PyErr_SetString(PyExc_ValueError, "key and iv need 16 bytes each");
        else if (v[2].len % MB_AES_BLOCK != 0)
            PyErr_SetString(PyExc_ValueError, "data needs whole blocks of 16 bytes");
        else
            out = PyBytes_FromStringAndSize(NULL, v[2].len);
    }
    if (out != NULL) {
        const size_t len = (size_t)v[2].len;
        uint8_t *to = (uint8_t *)PyBytes_AS_STRING(out);
        int call;
        if (len <= KEEP_GIL_BYTES) {
            call = run(v[0].buf, v[1].buf, v[2].buf, len, to, len);
        } else {
            Py_BEGIN_ALLOW_THREADS;
            call = run(v[0].buf, v[1].buf, v[2].buf, len, to, len);
            Py_END_ALLOW_THREADS;
        }
        if (raise_call(call) != 0)
            Py_CLEAR(out);
    }
    while (have > 0)
        PyBuffer_Release(&v[--have]);
    return out;
}

static PyObject *py_seal(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    (void)module;
    return run_cbc(args, nargs, mb_seal);
}

static PyObject *py_open(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    (void)module;
    return run_cbc(args, nargs, mb_open);
}

static PyObject *py_hmac_sha1(PyObject *module, PyObject *args)
{
    (void)module;
    Py_buffer key, message;
    uint8_t mac[MB_SHA1_BYTES];
    PyObject *out = NULL;
    if (!PyArg_ParseTuple(args, "y*y*", &key, &message))
        return NULL;
    if (key.len > 64) {
        PyErr_SetString(PyExc_ValueError, "the key is longer than a block");
    } else {
        Py_BEGIN_ALLOW_THREADS;
        mb_hmac_sha1(key.buf, (size_t)key.len, message.buf, (size_t)message.len, mac);
        Py_END_ALLOW_THREADS;
        out = PyBytes_FromStringAndSize((const char *)mac, sizeof mac);
    }
    PyBuffer_Release(&key);
    PyBuffer_Release(&message);
    return out;
}

/* --- raw operations */

static PyObject *run_raw(batch *b, enum mb_raw_op op, unsigned repeat, size_t bytes)
{
    int call;
    Py_BEGIN_ALLOW_THREADS;
    call = mb_raw(op, repeat, b->lanes, b->count, b->out, b->out_len);
    Py_END_ALLOW_THREADS;
    return raise_call(call) == 0 ? batch_results(b, bytes, offsetof(mb_raw_lane, status)) : NULL;
}

static PyObject *py_private_raw(PyObject *module, PyObject *args)
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

static PyObject *py_modexp_public(PyObject *module, PyObject *args)
{
    unsigned bits;
    column_spec columns[] = {{NULL, NULL, "moduli"}, {NULL, NULL, "bases"}};
    (void)module;
    if (!PyArg_ParseTuple(args, "IOO", &bits, &columns[0].sequence, &columns[1].sequence) || check_size(bits) != 0)
        return NULL;
    return raw_on_moduli(MB_RAW_PUBLIC, bits, 1, columns, 2);
}

static PyObject *py_mul_mod(PyObject *module, PyObject *args)
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

static PyObject *py_sqr_mod(PyObject *module, PyObject *args)
{
    unsigned bits, count = 1;
    column_spec columns[] = {{NULL, NULL, "moduli"}, {NULL, NULL, "a"}};
    (void)module;
    if (!PyArg_ParseTuple(args, "IOO|I", &bits, &columns[0].sequence, &columns[1].sequence, &count) ||
        check_size(bits) != 0)
        return NULL;
    return raw_on_moduli(MB_RAW_SQR, bits, count, columns, 2);
}

/* --- dispatch */

static const struct {
    const char *name;
    unsigned bit;
} feature_names[] = {
    {"avx512f", MB_FEATURE_AVX512F},
    {"avx512ifma", MB_FEATURE_AVX512IFMA},
    {"aesni", MB_FEATURE_AESNI},
    {"shani", MB_FEATURE_SHANI},
};
#define FEATURES (sizeof feature_names / sizeof *feature_names)

static PyObject *py_features(PyObject *module, PyObject *unused)
{
    (void)module;
    (void)unused;
    const unsigned have = mb_features_detected();
    PyObject *set = PyFrozenSet_New(NULL);
    for (size_t i = 0; set != NULL && i < FEATURES; i++) {
        if ((have & feature_names[i].bit) == 0)
            continue;
        PyObject *name = PyUnicode_FromString(feature_names[i].name);
        if (name == NULL || PySet_Add(set, name) != 0)
            Py_CLEAR(set);
        Py_XDECREF(name);
    }
    return set;
}

static PyObject *py_isa(PyObject *module, PyObject *unused)
{
    (void)module;
    (void)unused;
    return PyUnicode_FromString(mb_rsa_active()->name);
}

static int mask_by_isa(const char *name)
{
    if (name == NULL || strcmp(name, "auto") == 0) {
        mb_features_mask(MB_FEATURE_ALL);
    } else if (strcmp(name, "portable") == 0) {
        mb_features_mask(0);
    } else if (strcmp(name, "avx512ifma") == 0) {
        const unsigned need = MB_FEATURE_AVX512F | MB_FEATURE_AVX512IFMA;
        if ((mb_features_detected() & need) != need) {
            PyErr_SetString(PyExc_ValueError, "this CPU or operating system does not offer AVX-512 IFMA");
            return -1;
        }
        mb_features_mask(MB_FEATURE_ALL);
    } else {
        PyErr_Format(PyExc_ValueError, "unknown implementation '%.100s': auto, portable or avx512ifma", name);
        return -1;
    }
    return 0;
}

static PyObject *py_force_isa(PyObject *module, PyObject *args)
{
    const char *name;
    (void)module;
    if (!PyArg_ParseTuple(args, "z", &name) || mask_by_isa(name) != 0)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *py_force_features(PyObject *module, PyObject *names)
{
    unsigned mask = 0;
    (void)module;
    if (names == Py_None) {
        mb_features_mask(MB_FEATURE_ALL);
        Py_RETURN_NONE;
    }
    PyObject *fast = PySequence_Fast(names, "need feature names or None");
    if (fast == NULL)
        return NULL;
    for (Py_ssize_t n = 0; n < PySequence_Fast_GET_SIZE(fast); n++) {
        const char *name = PyUnicode_AsUTF8(PySequence_Fast_GET_ITEM(fast, n));
        size_t i = 0;
        while (name != NULL && i < FEATURES && strcmp(name, feature_names[i].name) != 0)
            i++;
        if (name == NULL || i == FEATURES) {
            if (name != NULL)
                PyErr_Format(PyExc_ValueError, "unknown feature '%.100s'", name);
            Py_DECREF(fast);
            return NULL;
        }
        mask |= feature_names[i].bit;
    }
    Py_DECREF(fast);
    mb_features_mask(mask);
    Py_RETURN_NONE;
}

/* --- module */

#define KEYWORDS(fn) ((PyCFunction)(void (*)(void))(fn))

static PyMethodDef functions[] = {
    {"encrypt_nonce", KEYWORDS(py_encrypt_nonce), METH_VARARGS | METH_KEYWORDS,
     "Encrypt each plaintext under its server key; 256 bytes or a fault a lane."},
    {"unwrap_key", KEYWORDS(py_unwrap_key), METH_VARARGS | METH_KEYWORDS,
     "Decrypt and verify each 384-byte reply; 40 bytes or a fault a lane."},
    {"decrypt_nonce", KEYWORDS(py_decrypt_nonce), METH_VARARGS | METH_KEYWORDS,
     "Decrypt each 256-byte ciphertext; the plaintext or a fault a lane."},
    {"wrap_key", KEYWORDS(py_wrap_key), METH_VARARGS | METH_KEYWORDS,
     "Encrypt and sign each 40 bytes of session material; 384 bytes or a fault a lane."},
    {"seal_hello", KEYWORDS(py_seal_hello), METH_VARARGS | METH_KEYWORDS,
     "AES-128-CBC encrypt one padded block a lane; 16 bytes or a fault."},
    {"seal", KEYWORDS(py_seal), METH_FASTCALL, "AES-128-CBC encrypt whole blocks: key, iv, data."},
    {"open", KEYWORDS(py_open), METH_FASTCALL, "AES-128-CBC decrypt whole blocks: key, iv, data."},
    {"hmac_sha1", py_hmac_sha1, METH_VARARGS, "HMAC-SHA1 with a key of at most 64 bytes: key, message."},
    {"modexp_public", py_modexp_public, METH_VARARGS, "base^65537 mod n a lane: size in bits, moduli, bases."},
    {"private_raw", py_private_raw, METH_VARARGS, "input^d mod n a lane by CRT, checked: keys, inputs."},
    {"mul_mod", py_mul_mod, METH_VARARGS, "a * b^count mod n a lane: size in bits, moduli, a, b, count = 1."},
    {"sqr_mod", py_sqr_mod, METH_VARARGS, "a^(2^count) mod n a lane: size in bits, moduli, a, count = 1."},
    {"features", py_features, METH_NOARGS, "Names of the features that CPU and operating system offer."},
    {"isa", py_isa, METH_NOARGS, "Name of the RSA implementation in use."},
    {"force_isa", py_force_isa, METH_VARARGS, "Use one implementation: auto (or None), portable or avx512ifma."},
    {"force_features", py_force_features, METH_O, "Use no features but these of the detected ones; None: all."},
    {NULL, NULL, 0, NULL},
};

static int add_constants(PyObject *module)
{
    return PyModule_AddIntConstant(module, "BAD_KEY", MB_BAD_KEY) ||
           PyModule_AddIntConstant(module, "BAD_SIGNATURE", MB_BAD_SIGNATURE) ||
           PyModule_AddIntConstant(module, "BAD_CIPHERTEXT", MB_BAD_CIPHERTEXT) ||
           PyModule_AddIntConstant(module, "BAD_INPUT", MB_BAD_INPUT) ||
           PyModule_AddIntConstant(module, "FAULTY_RESULT", MB_FAULTY_RESULT) ||
           PyModule_AddIntConstant(module, "LANES", MB_LANES);
}

static int module_exec(PyObject *module)
{
    PyType_Spec *const specs[KEY_TYPES] = {
        [DEVICE_KEY] = &device_key_spec,
        [DEVICE_PUBLIC_KEY] = &device_public_spec,
        [SERVER_KEY] = &server_key_spec,
        [SERVER_PUBLIC_KEY] = &server_public_spec,
    };
    module_state *state = state_of(module);
    for (int i = 0; i < KEY_TYPES; i++) {
        state->types[i] = (PyTypeObject *)PyType_FromModuleAndSpec(module, specs[i], NULL);
        if (state->types[i] == NULL || PyModule_AddType(module, state->types[i]) != 0)
            return -1;
    }
    if (add_constants(module) != 0)
        return -1;
    if (mask_by_isa(getenv("LOADGEN_NATIVE_ISA")) == 0)
        return 0;
    /* An import may fail, and callers expect it to fail, with ImportError only. */
    PyObject *type, *why, *trace;
    PyErr_Fetch(&type, &why, &trace);
    PyErr_Format(PyExc_ImportError, "LOADGEN_NATIVE_ISA: %S", why != NULL ? why : Py_None);
    Py_XDECREF(type);
    Py_XDECREF(why);
    Py_XDECREF(trace);
    return -1;
}

static int module_traverse(PyObject *module, visitproc visit, void *arg)
{
    module_state *state = state_of(module);
    for (int i = 0; i < KEY_TYPES; i++)
        Py_VISIT(state->types[i]);
    return 0;
}

static int module_clear(PyObject *module)
{
    module_state *state = state_of(module);
    for (int i = 0; i < KEY_TYPES; i++)
        Py_CLEAR(state->types[i]);
    return 0;
}

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, module_exec},
#ifdef Py_MOD_PER_INTERPRETER_GIL_SUPPORTED
    {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},
#endif
    {0, NULL},
};

static struct PyModuleDef module_def = {
    PyModuleDef_HEAD_INIT,
    .m_name = "loadgen._native",
    .m_doc = "Multi-buffer RSA for the device handshake: one protocol step a lane, eight lanes at a time.",
    .m_size = sizeof(module_state),
    .m_methods = functions,
    .m_slots = module_slots,
    .m_traverse = module_traverse,
    .m_clear = module_clear,
};

PyMODINIT_FUNC PyInit__native(void)
{
    return PyModuleDef_Init(&module_def);
}
