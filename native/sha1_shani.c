/* SHA-1 compression with the SHA instructions: four rounds an instruction, the message schedule kept in four registers.
 * HMAC over 128 bytes is six compressions, which in plain C would be a visible share of a lane. */
#include "mb.h"

#if MB_X86
#include <immintrin.h>

#define TARGET __attribute__((target("sha,sse4.1,ssse3")))

/* Rounds 4g .. 4g+3. sha1rnds4 wants the round constant as an immediate, hence the macro. e0 enters as the e of these
 * rounds and e1 leaves as the e of the next four. */
#define ROUNDS(g, e0, e1)                                                                                              \
    do {                                                                                                               \
        if ((g) >= 4)                                                                                                  \
            w[(g) & 3] = _mm_sha1msg2_epu32(                                                                           \
                _mm_xor_si128(_mm_sha1msg1_epu32(w[(g) & 3], w[((g) + 1) & 3]), w[((g) + 2) & 3]), w[((g) + 3) & 3]);    \
        e0 = (g) == 0 ? _mm_add_epi32(e0, w[0]) : _mm_sha1nexte_epu32(e0, w[(g) & 3]);                                 \
        e1 = abcd;                                                                                                     \
        abcd = _mm_sha1rnds4_epu32(abcd, e0, (g) / 5);                                                                 \
    } while (0)

TARGET void mb_sha1_shani(uint32_t state[5], const uint8_t *blocks, size_t count)
{
    const __m128i swap = _mm_set_epi64x(0x0001020304050607, 0x08090a0b0c0d0e0f);
    __m128i abcd = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)state), 0x1b);
    __m128i e0 = _mm_set_epi32((int)state[4], 0, 0, 0), e1, w[4];
    for (; count > 0; count--, blocks += 64) {
        const __m128i abcd_before = abcd, e_before = e0;
        for (int i = 0; i < 4; i++)
            w[i] = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(blocks + 16 * i)), swap);
        ROUNDS(0, e0, e1);
        ROUNDS(1, e1, e0);
        ROUNDS(2, e0, e1);
        ROUNDS(3, e1, e0);
        ROUNDS(4, e0, e1);
        ROUNDS(5, e1, e0);
        ROUNDS(6, e0, e1);
        ROUNDS(7, e1, e0);
        ROUNDS(8, e0, e1);
        ROUNDS(9, e1, e0);
        ROUNDS(10, e0, e1);
        ROUNDS(11, e1, e0);
        ROUNDS(12, e0, e1);
        ROUNDS(13, e1, e0);
        ROUNDS(14, e0, e1);
        ROUNDS(15, e1, e0);
        ROUNDS(16, e0, e1);
        ROUNDS(17, e1, e0);
        ROUNDS(18, e0, e1);
        ROUNDS(19, e1, e0);
        e0 = _mm_sha1nexte_epu32(e0, e_before);
        abcd = _mm_add_epi32(abcd, abcd_before);
    }
    _mm_storeu_si128((__m128i *)state, _mm_shuffle_epi32(abcd, 0x1b));
    state[4] = (uint32_t)_mm_extract_epi32(e0, 3);
    mb_wipe(w, sizeof w);
}
#endif
