/* Python sequences to lanes and results to a list. Only `bytes` are accepted as lane data: they cannot change while the
 * GIL is released, so nothing has to be copied, and the output is always a fresh buffer. A wrong length is the fault of
 * its lane, a wrong type or unequal lists the fault of the caller.
 */
#include "module.h"

#include <string.h>

void batch_free(batch *b)
{
    for (size_t i = 0; b->items != NULL && i < b->count * b->columns; i++)
        Py_XDECREF(b->items[i]);
    PyMem_Free(b->items);
    PyMem_Free(b->lanes);
    if (b->out != NULL)
        mb_wipe(b->out, b->out_len);
    PyMem_Free(b->out);
}

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

int batch_init(batch *b, const column_spec *specs, size_t columns, size_t lane_size, size_t slot)
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

const mb_key *item_key(const batch *b, size_t column, size_t lane)
{
    return ((key_object *)b->items[column * b->count + lane])->key;
}

const uint8_t *item_bytes(const batch *b, size_t column, size_t lane, size_t *len)
{
    PyObject *item = b->items[column * b->count + lane];
    *len = (size_t)PyBytes_GET_SIZE(item);
    return (const uint8_t *)PyBytes_AS_STRING(item);
}

int raise_call(int call)
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

PyObject *batch_results(const batch *b, size_t slot, size_t status_offset, size_t length_offset)
{
    PyObject *list = PyList_New((Py_ssize_t)b->count);
    for (size_t i = 0; list != NULL && i < b->count; i++) {
        const char *lane = (const char *)b->lanes + i * b->lane_size;
        const char *result = (const char *)b->out + i * slot;
        size_t len = slot;
        int status;
        memcpy(&status, lane + status_offset, sizeof status);
        if (length_offset != NO_LENGTH)
            memcpy(&len, lane + length_offset, sizeof len);
        PyObject *item =
            status == MB_OK ? PyBytes_FromStringAndSize(result, (Py_ssize_t)len) : PyLong_FromLong(status);
        if (item == NULL)
            Py_CLEAR(list);
        else
            PyList_SET_ITEM(list, (Py_ssize_t)i, item);
    }
    return list;
}
