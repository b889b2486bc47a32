/* postgres_server.h -- a PostgreSQL server of the tests' own, in a folder of its own.
 *
 * It listens on a socket in that folder and nowhere else, runs as an unprivileged user (PostgreSQL
 * refuses root), and is stopped by its pid.  fsync is off: the tests kill processes, not machines.
 * Where it cannot be started the tests say so and are skipped. */
#ifndef NOVABEAT_TESTS_POSTGRES_SERVER_H
#define NOVABEAT_TESTS_POSTGRES_SERVER_H

#include "tap.h"

#include <fcntl.h>
#include <glob.h>
#include <grp.h>
#include <libpq-fe.h>
#include <pwd.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

struct postgres_server {
    char folder[64];
    char programs[128]; /* the folder of initdb and postgres */
    uid_t uid;          /* 0: whoever we are */
    gid_t gid;
    pid_t pid;
    int databases; /* made so far */
};

/* Runs a program as the server's user; its output goes to a file in the folder. */
static inline pid_t postgres_spawn(const struct postgres_server *server, const char *program,
                                   const char *const *arguments)
{
    char path[256], log[96];
    snprintf(path, sizeof path, "%s/%s", server->programs, program);
    snprintf(log, sizeof log, "%s/log", server->folder);
    fflush(stdout); /* or the child would print it again */
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid > 0) {
        return pid;
    }
    prctl(PR_SET_PDEATHSIG, SIGQUIT); /* a test that crashes leaves nothing behind */
    if (server->uid != 0 &&
        (setgroups(0, NULL) != 0 || setgid(server->gid) != 0 || setuid(server->uid) != 0)) {
        _exit(126);
    }
    prctl(PR_SET_PDEATHSIG, SIGQUIT); /* changing the user has cleared it */
    int out = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (out < 0 || dup2(out, 1) < 0 || dup2(out, 2) < 0) {
        _exit(126);
    }
    execv(path, (char *const *)(uintptr_t)arguments);
    _exit(127);
}

static inline void postgres_uri(const struct postgres_server *server, const char *database,
                                char *uri, size_t bytes)
{
    snprintf(uri, bytes, "postgresql://tester@/%s?host=%s", database, server->folder);
}

static inline PGconn *postgres_try(const struct postgres_server *server, const char *database)
{
    char uri[256];
    postgres_uri(server, database, uri, sizeof uri);
    PGconn *db = PQconnectdb(uri);
    if (PQstatus(db) != CONNECTION_OK) {
        PQfinish(db);
        return NULL;
    }
    return db;
}

/* Starts it in its folder and waits until it takes connections. */
static inline bool postgres_start(struct postgres_server *server)
{
    char data[96];
    snprintf(data, sizeof data, "%s/data", server->folder);
    const char *const arguments[] = {"postgres",
                                     "-D",
                                     data,
                                     "-c",
                                     "listen_addresses=",
                                     "-c",
                                     "unix_socket_permissions=0777",
                                     "-c",
                                     "fsync=off",
                                     "-k",
                                     server->folder,
                                     NULL};
    server->pid = postgres_spawn(server, "postgres", arguments);
    for (int i = 0; i < 300; i++) {
        PGconn *db = postgres_try(server, "postgres");
        if (db != NULL) {
            PQfinish(db);
            return true;
        }
        if (waitpid(server->pid, NULL, WNOHANG) != 0) {
            break;
        }
        usleep(100000);
    }
    return false;
}

/* signal: SIGINT stops it in order, SIGQUIT at once, SIGKILL not at all. */
static inline void postgres_stop(struct postgres_server *server, int signal)
{
    if (server->pid > 0) {
        kill(server->pid, signal);
        waitpid(server->pid, NULL, 0);
        server->pid = 0;
    }
}

/* False: this machine cannot run one; *why says why. */
static inline bool postgres_server_init(struct postgres_server *server, const char **why)
{
    *server = (struct postgres_server){0};
    glob_t found;
    *why = "PostgreSQL's server is not installed";
    if (glob("/usr/lib/postgresql/*/bin", 0, NULL, &found) != 0) {
        return false;
    }
    snprintf(server->programs, sizeof server->programs, "%s", found.gl_pathv[found.gl_pathc - 1]);
    globfree(&found);
    strcpy(server->folder, "/tmp/novabeat_postgres_XXXXXX");
    assert_non_null(mkdtemp(server->folder));
    if (getuid() == 0) {
        const struct passwd *user = getpwnam("postgres");
        user = user == NULL ? getpwnam("nobody") : user;
        *why = "we are root, and there is nobody else to run PostgreSQL as";
        if (user == NULL) {
            rmdir(server->folder);
            return false;
        }
        server->uid = user->pw_uid;
        server->gid = user->pw_gid;
        assert_int_equal(chown(server->folder, user->pw_uid, user->pw_gid), 0);
    }
    char data[96];
    snprintf(data, sizeof data, "%s/data", server->folder);
    const char *const arguments[] = {"initdb", "-D", data,   "-U",         "tester",    "-A",
                                     "trust",  "-E", "UTF8", "--locale=C", "--no-sync", NULL};
    int status;
    assert_true(chdir("/") == 0); /* whoever runs it may not read ours */
    waitpid(postgres_spawn(server, "initdb", arguments), &status, 0);
    *why = "PostgreSQL's initdb failed";
    return status == 0;
}

static inline void postgres_server_fini(struct postgres_server *server)
{
    postgres_stop(server, SIGQUIT);
    /* The folder is somebody else's: removed as a whole. */
    pid_t pid = fork();
    if (pid == 0) {
        execlp("rm", "rm", "-rf", server->folder, (char *)NULL);
        _exit(127);
    }
    waitpid(pid, NULL, 0);
}

static inline void postgres_must(PGconn *db, const char *sql)
{
    PGresult *result = PQexec(db, sql);
    if (PQresultStatus(result) != PGRES_COMMAND_OK && PQresultStatus(result) != PGRES_TUPLES_OK) {
        fail_msg("%s: %s", sql, PQerrorMessage(db));
    }
    PQclear(result);
}

/* An empty database of its own; its URI. */
static inline void postgres_database(struct postgres_server *server, char *uri, size_t bytes)
{
    char name[32], sql[96];
    snprintf(name, sizeof name, "t%d", ++server->databases);
    snprintf(sql, sizeof sql, "CREATE DATABASE %s TEMPLATE template0", name);
    PGconn *db = postgres_try(server, "postgres");
    assert_non_null(db);
    postgres_must(db, sql);
    PQfinish(db);
    postgres_uri(server, name, uri, bytes);
}

#endif
