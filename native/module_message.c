/* Operations on one message. seal and open are called on the event loop for a few blocks. They keep the GIL: giving it up
 * costs more than the operation, and getting it back can take a switch interval while another thread computes.
 */
#include "module.h"

#define KEEP_GIL_BYTES 4096

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

PyObject *py_seal(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    (void)module;
    return run_cbc(args, nargs, mb_seal);
}

PyObject *py_open(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    (void)module;
    return run_cbc(args, nargs, mb_open);
}

PyObject *py_hmac_sha1(PyObject *module, PyObject *args)
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
