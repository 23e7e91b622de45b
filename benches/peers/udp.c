// For udp.py: clients that count the octets of answers, and a STAMP reflector (RFC 8762) by a clock
// that is wrong.

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

enum { LINE = 64, WINDOW = 64, PIECE = 1 << 16 };
static const int64_t SECOND = 1000000000;
static struct sockaddr_in to = { AF_INET };
static char line[PIECE], answer[PIECE];
static int connections, stream;
static _Atomic long octets;

static int connected(int type) {
    int fd = socket(AF_INET, type, 0);
    if (connect(fd, (struct sockaddr *) &to, sizeof to))
        perror("connect"), exit(1);
    return fd;
}

static void *lines(void *unused) {
    struct epoll_event events[WINDOW], event = { EPOLLIN };
    int poll = epoll_create1(0);
    for (int i = 0; i < connections; i++) {
        event.data.fd = connected(SOCK_STREAM);
        epoll_ctl(poll, EPOLL_CTL_ADD, event.data.fd, &event);
        send(event.data.fd, line, LINE, 0);
    }
    for (;;)
        for (int i = epoll_wait(poll, events, WINDOW, -1); i-- > 0; octets += LINE) {
            if (recv(events[i].data.fd, answer, LINE, MSG_WAITALL) != LINE)
                fputs("closed\n", stderr), exit(1);
            send(events[i].data.fd, line, LINE, 0);
        }
}

static void *sender(void *unused) {
    while (send(stream, line, PIECE, 0) > 0);
    return NULL;
}

static void *bulk(void *unused) {
    pthread_t thread;
    stream = connected(SOCK_STREAM);
    pthread_create(&thread, NULL, sender, NULL);
    for (ssize_t got; (got = recv(stream, answer, PIECE, 0)) > 0;)
        octets += got;
    fputs("closed\n", stderr), exit(1);
}

static void *flood(void *unused) {
    static struct mmsghdr out[WINDOW], in[WINDOW];
    struct iovec question = { line, LINE }, reply = { answer, LINE };
    struct timeval patience = { 0, 10000 };
    int fd = connected(SOCK_DGRAM), missing = 0;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    for (int i = 0; i < WINDOW; i++) {
        out[i].msg_hdr = (struct msghdr) { .msg_iov = &question, .msg_iovlen = 1 };
        in[i].msg_hdr = (struct msghdr) { .msg_iov = &reply, .msg_iovlen = 1 };
    }
    for (;;) {
        if (missing < WINDOW && sendmmsg(fd, out, WINDOW - missing, 0) > 0)
            missing = WINDOW;
        int got = recvmmsg(fd, in, WINDOW, MSG_WAITFORONE, NULL);
        missing = got > 0 ? missing - got : 0;
        octets += got > 0 ? got * LINE : 0;
    }
    return NULL;
}

static int64_t since_1970(struct timespec at) {
    return at.tv_sec * SECOND + at.tv_nsec;
}

static int64_t now(void) {
    struct timespec at;
    clock_gettime(CLOCK_REALTIME, &at);
    return since_1970(at);
}

static void put(char *field, int64_t at) {
    uint64_t seconds = at / SECOND + 2208988800, fraction = at % SECOND;
    uint64_t ntp = htobe64(seconds << 32 | (fraction << 32) / SECOND);
    memcpy(field, &ntp, 8);
}

static void reflect(int64_t offset, double ppm, int steps_after) {
    char request[PIECE], reply[44] = { 0 }, control[256];
    struct sockaddr_in from;
    struct iovec piece = { request, PIECE };
    int64_t began = now();
    printf("%ld\n", began), fflush(stdout);
    int fd = socket(AF_INET, SOCK_DGRAM, 0), on = 1;
    setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on);
    bind(fd, (struct sockaddr *) &to, sizeof to);
    for (int count = 1;; count++) {
        struct msghdr message = { &from, sizeof from, &piece, 1, control, sizeof control };
        recvmsg(fd, &message, 0);
        int64_t at = since_1970(*(struct timespec *) CMSG_DATA(CMSG_FIRSTHDR(&message)));
        offset += count == steps_after ? 3600 * SECOND : 0;
        put(reply + 16, at + offset + (int64_t) ((at - began) * ppm / 1e6));
        memcpy(reply, request, 4), reply[13] = 1, memcpy(reply + 14, request + 14, 2);
        memcpy(reply + 24, request, 14), reply[40] = (char) 255;
        at = now();
        put(reply + 4, at + offset + (int64_t) ((at - began) * ppm / 1e6));
        sendto(fd, reply, sizeof reply, 0, (struct sockaddr *) &from, sizeof from);
    }
}

int main(int count, char **arguments) {
    to.sin_port = htons(atoi(arguments[2])), to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (!strcmp(arguments[1], "reflect"))
        reflect(atol(arguments[3]), atof(arguments[4]), atoi(arguments[5]));
    for (int i = 0; i < PIECE; i++)
        line[i] = i % LINE == LINE - 1 ? '\n' : 'a' + i % LINE % 26;
    connections = atoi(arguments[4]);
    alarm(60);
    void *(*load)(void *) = *arguments[1] == 'l' ? lines : *arguments[1] == 'b' ? bulk : flood;
    pthread_t thread;
    pthread_create(&thread, NULL, load, NULL);
    while (!octets)  // All are connected then.
        usleep(1000);
    sleep(1);
    long before = octets;
    sleep(atoi(arguments[3]));
    printf("%ld\n", octets - before);
}
