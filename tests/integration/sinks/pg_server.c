/* pg_server.c - a PostgreSQL server for tests that are shell scripts. SPDX-License-Identifier: Apache-2.0
 *
 *   pg_server FILE <FIFO
 *
 * Starts a cluster with the roles owner, writer and reader (their names are their passwords) and a database "audit" of
 * owner's, and writes host=, port=, ca= and bin= to FILE when it is ready. Then obeys lines of its input: "stop",
 * "kill", "start", each answered by a line in FILE.answers; at the end of the input it ends the server and removes all.
 */
#include "config.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pg_cluster.h"

static struct pg_cluster cluster;

static void put(const char *path, const char *mode, const char *text)
{
    FILE *f = fopen(path, mode);
    if (f == NULL || fputs(text, f) < 0 || fclose(f) != 0) {
        fprintf(stderr, "pg_server: cannot write %s\n", path);
        exit(1);
    }
}

int main(int argc, char **argv)
{
    char text[900], name[600], line[100];
    if (argc != 2)
        return 2;
    if (!pgc_available())
        return 77;
    pgc_create(&cluster, "fsync = off");
    pgc_sql(&cluster, NULL,
            "CREATE ROLE owner LOGIN PASSWORD 'owner'; CREATE ROLE writer LOGIN PASSWORD 'writer'; "
            "CREATE ROLE reader LOGIN PASSWORD 'reader'");
    pgc_sql(&cluster, NULL, "CREATE DATABASE audit OWNER owner");
    snprintf(text, sizeof text, "host=%s\nport=%s\nca=%s\nbin=%s\n", cluster.dir, cluster.port, cluster.ca,
             cluster.bin);
    snprintf(name, sizeof name, "%s.new", argv[1]);
    put(name, "w", text);
    if (rename(name, argv[1]) < 0)
        return 1;
    snprintf(name, sizeof name, "%s.answers", argv[1]);
    while (fgets(line, sizeof line, stdin) != NULL) {
        if (strcmp(line, "start\n") == 0)
            pgc_start(&cluster);
        else
            pgc_stop(&cluster, strcmp(line, "kill\n") == 0 ? SIGKILL : SIGINT);
        put(name, "a", line);
    }
    pgc_destroy(&cluster);
    return 0;
}
