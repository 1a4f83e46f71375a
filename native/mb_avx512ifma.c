/* Eight lanes with AVX-512 IFMA: limb j of eight numbers, each modulo its own n, sits in one register.
 *
 * vpmadd52luq and vpmadd52huq multiply 52-bit limbs and add the low or high half of the product to a 64-bit
 * accumulator: the twelve spare bits take the carries of all columns of a product, so nothing is propagated inside one.
 * One such instruction a cycle is all that Zen 4 can issue, with a latency of four; the code is built so that this
 * is the only limit.
 *
 * - Tiles. Numbers are blocks of ten limbs (512 bits are one block, 1024 two, 2048 four). The column sums of a block of the
 *   result live in ten accumulators while products of block pairs are added: tile_lower adds those of the ten columns that a
 *   pair begins, tile_upper those of the ten that it spills into. Ten registers hold one operand's block, the limbs of the
 *   other are loaded once and used up to twenty times. Product and Montgomery reduction go into the same
 *   accumulators, column block by column block, so that a double-width product never exists in memory.
 * - Squaring adds products of unequal limbs once, doubles the sums and adds the squares: 45 % less multiplication.
 * - Reduction. The lowest column of q_k * n only serves to clear the column: its carry is 1 unless the column was zero
 *   already, so an addition computes it instead of a multiplication, which also shortens the chain from q_k to q_(k+1),
 *   the only serial part.
 * - Almost-Montgomery. R > 4n, so results stay below 2n without a subtraction until a value leaves. Limbs keep the bits
 *   that were carried out of them: the multiplier ignores them.
 * - Two streams. For CRT the exponentiations modulo p and q alternate, multiplication by multiplication. They do not
 *   depend on each other, so the processor begins the one while the carries of the other are still rippling.
 * - Windows of five bits, of equal number for all lanes; the entry is picked by blending the whole table, so that neither branches
 *   nor addresses depend on exponents.
 */
#include "mb.h"

#if MB_X86
#include <immintrin.h>
#include <string.h>

#define TARGET __attribute__((target("avx512f,avx512dq,avx512ifma")))
#define INLINE TARGET static inline __attribute__((always_inline))
#define NOINLINE TARGET static __attribute__((noinline))
#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 64")
#endif

#define B 10 /* limbs of a block */
#define WINDOW 5
#define TABLE (1 << WINDOW)

typedef __m512i v8;

INLINE v8 mul_lo(v8 acc, v8 a, v8 b)
{
    return _mm512_madd52lo_epu64(acc, a, b);
}

INLINE v8 mul_hi(v8 acc, v8 a, v8 b)
{
    return _mm512_madd52hi_epu64(acc, a, b);
}

INLINE v8 add(v8 a, v8 b)
{
    return _mm512_add_epi64(a, b);
}

INLINE v8 limb_mask(void)
{
    return _mm512_set1_epi64((long long)MB_LIMB_MASK);
}

/* --- tiles: acc[0..9] are ten columns, x and y blocks of ten limbs */

/* Columns 0..9 of x * y. */
INLINE void tile_lower(v8 acc[B], const v8 x[B], const v8 *y)
{
    UNROLL for (int j = 0; j < B; j++) {
        const v8 yj = y[j];
        UNROLL for (int i = 0; i < B - j; i++)
            acc[i + j] = mul_lo(acc[i + j], x[i], yj);
        UNROLL for (int i = 0; i < B - 1 - j; i++)
            acc[i + j + 1] = mul_hi(acc[i + j + 1], x[i], yj);
    }
}

/* Columns 10..19 of x * y, with acc[0] as column 10. */
INLINE void tile_upper(v8 acc[B], const v8 x[B], const v8 *y)
{
    UNROLL for (int j = 0; j < B; j++) {
        const v8 yj = y[j];
        UNROLL for (int i = B - j; i < B; i++)
            acc[i + j - B] = mul_lo(acc[i + j - B], x[i], yj);
        UNROLL for (int i = B - 1 - j; i < B; i++)
            acc[i + j + 1 - B] = mul_hi(acc[i + j + 1 - B], x[i], yj);
    }
}

/* The same columns of x * x, but only products of limbs i < j, which count twice. */
INLINE void tile_lower_cross(v8 acc[B], const v8 x[B])
{
    UNROLL for (int j = 1; j < B; j++) {
        UNROLL for (int i = 0; i < (j < B - j ? j : B - j); i++)
            acc[i + j] = mul_lo(acc[i + j], x[i], x[j]);
        UNROLL for (int i = 0; i < (j < B - 1 - j ? j : B - 1 - j); i++)
            acc[i + j + 1] = mul_hi(acc[i + j + 1], x[i], x[j]);
    }
}

INLINE void tile_upper_cross(v8 acc[B], const v8 x[B])
{
    UNROLL for (int j = 1; j < B; j++) {
        UNROLL for (int i = B - j; i < j; i++)
            acc[i + j - B] = mul_lo(acc[i + j - B], x[i], x[j]);
        UNROLL for (int i = B - 1 - j; i < j; i++)
            acc[i + j + 1 - B] = mul_hi(acc[i + j + 1 - B], x[i], x[j]);
    }
}

/* And the squares of limbs. */
INLINE void tile_lower_squares(v8 acc[B], const v8 x[B])
{
    UNROLL for (int i = 0; i < B / 2; i++) {
        acc[2 * i] = mul_lo(acc[2 * i], x[i], x[i]);
        acc[2 * i + 1] = mul_hi(acc[2 * i + 1], x[i], x[i]);
    }
}

INLINE void tile_upper_squares(v8 acc[B], const v8 x[B])
{
    UNROLL for (int i = 0; i < B / 2; i++) {
        acc[2 * i] = mul_lo(acc[2 * i], x[i + B / 2], x[i + B / 2]);
        acc[2 * i + 1] = mul_hi(acc[2 * i + 1], x[i + B / 2], x[i + B / 2]);
    }
}

/* Ten steps of Montgomery reduction within the lowest block: finds q[0..9] with acc + q * n = 0 in columns 0..9 and returns
 * the carry into column 10. What q * n adds above is left to tile_upper. */
INLINE v8 tile_reduce(v8 acc[B], v8 q[B], const v8 *n, v8 k0)
{
    const v8 zero = _mm512_setzero_si512(), mask = limb_mask();
    v8 carry = zero;
    UNROLL for (int k = 0; k < B; k++) {
        q[k] = mul_lo(zero, acc[k], k0);
        carry = _mm512_srli_epi64(add(acc[k], mask), MB_LIMB_BITS);
        if (k + 1 < B) {
            /* The next column first, in two chains that meet in an addition. */
            acc[k + 1] = mul_lo(acc[k + 1], q[k], n[1]);
            carry = mul_hi(carry, q[k], n[0]);
            acc[k + 1] = add(acc[k + 1], carry);
        }
        UNROLL for (int j = 2; j < B - k; j++)
            acc[k + j] = mul_lo(acc[k + j], q[k], n[j]);
        UNROLL for (int j = 1; j < B - 1 - k; j++)
            acc[k + j + 1] = mul_hi(acc[k + j + 1], q[k], n[j]);
    }
    return carry;
}

INLINE void load(v8 x[B], const v8 *from)
{
    UNROLL for (int i = 0; i < B; i++)
        x[i] = from[i];
}

INLINE void clear(v8 x[B])
{
    UNROLL for (int i = 0; i < B; i++)
        x[i] = _mm512_setzero_si512();
}

/* Moves carries up through a finished block and stores it; returns the carry out. */
INLINE v8 store_carried(v8 *to, v8 acc[B], v8 carry)
{
    UNROLL for (int i = 0; i < B; i++) {
        to[i] = add(acc[i], carry);
        carry = _mm512_srli_epi64(to[i], MB_LIMB_BITS);
    }
    return carry;
}

/* Adds the columns of q * n that fall into column block J, then reduces that block or, above R, stores it. A tile begins
 * with the last limbs of its register operand. Where that is n, the products of the last digit, which is known last, come
 * last: squarings gain 6 % by it at ten limbs. Multiplications there lose as much to spilled registers. */
INLINE v8 reduce_block(const int registers_hold_digits, const int M, const int J, v8 *r, v8 acc[B], v8 *q, const v8 *n,
                       v8 k0, v8 carry)
{
    for (int I = J > M ? J - M : 0; I < J && I < M; I++) {
        v8 x[B];
        if (registers_hold_digits) {
            load(x, q + I * B);
            if (J - I < M)
                tile_lower(acc, x, n + (J - I) * B);
            tile_upper(acc, x, n + (J - I - 1) * B);
        } else {
            if (J - I < M) {
                load(x, n + (J - I) * B);
                tile_lower(acc, x, q + I * B);
            }
            load(x, n + (J - I - 1) * B);
            tile_upper(acc, x, q + I * B);
        }
    }
    if (J >= M)
        return store_carried(r + (J - M) * B, acc, carry);
    v8 digits[B];
    acc[0] = add(acc[0], carry);
    carry = tile_reduce(acc, digits, n, k0);
    UNROLL for (int i = 0; i < B; i++)
        q[J * B + i] = digits[i];
    return carry;
}

/* r = a * b / R mod n, below 2n, for a * b < R * n; M blocks. r may be a or b: a block of the result is stored when no
 * later column needs the operands' block in its place. */
INLINE void mont_mul_blocks(const int M, v8 *r, const v8 *a, const v8 *b, const v8 *n, v8 k0)
{
    v8 q[4 * B], acc[B], x[B], carry = _mm512_setzero_si512();
    for (int J = 0; J < 2 * M; J++) {
        clear(acc);
        for (int I = J > M ? J - M : 0; I <= J && I < M; I++) {
            load(x, a + I * B);
            if (J - I < M)
                tile_lower(acc, x, b + (J - I) * B);
            if (J - I >= 1)
                tile_upper(acc, x, b + (J - I - 1) * B);
        }
        carry = reduce_block(1, M, J, r, acc, q, n, k0, carry);
    }
}

/* Picks one entry of a table of 32 for each lane, one limb a call: a tree of blends by the bits of the lane's index, which
 * reads the whole row whatever the index. Spread over the squarings of a window it fills issue slots that multiplications
 * cannot use. */
typedef struct {
    const v8 (*table)[TABLE]; /* a row holds one limb of all entries */
    v8 *entry;
    __mmask8 bit[WINDOW]; /* lanes whose index has this bit */
} picker;

INLINE v8 pick_2(const v8 *row, const __mmask8 *bit)
{
    return _mm512_mask_mov_epi64(row[0], bit[0], row[1]);
}

INLINE v8 pick_4(const v8 *row, const __mmask8 *bit)
{
    const v8 low = pick_2(row, bit);
    return _mm512_mask_mov_epi64(low, bit[1], pick_2(row + 2, bit));
}

INLINE v8 pick_8(const v8 *row, const __mmask8 *bit)
{
    const v8 low = pick_4(row, bit);
    return _mm512_mask_mov_epi64(low, bit[2], pick_4(row + 4, bit));
}

INLINE v8 pick_16(const v8 *row, const __mmask8 *bit)
{
    const v8 low = pick_8(row, bit);
    return _mm512_mask_mov_epi64(low, bit[3], pick_8(row + 8, bit));
}

INLINE void pick_limb(const picker *p, int limb)
{
    const v8 *row = p->table[limb];
    const v8 low = pick_16(row, p->bit);
    p->entry[limb] = _mm512_mask_mov_epi64(low, p->bit[4], pick_16(row + 16, p->bit));
}

/* r = a * a / R mod n, likewise. Picks 2M limbs of a table entry on the way, from `limb` on, where `pick` is not NULL. */
INLINE void mont_sqr_blocks(const int M, v8 *r, const v8 *a, const v8 *n, v8 k0, const picker *pick, int limb)
{
    v8 q[4 * B], acc[B], x[B], carry = _mm512_setzero_si512();
    for (int J = 0; J < 2 * M; J++) {
        const int half = J / 2;
        clear(acc);
        for (int I = J > M ? J - M : 0; I < half; I++) {
            load(x, a + I * B);
            if (J - I < M)
                tile_lower(acc, x, a + (J - I) * B);
            tile_upper(acc, x, a + (J - I - 1) * B);
        }
        load(x, a + half * B);
        if (J % 2 == 0) {
            tile_lower_cross(acc, x);
        } else {
            if (half + 1 < M)
                tile_lower(acc, x, a + (half + 1) * B);
            tile_upper_cross(acc, x);
        }
        UNROLL for (int i = 0; i < B; i++)
            acc[i] = add(acc[i], acc[i]);
        if (pick != NULL)
            pick_limb(pick, limb + J);
        if (J % 2 == 0)
            tile_lower_squares(acc, x);
        else
            tile_upper_squares(acc, x);
        carry = reduce_block(0, M, J, r, acc, q, n, k0, carry);
    }
}

NOINLINE void mul_10(v8 *r, const v8 *a, const v8 *b, const v8 *n, v8 k0)
{
    mont_mul_blocks(1, r, a, b, n, k0);
}

NOINLINE void mul_20(v8 *r, const v8 *a, const v8 *b, const v8 *n, v8 k0)
{
    mont_mul_blocks(2, r, a, b, n, k0);
}

NOINLINE void mul_40(v8 *r, const v8 *a, const v8 *b, const v8 *n, v8 k0)
{
    mont_mul_blocks(4, r, a, b, n, k0);
}

NOINLINE void sqr_10(v8 *r, const v8 *a, const v8 *n, v8 k0)
{
    mont_sqr_blocks(1, r, a, n, k0, NULL, 0);
}

NOINLINE void sqr_20(v8 *r, const v8 *a, const v8 *n, v8 k0)
{
    mont_sqr_blocks(2, r, a, n, k0, NULL, 0);
}

NOINLINE void sqr_40(v8 *r, const v8 *a, const v8 *n, v8 k0)
{
    mont_sqr_blocks(4, r, a, n, k0, NULL, 0);
}

NOINLINE void sqr_pick_10(v8 *r, const v8 *a, const v8 *n, v8 k0, const picker *pick, int limb)
{
    mont_sqr_blocks(1, r, a, n, k0, pick, limb);
}

NOINLINE void sqr_pick_20(v8 *r, const v8 *a, const v8 *n, v8 k0, const picker *pick, int limb)
{
    mont_sqr_blocks(2, r, a, n, k0, pick, limb);
}

INLINE void mont_mul(const int M, v8 *r, const v8 *a, const v8 *b, const v8 *n, v8 k0)
{
    if (M == 1)
        mul_10(r, a, b, n, k0);
    else if (M == 2)
        mul_20(r, a, b, n, k0);
    else
        mul_40(r, a, b, n, k0);
}

INLINE void mont_sqr(const int M, v8 *r, const v8 *a, const v8 *n, v8 k0)
{
    if (M == 1)
        sqr_10(r, a, n, k0);
    else if (M == 2)
        sqr_20(r, a, n, k0);
    else
        sqr_40(r, a, n, k0);
}

/* --- between lanes and numbers */

INLINE void transpose(v8 r[8])
{
    v8 t[8], u[8];
    UNROLL for (int i = 0; i < 8; i += 2) {
        t[i] = _mm512_unpacklo_epi64(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_epi64(r[i], r[i + 1]);
    }
    UNROLL for (int i = 0; i < 8; i += 4) {
        UNROLL for (int k = 0; k < 2; k++) {
            u[i + k] = _mm512_shuffle_i64x2(t[i + k], t[i + k + 2], 0x88);
            u[i + k + 2] = _mm512_shuffle_i64x2(t[i + k], t[i + k + 2], 0xdd);
        }
    }
    UNROLL for (int k = 0; k < 4; k++) {
        r[k] = _mm512_shuffle_i64x2(u[k], u[k + 4], 0x88);
        r[k + 4] = _mm512_shuffle_i64x2(u[k], u[k + 4], 0xdd);
    }
}

NOINLINE void lanes_in(v8 *to, const uint64_t *const from[MB_LANES], int limbs)
{
    for (int at = 0; at < limbs; at += 8) {
        const int have = limbs - at < 8 ? limbs - at : 8;
        const __mmask8 mask = (__mmask8)((1u << have) - 1);
        v8 r[8];
        UNROLL for (int i = 0; i < 8; i++)
            r[i] = _mm512_maskz_loadu_epi64(mask, from[i] + at);
        transpose(r);
        UNROLL for (int i = 0; i < 8; i++)
            if (i < have)
                to[at + i] = r[i];
    }
}

NOINLINE void lanes_out(uint64_t *const to[MB_LANES], const v8 *from, int limbs)
{
    for (int at = 0; at < limbs; at += 8) {
        const int have = limbs - at < 8 ? limbs - at : 8;
        const __mmask8 mask = (__mmask8)((1u << have) - 1);
        v8 r[8];
        UNROLL for (int i = 0; i < 8; i++)
            r[i] = i < have ? from[at + i] : _mm512_setzero_si512();
        transpose(r);
        UNROLL for (int i = 0; i < 8; i++)
            _mm512_mask_storeu_epi64(to[i] + at, mask, r[i]);
    }
}

/* Big-endian numbers of the lanes to limbs and back. */
NOINLINE void bytes_in(v8 *to, const uint8_t *const in[MB_LANES], size_t len, int limbs)
{
    uint64_t rows[MB_LANES][MB_MAX_LIMBS];
    const uint64_t *from[MB_LANES];
    for (int lane = 0; lane < MB_LANES; lane++) {
        mb_limbs_from_bytes(rows[lane], (unsigned)limbs, in[lane], len);
        from[lane] = rows[lane];
    }
    lanes_in(to, from, limbs);
    mb_wipe(rows, sizeof rows);
}

NOINLINE void bytes_out(uint8_t *const out[MB_LANES], unsigned lanes, size_t len, const v8 *from, int limbs)
{
    uint64_t rows[MB_LANES][MB_MAX_LIMBS], *to[MB_LANES];
    for (int lane = 0; lane < MB_LANES; lane++)
        to[lane] = rows[lane];
    lanes_out(to, from, limbs);
    for (unsigned lane = 0; lane < lanes; lane++)
        mb_limbs_to_bytes(out[lane], len, rows[lane], (unsigned)limbs);
    mb_wipe(rows, sizeof rows);
}

/* A modulus of each lane. */
typedef struct {
    v8 n[MB_MAX_LIMBS], rr[MB_MAX_LIMBS], k0;
} modulus;

INLINE void modulus_in(modulus *to, const mb_modulus *const mod[MB_LANES], int limbs)
{
    const uint64_t *n[MB_LANES], *rr[MB_LANES];
    uint64_t k0[MB_LANES];
    for (int lane = 0; lane < MB_LANES; lane++) {
        n[lane] = mod[lane]->n;
        rr[lane] = mod[lane]->rr;
        k0[lane] = mod[lane]->k0;
    }
    to->k0 = _mm512_loadu_si512(k0);
    lanes_in(to->n, n, limbs);
    lanes_in(to->rr, rr, limbs);
}

/* --- numbers */

/* Carries through limbs that may be negative, for a number that is not. */
INLINE void propagate(v8 *x, int limbs)
{
    v8 carry = _mm512_setzero_si512();
    for (int i = 0; i < limbs; i++) {
        const v8 t = add(x[i], carry);
        x[i] = _mm512_and_si512(t, limb_mask());
        carry = _mm512_srai_epi64(t, MB_LIMB_BITS);
    }
}

/* From below 2n, with limbs that still hold their carries, to the one representative below n. */
INLINE void canonical(v8 *x, const v8 *n, int limbs)
{
    v8 t[MB_MAX_LIMBS], borrow = _mm512_setzero_si512();
    for (int i = 0; i < limbs; i++) {
        x[i] = _mm512_and_si512(x[i], limb_mask());
        const v8 d = add(_mm512_sub_epi64(x[i], n[i]), borrow);
        t[i] = _mm512_and_si512(d, limb_mask());
        borrow = _mm512_srai_epi64(d, MB_LIMB_BITS);
    }
    const __mmask8 subtract = _mm512_cmpeq_epi64_mask(borrow, _mm512_setzero_si512());
    for (int i = 0; i < limbs; i++)
        x[i] = _mm512_mask_mov_epi64(x[i], subtract, t[i]);
}

/* r = x^65537 mod n; x and r plain, r canonical. */
INLINE void power_public(const int M, v8 *r, const v8 *x, const modulus *mod)
{
    v8 y[MB_MAX_LIMBS];
    mont_mul(M, y, x, mod->rr, mod->n, mod->k0);
    for (int i = 0; i < 16; i++)
        mont_sqr(M, y, y, mod->n, mod->k0);
    mont_mul(M, r, y, x, mod->n, mod->k0); /* x is not in Montgomery form, so the product is not either */
    canonical(r, mod->n, M * B);
}

/* One of the two exponentiations of a CRT operation. */
typedef struct {
    v8 n[MB_LIMBS_1024], rr[MB_LIMBS_1024], exponent[MB_LIMBS_1024 + 1], k0;
    v8 x[MB_LIMBS_1024];     /* the base in Montgomery form, then the power */
    v8 entry[MB_LIMBS_1024]; /* picked from the table */
    v8 table[MB_LIMBS_1024][TABLE];
} half;

/* The base: c, of twice the prime's limbs, modulo the prime and times R. */
INLINE void half_base(const int M, half *h, const v8 *c)
{
    v8 low[MB_LIMBS_1024];
    mont_mul(M, h->x, c + M * B, h->rr, h->n, h->k0);
    mont_mul(M, h->x, h->x, h->rr, h->n, h->k0); /* times R: the place value of the upper half */
    mont_mul(M, low, c, h->rr, h->n, h->k0);
    for (int i = 0; i < M * B; i++)
        h->x[i] = add(_mm512_and_si512(h->x[i], limb_mask()), _mm512_and_si512(low[i], limb_mask()));
    propagate(h->x, M * B);
}

INLINE void table_store(half *h, int e, const v8 *x, int limbs)
{
    for (int i = 0; i < limbs; i++)
        h->table[i][e] = x[i];
}

INLINE void half_table(const int M, half *h)
{
    v8 y[MB_LIMBS_1024];
    for (int i = 0; i < M * B; i++)
        y[i] = _mm512_set1_epi64(i == 0);
    mont_mul(M, y, y, h->rr, h->n, h->k0);
    table_store(h, 0, y, M * B);
    table_store(h, 1, h->x, M * B);
    for (int e = 2; e < TABLE; e += 2) {
        for (int i = 0; i < M * B; i++)
            y[i] = h->table[i][e / 2];
        mont_sqr(M, y, y, h->n, h->k0);
        table_store(h, e, y, M * B);
        mont_mul(M, y, y, h->x, h->n, h->k0);
        table_store(h, e + 1, y, M * B);
    }
    mb_wipe(y, sizeof y);
}

/* A picker for the window of each lane's exponent that begins at this bit. */
INLINE picker half_window(half *h, int bit)
{
    const int limb = bit / MB_LIMB_BITS, shift = bit % MB_LIMB_BITS;
    const v8 low = _mm512_srl_epi64(h->exponent[limb], _mm_cvtsi32_si128(shift));
    const v8 high = _mm512_sll_epi64(h->exponent[limb + 1], _mm_cvtsi32_si128(MB_LIMB_BITS - shift));
    const v8 index = _mm512_or_si512(low, high);
    picker p = {.table = (const v8(*)[TABLE])h->table, .entry = h->entry};
    UNROLL for (int i = 0; i < WINDOW; i++)
        p.bit[i] = _mm512_test_epi64_mask(index, _mm512_set1_epi64(1 << i));
    return p;
}

/* One of the five squarings of a window, with a fifth of the picking of its entry. */
INLINE void half_square(const int M, half *h, const picker *pick, int step)
{
    if (M == 1)
        sqr_pick_10(h->x, h->x, h->n, h->k0, pick, 2 * M * step);
    else
        sqr_pick_20(h->x, h->x, h->n, h->k0, pick, 2 * M * step);
}

/* x = x^exponent in both, side by side. */
INLINE void power_halves(const int M, half *a, half *b, unsigned bits)
{
    int bit = (int)((bits + WINDOW - 1) / WINDOW - 1) * WINDOW;
    half_table(M, a);
    half_table(M, b);
    const picker first_a = half_window(a, bit), first_b = half_window(b, bit);
    for (int i = 0; i < M * B; i++) {
        pick_limb(&first_a, i);
        pick_limb(&first_b, i);
    }
    memcpy(a->x, a->entry, sizeof a->x);
    memcpy(b->x, b->entry, sizeof b->x);
    while (bit > 0) {
        bit -= WINDOW;
        const picker pick_a = half_window(a, bit), pick_b = half_window(b, bit);
        for (int step = 0; step < WINDOW; step++) {
            half_square(M, a, &pick_a, step);
            half_square(M, b, &pick_b, step);
        }
        mont_mul(M, a->x, a->x, a->entry, a->n, a->k0);
        mont_mul(M, b->x, b->x, b->entry, b->n, b->k0);
    }
}

/* m = m2 + h * q, with canonical limbs. */
INLINE void recombine(const int M, v8 *m, const v8 *m2, const v8 *h, const v8 *q)
{
    v8 acc[B], x[B], carry = _mm512_setzero_si512();
    for (int J = 0; J < 2 * M; J++) {
        if (J < M)
            load(acc, m2 + J * B);
        else
            clear(acc);
        for (int I = J > M ? J - M : 0; I <= J && I < M; I++) {
            load(x, h + I * B);
            if (J - I < M)
                tile_lower(acc, x, q + (J - I) * B);
            if (J - I >= 1)
                tile_upper(acc, x, q + (J - I - 1) * B);
        }
        carry = store_carried(m + J * B, acc, carry);
    }
    for (int i = 0; i < 2 * M * B; i++)
        m[i] = _mm512_and_si512(m[i], limb_mask());
}

INLINE void half_in(half *h, const mb_key *const key[MB_LANES], int second, int limbs)
{
    const uint64_t *n[MB_LANES], *rr[MB_LANES], *exponent[MB_LANES];
    uint64_t k0[MB_LANES];
    for (int lane = 0; lane < MB_LANES; lane++) {
        const mb_modulus *prime = second ? &key[lane]->q : &key[lane]->p;
        n[lane] = prime->n;
        rr[lane] = prime->rr;
        k0[lane] = prime->k0;
        exponent[lane] = second ? key[lane]->dq : key[lane]->dp;
    }
    lanes_in(h->n, n, limbs);
    lanes_in(h->rr, rr, limbs);
    lanes_in(h->exponent, exponent, limbs);
    h->exponent[limbs] = _mm512_setzero_si512();
    h->k0 = _mm512_loadu_si512(k0);
}

/* m = c^d mod n. After Garner: m2 + q * ((m1 - m2) / q mod p). */
INLINE void power_crt(const int M, v8 *m, const v8 *c, const mb_key *const key[MB_LANES])
{
    const int limbs = M * B;
    const uint64_t *qinv_of[MB_LANES];
    half p, q;
    v8 one[MB_LIMBS_1024], qinv[MB_LIMBS_1024], m2[MB_LIMBS_1024], d[MB_LIMBS_1024];
    unsigned bits = 0;
    for (int lane = 0; lane < MB_LANES; lane++) {
        qinv_of[lane] = key[lane]->qinv;
        bits = key[lane]->exp_bits > bits ? key[lane]->exp_bits : bits;
    }
    half_in(&p, key, 0, limbs);
    half_in(&q, key, 1, limbs);
    lanes_in(qinv, qinv_of, limbs);
    half_base(M, &p, c);
    half_base(M, &q, c);
    power_halves(M, &p, &q, bits);

    for (int i = 0; i < limbs; i++)
        one[i] = _mm512_set1_epi64(i == 0);
    mont_mul(M, m2, q.x, one, q.n, q.k0);
    canonical(m2, q.n, limbs);
    mont_mul(M, d, m2, p.rr, p.n, p.k0); /* q may be longer than p: m2 is reduced on the way */
    for (int i = 0; i < limbs; i++) {    /* m1 - m2 + 2p: positive and below 4p */
        const v8 twice = add(p.n[i], p.n[i]);
        d[i] = add(_mm512_sub_epi64(_mm512_and_si512(p.x[i], limb_mask()), _mm512_and_si512(d[i], limb_mask())), twice);
    }
    propagate(d, limbs);
    mont_mul(M, d, d, qinv, p.n, p.k0); /* qinv is plain: this leaves Montgomery form */
    canonical(d, p.n, limbs);
    recombine(M, m, m2, d, q.n);
    mb_wipe(&p, sizeof p);
    mb_wipe(&q, sizeof q);
    mb_wipe(qinv, sizeof qinv);
    mb_wipe(m2, sizeof m2);
    mb_wipe(d, sizeof d);
}

/* The result only leaves where its e-th power is the input again. Returns the lanes where it is not. */
INLINE __mmask8 check_power(const int M, v8 *m, const v8 *c, const mb_key *const key[MB_LANES])
{
    const mb_modulus *mod[MB_LANES];
    v8 again[MB_MAX_LIMBS];
    modulus n;
    __mmask8 faulty = 0;
    for (int lane = 0; lane < MB_LANES; lane++)
        mod[lane] = &key[lane]->n;
    modulus_in(&n, mod, M * B);
    power_public(M, again, m, &n);
    for (int i = 0; i < M * B; i++)
        faulty |= _mm512_cmpneq_epi64_mask(again[i], c[i]);
    for (int i = 0; i < M * B; i++)
        m[i] = _mm512_mask_mov_epi64(m[i], faulty, _mm512_setzero_si512());
    return faulty;
}

/* Clears what multiplications left on the stack below their caller: quotient digits and spilled registers. */
NOINLINE void wipe_frames(void)
{
    v8 frames[128];
    mb_wipe(frames, sizeof frames);
}

/* --- the operations of mb.h. Empty lanes repeat the last one; their results are not stored. */

#define SPREAD(to, from, lanes)                                                                                        \
    for (unsigned lane_ = 0; lane_ < MB_LANES; lane_++)                                                                \
    (to)[lane_] = (from)[lane_ < (lanes) ? lane_ : (lanes)-1]

TARGET static int public_op(unsigned lanes, const mb_modulus *const *mod, const uint8_t *const *in, uint8_t *const *out)
{
    const mb_modulus *mods[MB_LANES];
    const uint8_t *ins[MB_LANES];
    const int limbs = (int)mod[0]->limbs;
    const size_t bytes = (mod[0]->bits + 7) / 8;
    modulus n;
    v8 x[MB_MAX_LIMBS], r[MB_MAX_LIMBS];
    SPREAD(mods, mod, lanes);
    SPREAD(ins, in, lanes);
    modulus_in(&n, mods, limbs);
    bytes_in(x, ins, bytes, limbs);
    if (limbs == MB_LIMBS_512)
        power_public(1, r, x, &n);
    else if (limbs == MB_LIMBS_1024)
        power_public(2, r, x, &n);
    else
        power_public(4, r, x, &n);
    bytes_out(out, lanes, bytes, r, limbs);
    mb_wipe(x, sizeof x);
    mb_wipe(r, sizeof r);
    wipe_frames();
    _mm256_zeroupper();
    return MB_CALL_OK;
}

NOINLINE __mmask8 private_1024(v8 *m, const v8 *c, const mb_key *const key[MB_LANES])
{
    power_crt(1, m, c, key);
    return check_power(2, m, c, key);
}

NOINLINE __mmask8 private_2048(v8 *m, const v8 *c, const mb_key *const key[MB_LANES])
{
    power_crt(2, m, c, key);
    return check_power(4, m, c, key);
}

TARGET static int private_op(unsigned lanes, const mb_key *const *key, const uint8_t *const *in, uint8_t *const *out,
                             unsigned *faulty)
{
    const mb_key *keys[MB_LANES];
    const uint8_t *ins[MB_LANES];
    const int limbs = (int)key[0]->n.limbs;
    v8 c[MB_MAX_LIMBS], m[MB_MAX_LIMBS];
    SPREAD(keys, key, lanes);
    SPREAD(ins, in, lanes);
    bytes_in(c, ins, key[0]->bytes, limbs);
    *faulty = limbs == MB_LIMBS_1024 ? private_1024(m, c, keys) : private_2048(m, c, keys);
    *faulty &= (1u << lanes) - 1;
    bytes_out(out, lanes, key[0]->bytes, m, limbs);
    mb_wipe(c, sizeof c);
    mb_wipe(m, sizeof m);
    wipe_frames();
    _mm256_zeroupper();
    return MB_CALL_OK;
}

INLINE void repeat(const int M, v8 *x, v8 *y, const modulus *n, unsigned count)
{
    v8 one[MB_MAX_LIMBS];
    for (int i = 0; i < M * B; i++)
        one[i] = _mm512_set1_epi64(i == 0);
    mont_mul(M, x, x, n->rr, n->n, n->k0);
    if (y != NULL)
        mont_mul(M, y, y, n->rr, n->n, n->k0);
    for (unsigned i = 0; i < count; i++) {
        if (y != NULL)
            mont_mul(M, x, x, y, n->n, n->k0);
        else
            mont_sqr(M, x, x, n->n, n->k0);
    }
    mont_mul(M, x, x, one, n->n, n->k0);
    canonical(x, n->n, M * B);
}

TARGET static int repeat_op(unsigned lanes, const mb_modulus *const *mod, const uint8_t *const *a,
                            const uint8_t *const *b, unsigned count, uint8_t *const *out)
{
    const mb_modulus *mods[MB_LANES];
    const uint8_t *as[MB_LANES], *bs[MB_LANES];
    const int limbs = (int)mod[0]->limbs;
    const size_t bytes = (mod[0]->bits + 7) / 8;
    modulus n;
    v8 x[MB_MAX_LIMBS], y[MB_MAX_LIMBS];
    SPREAD(mods, mod, lanes);
    SPREAD(as, a, lanes);
    modulus_in(&n, mods, limbs);
    bytes_in(x, as, bytes, limbs);
    if (b != NULL) {
        SPREAD(bs, b, lanes);
        bytes_in(y, bs, bytes, limbs);
    }
    if (limbs == MB_LIMBS_512)
        repeat(1, x, b != NULL ? y : NULL, &n, count);
    else if (limbs == MB_LIMBS_1024)
        repeat(2, x, b != NULL ? y : NULL, &n, count);
    else
        repeat(4, x, b != NULL ? y : NULL, &n, count);
    bytes_out(out, lanes, bytes, x, limbs);
    mb_wipe(x, sizeof x);
    mb_wipe(y, sizeof y);
    wipe_frames();
    _mm256_zeroupper();
    return MB_CALL_OK;
}

const mb_rsa mb_rsa_avx512ifma = {"avx512ifma", public_op, private_op, repeat_op};
#endif
