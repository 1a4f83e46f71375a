/* One protocol step a lane, for batches of any size.
 *
 * A batch is cut into groups of eight; each group runs padding, RSA and checks before the next begins, so that its
 * working set stays in the cache and on the stack. Lanes whose input is wrong are left out before RSA, so the code
 * below this layer never sees an invalid operand.
 *
 * Formats (RFC 8017, section 7.2 and 9.2 without DigestInfo): an encryption block is 00 02 | non-zero padding | 00 |
 * data, a signature block 00 01 | ff ... | 00 | the bare 20-byte HMAC.
 */
#include "mb.h"

#include <string.h>

#if defined(__linux__)
#include <sys/random.h>
#include <errno.h>
#else
#include <unistd.h>
#endif

/* --- symmetric parts */

void mb_hmac_sha1(const uint8_t *key, size_t key_len, const uint8_t *message, size_t len, uint8_t mac[MB_SHA1_BYTES])
{
    static const uint32_t start[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
    const mb_sha1_fn sha1 = mb_sha1_active();
    uint8_t pad[64], tail[128];
    uint32_t state[5];

    memset(pad, 0x36, sizeof pad);
    for (size_t i = 0; i < key_len; i++) /* keys of this protocol are never longer than a block */
        pad[i] ^= key[i];
    memcpy(state, start, sizeof state);
    sha1(state, pad, 1);
    sha1(state, message, len / 64);
    const size_t rest = len % 64, tail_len = rest < 56 ? 64 : 128;
    memset(tail, 0, sizeof tail);
    memcpy(tail, message + len - rest, rest);
    tail[rest] = 0x80;
    uint64_t bits = (64 + (uint64_t)len) * 8;
    for (size_t i = 1; i <= 8; i++, bits >>= 8)
        tail[tail_len - i] = (uint8_t)bits;
    sha1(state, tail, tail_len / 64);

    memset(tail, 0, 64);
    for (int i = 0; i < 20; i++)
        tail[i] = (uint8_t)(state[i / 4] >> (24 - 8 * (i % 4)));
    tail[20] = 0x80;
    tail[62] = (uint8_t)((64 + MB_SHA1_BYTES) * 8 >> 8);
    tail[63] = (uint8_t)((64 + MB_SHA1_BYTES) * 8);
    for (int i = 0; i < 64; i++)
        pad[i] ^= 0x36 ^ 0x5c;
    memcpy(state, start, sizeof state);
    sha1(state, pad, 1);
    sha1(state, tail, 1);
    for (int i = 0; i < MB_SHA1_BYTES; i++)
        mac[i] = (uint8_t)(state[i / 4] >> (24 - 8 * (i % 4)));
    mb_wipe(pad, sizeof pad);
    mb_wipe(tail, sizeof tail);
    mb_wipe(state, sizeof state);
}

static int cbc(mb_cbc_fn run, const uint8_t *key, const uint8_t *iv, const uint8_t *data, size_t len, uint8_t *out,
               size_t out_len)
{
    if (len % MB_AES_BLOCK != 0 || out_len != len)
        return MB_CALL_LENGTH;
    if (mb_overlap(out, out_len, data, len) || mb_overlap(out, out_len, key, 16) || mb_overlap(out, out_len, iv, 16))
        return MB_CALL_ALIAS;
    run(key, iv, data, len / MB_AES_BLOCK, out);
    return MB_CALL_OK;
}

int mb_seal(const uint8_t key[16], const uint8_t iv[16], const uint8_t *data, size_t len, uint8_t *out, size_t out_len)
{
    return cbc(mb_cbc_encrypt_active(), key, iv, data, len, out, out_len);
}

int mb_open(const uint8_t key[16], const uint8_t iv[16], const uint8_t *data, size_t len, uint8_t *out, size_t out_len)
{
    return cbc(mb_cbc_decrypt_active(), key, iv, data, len, out, out_len);
}

int mb_seal_hello(mb_seal_lane *lanes, size_t count, uint8_t *out, size_t out_len)
{
    const mb_cbc_fn encrypt = mb_cbc_encrypt_active();
    if (out_len != count * MB_AES_BLOCK)
        return MB_CALL_LENGTH;
    for (size_t i = 0; i < count; i++)
        if (mb_overlap(out, out_len, lanes[i].key, lanes[i].key_len) ||
            mb_overlap(out, out_len, lanes[i].iv, lanes[i].iv_len) ||
            mb_overlap(out, out_len, lanes[i].padded, lanes[i].padded_len))
            return MB_CALL_ALIAS;
    memset(out, 0, out_len);
    for (size_t i = 0; i < count; i++) {
        mb_seal_lane *lane = &lanes[i];
        const int good = lane->key_len == 16 && lane->iv_len == 16 && lane->padded_len == MB_AES_BLOCK;
        lane->status = good ? MB_OK : MB_BAD_INPUT;
        if (good)
            encrypt(lane->key, lane->iv, lane->padded, 1, out + i * MB_AES_BLOCK);
    }
    return MB_CALL_OK;
}

/* --- padding */

static int system_random(uint8_t *data, size_t len)
{
#if defined(__linux__)
    while (len > 0) {
        const ssize_t got = getrandom(data, len, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return -1;
        data += got;
        len -= (size_t)got;
    }
    return 0;
#else
    for (; len > 256; data += 256, len -= 256)
        if (getentropy(data, 256) != 0)
            return -1;
    return getentropy(data, len);
#endif
}

/* A stock of random bytes for one batch: a system call a lane would cost more than the padding itself. */
typedef struct {
    uint8_t bytes[1024];
    size_t left;
    size_t wanted; /* what the rest of the batch will ask for: no more is fetched than may be used */
} random_stock;

static int fill_nonzero(random_stock *stock, uint8_t *data, size_t len)
{
    size_t at = 0;
    while (at < len) {
        if (stock->left == 0) {
            size_t fetch = stock->wanted + stock->wanted / 128 + 8; /* one byte in 256 is thrown away */
            if (fetch > sizeof stock->bytes)
                fetch = sizeof stock->bytes;
            if (system_random(stock->bytes, fetch) != 0)
                return -1;
            stock->left = fetch;
        }
        const uint8_t byte = stock->bytes[--stock->left];
        if (byte != 0)
            data[at++] = byte;
    }
    stock->wanted -= len < stock->wanted ? len : stock->wanted;
    return 0;
}

static int all_nonzero(const uint8_t *data, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (data[i] == 0)
            return 0;
    return 1;
}

/* 00 02 | padding | 00 | data. Returns a lane status, or -1 when the generator failed. */
static int encryption_block(random_stock *stock, uint8_t *block, size_t block_len, const uint8_t *data, size_t len,
                            const uint8_t *padding, size_t padding_len)
{
    if (len + MB_PAD_OVERHEAD > block_len)
        return MB_BAD_INPUT;
    const size_t fill = block_len - 3 - len;
    if (padding != NULL && (padding_len != fill || !all_nonzero(padding, fill)))
        return MB_BAD_INPUT;
    block[0] = 0;
    block[1] = 2;
    if (padding != NULL)
        memcpy(block + 2, padding, fill);
    else if (fill_nonzero(stock, block + 2, fill) != 0)
        return -1;
    block[2 + fill] = 0;
    memcpy(block + 3 + fill, data, len);
    return MB_OK;
}

/* Where the data of an encryption block begins, or 0. Every byte is looked at, whatever stands before it. */
static size_t encryption_data(const uint8_t *block, size_t len)
{
    size_t start = 0;
    for (size_t i = 2; i < len; i++) {
        const size_t is_end = (size_t)(block[i] == 0) & (size_t)(start == 0);
        start |= (0 - is_end) & (i + 1);
    }
    const int good = (block[0] == 0) & (block[1] == 2) & (start >= MB_PAD_OVERHEAD);
    return good ? start : 0;
}

static void signature_block(uint8_t block[MB_SERVER_BYTES], const uint8_t mac[MB_SHA1_BYTES])
{
    block[0] = 0;
    block[1] = 1;
    memset(block + 2, 0xff, MB_SERVER_BYTES - 3 - MB_SHA1_BYTES);
    block[MB_SERVER_BYTES - 1 - MB_SHA1_BYTES] = 0;
    memcpy(block + MB_SERVER_BYTES - MB_SHA1_BYTES, mac, MB_SHA1_BYTES);
}

/* --- groups of lanes */

static int usable(const mb_key *key, mb_kind kind, unsigned bytes)
{
    return key != NULL && key->kind == kind && key->bytes == bytes;
}

/* value < n; big-endian, as long as the modulus. What is compared here came over the wire: it is no secret. */
static int below_modulus(const uint8_t *value, const mb_modulus *mod, size_t bytes)
{
    uint64_t limbs[MB_MAX_LIMBS];
    unsigned i = mod->limbs;
    mb_limbs_from_bytes(limbs, i, value, bytes);
    while (--i > 0 && limbs[i] == mod->n[i])
        ;
    return limbs[i] < mod->n[i];
}

/* Up to eight lanes on their way through one RSA operation; `index` is the place in the batch's group. */
typedef struct {
    unsigned used;
    unsigned index[MB_LANES];
    const mb_modulus *mod[MB_LANES];
    const mb_key *key[MB_LANES];
    const uint8_t *in[MB_LANES];
    uint8_t *out[MB_LANES];
} group;

static void group_add(group *g, unsigned index, const mb_key *key, const uint8_t *in, uint8_t *out)
{
    g->index[g->used] = index;
    g->mod[g->used] = &key->n;
    g->key[g->used] = key;
    g->in[g->used] = in;
    g->out[g->used] = out;
    g->used++;
}

static int group_public(const mb_rsa *rsa, const group *g)
{
    return g->used == 0 ? MB_CALL_OK : rsa->public_op(g->used, g->mod, g->in, g->out);
}

/* Lanes that fail the check get a bit, by their index in the batch's group, in *faulty. */
static int group_private(const mb_rsa *rsa, const group *g, unsigned *faulty)
{
    unsigned mask = 0;
    *faulty = 0;
    if (g->used == 0)
        return MB_CALL_OK;
    const int call = rsa->private_op(g->used, g->key, g->in, g->out, &mask);
    for (unsigned i = 0; i < g->used; i++)
        *faulty |= (mask >> i & 1) << g->index[i];
    return call;
}

static size_t group_size(size_t count, size_t first)
{
    return count - first < MB_LANES ? count - first : MB_LANES;
}

int mb_encrypt_nonce(mb_encrypt_lane *lanes, size_t count, uint8_t *out, size_t out_len)
{
    const mb_rsa *rsa = mb_rsa_active();
    uint8_t block[MB_LANES][MB_SERVER_BYTES];
    random_stock stock = {.left = 0, .wanted = 0};
    int call = MB_CALL_OK;
    if (out_len != count * MB_SERVER_BYTES)
        return MB_CALL_LENGTH;
    for (size_t i = 0; i < count; i++) {
        if (mb_overlap(out, out_len, lanes[i].plain, lanes[i].plain_len) ||
            mb_overlap(out, out_len, lanes[i].padding, lanes[i].padding_len))
            return MB_CALL_ALIAS;
        if (lanes[i].padding == NULL && lanes[i].plain_len + MB_PAD_OVERHEAD <= MB_SERVER_BYTES)
            stock.wanted += MB_SERVER_BYTES - 3 - lanes[i].plain_len;
    }
    memset(out, 0, out_len);
    for (size_t first = 0; first < count && call == MB_CALL_OK; first += MB_LANES) {
        group g = {.used = 0};
        for (unsigned i = 0; i < group_size(count, first) && call == MB_CALL_OK; i++) {
            mb_encrypt_lane *lane = &lanes[first + i];
            lane->status = MB_BAD_INPUT;
            if (usable(lane->server, MB_PUBLIC, MB_SERVER_BYTES))
                lane->status = encryption_block(&stock, block[i], MB_SERVER_BYTES, lane->plain, lane->plain_len,
                                                lane->padding, lane->padding_len);
            if (lane->status < 0)
                call = MB_CALL_RANDOM;
            if (lane->status == MB_OK)
                group_add(&g, i, lane->server, block[i], out + (first + i) * MB_SERVER_BYTES);
        }
        if (call == MB_CALL_OK)
            call = group_public(rsa, &g);
    }
    mb_wipe(block, sizeof block);
    mb_wipe(&stock, sizeof stock);
    if (call != MB_CALL_OK)
        memset(out, 0, out_len);
    return call;
}

/* The device's private half: reply -> 40 bytes in `material`, or BAD_KEY. */
static int unwrap_decrypt(const mb_rsa *rsa, mb_unwrap_lane *lanes, unsigned n,
                          uint8_t material[MB_LANES][MB_MATERIAL_BYTES])
{
    uint8_t block[MB_LANES][MB_DEVICE_BYTES];
    group g = {.used = 0};
    unsigned faulty;
    for (unsigned i = 0; i < n; i++) {
        mb_unwrap_lane *lane = &lanes[i];
        lane->status = MB_BAD_INPUT;
        if (lane->reply_len != MB_REPLY_BYTES || !usable(lane->device, MB_PRIVATE, MB_DEVICE_BYTES) ||
            !usable(lane->server, MB_PUBLIC, MB_SERVER_BYTES))
            continue;
        lane->status = MB_BAD_KEY;
        if (below_modulus(lane->reply, &lane->device->n, MB_DEVICE_BYTES)) {
            lane->status = MB_OK;
            group_add(&g, i, lane->device, lane->reply, block[i]);
        }
    }
    const int call = group_private(rsa, &g, &faulty);
    for (unsigned i = 0; call == MB_CALL_OK && i < n; i++) {
        if (lanes[i].status != MB_OK)
            continue;
        if (faulty >> i & 1)
            lanes[i].status = MB_FAULTY_RESULT;
        else if (encryption_data(block[i], MB_DEVICE_BYTES) != MB_DEVICE_BYTES - MB_MATERIAL_BYTES)
            lanes[i].status = MB_BAD_KEY;
        else
            memcpy(material[i], block[i] + MB_DEVICE_BYTES - MB_MATERIAL_BYTES, MB_MATERIAL_BYTES);
    }
    mb_wipe(block, sizeof block);
    return call;
}

/* The check of the signature over the first 128 bytes. */
static int unwrap_verify(const mb_rsa *rsa, mb_unwrap_lane *lanes, unsigned n,
                         uint8_t material[MB_LANES][MB_MATERIAL_BYTES])
{
    uint8_t recovered[MB_LANES][MB_SERVER_BYTES], expected[MB_SERVER_BYTES], mac[MB_SHA1_BYTES];
    group g = {.used = 0};
    for (unsigned i = 0; i < n; i++) {
        mb_unwrap_lane *lane = &lanes[i];
        if (lane->status != MB_OK)
            continue;
        lane->status = MB_BAD_SIGNATURE;
        if (below_modulus(lane->reply + MB_DEVICE_BYTES, &lane->server->n, MB_SERVER_BYTES))
            group_add(&g, i, lane->server, lane->reply + MB_DEVICE_BYTES, recovered[i]);
    }
    const int call = group_public(rsa, &g);
    for (unsigned k = 0; call == MB_CALL_OK && k < g.used; k++) {
        const unsigned i = g.index[k];
        mb_hmac_sha1(material[i], MB_MATERIAL_BYTES, lanes[i].reply, MB_DEVICE_BYTES, mac);
        signature_block(expected, mac);
        if (memcmp(recovered[i], expected, MB_SERVER_BYTES) == 0)
            lanes[i].status = MB_OK;
    }
    mb_wipe(expected, sizeof expected);
    mb_wipe(mac, sizeof mac);
    return call;
}

int mb_unwrap_key(mb_unwrap_lane *lanes, size_t count, uint8_t *out, size_t out_len)
{
    const mb_rsa *rsa = mb_rsa_active();
    uint8_t material[MB_LANES][MB_MATERIAL_BYTES];
    int call = MB_CALL_OK;
    if (out_len != count * MB_MATERIAL_BYTES)
        return MB_CALL_LENGTH;
    for (size_t i = 0; i < count; i++)
        if (mb_overlap(out, out_len, lanes[i].reply, lanes[i].reply_len))
            return MB_CALL_ALIAS;
    memset(out, 0, out_len);
    for (size_t first = 0; first < count && call == MB_CALL_OK; first += MB_LANES) {
        const unsigned n = (unsigned)group_size(count, first);
        call = unwrap_decrypt(rsa, lanes + first, n, material);
        if (call == MB_CALL_OK)
            call = unwrap_verify(rsa, lanes + first, n, material);
        for (unsigned i = 0; call == MB_CALL_OK && i < n; i++)
            if (lanes[first + i].status == MB_OK)
                memcpy(out + (first + i) * MB_MATERIAL_BYTES, material[i], MB_MATERIAL_BYTES);
    }
    mb_wipe(material, sizeof material);
    if (call != MB_CALL_OK)
        mb_wipe(out, out_len);
    return call;
}

static void decrypt_finish(mb_decrypt_lane *lane, const uint8_t block[MB_SERVER_BYTES], int faulty, uint8_t *out)
{
    const size_t start = faulty ? 0 : encryption_data(block, MB_SERVER_BYTES);
    lane->status = faulty ? MB_FAULTY_RESULT : start == 0 ? MB_BAD_CIPHERTEXT : MB_OK;
    if (lane->status == MB_OK) {
        lane->plain_len = MB_SERVER_BYTES - start;
        memcpy(out, block + start, lane->plain_len);
    }
}

int mb_decrypt_nonce(mb_decrypt_lane *lanes, size_t count, uint8_t *out, size_t out_len)
{
    const mb_rsa *rsa = mb_rsa_active();
    uint8_t block[MB_LANES][MB_SERVER_BYTES];
    int call = MB_CALL_OK;
    if (out_len != count * MB_SERVER_BYTES)
        return MB_CALL_LENGTH;
    for (size_t i = 0; i < count; i++)
        if (mb_overlap(out, out_len, lanes[i].cipher, lanes[i].cipher_len))
            return MB_CALL_ALIAS;
    memset(out, 0, out_len);
    for (size_t first = 0; first < count && call == MB_CALL_OK; first += MB_LANES) {
        group g = {.used = 0};
        unsigned faulty;
        for (unsigned i = 0; i < group_size(count, first); i++) {
            mb_decrypt_lane *lane = &lanes[first + i];
            lane->plain_len = 0;
            lane->status = MB_BAD_INPUT;
            if (lane->cipher_len != MB_SERVER_BYTES || !usable(lane->server, MB_PRIVATE, MB_SERVER_BYTES))
                continue;
            lane->status = MB_BAD_CIPHERTEXT;
            if (below_modulus(lane->cipher, &lane->server->n, MB_SERVER_BYTES))
                group_add(&g, i, lane->server, lane->cipher, block[i]);
        }
        call = group_private(rsa, &g, &faulty);
        for (unsigned k = 0; call == MB_CALL_OK && k < g.used; k++) {
            const unsigned i = g.index[k];
            decrypt_finish(&lanes[first + i], block[i], faulty >> i & 1, out + (first + i) * MB_SERVER_BYTES);
        }
    }
    mb_wipe(block, sizeof block);
    if (call != MB_CALL_OK)
        mb_wipe(out, out_len);
    return call;
}

/* Encrypts for the device and lays out what is to be signed; lanes that failed keep their status. */
static int wrap_encrypt(const mb_rsa *rsa, random_stock *stock, mb_wrap_lane *lanes, unsigned n, uint8_t *out,
                        uint8_t to_sign[MB_LANES][MB_SERVER_BYTES])
{
    uint8_t block[MB_LANES][MB_DEVICE_BYTES], mac[MB_SHA1_BYTES];
    group g = {.used = 0};
    int call = MB_CALL_OK;
    for (unsigned i = 0; i < n && call == MB_CALL_OK; i++) {
        mb_wrap_lane *lane = &lanes[i];
        lane->status = MB_BAD_INPUT;
        if (lane->material_len != MB_MATERIAL_BYTES || !usable(lane->device, MB_PUBLIC, MB_DEVICE_BYTES) ||
            !usable(lane->server, MB_PRIVATE, MB_SERVER_BYTES))
            continue;
        lane->status = encryption_block(stock, block[i], MB_DEVICE_BYTES, lane->material, MB_MATERIAL_BYTES,
                                        lane->padding, lane->padding_len);
        if (lane->status < 0)
            call = MB_CALL_RANDOM;
        if (lane->status == MB_OK)
            group_add(&g, i, lane->device, block[i], out + (size_t)i * MB_REPLY_BYTES);
    }
    if (call == MB_CALL_OK)
        call = group_public(rsa, &g);
    for (unsigned k = 0; call == MB_CALL_OK && k < g.used; k++) {
        const unsigned i = g.index[k];
        mb_hmac_sha1(lanes[i].material, MB_MATERIAL_BYTES, g.out[k], MB_DEVICE_BYTES, mac);
        signature_block(to_sign[i], mac);
    }
    mb_wipe(block, sizeof block);
    mb_wipe(mac, sizeof mac);
    return call;
}

static int wrap_sign(const mb_rsa *rsa, mb_wrap_lane *lanes, unsigned n, uint8_t *out,
                     uint8_t to_sign[MB_LANES][MB_SERVER_BYTES])
{
    group g = {.used = 0};
    unsigned faulty;
    for (unsigned i = 0; i < n; i++)
        if (lanes[i].status == MB_OK)
            group_add(&g, i, lanes[i].server, to_sign[i], out + (size_t)i * MB_REPLY_BYTES + MB_DEVICE_BYTES);
    const int call = group_private(rsa, &g, &faulty);
    for (unsigned i = 0; i < n; i++)
        if (faulty >> i & 1) {
            lanes[i].status = MB_FAULTY_RESULT;
            memset(out + (size_t)i * MB_REPLY_BYTES, 0, MB_REPLY_BYTES);
        }
    return call;
}

int mb_wrap_key(mb_wrap_lane *lanes, size_t count, uint8_t *out, size_t out_len)
{
    const mb_rsa *rsa = mb_rsa_active();
    uint8_t to_sign[MB_LANES][MB_SERVER_BYTES];
    random_stock stock = {.left = 0, .wanted = 0};
    int call = MB_CALL_OK;
    if (out_len != count * MB_REPLY_BYTES)
        return MB_CALL_LENGTH;
    for (size_t i = 0; i < count; i++) {
        if (mb_overlap(out, out_len, lanes[i].material, lanes[i].material_len) ||
            mb_overlap(out, out_len, lanes[i].padding, lanes[i].padding_len))
            return MB_CALL_ALIAS;
        if (lanes[i].padding == NULL)
            stock.wanted += MB_DEVICE_BYTES - 3 - MB_MATERIAL_BYTES;
    }
    memset(out, 0, out_len);
    for (size_t first = 0; first < count && call == MB_CALL_OK; first += MB_LANES) {
        const unsigned n = (unsigned)group_size(count, first);
        uint8_t *slot = out + first * MB_REPLY_BYTES;
        call = wrap_encrypt(rsa, &stock, lanes + first, n, slot, to_sign);
        if (call == MB_CALL_OK)
            call = wrap_sign(rsa, lanes + first, n, slot, to_sign);
    }
    mb_wipe(to_sign, sizeof to_sign);
    mb_wipe(&stock, sizeof stock);
    if (call != MB_CALL_OK)
        mb_wipe(out, out_len);
    return call;
}

static int raw_lane_usable(enum mb_raw_op op, const mb_raw_lane *lane, size_t bytes)
{
    if (lane->key == NULL || lane->key->bytes != bytes || lane->a_len != bytes ||
        (op == MB_RAW_PRIVATE && lane->key->kind != MB_PRIVATE) || (op == MB_RAW_MUL && lane->b_len != bytes))
        return 0;
    return below_modulus(lane->a, &lane->key->n, bytes) &&
           (op != MB_RAW_MUL || below_modulus(lane->b, &lane->key->n, bytes));
}

int mb_raw(enum mb_raw_op op, unsigned repeat, mb_raw_lane *lanes, size_t count, uint8_t *out, size_t out_len)
{
    const mb_rsa *rsa = mb_rsa_active();
    int call = MB_CALL_OK;
    if (count == 0 || lanes[0].key == NULL)
        return count == 0 && out_len == 0 ? MB_CALL_OK : MB_CALL_LENGTH;
    const size_t bytes = lanes[0].key->bytes;
    if (out_len != count * bytes)
        return MB_CALL_LENGTH;
    for (size_t i = 0; i < count; i++)
        if (mb_overlap(out, out_len, lanes[i].a, lanes[i].a_len) || mb_overlap(out, out_len, lanes[i].b, lanes[i].b_len))
            return MB_CALL_ALIAS;
    memset(out, 0, out_len);
    for (size_t first = 0; first < count && call == MB_CALL_OK; first += MB_LANES) {
        group g = {.used = 0};
        const uint8_t *b[MB_LANES];
        unsigned faulty = 0;
        for (unsigned i = 0; i < group_size(count, first); i++) {
            mb_raw_lane *lane = &lanes[first + i];
            lane->status = raw_lane_usable(op, lane, bytes) ? MB_OK : MB_BAD_INPUT;
            if (lane->status == MB_OK) {
                b[g.used] = lane->b;
                group_add(&g, i, lane->key, lane->a, out + (first + i) * bytes);
            }
        }
        if (op == MB_RAW_PUBLIC)
            call = group_public(rsa, &g);
        else if (op == MB_RAW_PRIVATE)
            call = group_private(rsa, &g, &faulty);
        else if (g.used > 0)
            call = rsa->repeat_op(g.used, g.mod, g.in, op == MB_RAW_MUL ? b : NULL, repeat, g.out);
        for (unsigned i = 0; i < group_size(count, first); i++)
            if (faulty >> i & 1)
                lanes[first + i].status = MB_FAULTY_RESULT;
    }
    return call;
}
