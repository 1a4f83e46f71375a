/* What the files of the extension module share: keys as Python objects, and batches of Python objects as lanes. */
#ifndef LOADGEN_MODULE_H
#define LOADGEN_MODULE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "mb.h"

/* The types of keys, and how a column of plain bytes is written where a type is asked for. */
enum key_type { DEVICE_KEY, DEVICE_PUBLIC_KEY, SERVER_KEY, SERVER_PUBLIC_KEY, KEY_TYPES, BYTES = KEY_TYPES };

typedef struct {
    PyTypeObject *types[KEY_TYPES];
} module_state;

static inline module_state *state_of(PyObject *module)
{
    return (module_state *)PyModule_GetState(module);
}

typedef struct {
    PyObject_HEAD
    mb_key *key;
} key_object;

extern PyType_Spec *const key_specs[KEY_TYPES];

/* --- batches: up to four parallel sequences of one length, each of keys of a type or of bytes. References are held in
 * `items` (column after column): the lists themselves may change while the GIL is released. */
typedef struct {
    size_t count;
    size_t columns;
    PyObject **items;
    void *lanes;
    size_t lane_size;
    uint8_t *out;
    size_t out_len;
} batch;

/* A column is wanted as keys of `type`, or as bytes where that is NULL. */
typedef struct {
    PyObject *sequence;
    PyTypeObject *type;
    const char *name;
} column_spec;

/* All lanes zero and `slot` bytes of output for each. 0, or -1 with an exception; batch_free either way. */
int batch_init(batch *b, const column_spec *specs, size_t columns, size_t lane_size, size_t slot);
void batch_free(batch *b);
const mb_key *item_key(const batch *b, size_t column, size_t lane);
const uint8_t *item_bytes(const batch *b, size_t column, size_t lane, size_t *len);
/* The list of results: the bytes of each lane, or its fault as a number. The offsets are of a lane's `int` status and of
 * the `size_t` length of its result, NO_LENGTH where that is the whole slot. */
#define NO_LENGTH SIZE_MAX
PyObject *batch_results(const batch *b, size_t slot, size_t status_offset, size_t length_offset);
/* 0, or -1 with the exception that belongs to an MB_CALL_* number. */
int raise_call(int call);

/* --- functions of the module; what they take stands beside their names in module.c */
PyObject *py_encrypt_nonce(PyObject *module, PyObject *args, PyObject *kwargs);
PyObject *py_unwrap_key(PyObject *module, PyObject *args, PyObject *kwargs);
PyObject *py_decrypt_nonce(PyObject *module, PyObject *args, PyObject *kwargs);
PyObject *py_wrap_key(PyObject *module, PyObject *args, PyObject *kwargs);
PyObject *py_seal_hello(PyObject *module, PyObject *args, PyObject *kwargs);
PyObject *py_seal(PyObject *module, PyObject *const *args, Py_ssize_t nargs);
PyObject *py_open(PyObject *module, PyObject *const *args, Py_ssize_t nargs);
PyObject *py_hmac_sha1(PyObject *module, PyObject *args);
PyObject *py_modexp_public(PyObject *module, PyObject *args);
PyObject *py_private_raw(PyObject *module, PyObject *args);
PyObject *py_mul_mod(PyObject *module, PyObject *args);
PyObject *py_sqr_mod(PyObject *module, PyObject *args);

#endif
