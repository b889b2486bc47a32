/* check.c -- novabeat check: is this data folder whole?
 *
 * Looks at the records (the database's own check and Novabeat's rules), at the journal (every
 * record, every entry), and whether the two join: the journal must go on where the records end.
 * Changes nothing; with --repair the journal is made to end before its first bad place, and what is
 * cut is kept beside it.  Exit 0: whole (or repaired), 1: not, or nothing is
 * stored there. */
#include "cli/commands.h"
#include "journal/entry.h"
#include "live/store.h"

#include <stdio.h>
#include <unistd.h>

struct check {
    uint64_t findings;
    bool stored; /* there is something to look at */
    uint64_t heartbeats, profiles, settings, erasures;
    int64_t now_ms; /* of the entry before */
};

static void find_fault(void *ctx, const char *text)
{
    struct check *check = ctx;
    check->findings++;
    printf("records: %s\n", text);
}

static enum err count_entries(void *ctx, uint64_t seq, int64_t time_ms, struct slice payload)
{
    struct check *check = ctx;
    struct entry entry;
    enum err err;
    if (time_ms < check->now_ms) {
        check->findings++;
        printf("journal: the time goes back with record %llu, from %lld to %lld\n",
               (unsigned long long)seq, (long long)check->now_ms, (long long)time_ms);
    }
    check->now_ms = time_ms;
    while ((err = entry_next(&payload, &entry)) == ERR_NONE) {
        check->now_ms += entry.kind == ENTRY_TIME ? entry.later_ms : 0;
        check->heartbeats += entry.kind == ENTRY_HEARTBEAT;
        check->profiles += entry.kind == ENTRY_PROFILE;
        check->settings += entry.kind == ENTRY_SETTINGS;
        check->erasures += entry.kind == ENTRY_ERASE || entry.kind == ENTRY_PURGE;
    }
    if (err == ERR_NOT_FOUND) {
        return ERR_NONE;
    }
    check->findings++;
    printf("journal: record %llu holds what is no entry: %s\n", (unsigned long long)seq,
           err_text(err));
    return ERR_NONE;
}

static void check_records(struct check *check, const char *where, uint64_t *covered_seq)
{
    struct records_link *link;
    char why[512];
    enum err err = records_open(where, false, &link, why, sizeof why);
    if (err == ERR_NOT_FOUND) {
        printf("records: none yet\n");
        return;
    }
    check->stored = true;
    if (err == ERR_NONE) {
        err = records_check(link, find_fault, check);
    } else {
        find_fault(check, why);
        return;
    }
    if (err == ERR_NONE) {
        err = records_covered(link, covered_seq);
    }
    if (err != ERR_NONE) {
        find_fault(check, records_why(link));
        records_close(link);
        return;
    }
    records_close(link);
    printf("records: hold everything up to journal record %llu\n",
           (unsigned long long)*covered_seq);
}

static void check_journal(struct check *check, const char *folder, uint64_t covered_seq)
{
    struct journal_report report = {0};
    enum err err = journal_scan(folder, covered_seq + 1, count_entries, check, &report);
    printf("journal: %llu segments, records %llu to %llu; after the records' position: %llu "
           "heartbeats, %llu profiles, %llu settings, %llu erasures\n",
           (unsigned long long)report.segments, (unsigned long long)report.first_seq,
           (unsigned long long)report.last_seq, (unsigned long long)check->heartbeats,
           (unsigned long long)check->profiles, (unsigned long long)check->settings,
           (unsigned long long)check->erasures);
    check->stored |= report.segments > 0 || err != ERR_NONE;
    if (report.torn_bytes > 0) {
        printf("journal: the tail is torn, %llu bytes that the next start cuts (with durability "
               "sync they were never acknowledged): %s\n",
               (unsigned long long)report.torn_bytes, report.text);
    }
    if (err != ERR_NONE) {
        check->findings++;
        printf("journal: %s: %s\n", err_text(err), report.text);
    }
}

static bool repair(const char *folder)
{
    struct journal_report report = {0};
    enum err err = journal_repair(folder, &report);
    printf("repair: %s%s%s\n", err == ERR_NONE ? "the journal is whole" : err_text(err),
           report.text[0] != '\0' ? ": " : "", report.text);
    return err == ERR_NONE;
}

int command_check(const struct settings *settings, int argc, char **argv)
{
    (void)argv;
    if (argc != 0) {
        fprintf(stderr, "novabeat check: takes no arguments, only --data and --repair\n");
        return EXIT_USAGE;
    }
    int lock_fd;
    char why[512], folder[STORE_PATH_BYTES], where[STORE_PATH_BYTES];
    if (access(settings->data, F_OK) != 0) {
        fprintf(stderr, "novabeat check: data: there is no folder %s\n", settings->data);
        return EXIT_FAILED;
    }
    if (store_lock(settings->data, &lock_fd, why, sizeof why) != ERR_NONE) {
        fprintf(stderr, "novabeat check: %s\n", why);
        return EXIT_FAILED;
    }
    store_paths(settings->data, settings->records, folder, where);
    struct check check = {0};
    uint64_t covered_seq = 0;
    bool repaired = !settings->repair || repair(folder);
    check_records(&check, where, &covered_seq);
    check_journal(&check, folder, covered_seq);
    close(lock_fd);
    bool whole = check.findings == 0 && repaired;
    printf("%s: %s\n", settings->data,
           !whole         ? "NOT whole"
           : check.stored ? "whole"
                          : "nothing is stored here (is it the right folder?)");
    return whole && check.stored ? EXIT_WELL : EXIT_FAILED;
}
