/* A closed-loop handshake client in C on epoll and OpenSSL: the yardstick for what a process can do that runs one
 * RSA operation at a time. One thread, level-triggered epoll, non-blocking sockets, keys parsed and operation
 * contexts made once; every check of the handshake is done, nothing is recorded.
 *
 *   cc -O2 -o c_client c_client.c -lcrypto
 *   ./c_client HOST PORT DEVICE_KEY.der SERVER_KEY.pub.der CONCURRENCY SECONDS
 *
 * DEVICE_KEY is PKCS#1 (RSA-1024), SERVER_KEY a SubjectPublicKeyInfo (RSA-2048). Prints one line of JSON.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { NONCE = 40, CIPHERTEXT = 256, REPLY = 384, SPKI = 162, MATERIAL = 40, HELLO_FRAME = 18 };
enum state { EXPECT_NONCE, EXPECT_KEY, EXPECT_HELLO };

struct device {
    int fd;
    enum state state;
    size_t have;
    unsigned char buffer[512];
    unsigned char material[MATERIAL];
};

static struct sockaddr_in target;
static EVP_PKEY_CTX *encrypt_context, *decrypt_context, *recover_context;
static EVP_CIPHER_CTX *seal_context, *open_context;
static unsigned char public_key[SPKI];
static unsigned long completed, failed;
static int poll_set;

static void die(const char *what) {
    fprintf(stderr, "c_client: %s\n", what);
    exit(1);
}

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static double cpu_seconds(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec)
         + (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1e-6;
}

static long read_file(const char *path, unsigned char *data, size_t room) {
    FILE *file = fopen(path, "rb");
    if (!file) die(path);
    size_t size = fread(data, 1, room, file);
    fclose(file);
    return (long)size;
}

static EVP_PKEY_CTX *context(EVP_PKEY *key, int (*init)(EVP_PKEY_CTX *)) {
    EVP_PKEY_CTX *made = EVP_PKEY_CTX_new(key, NULL);
    if (!made || init(made) != 1 || EVP_PKEY_CTX_set_rsa_padding(made, RSA_PKCS1_PADDING) != 1) die("context");
    return made;
}

static void load_keys(const char *device_path, const char *server_path) {
    unsigned char der[4096];
    const unsigned char *cursor = der;
    EVP_PKEY *device = d2i_PrivateKey(EVP_PKEY_RSA, NULL, &cursor, read_file(device_path, der, sizeof der));
    if (!device) die("device key");
    unsigned char *out = public_key;
    if (i2d_PUBKEY(device, NULL) != SPKI || i2d_PUBKEY(device, &out) != SPKI) die("device public key");
    cursor = der;
    EVP_PKEY *server = d2i_PUBKEY(NULL, &cursor, read_file(server_path, der, sizeof der));
    if (!server) die("server key");
    encrypt_context = context(server, EVP_PKEY_encrypt_init);
    recover_context = context(server, EVP_PKEY_verify_recover_init);
    decrypt_context = context(device, EVP_PKEY_decrypt_init);
    seal_context = EVP_CIPHER_CTX_new();
    open_context = EVP_CIPHER_CTX_new();
}

static void start(struct device *device) {
    device->state = EXPECT_NONCE;
    device->have = 0;
    device->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (device->fd < 0) die("socket");
    const struct linger reset = {1, 0};
    setsockopt(device->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    if (connect(device->fd, (struct sockaddr *)&target, sizeof target) && errno != EINPROGRESS) die("connect");
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = device};
    if (epoll_ctl(poll_set, EPOLL_CTL_ADD, device->fd, &event)) die("epoll_ctl");
}

static int send_all(struct device *device, const unsigned char *data, size_t size) {
    return send(device->fd, data, size, MSG_NOSIGNAL) == (ssize_t)size;
}

static int on_nonce(struct device *device) {
    unsigned char plain[NONCE + 12 + SPKI], cipher[CIPHERTEXT];
    size_t size = sizeof cipher;
    memcpy(plain, device->buffer, NONCE);
    RAND_bytes(plain + NONCE, 12);
    memcpy(plain + NONCE + 12, public_key, SPKI);
    if (EVP_PKEY_encrypt(encrypt_context, cipher, &size, plain, sizeof plain) != 1) return 0;
    device->state = EXPECT_KEY;
    return send_all(device, cipher, size);
}

static int on_key(struct device *device) {
    unsigned char plain[128], mac[20], signed_mac[256], frame[HELLO_FRAME] = {0, 16};
    unsigned mac_size;
    size_t size = sizeof plain, signed_size = sizeof signed_mac;
    int written;
    if (EVP_PKEY_decrypt(decrypt_context, plain, &size, device->buffer, 128) != 1 || size != MATERIAL) return 0;
    memcpy(device->material, plain, MATERIAL);
    HMAC(EVP_sha1(), plain, MATERIAL, device->buffer, 128, mac, &mac_size);
    if (EVP_PKEY_verify_recover(recover_context, signed_mac, &signed_size, device->buffer + 128, 256) != 1
        || signed_size != sizeof mac || CRYPTO_memcmp(mac, signed_mac, sizeof mac))
        return 0;
    unsigned id = (((unsigned)plain[32] << 8 | plain[33]) + 1) & 0xffff;
    const unsigned char hello[16] = {0x50, 2, (unsigned char)(id >> 8), (unsigned char)id, 0xb1, 0x68, 0xff, 0, 8,
                                     0xff, 0xff, 0, 0, 0, 8, 1};
    EVP_EncryptInit_ex(seal_context, EVP_aes_128_cbc(), NULL, plain, plain + 16);
    EVP_CIPHER_CTX_set_padding(seal_context, 0);
    if (EVP_EncryptUpdate(seal_context, frame + 2, &written, hello, 16) != 1 || written != 16) return 0;
    device->state = EXPECT_HELLO;
    return send_all(device, frame, sizeof frame);
}

static int on_hello(struct device *device) {
    unsigned char plain[16];
    int written;
    EVP_DecryptInit_ex(open_context, EVP_aes_128_cbc(), NULL, device->material, device->material + 16);
    EVP_CIPHER_CTX_set_padding(open_context, 0);
    if (EVP_DecryptUpdate(open_context, plain, &written, device->buffer + 2, 16) != 1) return 0;
    return plain[1] == 2 && (!memcmp(plain + 4, "\xb1h", 2) || !memcmp(plain + 5, "\xb1h", 2));
}

/* Returns 1 when the handshake is over, in either way. */
static int on_ready(struct device *device) {
    static const size_t due[] = {[EXPECT_NONCE] = NONCE, [EXPECT_KEY] = REPLY, [EXPECT_HELLO] = HELLO_FRAME};
    size_t want = due[device->state];
    ssize_t got = recv(device->fd, device->buffer + device->have, want - device->have, 0);
    if (got < 0 && errno == EAGAIN) return 0;
    if (got <= 0) {
        failed++;
        return 1;
    }
    device->have += (size_t)got;
    if (device->have < want) return 0;
    device->have = 0;
    int last = device->state == EXPECT_HELLO;
    int good = device->state == EXPECT_NONCE ? on_nonce(device) : last ? on_hello(device) : on_key(device);
    if (!good) failed++;
    else if (last) completed++;
    return last || !good;
}

int main(int argc, char **argv) {
    if (argc != 7) die("usage: c_client HOST PORT DEVICE_KEY.der SERVER_KEY.pub.der CONCURRENCY SECONDS");
    target.sin_family = AF_INET;
    target.sin_port = htons((unsigned short)atoi(argv[2]));
    if (inet_pton(AF_INET, argv[1], &target.sin_addr) != 1) die("HOST is not an IPv4 address");
    load_keys(argv[3], argv[4]);
    int slots = atoi(argv[5]);
    struct device *devices = calloc((size_t)slots, sizeof *devices);
    if (!devices) die("memory");
    poll_set = epoll_create1(0);
    double begin = seconds(), end = begin + atof(argv[6]), cpu = cpu_seconds();
    int busy = slots;
    for (int i = 0; i < slots; i++) start(&devices[i]);
    while (busy) {
        struct epoll_event events[256];
        int ready = epoll_wait(poll_set, events, 256, 1000);
        for (int i = 0; i < ready; i++) {
            struct device *device = events[i].data.ptr;
            if (!on_ready(device)) continue;
            close(device->fd);
            if (seconds() < end) start(device);
            else busy--;
        }
    }
    printf("{\"completed\": %lu, \"failed\": %lu, \"cpu_s\": %.6f, \"wall_s\": %.6f}\n", completed, failed,
           cpu_seconds() - cpu, seconds() - begin);
    return 0;
}
