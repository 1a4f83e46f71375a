/* The extension module loadgen._native: its functions, its types, and which implementation they run on.
 *
 * Python is crossed once a batch: module_steps.c turns lists into lanes and back, module_message.c does single messages,
 * module_keys.c has the key types, module_batch.c what they share.
 */
#include "module.h"

#include <string.h>

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
    module_state *state = state_of(module);
    for (int i = 0; i < KEY_TYPES; i++) {
        state->types[i] = (PyTypeObject *)PyType_FromModuleAndSpec(module, key_specs[i], NULL);
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
