/* HTTP/1.1 load on loopback from one thread, in closed or in open loop, that reads what every answer says.

   load PORT CASES MARKER CONNECTIONS RATE SECONDS

   CASES is a file: its number of cases, then of each `STATUS LENGTH ANSWERS COUNT NUMBER...` and LENGTH bytes to send.
   A case is answered right by STATUS and, for 200, by COUNT numbers behind MARKER in the body that are those of one of
   its ANSWERS; STATUS 400 stands for any 4xx. Cases are sent in turn, so that an answer to another request is seen.
   RATE 0 keeps every connection busy. Otherwise arrivals are drawn (Poisson), wait for a free connection, and their
   latency counts from when they were due. A request that its connection was closed on is counted and sent again.
   Prints one line of JSON; the first answers that are wrong go to stderr. What comes in the first half second counts
   for `total` alone. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum { EVENTS = 256, TIMER = -1, STEPS = 128, BINS = 40 * STEPS, QUEUE = 1 << 20, MOST_ANSWERS = 4 };
static const double WARM_S = 0.5, DRAIN_S = 30.0, CLOSE = 1e-4, PAUSE_S = 0.01;

typedef struct { int status, answers, count; double *numbers; char *request; size_t length;
                 char *seen[MOST_ANSWERS]; size_t seen_length[MOST_ANSWERS]; } Case;
typedef struct { double due; int which, again; } Due;
typedef struct { int fd, busy; size_t sent, received, room; char *text; double again_at; Due due; } Line;

static Case *cases;
static Line *lines;
static int n_cases, n_lines, poller, port, *idle, n_idle;
static const char *marker;
static Due *queue;                       /* a ring; what is sent again is taken first */
static size_t first, past, again_first, again_past;
static Due *again;
static long bins[BINS], total, counted, right[MOST_ANSWERS], errors, refused, wrong, crossed, resent, unreached, resets;
static double *reset_at, longest, measured_from, measured_to;

static double now(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void die(const char *what) { perror(what); exit(1); }

static void read_cases(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file || fscanf(file, "%d", &n_cases) != 1) die(path);
    cases = calloc((size_t)n_cases, sizeof *cases);
    for (Case *it = cases; it < cases + n_cases; it++) {
        if (fscanf(file, "%d %zu %d %d", &it->status, &it->length, &it->answers, &it->count) != 4) die(path);
        int n = it->answers * it->count;
        it->numbers = calloc((size_t)n + 1, sizeof(double));
        for (int k = 0; k < n; k++) if (fscanf(file, "%lf", it->numbers + k) != 1) die(path);
        fgetc(file);
        it->request = malloc(it->length);
        if (fread(it->request, 1, it->length, file) != it->length) die(path);
    }
    fclose(file);
}

/* Which answer of a case the numbers in a body are, or -1. */
static int answer_in(const Case *it, const char *body) {
    const char *at = strstr(body, marker);
    for (int k = 0; at && k < it->answers; k++) {
        const char *p = at + strlen(marker);
        int same = 1;
        for (int i = 0; same && i < it->count; i++) {
            char *end;
            p += strspn(p, "[], \n");
            double found = strtod(p, &end), wanted = it->numbers[k * it->count + i];
            same = end > p && fabs(found - wanted) <= CLOSE;
            p = end;
        }
        if (same) return k;
    }
    return -1;
}

/* The same for a body that may have come before; then it is not read. */
static int judged(Case *it, const char *body, size_t length) {
    for (int k = 0; k < it->answers; k++)
        if (it->seen_length[k] == length && !memcmp(it->seen[k], body, length)) return k;
    int k = answer_in(it, body);
    if (k >= 0) {
        it->seen[k] = realloc(it->seen[k], length);
        memcpy(it->seen[k], body, it->seen_length[k] = length);
    }
    return k;
}

static void take(Line *line, int status, const char *body, size_t length) {
    Case *it = cases + line->due.which;
    int k = status == 200 && it->status == 200 ? judged(it, body, length) : -1;
    if (k >= 0) right[k]++, resent += line->due.again;
    else if (status == 429 || status == 503) refused++;
    else if (it->status != 200 && status / 100 == 4) errors++;
    else {
        if (wrong++ < 3) fprintf(stderr, "%d to case %d: %.300s\n", status, line->due.which, body);
        for (int other = 0; status == 200 && other < n_cases; other++)
            if (other != line->due.which && answer_in(cases + other, body) >= 0) { crossed++; break; }
    }
    double at = now(CLOCK_MONOTONIC), took = at - line->due.due;
    total++;
    if (at < measured_from || line->due.due >= measured_to) return;
    int bin = (int)(log2(took * 1e9 + 1) * STEPS);
    bins[bin < BINS ? bin : BINS - 1]++;
    counted++;
    if (took > longest) longest = took;
}

static void watch(Line *line, int how, unsigned events) {
    struct epoll_event event = {.events = events, .data.fd = (int)(line - lines)};
    if (epoll_ctl(poller, how, line->fd, &event)) die("epoll_ctl");
}

static void free_line(Line *line) { line->busy = 0; idle[n_idle++] = (int)(line - lines); }

/* Connect again; a refused connection is counted, and retried shortly after. */
static void connect_line(Line *line) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int on = 1;
    if (line->fd >= 0) close(line->fd);
    line->received = 0;
    line->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(line->fd, (struct sockaddr *)&to, sizeof to)) {
        close(line->fd);
        line->fd = -1;
        line->again_at = now(CLOCK_MONOTONIC) + PAUSE_S;
        unreached++;
        return;
    }
    setsockopt(line->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    fcntl(line->fd, F_SETFL, O_NONBLOCK);
    watch(line, EPOLL_CTL_ADD, EPOLLIN);
    free_line(line);
}

static void lose(Line *line) {
    if (line->busy) {
        reset_at = realloc(reset_at, (size_t)(resets + 1) * sizeof *reset_at);
        reset_at[resets++] = now(CLOCK_MONOTONIC);
        line->due.again = 1;
        again[again_past++ % QUEUE] = line->due;
        line->busy = 0;
    } else
        for (int k = 0; k < n_idle; k++) if (idle[k] == line - lines) { idle[k] = idle[--n_idle]; break; }
    connect_line(line);
}

static void push(Line *line) {
    Case *it = cases + line->due.which;
    while (line->sent < it->length) {
        ssize_t n = send(line->fd, it->request + line->sent, it->length - line->sent, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN) { watch(line, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT); return; }
        if (n < 0) return; /* closed: the next read reports it, after the rest of the answer */
        line->sent += (size_t)n;
    }
}

static void start(Line *line, Due due) {
    line->busy = 1;
    line->sent = line->received = 0;
    line->due = due;
    push(line);
}

/* Process a complete answer, if there is one. */
static void process(Line *line) {
    line->text[line->received] = 0;
    char *body = strstr(line->text, "\r\n\r\n");
    if (!body || !line->busy) return;
    *body = 0;
    body += 4;
    char *field = strcasestr(line->text, "\r\ncontent-length:");
    size_t length = field ? strtoul(field + 17, NULL, 10) : 0;
    int closes = strcasestr(line->text, "\r\nconnection: close") != NULL;
    if (line->received < (size_t)(body - line->text) + length) { body[-4] = '\r'; return; }
    take(line, atoi(line->text + 9), body, length);
    if (closes) line->busy = 0, connect_line(line);
    else free_line(line);
}

static void receive(Line *line) {
    if (line->room - line->received < 1 << 15) line->text = realloc(line->text, line->room *= 2);
    ssize_t n = recv(line->fd, line->text + line->received, line->room - line->received - 1, 0);
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) { lose(line); return; }
    line->received += (size_t)n;
    process(line);
}

/* Give work to what is free: first what was lost, then what is due; without a rate, there is always a next one. */
static void hand_out(double at, int open, double until) {
    static int next;
    while (n_idle && again_first < again_past) start(lines + idle[--n_idle], again[again_first++ % QUEUE]);
    while (n_idle && (open ? first < past : at < until)) {
        Due due = open ? queue[first++ % QUEUE] : (Due){now(CLOCK_MONOTONIC), next++ % n_cases, 0};
        start(lines + idle[--n_idle], due);
    }
}

static double quantile(double share) {
    long left = (long)ceil((double)counted * share);
    for (int bin = 0; bin < BINS; bin++)
        if ((left -= bins[bin]) <= 0) return exp2((bin + 0.5) / STEPS) * 1e-6;
    return 0;
}

static void report(double seconds, double used) {
    long waiting = (long)(past - first + again_past - again_first);
    for (Line *line = lines; line < lines + n_lines; line++) waiting += line->busy;
    printf("{\"per_s\":%.2f,\"total\":%ld,\"counted\":%ld,\"busy\":%.4f,", (double)counted / seconds, total, counted,
           used / seconds);
    printf("\"p50_ms\":%.4f,\"p99_ms\":%.4f,\"p999_ms\":%.4f,\"max_ms\":%.4f,", quantile(.5), quantile(.99),
           quantile(.999), longest * 1e3);
    printf("\"right\":[%ld,%ld,%ld,%ld],\"errors\":%ld,\"refused\":%ld,\"wrong\":%ld,\"crossed\":%ld,", right[0],
           right[1], right[2], right[3], errors, refused, wrong, crossed);
    printf("\"resent\":%ld,\"unreached\":%ld,\"unanswered\":%ld,\"resets\":[", resent, unreached, waiting);
    for (long k = 0; k < resets; k++) printf("%s%.6f", k ? "," : "", reset_at[k]);
    printf("],\"bins\":[");
    for (int bin = 0, some = 0; bin < BINS; bin++)
        if (bins[bin]) printf("%s[%.6g,%ld]", some++ ? "," : "", exp2((bin + 0.5) / STEPS) * 1e-6, bins[bin]);
    printf("]}\n");
}

static void arm(int timer, double in_s) {
    struct itimerspec set = {.it_value = {(time_t)in_s, (long)(fmod(in_s, 1) * 1e9) + 1}};
    timerfd_settime(timer, 0, &set, NULL);
}

static void turn(int timer, int wait_ms) {
    struct epoll_event events[EVENTS];
    int n = epoll_wait(poller, events, EVENTS, wait_ms);
    for (int k = 0; k < n; k++) {
        unsigned long long ticks;
        if (events[k].data.fd == TIMER) { if (read(timer, &ticks, sizeof ticks) < 0) continue; else continue; }
        Line *line = lines + events[k].data.fd;
        if (events[k].events & EPOLLOUT) watch(line, EPOLL_CTL_MOD, EPOLLIN), push(line);
        if (events[k].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) receive(line);
    }
}

int main(int count, char **words) {
    if (count != 7) { fprintf(stderr, "load PORT CASES MARKER CONNECTIONS RATE SECONDS\n"); return 2; }
    port = atoi(words[1]);
    read_cases(words[2]);
    marker = words[3];
    n_lines = atoi(words[4]);
    double rate = atof(words[5]), seconds = atof(words[6]), used = 0;
    int open = rate > 0, timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK), next = 0;
    poller = epoll_create1(0);
    struct epoll_event of_timer = {.events = EPOLLIN, .data.fd = TIMER};
    epoll_ctl(poller, EPOLL_CTL_ADD, timer, &of_timer);
    lines = calloc((size_t)n_lines, sizeof *lines);
    idle = malloc((size_t)n_lines * sizeof *idle);
    queue = malloc(QUEUE * sizeof *queue);
    again = malloc(QUEUE * sizeof *again);
    for (Line *line = lines; line < lines + n_lines; line++) {
        line->text = malloc(line->room = 1 << 16);
        line->fd = -1;
        connect_line(line);
    }
    if (unreached) { fprintf(stderr, "no server listens on port %d\n", port); return 1; }
    srand48(1);
    double at = now(CLOCK_MONOTONIC), due = at;
    measured_from = at + WARM_S;
    measured_to = measured_from + seconds;
    while (at < measured_to + DRAIN_S) {
        for (; open && due <= at && due < measured_to && past - first < QUEUE; due -= log(1 - drand48()) / rate)
            queue[past++ % QUEUE] = (Due){due, next++ % n_cases, 0};
        for (Line *line = lines; unreached && line < lines + n_lines; line++)
            if (line->fd < 0 && at >= line->again_at) connect_line(line);
        hand_out(at, open, measured_to);
        if (at >= measured_to && n_idle == n_lines && first == past) break;
        double ahead = due - now(CLOCK_MONOTONIC);
        if (open && due < measured_to && ahead > 0) arm(timer, ahead);
        turn(timer, open && due < measured_to && ahead <= 0 ? 0 : 20);
        double before = at;
        at = now(CLOCK_MONOTONIC);
        if (before < measured_from && at >= measured_from) used -= now(CLOCK_PROCESS_CPUTIME_ID);
        if (before < measured_to && at >= measured_to) used += now(CLOCK_PROCESS_CPUTIME_ID);
    }
    report(seconds, used);
    return 0;
}
