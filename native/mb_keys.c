/* Keys: integers, or the DER file around them, to limbs and Montgomery constants.
 *
 * Everything an operation needs of a key is computed here once: limbs, -1/n mod 2^52 and R^2 mod n. A fleet has tens of
 * thousands of keys, so they are kept compact (one allocation, about 1 KB for a private key of 1024 bits) and not in
 * the lane-interleaved form of the vector code, which gathers eight of them per batch.
 *
 * A key is refused where arithmetic on it would be meaningless (even or of the wrong size, p * q != n). Exponents are
 * not proved: a wrong one shows in the check that every CRT result has to pass.
 */
#include "mb.h"

#include <stdlib.h>
#include <string.h>

#define PRIME_SLACK 4 /* bits that a prime may be shorter or longer than half the modulus */

static mb_bytes stripped(mb_bytes x)
{
    while (x.len > 0 && x.data[0] == 0) {
        x.data++;
        x.len--;
    }
    return x;
}

/* x has no leading zeros. */
static unsigned bit_length(mb_bytes x)
{
    unsigned bits = (unsigned)x.len * 8;
    if (x.len > 0)
        for (unsigned top = x.data[0]; top < 0x80; top <<= 1)
            bits--;
    return bits;
}

static int below(const uint64_t *a, const uint64_t *b, unsigned limbs)
{
    while (limbs-- > 0)
        if (a[limbs] != b[limbs])
            return a[limbs] < b[limbs];
    return 0;
}

/* x = 2x mod n, for x < n. */
static void double_mod(uint64_t *x, const uint64_t *n, unsigned limbs)
{
    uint64_t t[MB_MAX_LIMBS], carry = 0, borrow = 0;
    for (unsigned i = 0; i < limbs; i++) {
        uint64_t d = x[i] << 1 | carry;
        carry = d >> MB_LIMB_BITS;
        x[i] = d & MB_LIMB_MASK;
        d = x[i] - n[i] - borrow;
        borrow = d >> 63;
        t[i] = d & MB_LIMB_MASK;
    }
    uint64_t keep = (uint64_t)0 - borrow; /* n leaves the top bits free: there is no carry out */
    for (unsigned i = 0; i < limbs; i++)
        x[i] = (x[i] & keep) | (t[i] & ~keep);
    mb_wipe(t, sizeof t);
}

static void modulus_init(mb_modulus *mod, unsigned limbs, mb_bytes n, uint64_t *store_n, uint64_t *store_rr)
{
    mod->limbs = limbs;
    mod->bits = bit_length(n);
    mod->n = store_n;
    mod->rr = store_rr;
    mb_limbs_from_bytes(store_n, limbs, n.data, n.len);

    uint64_t inverse = store_n[0]; /* right in its three lowest bits, as n is odd; each step doubles them */
    for (int i = 0; i < 5; i++)
        inverse *= 2 - store_n[0] * inverse;
    mod->k0 = (0 - inverse) & MB_LIMB_MASK;

    /* R * 2^65 by doubling; each Montgomery squaring then doubles the exponent beside R. 65 * 2^3, 2^4 and 2^5 are
     * the 520, 1040 and 2080 bits of R. */
    memset(store_rr, 0, limbs * sizeof *store_rr);
    unsigned bit = mod->bits - 1;
    store_rr[bit / MB_LIMB_BITS] = UINT64_C(1) << bit % MB_LIMB_BITS;
    for (; bit < limbs * MB_LIMB_BITS + 65; bit++)
        double_mod(store_rr, store_n, limbs);
    for (unsigned power = 65; power < limbs * MB_LIMB_BITS; power *= 2)
        mb_mont_mul(mod, store_rr, store_rr, store_rr);
}

static mb_key *key_alloc(size_t limbs, const char **why)
{
    mb_key *key = calloc(1, sizeof *key + limbs * sizeof(uint64_t));
    if (key == NULL)
        *why = "out of memory";
    else
        key->store_limbs = limbs;
    return key;
}

void mb_key_free(mb_key *key)
{
    if (key == NULL)
        return;
    mb_wipe(key, sizeof *key + key->store_limbs * sizeof(uint64_t));
    free(key);
}

/* One sentence where n cannot be a modulus of `bits` bits: its top byte must count, as the encodings have fixed sizes. */
static const char *modulus_fault(mb_bytes n, unsigned bits)
{
    const unsigned have = bit_length(n);
    if (have > bits || have + 7 < bits)
        return bits == 2048   ? "the modulus has not 2048 bits"
               : bits == 1024 ? "the modulus has not 1024 bits"
                              : "the modulus has not 512 bits";
    if ((n.data[n.len - 1] & 1) == 0)
        return "the modulus is even";
    return NULL;
}

mb_key *mb_key_modulus(unsigned bits, mb_bytes n, const char **why)
{
    if (bits != 512 && bits != 1024 && bits != 2048) {
        *why = "the size is not 512, 1024 or 2048 bits";
        return NULL;
    }
    n = stripped(n);
    *why = modulus_fault(n, bits);
    if (*why != NULL)
        return NULL;
    const unsigned limbs = bits == 512 ? MB_LIMBS_512 : bits == 1024 ? MB_LIMBS_1024 : MB_LIMBS_2048;
    mb_key *key = key_alloc(2 * (size_t)limbs, why);
    if (key == NULL)
        return NULL;
    key->kind = MB_PUBLIC;
    key->bytes = bits / 8;
    modulus_init(&key->n, limbs, n, key->store, key->store + limbs);
    return key;
}

mb_key *mb_key_public(unsigned bytes, mb_bytes n, const char **why)
{
    return mb_key_modulus(bytes * 8, n, why);
}

static int is_product(const uint64_t *n, const uint64_t *p, const uint64_t *q, unsigned limbs)
{
    uint64_t t[MB_MAX_LIMBS];
    mb_mul_add(t, p, q, NULL, limbs);
    const int same = memcmp(t, n, 2 * limbs * sizeof *n) == 0;
    mb_wipe(t, sizeof t);
    return same;
}

static const char *prime_fault(mb_bytes prime, unsigned half_bits)
{
    const unsigned bits = bit_length(prime);
    if (bits + PRIME_SLACK < half_bits || bits > half_bits + PRIME_SLACK)
        return "the primes differ too much in length";
    if ((prime.data[prime.len - 1] & 1) == 0)
        return "a prime is even";
    return NULL;
}

static const char *private_fault(unsigned bytes, const mb_key_numbers *k)
{
    const char *why = modulus_fault(k->n, bytes * 8);
    if (why == NULL && k->e.len != 0 && (k->e.len != 3 || memcmp(k->e.data, "\x01\x00\x01", 3) != 0))
        why = "the public exponent is not 65537";
    if (why == NULL)
        why = prime_fault(k->p, bytes * 4);
    if (why == NULL)
        why = prime_fault(k->q, bytes * 4);
    if (why == NULL && (k->dp.len > k->p.len || k->dq.len > k->q.len || k->qinv.len > k->p.len))
        why = "a CRT number is too long";
    return why;
}

mb_key *mb_key_private(unsigned bytes, const mb_key_numbers *numbers, const char **why)
{
    if (bytes != MB_DEVICE_BYTES && bytes != MB_SERVER_BYTES) {
        *why = "the size is not 1024 or 2048 bits";
        return NULL;
    }
    const mb_key_numbers k = {stripped(numbers->n),  stripped(numbers->e),  stripped(numbers->p),   stripped(numbers->q),
                              stripped(numbers->dp), stripped(numbers->dq), stripped(numbers->qinv)};
    *why = private_fault(bytes, &k);
    if (*why != NULL)
        return NULL;
    const unsigned limbs = bytes == MB_DEVICE_BYTES ? MB_LIMBS_512 : MB_LIMBS_1024;
    mb_key *key = key_alloc(11 * (size_t)limbs, why);
    if (key == NULL)
        return NULL;
    uint64_t *at = key->store;
    key->kind = MB_PRIVATE;
    key->bytes = bytes;
    modulus_init(&key->n, 2 * limbs, k.n, at, at + 2 * limbs);
    at += 4 * limbs;
    modulus_init(&key->p, limbs, k.p, at, at + limbs);
    modulus_init(&key->q, limbs, k.q, at + 2 * limbs, at + 3 * limbs);
    at += 4 * limbs;
    mb_limbs_from_bytes(at, limbs, k.dp.data, k.dp.len);
    mb_limbs_from_bytes(at + limbs, limbs, k.dq.data, k.dq.len);
    mb_limbs_from_bytes(at + 2 * limbs, limbs, k.qinv.data, k.qinv.len);
    key->dp = at;
    key->dq = at + limbs;
    key->qinv = at + 2 * limbs;
    key->exp_bits = key->p.bits > key->q.bits ? key->p.bits : key->q.bits;
    if (!is_product(key->n.n, key->p.n, key->q.n, limbs))
        *why = "the modulus is not the product of the primes";
    else if (!below(key->dp, key->p.n, limbs) || !below(key->dq, key->q.n, limbs) || !below(key->qinv, key->p.n, limbs))
        *why = "a CRT number is not below its prime";
    if (*why != NULL) {
        mb_key_free(key);
        return NULL;
    }
    return key;
}

/* Takes one element with this tag from the front of *rest. */
static int der_take(mb_bytes *rest, uint8_t tag, mb_bytes *value)
{
    if (rest->len < 2 || rest->data[0] != tag)
        return -1;
    size_t len = rest->data[1], header = 2;
    if (len >= 0x80) {
        const size_t octets = len & 0x7f;
        if (octets == 0 || octets > 2 || rest->len < 2 + octets)
            return -1;
        len = 0;
        for (; header < 2 + octets; header++)
            len = len << 8 | rest->data[header];
    }
    if (rest->len - header < len)
        return -1;
    value->data = rest->data + header;
    value->len = len;
    rest->data += header + len;
    rest->len -= header + len;
    return 0;
}

static int der_integer(mb_bytes *rest, mb_bytes *value)
{
    if (der_take(rest, 0x02, value) != 0 || value->len == 0 || (value->data[0] & 0x80) != 0)
        return -1; /* none of these numbers may be negative */
    *value = stripped(*value);
    return 0;
}

int mb_der_private(mb_bytes der, mb_key_numbers *numbers, const char **why)
{
    static const uint8_t rsa_oid[] = {0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01};
    mb_bytes body, version, d, inner;
    *why = "not a PKCS#1 or PKCS#8 private key in DER";
    if (der_take(&der, 0x30, &body) != 0 || der.len != 0 || der_integer(&body, &version) != 0 || version.len != 0)
        return -1;
    if (body.len > 0 && body.data[0] == 0x30) { /* PKCS#8: algorithm, then PKCS#1 in an octet string */
        if (der_take(&body, 0x30, &inner) != 0 || inner.len < sizeof rsa_oid ||
            memcmp(inner.data, rsa_oid, sizeof rsa_oid) != 0 || der_take(&body, 0x04, &inner) != 0 ||
            der_take(&inner, 0x30, &body) != 0 || inner.len != 0 || der_integer(&body, &version) != 0 ||
            version.len != 0)
            return -1;
    }
    if (der_integer(&body, &numbers->n) != 0 || der_integer(&body, &numbers->e) != 0 || der_integer(&body, &d) != 0 ||
        der_integer(&body, &numbers->p) != 0 || der_integer(&body, &numbers->q) != 0 ||
        der_integer(&body, &numbers->dp) != 0 || der_integer(&body, &numbers->dq) != 0 ||
        der_integer(&body, &numbers->qinv) != 0 || body.len != 0)
        return -1;
    if (numbers->e.len == 0) {
        *why = "the public exponent is not 65537";
        return -1;
    }
    *why = NULL;
    return 0;
}
