/* AES-128-CBC after FIPS 197, byte by byte. The S-box is computed, not tabulated (inversion as x^254 in GF(2^8), then
 * the affine map), so that no address depends on a secret; it is slow, and only runs where there is no AES-NI. The
 * inverse S-box needs no code of its own: it is the inverse affine map before the same inversion. */
#include "mb.h"

#include <string.h>

static uint8_t gf_double(uint8_t x)
{
    return (uint8_t)(x << 1 ^ (0x1b & (0 - (x >> 7))));
}

static uint8_t gf_mul(uint8_t a, uint8_t b)
{
    uint8_t r = 0;
    for (int i = 0; i < 8; i++) {
        r ^= (uint8_t)(a & (0 - (b & 1)));
        a = gf_double(a);
        b >>= 1;
    }
    return r;
}

static uint8_t gf_inverse(uint8_t x)
{
    uint8_t power = gf_mul(x, x), r = power; /* x^254 = x^2 * x^4 * ... * x^128 */
    for (int i = 0; i < 6; i++) {
        power = gf_mul(power, power);
        r = gf_mul(r, power);
    }
    return r;
}

static uint8_t rotate(uint8_t x, unsigned by)
{
    return (uint8_t)(x << by | x >> (8 - by));
}

static uint8_t sub(uint8_t x)
{
    x = gf_inverse(x);
    return (uint8_t)(x ^ rotate(x, 1) ^ rotate(x, 2) ^ rotate(x, 3) ^ rotate(x, 4) ^ 0x63);
}

static uint8_t inverse_sub(uint8_t x)
{
    return gf_inverse((uint8_t)(rotate(x, 1) ^ rotate(x, 3) ^ rotate(x, 6) ^ 0x05));
}

static void expand_key(const uint8_t key[16], uint8_t rk[176])
{
    uint8_t rcon = 1;
    memcpy(rk, key, 16);
    for (int i = 16; i < 176; i += 4) {
        uint8_t t[4];
        memcpy(t, rk + i - 4, 4);
        if (i % 16 == 0) {
            const uint8_t first = t[0];
            t[0] = sub(t[1]) ^ rcon;
            t[1] = sub(t[2]);
            t[2] = sub(t[3]);
            t[3] = sub(first);
            rcon = gf_double(rcon);
        }
        for (int j = 0; j < 4; j++)
            rk[i + j] = rk[i + j - 16] ^ t[j];
    }
}

static void add(uint8_t s[16], const uint8_t *k)
{
    for (int i = 0; i < 16; i++)
        s[i] ^= k[i];
}

static void encrypt_block(const uint8_t rk[176], uint8_t s[16])
{
    uint8_t t[16];
    add(s, rk);
    for (int round = 1; round <= 10; round++) {
        for (int i = 0; i < 16; i++) /* SubBytes and ShiftRows */
            t[i] = sub(s[(i + 4 * (i % 4)) % 16]);
        for (int c = 0; c < 16; c += 4)
            for (int i = 0; i < 4; i++) {
                const uint8_t a = t[c + i], b = t[c + (i + 1) % 4];
                s[c + i] = round == 10 ? a
                                       : (uint8_t)(gf_double(a ^ b) ^ b ^ t[c + (i + 2) % 4] ^ t[c + (i + 3) % 4]);
            }
        add(s, rk + 16 * round);
    }
    mb_wipe(t, sizeof t);
}

static void decrypt_block(const uint8_t rk[176], uint8_t s[16])
{
    uint8_t t[16];
    for (int round = 10; round >= 1; round--) {
        add(s, rk + 16 * round);
        for (int c = 0; c < 16; c += 4)
            for (int i = 0; i < 4; i++)
                t[c + i] = round == 10 ? s[c + i]
                                       : (uint8_t)(gf_mul(s[c + i], 14) ^ gf_mul(s[c + (i + 1) % 4], 11) ^
                                                   gf_mul(s[c + (i + 2) % 4], 13) ^ gf_mul(s[c + (i + 3) % 4], 9));
        for (int i = 0; i < 16; i++) /* the inverses of ShiftRows and SubBytes */
            s[(i + 4 * (i % 4)) % 16] = inverse_sub(t[i]);
    }
    add(s, rk);
    mb_wipe(t, sizeof t);
}

void mb_cbc_encrypt_portable(const uint8_t key[16], const uint8_t iv[16], const uint8_t *in, size_t blocks, uint8_t *out)
{
    uint8_t rk[176], x[16];
    expand_key(key, rk);
    memcpy(x, iv, 16);
    for (; blocks > 0; blocks--, in += 16, out += 16) {
        add(x, in);
        encrypt_block(rk, x);
        memcpy(out, x, 16);
    }
    mb_wipe(rk, sizeof rk);
    mb_wipe(x, sizeof x);
}

void mb_cbc_decrypt_portable(const uint8_t key[16], const uint8_t iv[16], const uint8_t *in, size_t blocks, uint8_t *out)
{
    uint8_t rk[176], x[16];
    const uint8_t *previous = iv;
    expand_key(key, rk);
    for (; blocks > 0; blocks--, in += 16, out += 16) {
        memcpy(x, in, 16);
        decrypt_block(rk, x);
        add(x, previous);
        memcpy(out, x, 16);
        previous = in;
    }
    mb_wipe(rk, sizeof rk);
    mb_wipe(x, sizeof x);
}
