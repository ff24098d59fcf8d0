/* reader: the load of the paced rows. Opens streams spread over time, reads and throws away what comes, and counts it,
 * for less CPU per token than any server spends. Speaks HTTP/1.1 (one stream a connection), HTTP/2 by prior knowledge, and HTTP/2
 * over TLS where it is built with OpenSSL.
 *
 *   cc -O2 reader.c -o reader                        (h1, h2c)
 *   cc -O2 -DWITH_TLS reader.c -o reader -lssl       (h2 too)
 *   ./reader h1|h2c|h2 PORT CONNS STREAMS_PER_CONN SPREAD_MS WARM_MS WINDOW_MS PID[,PID...] BODY_FILE [wait]
 *
 * The window opens WARM_MS after the last stream had its first event (with `wait`: after the last request was sent, for
 * streams that wait for their first token). CPU time of the processes PID (all threads) is read at both ends of the window.
 * Events are counted by the empty line that ends each. Where an event carries "due" and "sent" (microseconds of
 * CLOCK_MONOTONIC), lateness is kept in buckets of 1 us: handed to the transport minus due, and arrived minus due.
 * "ttftUs" are the times from each request to its first event, the window or not; "longestGapUs" is the longest time between two
 * reads of one stream's events in the window.
 * Prints one line of JSON.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#ifdef WITH_TLS
#include <fcntl.h>
#include <openssl/ssl.h>
#endif

enum { buckets = 1 << 20 };
static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
static const char path[] = "/v1/chat/completions";

struct stream {
  double asked_us, last_us;
  double first_due, last_due, first_sent, last_sent, first_seen, last_seen;
  int started;
};

struct conn {
  int fd;
#ifdef WITH_TLS
  SSL *tls;
#endif
  /* HTTP/2: how far into a frame we are. */
  uint8_t head[9];
  int head_filled;
  uint32_t left;
  uint8_t control[8];
  int control_filled;
  /* HTTP/1.1: the last byte of the read before, so that an empty line cut in two is seen. */
  char last;
  struct stream *streams;
};

static struct conn *conns;
static int is_h2, is_tls, per_conn, first_events, in_window;
static long events, bytes, reads, unstamped;
static uint32_t *late_sent, *late_seen, *ttft;
static double now_us, longest_gap;

static double clock_us(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1e6 + t.tv_nsec * 1e-3;
}

static void fail(const char *what) {
  fprintf(stderr, "reader: %s (%s)\n", what, strerror(errno));
  exit(1);
}

static int pids[64], pid_count;

/* CPU nanoseconds of all threads of all processes. */
static double cpu_ns(void) {
  double sum = 0;
  for (int i = 0; i < pid_count; i++) {
    clockid_t clock;
    struct timespec t;
    if (clock_getcpuclockid(pids[i], &clock) || clock_gettime(clock, &t)) fail("the server is gone");
    sum += t.tv_sec * 1e9 + t.tv_nsec;
  }
  return sum;
}

static long rss_of(int pid) {
  char name[64], line[256];
  snprintf(name, sizeof name, "/proc/%d/status", pid);
  FILE *file = fopen(name, "r");
  long kb = -1;
  while (file && fgets(line, sizeof line, file))
    if (sscanf(line, "VmRSS: %ld", &kb) == 1) break;
  if (file) fclose(file);
  return kb;
}

static long rss_kb(void) {
  long sum = 0;
  for (int i = 0; i < pid_count; i++) sum += rss_of(pids[i]);
  return sum;
}

static void record(uint32_t *histogram, double us) {
  long bucket = us < 0 ? 0 : (long)us;
  histogram[bucket < buckets ? bucket : buckets - 1]++;
}

/* `end` is just after an event's empty line, `begin` the first byte of it that is at hand. */
static void event(struct stream *stream, const char *begin, const char *end) {
  if (!stream->started) {
    stream->started = 1;
    first_events++;
    record(ttft, now_us - stream->asked_us);
  }
  if (!in_window) return;
  if (stream->last_us > 0 && now_us - stream->last_us > longest_gap) longest_gap = now_us - stream->last_us;
  stream->last_us = now_us;
  events++;
  const char *from = end - begin > 80 ? end - 80 : begin;
  const char *due_at = memmem(from, end - from, "\"due\":", 6), *sent_at = memmem(from, end - from, "\"sent\":", 7);
  if (!due_at || !sent_at) {
    unstamped++;
    return;
  }
  double due = strtod(due_at + 6, 0), sent = strtod(sent_at + 7, 0);
  record(late_sent, sent - due);
  record(late_seen, now_us - due);
  if (stream->first_due == 0) stream->first_due = due, stream->first_sent = sent, stream->first_seen = now_us;
  stream->last_due = due, stream->last_sent = sent, stream->last_seen = now_us;
}

/* An event ends with two line ends behind its data. Those behind a chunk's size, and behind an event's end, are none. */
static int ends_data(const char *begin, const char *at) {
  return at == begin || (at[-1] != '\r' && at[-1] != '\n');
}

static void scan(struct stream *stream, const char *data, size_t size, char *last) {
  const char *begin = data, *at = data, *end = data + size;
  if (*last == '\n' && *data == '\n') event(stream, data, data + 1), begin = at = data + 1;
  while (at < end && (at = memchr(at, '\n', end - at))) {
    if (at + 1 < end && at[1] == '\n' && ends_data(data, at)) event(stream, begin, at + 2), begin = at = at + 2;
    else at++;
  }
  *last = end[-1] == '\n' && !ends_data(data, end - 1) ? 0 : end[-1];
}

#ifdef WITH_TLS
/* Any certificate will do: the server is our own. The cipher is the one that it is asked for first, the same for all. */
static void begin_tls(struct conn *conn) {
  static SSL_CTX *context;
  if (!context) {
    context = SSL_CTX_new(TLS_client_method());
    if (!context || SSL_CTX_set_ciphersuites(context, "TLS_AES_128_GCM_SHA256") != 1) fail("TLS");
    if (SSL_CTX_set_alpn_protos(context, (const uint8_t *)"\2h2", 3) != 0) fail("ALPN");
  }
  conn->tls = SSL_new(context);
  if (!conn->tls || SSL_set_fd(conn->tls, conn->fd) != 1 || SSL_connect(conn->tls) != 1) fail("TLS handshake");
  if (fcntl(conn->fd, F_SETFL, O_NONBLOCK)) fail("fcntl");
}

static ssize_t receive(struct conn *conn, void *into, size_t size) {
  if (!is_tls) return recv(conn->fd, into, size, MSG_DONTWAIT);
  int got = SSL_read(conn->tls, into, size);
  if (got > 0) return got;
  int error = SSL_get_error(conn->tls, got);
  if (error == SSL_ERROR_ZERO_RETURN) return 0;
  errno = error == SSL_ERROR_WANT_READ ? EAGAIN : EPROTO;
  return -1;
}

static void send_all(struct conn *conn, const void *data, size_t size) {
  if (is_tls ? SSL_write(conn->tls, data, size) != (int)size : send(conn->fd, data, size, MSG_NOSIGNAL) != (ssize_t)size) fail("send");
}
#else
static void begin_tls(struct conn *conn) {
  (void)conn;
  fail("built without TLS");
}

static ssize_t receive(struct conn *conn, void *into, size_t size) {
  return recv(conn->fd, into, size, MSG_DONTWAIT);
}

static void send_all(struct conn *conn, const void *data, size_t size) {
  if (send(conn->fd, data, size, MSG_NOSIGNAL) != (ssize_t)size) fail("send");
}
#endif

static size_t frame_head(uint8_t *into, uint32_t size, uint8_t type, uint8_t flags, uint32_t id) {
  uint8_t head[9] = {size >> 16, size >> 8, size, type, flags, id >> 24, id >> 16, id >> 8, id};
  memcpy(into, head, 9);
  return 9;
}

/* A whole control frame: SETTINGS and PING want an answer; RST_STREAM and GOAWAY end the measurement. */
static void control_frame(struct conn *conn) {
  uint8_t type = conn->head[3], flags = conn->head[4], answer[17];
  if (type == 4 && !(flags & 1)) send_all(conn, answer, frame_head(answer, 0, 4, 1, 0));
  if (type == 6 && !(flags & 1)) {
    frame_head(answer, 8, 6, 1, 0);
    memcpy(answer + 9, conn->control, 8);
    send_all(conn, answer, 17);
  }
  if (type == 3) fail("a stream was reset");
  if (type == 7) fail("GOAWAY");
}

static void scan_h2(struct conn *conn, const char *data, size_t size) {
  while (size > 0) {
    if (conn->head_filled < 9) {
      size_t take = 9 - conn->head_filled < (long)size ? 9 - conn->head_filled : (long)size;
      memcpy(conn->head + conn->head_filled, data, take);
      conn->head_filled += take, data += take, size -= take;
      if (conn->head_filled < 9) return;
      conn->left = conn->head[0] << 16 | conn->head[1] << 8 | conn->head[2];
      conn->control_filled = 0;
    }
    size_t take = conn->left < size ? conn->left : size;
    uint32_t id = (conn->head[5] & 0x7f) << 24 | conn->head[6] << 16 | conn->head[7] << 8 | conn->head[8];
    if (conn->head[3] == 0 && take > 0) {
      char last = 0;
      scan(&conn->streams[(id - 1) / 2], data, take, &last);
    } else {
      for (size_t i = 0; i < take && conn->control_filled < 8; i++) conn->control[conn->control_filled++] = data[i];
    }
    conn->left -= take, data += take, size -= take;
    if (conn->left == 0) {
      if (conn->head[3] != 0) control_frame(conn);
      conn->head_filled = 0;
    }
  }
}

static void read_for(int epoll, double until_us) {
  static char sink[1 << 18];
  struct epoll_event ready[1024];
  for (;;) {
    double left = until_us - clock_us();
    if (left <= 0) return;
    /* To the microsecond, so that it sleeps between two requests that are a millisecond apart: a load that never sleeps is
     * stopped for 50 ms of each second by the scheduler where it runs by a real-time policy, and takes from the server's core where
     * the two share one. */
    struct timespec wait = {left / 1e6, (long)(left * 1e3) % 1000000000};
    int n = syscall(SYS_epoll_pwait2, epoll, ready, 1024, &wait, 0, 0);
    if (n < 0) fail("epoll_pwait2");
    for (int i = 0; i < n; i++) {
      struct conn *conn = ready[i].data.ptr;
      ssize_t got = receive(conn, sink, sizeof sink);
      if (got == 0) fail("the server closed a connection");
      if (got < 0) {
        if (errno == EAGAIN) continue;
        fail("recv");
      }
      now_us = clock_us();
      if (in_window) reads++, bytes += got;
      if (is_h2) scan_h2(conn, sink, got);
      else scan(conn->streams, sink, got, &conn->last);
    }
  }
}

static void connect_to(struct conn *conn, int port) {
  struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  int one = 1;
  conn->fd = socket(AF_INET, SOCK_STREAM, 0);
  if (conn->fd < 0 || connect(conn->fd, (void *)&addr, sizeof addr)) fail("connect");
  setsockopt(conn->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  /* Closing sends RST: no port stays behind in TIME_WAIT for the next round. */
  setsockopt(conn->fd, SOL_SOCKET, SO_LINGER, &(struct linger){1, 0}, sizeof(struct linger));
  if (!is_h2) return;
  if (is_tls) begin_tls(conn);
  uint8_t hello[64], *at = hello;
  memcpy(at, preface, sizeof preface - 1), at += sizeof preface - 1;
  /* Windows as large as they get: flow control is another experiment. */
  at += frame_head(at, 6, 4, 0, 0);
  memcpy(at, (uint8_t[]){0, 4, 0x7f, 0xff, 0xff, 0xff}, 6), at += 6;
  at += frame_head(at, 4, 8, 0, 0);
  memcpy(at, (uint8_t[]){0x7f, 0xff, 0, 0}, 4), at += 4;
  send_all(conn, hello, at - hello);
}

static void request(struct conn *conn, int stream, const char *body, size_t size) {
  static uint8_t out[1 << 16];
  size_t used;
  if (size > sizeof out / 2) fail("the body is too long");
  if (!is_h2) {
    used = sprintf((char *)out, "POST %s HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: %zu\r\n\r\n", path, size);
  } else {
    uint8_t block[128], *at = block;
    *at++ = 0x83; /* :method POST */
    *at++ = is_tls ? 0x87 : 0x86; /* :scheme https, or http */
    *at++ = 0x04, *at++ = sizeof path - 1, memcpy(at, path, sizeof path - 1), at += sizeof path - 1;
    *at++ = 0x01, *at++ = 9, memcpy(at, "127.0.0.1", 9), at += 9;
    *at++ = 0x0f, *at++ = 0x10, *at++ = 16, memcpy(at, "application/json", 16), at += 16;
    used = frame_head(out, at - block, 1, 4, 2 * stream + 1);
    memcpy(out + used, block, at - block), used += at - block;
    used += frame_head(out + used, size, 0, 1, 2 * stream + 1);
  }
  memcpy(out + used, body, size);
  send_all(conn, out, used + size);
}

static void print_quantiles(const char *name, const uint32_t *histogram) {
  static const double shares[] = {0.5, 0.99, 0.999, 1};
  static const char *names[] = {"p50", "p99", "p999", "max"};
  long total = 0, seen = 0;
  for (int i = 0; i < buckets; i++) total += histogram[i];
  if (total == 0) return;
  printf(",\"%s\":{", name);
  int bucket = -1;
  for (int i = 0; i < 4; i++) {
    while (seen < shares[i] * total && bucket < buckets - 1) seen += histogram[++bucket];
    printf("%s\"%s\":%d", i ? "," : "", names[i], bucket);
  }
  printf("}");
}

int main(int argc, char **argv) {
  if (argc != 10 && argc != 11) {
    fprintf(stderr, "usage: reader h1|h2c|h2 PORT CONNS STREAMS_PER_CONN SPREAD_MS WARM_MS WINDOW_MS PID[,PID...] BODY_FILE [wait]\n");
    return 2;
  }
  is_tls = strcmp(argv[1], "h2") == 0;
  is_h2 = is_tls || strcmp(argv[1], "h2c") == 0;
  int port = atoi(argv[2]), count = atoi(argv[3]), waiting = argc == 11;
  double spread_ms = atof(argv[5]), warm_ms = atof(argv[6]), window_ms = atof(argv[7]);
  per_conn = atoi(argv[4]);
  for (char *at = strtok(argv[8], ","); at && pid_count < 64; at = strtok(0, ",")) pids[pid_count++] = atoi(at);
  static char body[1 << 15];
  FILE *file = fopen(argv[9], "r");
  if (!file) fail(argv[9]);
  size_t size = fread(body, 1, sizeof body, file);
  struct rlimit files;
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);

  int epoll = epoll_create1(0), total = count * per_conn;
  conns = calloc(count, sizeof *conns);
  late_sent = calloc(buckets, sizeof *late_sent), late_seen = calloc(buckets, sizeof *late_seen);
  ttft = calloc(buckets, sizeof *ttft);
  long rss_before = rss_kb();
  double start = clock_us();
  for (int i = 0; i < total; i++) {
    read_for(epoll, start + spread_ms * 1000 * i / total);
    /* Each connection gets one stream of every row, in an order of its own: taken in turns, all streams that are due in one
     * millisecond could belong to one connection, which no real load does. */
    uint32_t row = i / count;
    struct conn *conn = &conns[(i % count + (row * 2654435761u >> 16)) % count];
    if (row == 0) {
      conn->streams = calloc(per_conn, sizeof *conn->streams);
      connect_to(conn, port);
      struct epoll_event want = {.events = EPOLLIN, .data.ptr = conn};
      epoll_ctl(epoll, EPOLL_CTL_ADD, conn->fd, &want);
    }
    conn->streams[row].asked_us = clock_us();
    request(conn, row, body, size);
  }
  for (double limit = clock_us() + 30e6; !waiting && first_events < total;) {
    if (clock_us() > limit) fail("not every stream had its first event in 30 s");
    read_for(epoll, clock_us() + 10e3);
  }
  read_for(epoll, clock_us() + warm_ms * 1000);
  double cpu = cpu_ns(), began = clock_us();
  in_window = 1;
  read_for(epoll, began + window_ms * 1000);
  in_window = 0;
  cpu = cpu_ns() - cpu;
  double window = clock_us() - began, due = 0, sent = 0, seen = 0;
  for (int c = 0; c < count; c++) {
    for (int s = 0; s < per_conn; s++) {
      struct stream *stream = &conns[c].streams[s];
      due += stream->last_due - stream->first_due;
      sent += stream->last_sent - stream->first_sent;
      seen += stream->last_seen - stream->first_seen;
    }
  }
  struct rusage own;
  getrusage(RUSAGE_SELF, &own);
  printf("{\"events\":%ld,\"bytes\":%ld,\"reads\":%ld,\"windowUs\":%.0f,\"cpuUs\":%.1f,\"rssBeforeKb\":%ld,\"rssKb\":%ld", events, bytes, reads,
         window, cpu / 1000, rss_before, rss_kb());
  print_quantiles("ttftUs", ttft);
  printf(",\"longestGapUs\":%.0f", longest_gap);
  if (events > unstamped && due > 0) {
    printf(",\"stamped\":%ld,\"itlErrorSent\":%.7f,\"itlErrorSeen\":%.7f", events - unstamped, sent / due - 1, seen / due - 1);
    print_quantiles("lateSentUs", late_sent);
    print_quantiles("lateSeenUs", late_seen);
  }
  printf(",\"readerCpuUs\":%.0f}\n", (own.ru_utime.tv_sec + own.ru_stime.tv_sec) * 1e6 + own.ru_utime.tv_usec + own.ru_stime.tv_usec);
  return 0;
}
