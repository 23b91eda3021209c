/* segment.h - segment files: header, names, and reading records back from a file that may be damaged.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * Disk format, version 1 (little endian). A segment is named seg-SSSSSSSSSSSSSSSS.awj, S being the seq of the first
 * event that may be in it, in 16 hex digits; a second one with the same S is seg-S-01.awj, and so on. Order of the
 * journal: by S, then by that number. A segment begins with a page of 4096 bytes that holds the header twice, at
 * offsets 0 and 2048; one of them is enough:
 *
 *   offset  size
 *        0     8  magic "AWSEG1\0\0"
 *        8     4  version: 1
 *       12     4  CRC-32C of the 128 bytes of the header with this word zero
 *       16     8  S
 *       24     8  created, CLOCK_REALTIME ns
 *       32    16  journal id
 *       48    16  the journal's secret key: chain scopes are SipHash-128 under it
 *       64     4  the second number of the name, 0 mostly
 *       68    60  zero
 *
 * From offset 4096 on there are records (seal/record.h) without gaps, then nothing or zeros (preallocated). Segments
 * are preallocated, written by appending, cut to their true length when closed, and never appended to by a later
 * process. Events have dense sequence numbers; other kinds carry the seq of the event that comes next, and their
 * payload in place of the JSON, with no fields:
 *
 *   SNAPSHOT      u64 below, u32 number, u32 count, then count chain heads of 56 bytes (scope 16, seq 8, hash 32)
 *   SNAPSHOT_END  u64 below, u32 number, u32 0, u64 heads in all, u64 head, u64 events ever lost
 *                 The SNAPSHOT records with the same below and number, together with the events from seq `below` to
 * `head`, tell the newest event of every scope. They begin in the segment with S = below and that number. NOTE u32
 * type, u32 count, then count u64: type 1 LOST: events ever lost, then first and last of each range of seqs that is
 * missing, as far as known type 2 CLOSED: last seq; the journal was closed in order, all before is on disk
 *
 * An event may be in two segments (a writer killed between write and bookkeeping, or a failed fdatasync); copies are
 * equal.
 */
#ifndef AW_SEGMENT_H
#define AW_SEGMENT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "journal/ring.h"
#include "seal/record.h"
#include "seal/seal.h"

#define SEGMENT_DATA 4096u
#define SEGMENT_NAME_MAX 40

#define NOTE_LOST 1u
#define NOTE_CLOSED 2u

struct snapshot_payload {
    uint64_t below;
    uint32_t number, count;
    /* struct chain_head heads[count] */
};
struct snapshot_end_payload {
    uint64_t below;
    uint32_t number, zero;
    uint64_t heads, head_seq, lost;
};
struct note_payload {
    uint32_t type, count;
    /* uint64_t values[count] */
};

struct segment {
    uint64_t first_seq;        /* S */
    uint32_t number;           /* second part of the name */
    _Atomic uint64_t last_seq; /* newest event in it; first_seq - 1: none */
    _Atomic uint64_t size;     /* bytes that are records, header page included */
    /* The rest belongs to whoever holds the drain lock. */
    int fd;          /* open for writing; -1 when synced and closed, or never opened */
    bool dirty;      /* something is not known to be on disk */
    bool named;      /* its directory entry is on disk */
    bool broken;     /* an fdatasync of it failed: its unsynced bytes prove nothing */
    uint64_t synced; /* bytes known to be on disk */
    uint64_t begun;  /* bytes whose way to the disk has begun */
    uint64_t room;   /* bytes that were allocated for it, 0: none */
    uint64_t zeroed; /* up to here zeros were written ahead of the records */
};

void segment_name(uint64_t first_seq, uint32_t number, char out[SEGMENT_NAME_MAX]);
bool segment_parse_name(const char *name, uint64_t *ret_first_seq, uint32_t *ret_number);
/* <0, 0, >0: the order of the journal. */
int segment_compare(uint64_t first_a, uint32_t number_a, uint64_t first_b, uint32_t number_b);

/* Makes the file (preallocated where the file system can) with its header. 0 or -errno; then nothing is left behind. */
int segment_create(int dirfd, uint64_t first_seq, uint32_t number, const struct journal_identity *identity,
                   uint64_t prealloc, int *ret_fd);
/* Reads the header. ret_copies: how many of the two are sound. 0; -EBADMSG when none is; other -errno. */
int segment_read_header(int fd, struct journal_identity *ret_identity, uint64_t *ret_first_seq, unsigned *ret_copies);

/* Builds a record of another kind than EVENT in buf (room: RECORD_HEADER + payload + 8). Returns its length. */
size_t segment_build_record(void *buf, uint16_t kind, uint64_t seq, const void *payload, size_t len);

/* ---- reading ---- */
struct segment_scan {
    int fd;                          /* borrowed */
    uint64_t pos;                    /* file offset of the next record */
    uint64_t end;                    /* nothing behind this offset is read */
    uint64_t last_seq;               /* of the last event read: after damage only later ones are believed */
    bool frozen;                     /* the buffer's contents stay where they are: -EAGAIN instead of reading more */
    uint64_t damage_from, damage_to; /* set with -EBADMSG */
    uint64_t effort;                 /* bytes that were checked in vain while looking for the next record */
    uint8_t *buf;
    size_t cap, len;
    uint64_t at; /* file offset of buf[0] */
};
void scan_init(struct segment_scan *scan, int fd, uint64_t from, uint64_t end, uint64_t last_seq);
void scan_free(struct segment_scan *scan);
/* At least `want` bytes from pos on in the buffer, as far as there are. Unreadable pages read as 0xff. 0 or -ENOMEM,
 * -errno. */
int scan_fill(struct segment_scan *scan, size_t want);
/* The next record: 0, the view lasts until the next call that is not frozen; -ENODATA: the end, only zeros follow;
 * -EBADMSG: damaged bytes [damage_from, damage_to) were passed over, go on; -EAGAIN: frozen; -ENOMEM, other -errno. */
int scan_next(struct segment_scan *scan, struct record_view *ret);

#endif
