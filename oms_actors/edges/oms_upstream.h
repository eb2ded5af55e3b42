/* An upstream is one file in shared memory with a ring each way: requests to the desk, reports from it.

   oms_attach joins (or creates) `<runtime_dir>/upstreams/<name>.up`; oms_submit copies requests into the ring and rings
   the desk's bell; oms_peek copies the next frame of reports out; oms_commit says that everything peeked was acted on:
   before that it comes again after a restart. oms_wait sleeps until there is a report. Calls return 0 (or a count), or
   one of the negative codes below; oms_error has the words.

   The rules of the ring. Both positions only grow. The producer copies a frame in, then stores the tail; the consumer
   copies it out, acts, then stores the head. A frame's header is its length and the number of its lap; a frame is
   at most a quarter of the ring, and at the ring's end a header with the wrap bit leads back to its start. x86-64 keeps
   stores in order. A producer puts a full fence between publishing and looking at the bell's flag; without it wake-ups
   are lost. */

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum {
    OMS_FULL = -1,       /* the ring is full: nothing was put, try again later */
    OMS_TOO_LARGE = -2,  /* the frame is above a quarter of the ring */
    OMS_CORRUPT = -3,    /* what the other side wrote cannot be true: the file is of no use any more */
    OMS_VERSION = -4,    /* the file, or the bell, has another layout */
    OMS_IN_USE = -5,     /* a living process is attached under this name */
    OMS_NO_DESK = -6,    /* no desk runs there (or it is still starting), or not the one that serves this file */
    OMS_SYSTEM = -7,     /* errno says what */
    OMS_NOT_OURS = -8    /* the desk belongs to another user */
};

static inline const char *oms_error(int code) {
    switch (code) {
    case OMS_FULL: return "the ring is full";
    case OMS_TOO_LARGE: return "the frame is above a quarter of the ring";
    case OMS_CORRUPT: return "the ring is corrupt";
    case OMS_VERSION: return "another layout version";
    case OMS_IN_USE: return "a living process is attached under this name";
    case OMS_NO_DESK: return "no desk runs there";
    case OMS_SYSTEM: return strerror(errno);
    case OMS_NOT_OURS: return "the desk belongs to another user";
    default: return "ok";
    }
}

struct oms_ring {
    uint8_t *base;     /* the ring's header; its data follow */
    uint64_t capacity;
    uint64_t position; /* of the next frame to put, or to peek */
    uint64_t known;    /* the other side's position when it was last looked at */
};

struct oms_upstream {
    int fd;
    uint8_t *base, *server_bell;
    size_t size;
    struct oms_ring requests, reports;
    uint64_t seen[2]; /* last report sequence of the two origins, for oms_is_new */
};

/* -- words in shared memory ------------------------------------------------------------------------------------- */

static inline uint64_t oms_load(const void *base, size_t at) {
    return __atomic_load_n((const uint64_t *)((const uint8_t *)base + at), __ATOMIC_ACQUIRE);
}

static inline void oms_store(void *base, size_t at, uint64_t value) {
    __atomic_store_n((uint64_t *)((uint8_t *)base + at), value, __ATOMIC_RELEASE);
}

static inline uint32_t *oms_flag(uint8_t *bell) {
    return (uint32_t *)(bell + OMS_BELL_FLAG_AT);
}

static inline void oms_wake(uint8_t *bell) {
    if (__atomic_load_n(oms_flag(bell), __ATOMIC_ACQUIRE) == OMS_BELL_LOOKING) { /* awake: no system call */
        __atomic_store_n((uint32_t *)(bell + OMS_BELL_RUNG_AT), 1, __ATOMIC_RELEASE);
        return;
    }
    __atomic_store_n(oms_flag(bell), OMS_BELL_AWAKE, __ATOMIC_RELEASE);
    syscall(SYS_futex, oms_flag(bell), FUTEX_WAKE, 1, NULL, NULL, 0);
}

/* After publishing. The fence is not for decoration: see the top. */
static inline void oms_ring_bell(uint8_t *bell) {
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (__atomic_load_n(oms_flag(bell), __ATOMIC_ACQUIRE))
        oms_wake(bell);
}

/* -- the ring --------------------------------------------------------------------------------------------------- */

static inline uint64_t oms_frame_bytes(uint64_t length) {
    return (length + OMS_FRAME_HEADER_BYTES + OMS_FRAME_ALIGN_BYTES - 1) / OMS_FRAME_ALIGN_BYTES * OMS_FRAME_ALIGN_BYTES;
}

/* The header of an empty frame at that position: to be or-ed with its length, or with the wrap bit. */
static inline uint64_t oms_mark(const struct oms_ring *ring, uint64_t position) {
    return (position / ring->capacity % OMS_FRAME_LAPS + 1) << OMS_FRAME_LAP_SHIFT;
}

static inline uint64_t oms_frame_bytes_max(const struct oms_ring *ring) {
    return ring->capacity / 4 - OMS_FRAME_HEADER_BYTES;
}

static inline int oms_ring_open(struct oms_ring *ring, uint8_t *base, uint64_t size, int writer) {
    uint64_t head = oms_load(base, OMS_RING_HEAD_AT), tail = oms_load(base, OMS_RING_TAIL_AT);
    ring->base = base;
    ring->capacity = oms_load(base, OMS_RING_CAPACITY_AT);
    if (oms_load(base, OMS_RING_MAGIC_AT) != OMS_RING_MAGIC ||
        oms_load(base, OMS_RING_VERSION_AT) != (OMS_RING_VERSION | (uint64_t)OMS_RING_HEADER_BYTES << 32))
        return OMS_VERSION;
    if (ring->capacity % 64 || ring->capacity < OMS_RING_CAPACITY_BYTES_MIN ||
        ring->capacity > OMS_RING_CAPACITY_BYTES_MAX || ring->capacity > size - OMS_RING_HEADER_BYTES ||
        head > tail || tail - head > ring->capacity || tail > OMS_POSITION_MAX || (head | tail) % OMS_FRAME_ALIGN_BYTES)
        return OMS_CORRUPT;
    ring->position = writer ? tail : head;
    ring->known = head;
    return 0;
}

/* Is everything up to position `end` free? OMS_FULL if not. */
static inline int oms_room(struct oms_ring *ring, uint64_t end) {
    if (end - ring->known <= ring->capacity)
        return 0;
    uint64_t head = oms_load(ring->base, OMS_RING_HEAD_AT);
    if (head > ring->position || head < ring->known || head % OMS_FRAME_ALIGN_BYTES)
        return OMS_CORRUPT;
    ring->known = head;
    return end - head <= ring->capacity ? 0 : OMS_FULL;
}

static inline int oms_put(struct oms_ring *ring, const void *payload, uint64_t length, uint8_t *bell) {
    if (length > oms_frame_bytes_max(ring))
        return OMS_TOO_LARGE;
    uint64_t size = oms_frame_bytes(length), at = ring->position % ring->capacity, start = ring->position;
    if (at + size > ring->capacity)
        start += ring->capacity - at;
    int error = oms_room(ring, start + size);
    if (error)
        return error;
    uint8_t *data = ring->base + OMS_RING_DATA_AT;
    if (start != ring->position) {
        oms_store(data, at, OMS_WRAP_BIT | oms_mark(ring, ring->position));
        at = 0;
    }
    oms_store(data, at, oms_mark(ring, start) | length);
    memcpy(data + at + OMS_FRAME_HEADER_BYTES, payload, length);
    ring->position = start + size;
    oms_store(ring->base, OMS_RING_TAIL_AT, ring->position);
    oms_ring_bell(bell);
    return 0;
}

/* A copy of the next frame: its length, 0 for none, OMS_TOO_LARGE if it is longer than `room`. */
static inline int64_t oms_take(struct oms_ring *ring, void *buffer, uint64_t room) {
    for (;;) {
        uint64_t position = ring->position, at = position % ring->capacity;
        uint64_t tail = oms_load(ring->base, OMS_RING_TAIL_AT);
        if (tail == position)
            return 0;
        if (tail < position || tail - ring->known > ring->capacity || tail % OMS_FRAME_ALIGN_BYTES)
            return OMS_CORRUPT;
        uint8_t *data = ring->base + OMS_RING_DATA_AT;
        uint64_t header = oms_load(data, at), mark = oms_mark(ring, position), length = (uint32_t)header;
        if (header == (OMS_WRAP_BIT | mark) && at && position + ring->capacity - at <= tail) {
            ring->position += ring->capacity - at;
            continue;
        }
        uint64_t size = oms_frame_bytes(length);
        if (header != (mark | length) || length > oms_frame_bytes_max(ring) || at + size > ring->capacity ||
            position + size > tail)
            return OMS_CORRUPT;
        if (length > room)
            return OMS_TOO_LARGE;
        memcpy(buffer, data + at + OMS_FRAME_HEADER_BYTES, length);
        ring->position += size;
        return (int64_t)length;
    }
}

/* -- the upstream ----------------------------------------------------------------------------------------------- */

static inline int oms_lock(int fd, int command) {
    struct flock whole;
    memset(&whole, 0, sizeof whole);
    whole.l_type = F_WRLCK;
    whole.l_whence = SEEK_SET;
    int result = fcntl(fd, command, &whole);
    return command == F_OFD_GETLK ? (result == 0 && whole.l_type != F_UNLCK) : result;
}

/* Whether a desk runs there: 1 or 0. Ask now and then while you submit: after a crash a ring outlives its desk. */
static inline int oms_desk_runs(const char *runtime_dir) {
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", runtime_dir, OMS_SUPERVISOR_LOCK);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return 0;
    int held = oms_lock(fd, F_OFD_GETLK);
    close(fd);
    return held;
}

static inline uint64_t oms_pages(uint64_t size) {
    return (size + OMS_DUPLEX_RINGS_AT - 1) / OMS_DUPLEX_RINGS_AT * OMS_DUPLEX_RINGS_AT;
}

static inline void oms_format_ring(uint8_t *base, uint64_t capacity) {
    oms_store(base, OMS_RING_VERSION_AT, OMS_RING_VERSION | (uint64_t)OMS_RING_HEADER_BYTES << 32);
    oms_store(base, OMS_RING_CAPACITY_AT, capacity);
    oms_store(base, OMS_RING_MAGIC_AT, OMS_RING_MAGIC);
}

static inline void oms_format(uint8_t *base, const char *name, uint64_t requests, uint64_t reports) {
    oms_format_ring(base + OMS_DUPLEX_RINGS_AT, OMS_REQUEST_RING_BYTES);
    oms_format_ring(base + OMS_DUPLEX_RINGS_AT + requests, OMS_REPORT_RING_BYTES);
    oms_store(base, OMS_DUPLEX_BELL_AT + OMS_BELL_VERSION_AT, OMS_BELL_VERSION);
    oms_store(base, OMS_DUPLEX_BELL_AT + OMS_BELL_MAGIC_AT, OMS_BELL_MAGIC);
    memcpy(base + OMS_DUPLEX_NAME_AT, name, strlen(name));
    oms_store(base, OMS_DUPLEX_REQUEST_AT, OMS_DUPLEX_RINGS_AT);
    oms_store(base, OMS_DUPLEX_REQUEST_AT + 8, requests);
    oms_store(base, OMS_DUPLEX_REPORT_AT, OMS_DUPLEX_RINGS_AT + requests);
    oms_store(base, OMS_DUPLEX_REPORT_AT + 8, reports);
    oms_store(base, OMS_DUPLEX_VERSION_AT, OMS_DUPLEX_VERSION);
    oms_store(base, OMS_DUPLEX_MAGIC_AT, OMS_DUPLEX_MAGIC);
}

/* The file, complete under a temporary name, then linked: of two who create it at once, one wins. */
static inline int oms_create(const char *path, const char *temporary, const char *name) {
    uint64_t requests = oms_pages(OMS_RING_HEADER_BYTES + OMS_REQUEST_RING_BYTES);
    uint64_t reports = oms_pages(OMS_RING_HEADER_BYTES + OMS_REPORT_RING_BYTES);
    size_t size = OMS_DUPLEX_RINGS_AT + requests + reports;
    int fd = open(temporary, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return OMS_SYSTEM;
    int error = posix_fallocate(fd, 0, (off_t)size); /* a full /dev/shm fails here, not as SIGBUS at a store */
    void *base = error ? MAP_FAILED : mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (!error && base == MAP_FAILED)
        error = errno;
    close(fd);
    if (!error) {
        oms_format((uint8_t *)base, name, requests, reports);
        munmap(base, size);
        error = link(temporary, path) && errno != EEXIST ? errno : 0;
    }
    unlink(temporary);
    errno = error;
    return error ? OMS_SYSTEM : 0;
}

static inline uint8_t *oms_map(int fd, size_t *size) {
    struct stat info;
    if (fstat(fd, &info) || info.st_size == 0)
        return NULL;
    *size = (size_t)info.st_size;
    void *base = mmap(NULL, *size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    return base == MAP_FAILED ? NULL : (uint8_t *)base;
}

static inline int oms_open_rings(struct oms_upstream *up) {
    if (up->size < OMS_DUPLEX_RINGS_AT || oms_load(up->base, OMS_DUPLEX_MAGIC_AT) != OMS_DUPLEX_MAGIC ||
        oms_load(up->base, OMS_DUPLEX_VERSION_AT) != OMS_DUPLEX_VERSION)
        return OMS_VERSION;
    for (int i = 0; i < 2; i++) {
        size_t at = i ? OMS_DUPLEX_REPORT_AT : OMS_DUPLEX_REQUEST_AT;
        uint64_t begin = oms_load(up->base, at), size = oms_load(up->base, at + 8);
        if (begin % OMS_DUPLEX_RINGS_AT || begin < OMS_DUPLEX_RINGS_AT || begin > up->size || size > up->size - begin ||
            size < OMS_RING_HEADER_BYTES)
            return OMS_CORRUPT;
        int error = oms_ring_open(i ? &up->reports : &up->requests, up->base + begin, size, !i);
        if (error)
            return error;
    }
    return 0;
}

static inline void oms_detach(struct oms_upstream *up) {
    if (up->server_bell)
        munmap(up->server_bell, OMS_BELL_BYTES);
    if (up->base)
        munmap(up->base, up->size);
    if (up->fd >= 0)
        close(up->fd); /* and with it goes the lock */
    memset(up, 0, sizeof *up);
    up->fd = -1;
}

static inline int oms_attach_bell(struct oms_upstream *up, const char *runtime_dir) {
    char path[PATH_MAX];
    size_t size = 0;
    snprintf(path, sizeof path, "%s/%s", runtime_dir, OMS_SERVER_BELL);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return OMS_NO_DESK;
    up->server_bell = oms_map(fd, &size);
    close(fd);
    if (!up->server_bell)
        return OMS_SYSTEM;
    if (size < OMS_BELL_BYTES || oms_load(up->server_bell, OMS_BELL_MAGIC_AT) != OMS_BELL_MAGIC ||
        oms_load(up->server_bell, OMS_BELL_VERSION_AT) != OMS_BELL_VERSION)
        return OMS_VERSION;
    return 0;
}

static inline int oms_attach_file(struct oms_upstream *up, const char *runtime_dir, const char *name) {
    char path[PATH_MAX], temporary[PATH_MAX];
    struct stat info;
    if (stat(runtime_dir, &info))
        return OMS_NO_DESK;
    if (info.st_uid != geteuid())
        return OMS_NOT_OURS; /* root could make the file, but the desk would not serve it */
    snprintf(path, sizeof path, "%s/%s", runtime_dir, OMS_UPSTREAMS);
    mkdir(path, 0700);
    snprintf(path, sizeof path, "%s/%s/%s.up", runtime_dir, OMS_UPSTREAMS, name);
    snprintf(temporary, sizeof temporary, "%s/%s/.%s.%d", runtime_dir, OMS_UPSTREAMS, name, getpid());
    if (access(path, F_OK) && oms_create(path, temporary, name))
        return OMS_SYSTEM;
    up->fd = open(path, O_RDWR | O_CLOEXEC);
    if (up->fd < 0 || !(up->base = oms_map(up->fd, &up->size)))
        return OMS_SYSTEM;
    if (oms_lock(up->fd, F_OFD_SETLK))
        return OMS_IN_USE;
    int error = oms_open_rings(up);
    if (!error)
        oms_store(up->base, OMS_DUPLEX_PID_AT, (uint64_t)getpid());
    return error;
}

/* `name`: 1 to 48 letters, digits, '_', '.', '-'. One living process at a time has it. */
static inline int oms_attach(struct oms_upstream *up, const char *runtime_dir, const char *name) {
    memset(up, 0, sizeof *up);
    up->fd = -1;
    size_t length = strlen(name);
    if (!length || length > 48 || name[0] == '.' || strchr(name, '/')) {
        errno = EINVAL;
        return OMS_SYSTEM;
    }
    int error = oms_desk_runs(runtime_dir) ? oms_attach_bell(up, runtime_dir) : OMS_NO_DESK;
    if (!error)
        error = oms_attach_file(up, runtime_dir, name);
    if (error) {
        int reason = errno;
        oms_detach(up);
        errno = reason;
    } else {
        oms_wake(up->server_bell); /* so that the desk looks for new upstreams now */
    }
    return error;
}

static inline int64_t oms_now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* Whether the file still has its name: 0 after the desk was stopped in order, whoever runs there now. Attach again. */
static inline int oms_is_served(const struct oms_upstream *up) {
    struct stat info;
    return fstat(up->fd, &info) == 0 && info.st_nlink > 0;
}

/* Hands `count` requests to the desk as one frame: all or none. Stamps their send time. */
static inline int oms_submit(struct oms_upstream *up, struct oms_request *requests, size_t count) {
    if (!oms_is_served(up))
        return OMS_NO_DESK;
    int64_t now = oms_now_ns();
    for (size_t i = 0; i < count; i++)
        requests[i].send_time_ns = now;
    return oms_put(&up->requests, requests, count * sizeof *requests, up->server_bell);
}

/* The next frame of reports into `buffer`: how many records of 256 bytes, 0 for none (OMS_NO_DESK if there will never
   be one again in this file). A record is a struct oms_report
   or, behind one that has OMS_REPORT_FLAG_HAS_TEXT, a struct oms_text: look at its first byte. */
static inline int oms_peek(struct oms_upstream *up, struct oms_report *buffer, size_t room) {
    int64_t length = oms_take(&up->reports, buffer, room * sizeof *buffer);
    if (length == 0 && !oms_is_served(up))
        return OMS_NO_DESK;
    return length < 0 ? (int)length : (int)((uint64_t)length / sizeof *buffer);
}

static inline void oms_commit(struct oms_upstream *up) {
    up->reports.known = up->reports.position;
    oms_store(up->reports.base, OMS_RING_HEAD_AT, up->reports.position);
}

/* Reports come at least once: 0 for one that this process has already had. */
static inline int oms_is_new(struct oms_upstream *up, const struct oms_report *report) {
    uint64_t *seen = &up->seen[!!(report->flags & OMS_REPORT_FLAG_FROM_SENDER)];
    if (report->sequence && report->sequence <= *seen)
        return 0;
    if (report->sequence)
        *seen = report->sequence;
    return 1;
}

/* Sleeps until there is a report (1) or the time is up (0). One sleep lasts 50 ms at most. */
static inline int oms_wait(struct oms_upstream *up, int64_t timeout_ms) {
    uint32_t *flag = oms_flag(up->base + OMS_DUPLEX_BELL_AT);
    int64_t deadline = oms_now_ns() + timeout_ms * 1000000;
    for (;;) {
        __atomic_store_n(flag, 1, __ATOMIC_SEQ_CST);
        __atomic_thread_fence(__ATOMIC_SEQ_CST); /* the desk has one, too, between publishing and its look at the flag */
        int64_t left = deadline - oms_now_ns();
        if (oms_load(up->reports.base, OMS_RING_TAIL_AT) != up->reports.position || left <= 0)
            break;
        left = left < OMS_SLEEP_NS_MAX ? left : OMS_SLEEP_NS_MAX;
        struct timespec nap = {0, (long)left};
        syscall(SYS_futex, flag, FUTEX_WAIT, 1, &nap, NULL, 0);
    }
    __atomic_store_n(flag, 0, __ATOMIC_RELEASE);
    return oms_load(up->reports.base, OMS_RING_TAIL_AT) != up->reports.position;
}

/* -- requests --------------------------------------------------------------------------------------------------- */

/* "585.33" as fixed point; INT64_MIN for what is no positive decimal of at most 8 decimals. */
static inline int64_t oms_fixed(const char *text) {
    int64_t value = 0, scale = 0;
    for (; *text; text++) {
        if (*text == '.' && !scale) {
            scale = OMS_ONE;
            continue;
        }
        if (*text < '0' || *text > '9' || scale == 1 || value > (INT64_MAX - (*text - '0')) / 10)
            return INT64_MIN;
        value = value * 10 + (*text - '0');
        scale /= 10;
    }
    scale = scale ? scale : OMS_ONE;
    return value > INT64_MAX / scale ? INT64_MIN : value * scale;
}

/* A text field of a record; 0, or -1 if it is too long. */
#define OMS_TEXT(field, text) oms_text_into(field, sizeof(field), text)
static inline int oms_text_into(char *field, size_t size, const char *text) {
    size_t length = strlen(text);
    if (length > size)
        return -1;
    memset(field, 0, size);
    memcpy(field, text, length);
    return 0;
}

/* A limit order for the day; set what differs. */
static inline struct oms_request oms_new_order(const char *client_order_id, const char *symbol, uint8_t side,
                                               int64_t quantity, int64_t price) {
    struct oms_request request;
    memset(&request, 0, sizeof request);
    request.kind = OMS_KIND_NEW;
    request.version = OMS_RECORD_VERSION;
    request.side = side;
    request.order_type = OMS_ORDER_TYPE_LIMIT;
    request.time_in_force = OMS_TIME_IN_FORCE_DAY;
    request.quantity = quantity;
    request.price = price;
    OMS_TEXT(request.client_order_id, client_order_id);
    OMS_TEXT(request.symbol, symbol);
    return request;
}
