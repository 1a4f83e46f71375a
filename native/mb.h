/* Multi-buffer RSA for the device handshake: the contract between the layers.
 *
 *   module.c          Python objects <-> lanes; copies, lengths, GIL
 *   mb_steps.c        one protocol step a lane (padding, HMAC, checks), batches of any size
 *   mb_keys.c         key files and integers -> limbs and Montgomery constants
 *   mb_dispatch.c     which implementation runs
 *   mb_portable.c     the oracle: any CPU, any compiler
 *   mb_avx512ifma.c   eight lanes with AVX-512 IFMA
 *   sha1_*.c, aes_*.c the symmetric primitives, one file an ISA
 *
 * All numbers are little-endian arrays of limbs of 52 bits, in every implementation: the Montgomery constants of a
 * key are then computed once and serve all of them, and their results can be compared limb for limb. R is
 * 2^(52 * limbs); at 10, 20 and 40 limbs it leaves at least 12 bits above a prime and 32 above a modulus, so that
 * R > 4n holds with room and values below 2n can stay unreduced between multiplications.
 *
 * Faults are per lane and never disturb another lane. The int that a call returns speaks of the call as a whole.
 */
#ifndef LOADGEN_MB_H
#define LOADGEN_MB_H

#include <stddef.h>
#include <stdint.h>

#define MB_LANES 8
#define MB_LIMB_BITS 52
#define MB_LIMB_MASK ((UINT64_C(1) << MB_LIMB_BITS) - 1)
#define MB_LIMBS_512 10
#define MB_LIMBS_1024 20
#define MB_LIMBS_2048 40
#define MB_MAX_LIMBS MB_LIMBS_2048
#define MB_MAX_BYTES 256

#define MB_DEVICE_BYTES 128
#define MB_SERVER_BYTES 256
#define MB_MATERIAL_BYTES 40
#define MB_REPLY_BYTES (MB_DEVICE_BYTES + MB_SERVER_BYTES)
#define MB_SHA1_BYTES 20
#define MB_AES_BLOCK 16
#define MB_PAD_OVERHEAD 11 /* 00 02, at least eight bytes, 00 */

/* What became of one lane. */
enum mb_status {
    MB_OK = 0,
    MB_BAD_KEY = 1,        /* device side: does not decrypt to exactly 40 bytes */
    MB_BAD_SIGNATURE = 2,  /* device side: the signature does not recover to the HMAC */
    MB_BAD_CIPHERTEXT = 3, /* cloud side: wrong padding, or not below the modulus */
    MB_BAD_INPUT = 4,      /* a length is wrong, or the key does not fit the operation */
    MB_FAULTY_RESULT = 5   /* a CRT result failed its check with the public exponent */
};

/* What became of a call. Unless MB_CALL_OK, no lane has a result. */
enum mb_call {
    MB_CALL_OK = 0,
    MB_CALL_LENGTH = 1, /* the output buffer has not the size the lanes need */
    MB_CALL_ALIAS = 2,  /* the output buffer overlaps an input */
    MB_CALL_RANDOM = 3, /* the system's generator failed */
    MB_CALL_MEMORY = 4
};

/* An odd modulus. n and rr point into the key that owns them. */
typedef struct {
    unsigned limbs; /* 10, 20 or 40 */
    unsigned bits;
    uint64_t k0;        /* -1/n mod 2^52 */
    const uint64_t *n;  /* limbs */
    const uint64_t *rr; /* R^2 mod n */
} mb_modulus;

typedef enum { MB_PUBLIC = 0, MB_PRIVATE = 1 } mb_kind;

/* A key, parsed once, immutable afterwards and so free to be used by any thread. A private one of 1024 bits takes
 * about 1 KB. e is 65537 always. */
typedef struct {
    mb_kind kind;
    unsigned bytes;    /* of the modulus: 128 or 256 */
    unsigned exp_bits; /* length of the longer prime, and so of both exponents; private keys only, as all below */
    size_t store_limbs;
    mb_modulus n, p, q;
    const uint64_t *dp, *dq, *qinv; /* limbs of p */
    uint64_t store[];
} mb_key;

/* Integers of a key as big-endian bytes, with any number of leading zeros. */
typedef struct {
    const uint8_t *data;
    size_t len;
} mb_bytes;

typedef struct {
    mb_bytes n, e, p, q, dp, dq, qinv; /* e may be empty: 65537 */
} mb_key_numbers;

/* NULL with one sentence in *why when the key cannot be used; bytes is 128 or 256. */
mb_key *mb_key_public(unsigned bytes, mb_bytes n, const char **why);
mb_key *mb_key_private(unsigned bytes, const mb_key_numbers *numbers, const char **why);
/* PKCS#1 RSAPrivateKey or PKCS#8 PrivateKeyInfo in DER. Integers may carry superfluous leading zeros, as the
 * generator inside the device's firmware writes them. Returns 0, or -1 with *why. */
int mb_der_private(mb_bytes der, mb_key_numbers *numbers, const char **why);
/* A bare modulus for the primitives below; bits is 512, 1024 or 2048. */
mb_key *mb_key_modulus(unsigned bits, mb_bytes n, const char **why);
/* Wipes and frees. */
void mb_key_free(mb_key *key);

/* --- protocol steps. `out` holds one slot a lane, in order; slots of lanes with a fault are zero. */

typedef struct {
    const mb_key *server;   /* public, 2048 */
    const uint8_t *plain;   /* at most 245 bytes */
    size_t plain_len;
    const uint8_t *padding; /* 253 - plain_len bytes, none zero; NULL: from the system's generator */
    size_t padding_len;
    int status;
} mb_encrypt_lane;
int mb_encrypt_nonce(mb_encrypt_lane *lanes, size_t count, uint8_t *out, size_t out_len); /* 256 a lane */

typedef struct {
    const mb_key *device; /* private, 1024 */
    const mb_key *server; /* public, 2048 */
    const uint8_t *reply; /* 384 bytes */
    size_t reply_len;
    int status;
} mb_unwrap_lane;
int mb_unwrap_key(mb_unwrap_lane *lanes, size_t count, uint8_t *out, size_t out_len); /* 40 a lane */

typedef struct {
    const mb_key *server;  /* private, 2048 */
    const uint8_t *cipher; /* 256 bytes */
    size_t cipher_len;
    size_t plain_len; /* set by the call */
    int status;
} mb_decrypt_lane;
int mb_decrypt_nonce(mb_decrypt_lane *lanes, size_t count, uint8_t *out, size_t out_len); /* 256 a lane */

typedef struct {
    const mb_key *server;    /* private, 2048 */
    const mb_key *device;    /* public, 1024 */
    const uint8_t *material; /* 40 bytes */
    size_t material_len;
    const uint8_t *padding; /* 85 bytes, none zero; NULL: from the system's generator */
    size_t padding_len;
    int status;
} mb_wrap_lane;
int mb_wrap_key(mb_wrap_lane *lanes, size_t count, uint8_t *out, size_t out_len); /* 384 a lane */

typedef struct {
    const uint8_t *key, *iv, *padded; /* 16 bytes each */
    size_t key_len, iv_len, padded_len;
    int status;
} mb_seal_lane;
int mb_seal_hello(mb_seal_lane *lanes, size_t count, uint8_t *out, size_t out_len); /* 16 a lane */

/* AES-128-CBC over whole blocks; out must not overlap data, key or iv. */
int mb_seal(const uint8_t key[16], const uint8_t iv[16], const uint8_t *data, size_t len, uint8_t *out, size_t out_len);
int mb_open(const uint8_t key[16], const uint8_t iv[16], const uint8_t *data, size_t len, uint8_t *out, size_t out_len);

void mb_hmac_sha1(const uint8_t *key, size_t key_len, const uint8_t *message, size_t len, uint8_t mac[MB_SHA1_BYTES]);

/* --- raw operations, for tests and benchmarks: x^65537 mod n, x^d mod n, a * b^count mod n and a^(2^count) mod n.
 * `a` and `b` have `bytes` bytes of the modulus, below it. */
typedef struct {
    const mb_key *key;
    const uint8_t *a, *b;
    size_t a_len, b_len;
    int status;
} mb_raw_lane;
enum mb_raw_op { MB_RAW_PUBLIC, MB_RAW_PRIVATE, MB_RAW_MUL, MB_RAW_SQR };
int mb_raw(enum mb_raw_op op, unsigned repeat, mb_raw_lane *lanes, size_t count, uint8_t *out, size_t out_len);

/* --- implementations */

/* At most eight lanes of one modulus size. Inputs are big-endian, as long as the modulus and below it; outputs do not
 * overlap inputs. */
typedef struct {
    const char *name;
    int (*public_op)(unsigned lanes, const mb_modulus *const *mod, const uint8_t *const *in, uint8_t *const *out);
    /* *faulty: a bit for each lane whose result failed the check with e; its output is zeroed. */
    int (*private_op)(unsigned lanes, const mb_key *const *key, const uint8_t *const *in, uint8_t *const *out,
                      unsigned *faulty);
    /* a * b^repeat mod n, or a^(2^repeat) mod n where b is NULL. */
    int (*repeat_op)(unsigned lanes, const mb_modulus *const *mod, const uint8_t *const *a, const uint8_t *const *b,
                     unsigned repeat, uint8_t *const *out);
} mb_rsa;

extern const mb_rsa mb_rsa_portable;
extern const mb_rsa mb_rsa_avx512ifma;

typedef void (*mb_sha1_fn)(uint32_t state[5], const uint8_t *blocks, size_t count);
void mb_sha1_portable(uint32_t state[5], const uint8_t *blocks, size_t count);
void mb_sha1_shani(uint32_t state[5], const uint8_t *blocks, size_t count);

typedef void (*mb_cbc_fn)(const uint8_t key[16], const uint8_t iv[16], const uint8_t *in, size_t blocks, uint8_t *out);
void mb_cbc_encrypt_portable(const uint8_t key[16], const uint8_t iv[16], const uint8_t *in, size_t blocks, uint8_t *out);
void mb_cbc_decrypt_portable(const uint8_t key[16], const uint8_t iv[16], const uint8_t *in, size_t blocks, uint8_t *out);
void mb_cbc_encrypt_aesni(const uint8_t key[16], const uint8_t iv[16], const uint8_t *in, size_t blocks, uint8_t *out);
void mb_cbc_decrypt_aesni(const uint8_t key[16], const uint8_t iv[16], const uint8_t *in, size_t blocks, uint8_t *out);

#if (defined(__x86_64__) || defined(_M_X64)) && (defined(__GNUC__) || defined(__clang__))
#define MB_X86 1
#else
#define MB_X86 0
#endif

/* --- dispatch: a set of features the CPU and the operating system offer, less what a test or a user masks. */
enum mb_feature {
    MB_FEATURE_AVX512F = 1 << 0,
    MB_FEATURE_AVX512IFMA = 1 << 1,
    MB_FEATURE_AESNI = 1 << 2,
    MB_FEATURE_SHANI = 1 << 3,
    MB_FEATURE_ALL = (1 << 4) - 1
};
unsigned mb_features_detected(void);
unsigned mb_features(void);
void mb_features_mask(unsigned allowed);
const mb_rsa *mb_rsa_active(void);
mb_sha1_fn mb_sha1_active(void);
mb_cbc_fn mb_cbc_encrypt_active(void);
mb_cbc_fn mb_cbc_decrypt_active(void);

/* --- helpers shared by the implementations */
void mb_wipe(void *data, size_t len); /* a memset that the compiler may not drop */
int mb_overlap(const void *a, size_t a_len, const void *b, size_t b_len);
void mb_limbs_from_bytes(uint64_t *limbs, unsigned count, const uint8_t *data, size_t len);
void mb_limbs_to_bytes(uint8_t *data, size_t len, const uint64_t *limbs, unsigned count);
/* r = a * b / R mod n, fully reduced, for a * b < R * n; r may be a or b. */
void mb_mont_mul(const mb_modulus *mod, uint64_t *r, const uint64_t *a, const uint64_t *b);
/* r = a * b + c, with 2 * limbs limbs and apart from the others; c may be NULL. */
void mb_mul_add(uint64_t *r, const uint64_t *a, const uint64_t *b, const uint64_t *c, unsigned limbs);

#endif
