/* Which implementation runs.
 *
 * A feature counts when CPUID reports it and, for AVX-512, when XCR0 says that the operating system saves the mask and
 * ZMM registers: without the second the first instruction would fault. Detection runs once. What may be used can be
 * narrowed by a mask, so that tests walk every subset of features on one machine and a user can rule one out; the mask
 * can never add what was not detected. Reading and writing it is atomic, a call that has begun keeps its choice.
 */
#include "mb.h"

#include <stdatomic.h>

#if MB_X86
#include <cpuid.h>

static uint64_t xgetbv0(void)
{
    uint32_t low, high;
    __asm__ __volatile__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

static unsigned detect(void)
{
    unsigned a, b, c, d, found = 0;
    if (!__get_cpuid(1, &a, &b, &c, &d))
        return 0;
    const int sse41 = c >> 19 & 1, ssse3 = c >> 9 & 1, aes = c >> 25 & 1, osxsave = c >> 27 & 1;
    if (aes)
        found |= MB_FEATURE_AESNI;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d))
        return found;
    if ((b >> 29 & 1) && sse41 && ssse3)
        found |= MB_FEATURE_SHANI;
    /* XCR0: SSE, AVX, opmask, upper halves of ZMM0-15, ZMM16-31 */
    if (osxsave && (xgetbv0() & 0xe6) == 0xe6) {
        const int f = b >> 16 & 1, dq = b >> 17 & 1;
        if (f && dq)
            found |= MB_FEATURE_AVX512F;
        if (b >> 21 & 1)
            found |= MB_FEATURE_AVX512IFMA;
    }
    return found;
}
#else
static unsigned detect(void)
{
    return 0;
}
#endif

#define UNKNOWN (1u << 31)

static _Atomic unsigned detected = UNKNOWN;
static _Atomic unsigned allowed = MB_FEATURE_ALL;

unsigned mb_features_detected(void)
{
    unsigned found = atomic_load_explicit(&detected, memory_order_relaxed);
    if (found == UNKNOWN) { /* threads that race here store the same value */
        found = detect();
        atomic_store_explicit(&detected, found, memory_order_relaxed);
    }
    return found;
}

void mb_features_mask(unsigned mask)
{
    atomic_store_explicit(&allowed, mask & MB_FEATURE_ALL, memory_order_relaxed);
}

unsigned mb_features(void)
{
    return mb_features_detected() & atomic_load_explicit(&allowed, memory_order_relaxed);
}

const mb_rsa *mb_rsa_active(void)
{
#if MB_X86
    const unsigned need = MB_FEATURE_AVX512F | MB_FEATURE_AVX512IFMA;
    if ((mb_features() & need) == need)
        return &mb_rsa_avx512ifma;
#endif
    return &mb_rsa_portable;
}

mb_sha1_fn mb_sha1_active(void)
{
#if MB_X86
    if (mb_features() & MB_FEATURE_SHANI)
        return mb_sha1_shani;
#endif
    return mb_sha1_portable;
}

mb_cbc_fn mb_cbc_encrypt_active(void)
{
#if MB_X86
    if (mb_features() & MB_FEATURE_AESNI)
        return mb_cbc_encrypt_aesni;
#endif
    return mb_cbc_encrypt_portable;
}

mb_cbc_fn mb_cbc_decrypt_active(void)
{
#if MB_X86
    if (mb_features() & MB_FEATURE_AESNI)
        return mb_cbc_decrypt_aesni;
#endif
    return mb_cbc_decrypt_portable;
}
