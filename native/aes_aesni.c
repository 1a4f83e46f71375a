/* AES-128-CBC with AES-NI. Frames are a few blocks, so the key schedule is most of the work and is made on the fly;
 * decryption takes four blocks at a time because, unlike encryption, its blocks do not depend on each other. */
#include "mb.h"

#if MB_X86
#include <immintrin.h>

#define TARGET __attribute__((target("aes,sse2")))

TARGET static __m128i next_round_key(__m128i key, __m128i assist)
{
    assist = _mm_shuffle_epi32(assist, 0xff);
    key = _mm_xor_si128(key, _mm_slli_si128(key, 4));
    key = _mm_xor_si128(key, _mm_slli_si128(key, 8));
    return _mm_xor_si128(key, assist);
}

TARGET static void expand_key(const uint8_t key[16], __m128i rk[11])
{
    rk[0] = _mm_loadu_si128((const __m128i *)key);
    rk[1] = next_round_key(rk[0], _mm_aeskeygenassist_si128(rk[0], 0x01));
    rk[2] = next_round_key(rk[1], _mm_aeskeygenassist_si128(rk[1], 0x02));
    rk[3] = next_round_key(rk[2], _mm_aeskeygenassist_si128(rk[2], 0x04));
    rk[4] = next_round_key(rk[3], _mm_aeskeygenassist_si128(rk[3], 0x08));
    rk[5] = next_round_key(rk[4], _mm_aeskeygenassist_si128(rk[4], 0x10));
    rk[6] = next_round_key(rk[5], _mm_aeskeygenassist_si128(rk[5], 0x20));
    rk[7] = next_round_key(rk[6], _mm_aeskeygenassist_si128(rk[6], 0x40));
    rk[8] = next_round_key(rk[7], _mm_aeskeygenassist_si128(rk[7], 0x80));
    rk[9] = next_round_key(rk[8], _mm_aeskeygenassist_si128(rk[8], 0x1b));
    rk[10] = next_round_key(rk[9], _mm_aeskeygenassist_si128(rk[9], 0x36));
}

TARGET void mb_cbc_encrypt_aesni(const uint8_t key[16], const uint8_t iv[16], const uint8_t *in, size_t blocks, uint8_t *out)
{
    __m128i rk[11], x = _mm_loadu_si128((const __m128i *)iv);
    expand_key(key, rk);
    for (; blocks > 0; blocks--, in += 16, out += 16) {
        x = _mm_xor_si128(_mm_xor_si128(x, _mm_loadu_si128((const __m128i *)in)), rk[0]);
        for (int i = 1; i < 10; i++)
            x = _mm_aesenc_si128(x, rk[i]);
        x = _mm_aesenclast_si128(x, rk[10]);
        _mm_storeu_si128((__m128i *)out, x);
    }
    mb_wipe(rk, sizeof rk);
}

TARGET void mb_cbc_decrypt_aesni(const uint8_t key[16], const uint8_t iv[16], const uint8_t *in, size_t blocks, uint8_t *out)
{
    __m128i rk[11], dk[11], previous = _mm_loadu_si128((const __m128i *)iv);
    expand_key(key, rk);
    dk[0] = rk[10];
    for (int i = 1; i < 10; i++)
        dk[i] = _mm_aesimc_si128(rk[10 - i]);
    dk[10] = rk[0];
    while (blocks > 0) {
        const size_t n = blocks < 4 ? 1 : 4;
        __m128i c[4], x[4];
        for (size_t b = 0; b < n; b++) {
            c[b] = _mm_loadu_si128((const __m128i *)(in + 16 * b));
            x[b] = _mm_xor_si128(c[b], dk[0]);
        }
        for (int i = 1; i < 10; i++)
            for (size_t b = 0; b < n; b++)
                x[b] = _mm_aesdec_si128(x[b], dk[i]);
        for (size_t b = 0; b < n; b++) {
            x[b] = _mm_aesdeclast_si128(x[b], dk[10]);
            _mm_storeu_si128((__m128i *)(out + 16 * b), _mm_xor_si128(x[b], previous));
            previous = c[b];
        }
        blocks -= n;
        in += 16 * n;
        out += 16 * n;
    }
    mb_wipe(rk, sizeof rk);
    mb_wipe(dk, sizeof dk);
}
#endif
