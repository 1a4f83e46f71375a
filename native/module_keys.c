/* Keys as Python objects: parsed once, immutable, one type for each of the four that the protocol knows. */
#include "module.h"

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

PyType_Spec *const key_specs[KEY_TYPES] = {
    [DEVICE_KEY] = &device_key_spec,
    [DEVICE_PUBLIC_KEY] = &device_public_spec,
    [SERVER_KEY] = &server_key_spec,
    [SERVER_PUBLIC_KEY] = &server_public_spec,
};
