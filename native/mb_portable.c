/* The portable implementation: one lane after the other, the textbook way.
 *
 * It is the oracle that the vector code is compared with, so it is written to be seen through: Montgomery multiplication
 * column by column (product scanning) with a full reduction after every step, no dedicated squaring, windows of four
 * bits. It shares with the others only the form of the numbers (mb.h). Table entries are read by a masked scan and
 * reductions are selected by mask: no branch and no address depends on a secret.
 */
#include "mb.h"

#include <string.h>

#define WINDOW 4
#define TABLE (1 << WINDOW)

void mb_wipe(void *data, size_t len)
{
#if defined(__GNUC__) || defined(__clang__)
    memset(data, 0, len);
    __asm__ __volatile__("" : : "r"(data) : "memory");
#else
    volatile uint8_t *p = data;
    while (len--)
        *p++ = 0;
#endif
}

int mb_overlap(const void *a, size_t a_len, const void *b, size_t b_len)
{
    uintptr_t x = (uintptr_t)a, y = (uintptr_t)b;
    if (a_len == 0 || b_len == 0)
        return 0;
    return x < y ? y - x < a_len : x - y < b_len;
}

/* The sum of a column of products: up to 160 of 104 bits each. */
#ifdef __SIZEOF_INT128__
typedef unsigned __int128 column;

static inline column plus_product(column c, uint64_t a, uint64_t b)
{
    return c + (column)a * b;
}

static inline column plus(column c, uint64_t a)
{
    return c + a;
}

static inline uint64_t low_limb(column c)
{
    return (uint64_t)c & MB_LIMB_MASK;
}

static inline column next_column(column c)
{
    return c >> MB_LIMB_BITS;
}
#else
typedef struct {
    uint64_t low, high; /* high counts 2^52 */
} column;

static inline column plus_product(column c, uint64_t a, uint64_t b)
{
    const uint64_t half = (UINT64_C(1) << 26) - 1;
    const uint64_t a0 = a & half, a1 = a >> 26, b0 = b & half, b1 = b >> 26;
    const uint64_t mid = a0 * b1 + a1 * b0, low = a0 * b0 + ((mid & half) << 26);
    c.low += low & MB_LIMB_MASK;
    c.high += a1 * b1 + (mid >> 26) + (low >> MB_LIMB_BITS);
    return c;
}

static inline column plus(column c, uint64_t a)
{
    c.low += a;
    return c;
}

static inline uint64_t low_limb(column c)
{
    return c.low & MB_LIMB_MASK;
}

static inline column next_column(column c)
{
    c.low = c.high + (c.low >> MB_LIMB_BITS);
    c.high = 0;
    return c;
}
#endif

/* Two limbs are thirteen bytes, so a limb begins on a byte or in the middle of one, and eight bytes hold it. */
void mb_limbs_from_bytes(uint64_t *limbs, unsigned count, const uint8_t *data, size_t len)
{
    for (unsigned i = 0; i < count; i++) {
        const size_t low = i / 2 * 13 + (i & 1) * 6; /* its first byte, from the end */
        uint64_t w = 0;
        if (low + 8 <= len) {
            const uint8_t *p = data + len - low - 8;
            w = (uint64_t)p[0] << 56 | (uint64_t)p[1] << 48 | (uint64_t)p[2] << 40 | (uint64_t)p[3] << 32 |
                (uint64_t)p[4] << 24 | (uint64_t)p[5] << 16 | (uint64_t)p[6] << 8 | (uint64_t)p[7];
        } else if (low < len) {
            for (size_t j = 0; j < len - low; j++)
                w = w << 8 | data[j];
        }
        limbs[i] = w >> (i & 1) * 4 & MB_LIMB_MASK;
    }
}

static inline void store_be64(uint8_t *to, uint64_t w)
{
    to[0] = (uint8_t)(w >> 56);
    to[1] = (uint8_t)(w >> 48);
    to[2] = (uint8_t)(w >> 40);
    to[3] = (uint8_t)(w >> 32);
    to[4] = (uint8_t)(w >> 24);
    to[5] = (uint8_t)(w >> 16);
    to[6] = (uint8_t)(w >> 8);
    to[7] = (uint8_t)w;
}

/* Two whole words a pair, from the end: the zeros that the upper one writes too far are overwritten by the next pair. */
void mb_limbs_to_bytes(uint8_t *data, size_t len, const uint64_t *limbs, unsigned count)
{
    uint8_t bytes[MB_MAX_LIMBS / 2 * 13 + 3];
    const size_t have = count / 2 * 13; /* limb counts are even */
    uint8_t *at = bytes + sizeof bytes;
    for (unsigned i = 0; i < count; i += 2, at -= 13) {
        store_be64(at - 8, limbs[i] | limbs[i + 1] << MB_LIMB_BITS);
        store_be64(at - 16, limbs[i + 1] >> (64 - MB_LIMB_BITS));
    }
    const size_t take = len < have ? len : have;
    memset(data, 0, len - take);
    memcpy(data + len - take, bytes + sizeof bytes - take, take);
    mb_wipe(bytes, sizeof bytes);
}

/* r -= n where high * R + r >= n. */
static void subtract_once(uint64_t *r, uint64_t high, const uint64_t *n, unsigned limbs)
{
    uint64_t t[MB_MAX_LIMBS], borrow = 0;
    for (unsigned i = 0; i < limbs; i++) {
        uint64_t d = r[i] - n[i] - borrow;
        borrow = d >> 63;
        t[i] = d & MB_LIMB_MASK;
    }
    uint64_t keep = (uint64_t)0 - (uint64_t)(borrow > high);
    for (unsigned i = 0; i < limbs; i++)
        r[i] = (r[i] & keep) | (t[i] & ~keep);
    mb_wipe(t, sizeof t);
}

void mb_mont_mul(const mb_modulus *mod, uint64_t *r, const uint64_t *a, const uint64_t *b)
{
    const unsigned limbs = mod->limbs;
    const uint64_t *n = mod->n;
    uint64_t q[MB_MAX_LIMBS], t[MB_MAX_LIMBS];
    column c = {0};
    for (unsigned k = 0; k < limbs; k++) {
        c = plus_product(c, a[k], b[0]);
        for (unsigned i = 0; i < k; i++)
            c = plus_product(plus_product(c, a[i], b[k - i]), q[i], n[k - i]);
        q[k] = (low_limb(c) * mod->k0) & MB_LIMB_MASK;
        c = next_column(plus_product(c, q[k], n[0]));
    }
    for (unsigned k = limbs; k < 2 * limbs; k++) {
        for (unsigned i = k - limbs + 1; i < limbs; i++)
            c = plus_product(plus_product(c, a[i], b[k - i]), q[i], n[k - i]);
        t[k - limbs] = low_limb(c);
        c = next_column(c);
    }
    memcpy(r, t, limbs * sizeof *r);
    subtract_once(r, low_limb(c), n, limbs);
    mb_wipe(q, sizeof q);
    mb_wipe(t, sizeof t);
}

void mb_mul_add(uint64_t *r, const uint64_t *a, const uint64_t *b, const uint64_t *c, unsigned limbs)
{
    column sum = {0};
    for (unsigned k = 0; k < 2 * limbs; k++) {
        if (c != NULL && k < limbs)
            sum = plus(sum, c[k]);
        for (unsigned i = k < limbs ? 0 : k - limbs + 1; i < limbs && i <= k; i++)
            sum = plus_product(sum, a[i], b[k - i]);
        r[k] = low_limb(sum);
        sum = next_column(sum);
    }
}

/* r = x^65537 mod n; x and r plain. */
static void power_public(const mb_modulus *mod, uint64_t *r, const uint64_t *x)
{
    uint64_t y[MB_MAX_LIMBS];
    mb_mont_mul(mod, y, x, mod->rr);
    for (int i = 0; i < 16; i++)
        mb_mont_mul(mod, y, y, y);
    mb_mont_mul(mod, r, y, x); /* x is not in Montgomery form, so the product is not either */
    mb_wipe(y, sizeof y);
}

static unsigned window_at(const uint64_t *exponent, unsigned limbs, unsigned bit)
{
    unsigned limb = bit / MB_LIMB_BITS, shift = bit % MB_LIMB_BITS;
    uint64_t w = limb < limbs ? exponent[limb] >> shift : 0;
    if (shift > MB_LIMB_BITS - WINDOW && limb + 1 < limbs)
        w |= exponent[limb + 1] << (MB_LIMB_BITS - shift);
    return (unsigned)w & (TABLE - 1);
}

static void select_entry(uint64_t *r, uint64_t table[TABLE][MB_LIMBS_1024], unsigned index, unsigned limbs)
{
    memset(r, 0, limbs * sizeof *r);
    for (unsigned e = 0; e < TABLE; e++) {
        uint64_t take = (uint64_t)0 - (uint64_t)(e == index);
        for (unsigned i = 0; i < limbs; i++)
            r[i] |= table[e][i] & take;
    }
}

/* r = x^exponent, both in Montgomery form. */
static void power_private(const mb_modulus *mod, uint64_t *r, const uint64_t *x, const uint64_t *exponent, unsigned bits)
{
    static const uint64_t one[MB_LIMBS_1024] = {1};
    uint64_t table[TABLE][MB_LIMBS_1024], entry[MB_LIMBS_1024], y[MB_LIMBS_1024];
    mb_mont_mul(mod, table[0], one, mod->rr);
    for (unsigned e = 1; e < TABLE; e++)
        mb_mont_mul(mod, table[e], table[e - 1], x);
    unsigned bit = (bits + WINDOW - 1) / WINDOW * WINDOW;
    memcpy(y, table[0], mod->limbs * sizeof *y);
    while (bit > 0) {
        bit -= WINDOW;
        for (int i = 0; i < WINDOW; i++)
            mb_mont_mul(mod, y, y, y);
        select_entry(entry, table, window_at(exponent, mod->limbs, bit), mod->limbs);
        mb_mont_mul(mod, y, y, entry);
    }
    memcpy(r, y, mod->limbs * sizeof *y);
    mb_wipe(table, sizeof table);
    mb_wipe(entry, sizeof entry);
    mb_wipe(y, sizeof y);
}

/* r = c^exponent in Montgomery form modulo the prime; c has twice its limbs. */
static void power_half(const mb_modulus *prime, uint64_t *r, const uint64_t *c, const uint64_t *exponent, unsigned bits)
{
    uint64_t x[MB_LIMBS_1024], low[MB_LIMBS_1024];
    const unsigned limbs = prime->limbs;
    mb_mont_mul(prime, x, c + limbs, prime->rr); /* high half, Montgomery form */
    mb_mont_mul(prime, x, x, prime->rr);         /* times R, its place value */
    mb_mont_mul(prime, low, c, prime->rr);
    uint64_t carry = 0;
    for (unsigned i = 0; i < limbs; i++) {
        carry += x[i] + low[i];
        x[i] = carry & MB_LIMB_MASK;
        carry >>= MB_LIMB_BITS;
    }
    subtract_once(x, carry, prime->n, limbs);
    power_private(prime, r, x, exponent, bits);
    mb_wipe(x, sizeof x);
    mb_wipe(low, sizeof low);
}

/* m = c^d mod n by Garner's recombination: m2 + q * ((m1 - m2) / q mod p). */
static void power_crt(const mb_key *key, uint64_t *m, const uint64_t *c)
{
    static const uint64_t one[MB_LIMBS_1024] = {1};
    const unsigned limbs = key->p.limbs;
    uint64_t m1[MB_LIMBS_1024], m2[MB_LIMBS_1024], h[MB_LIMBS_1024], borrow = 0, carry;
    power_half(&key->p, m1, c, key->dp, key->exp_bits);
    power_half(&key->q, m2, c, key->dq, key->exp_bits);
    mb_mont_mul(&key->q, m2, m2, one);
    mb_mont_mul(&key->p, h, m2, key->p.rr); /* q may be longer than p: m2 is reduced on the way */
    for (unsigned i = 0; i < limbs; i++) {
        uint64_t d = m1[i] - h[i] - borrow;
        borrow = d >> 63;
        h[i] = d & MB_LIMB_MASK;
    }
    uint64_t add = (uint64_t)0 - borrow;
    carry = 0;
    for (unsigned i = 0; i < limbs; i++) {
        carry += h[i] + (key->p.n[i] & add);
        h[i] = carry & MB_LIMB_MASK;
        carry >>= MB_LIMB_BITS;
    }
    mb_mont_mul(&key->p, h, h, key->qinv); /* qinv is plain: this leaves Montgomery form */
    mb_mul_add(m, h, key->q.n, m2, limbs);
    mb_wipe(m1, sizeof m1);
    mb_wipe(m2, sizeof m2);
    mb_wipe(h, sizeof h);
}

static int public_op(unsigned lanes, const mb_modulus *const *mod, const uint8_t *const *in, uint8_t *const *out)
{
    uint64_t x[MB_MAX_LIMBS];
    for (unsigned lane = 0; lane < lanes; lane++) {
        const size_t bytes = (mod[lane]->bits + 7) / 8;
        mb_limbs_from_bytes(x, mod[lane]->limbs, in[lane], bytes);
        power_public(mod[lane], x, x);
        mb_limbs_to_bytes(out[lane], bytes, x, mod[lane]->limbs);
    }
    mb_wipe(x, sizeof x);
    return MB_CALL_OK;
}

static int private_op(unsigned lanes, const mb_key *const *key, const uint8_t *const *in, uint8_t *const *out,
                      unsigned *faulty)
{
    uint64_t c[MB_MAX_LIMBS], m[MB_MAX_LIMBS], check[MB_MAX_LIMBS];
    *faulty = 0;
    for (unsigned lane = 0; lane < lanes; lane++) {
        const unsigned limbs = key[lane]->n.limbs;
        mb_limbs_from_bytes(c, limbs, in[lane], key[lane]->bytes);
        power_crt(key[lane], m, c);
        power_public(&key[lane]->n, check, m);
        if (memcmp(check, c, limbs * sizeof *c) != 0) {
            *faulty |= 1u << lane;
            memset(m, 0, sizeof m);
        }
        mb_limbs_to_bytes(out[lane], key[lane]->bytes, m, limbs);
    }
    mb_wipe(c, sizeof c);
    mb_wipe(m, sizeof m);
    mb_wipe(check, sizeof check);
    return MB_CALL_OK;
}

static int repeat_op(unsigned lanes, const mb_modulus *const *mod, const uint8_t *const *a, const uint8_t *const *b,
                     unsigned repeat, uint8_t *const *out)
{
    static const uint64_t one[MB_MAX_LIMBS] = {1};
    uint64_t x[MB_MAX_LIMBS], y[MB_MAX_LIMBS];
    for (unsigned lane = 0; lane < lanes; lane++) {
        const size_t bytes = (mod[lane]->bits + 7) / 8;
        mb_limbs_from_bytes(x, mod[lane]->limbs, a[lane], bytes);
        mb_mont_mul(mod[lane], x, x, mod[lane]->rr);
        if (b != NULL) {
            mb_limbs_from_bytes(y, mod[lane]->limbs, b[lane], bytes);
            mb_mont_mul(mod[lane], y, y, mod[lane]->rr);
        }
        for (unsigned i = 0; i < repeat; i++)
            mb_mont_mul(mod[lane], x, x, b != NULL ? y : x);
        mb_mont_mul(mod[lane], x, x, one);
        mb_limbs_to_bytes(out[lane], bytes, x, mod[lane]->limbs);
    }
    mb_wipe(x, sizeof x);
    mb_wipe(y, sizeof y);
    return MB_CALL_OK;
}

const mb_rsa mb_rsa_portable = {"portable", public_op, private_op, repeat_op};
