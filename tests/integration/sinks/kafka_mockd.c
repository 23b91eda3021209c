/* kafka_mockd.c - a mock cluster as a process of its own, for tests of the command. SPDX-License-Identifier: Apache-2.0
 *
 *   kafka-mockd BROKERS TOPIC PARTITIONS
 *
 * Prints the brokers' addresses. Then each line on standard input is a command, answered by a line: "down N", "up N",
 * "leader PARTITION N", "error CODE" (of the next produce request; -195: the connection breaks), "read FILE" (writes
 * "partition seq id" of all records, those of a partition in its order). Ends with standard input.
 */
#include "config.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kafka_mock.h"

static bool write_records(const struct km_cluster *c, const char *topic, int partitions, const char *path)
{
    struct km_records r = km_read(c->brokers, topic, partitions);
    FILE *f = fopen(path, "we");
    bool ok = f != NULL;
    for (size_t i = 0; ok && i < r.count; i++)
        ok = fprintf(f, "%d %" PRIu64 " %s\n", r.at[i].partition, r.at[i].seq, r.at[i].id) > 0;
    if (f != NULL)
        ok = fclose(f) == 0 && ok;
    km_free(&r);
    return ok;
}

int main(int argc, char **argv)
{
    char line[1024], path[900];
    if (argc != 4)
        return 2;
    int partitions = (int)strtol(argv[3], NULL, 10);
    struct km_cluster c = km_start((int)strtol(argv[1], NULL, 10), argv[2], partitions);
    bool ok = printf("%s\n", c.brokers) > 0 && fflush(stdout) == 0;
    while (ok && fgets(line, sizeof line, stdin) != NULL) {
        int a = 0, b = 0;
        if (sscanf(line, "down %d", &a) == 1)
            ok = rd_kafka_mock_broker_set_down(c.mock, a) == RD_KAFKA_RESP_ERR_NO_ERROR;
        else if (sscanf(line, "up %d", &a) == 1)
            ok = rd_kafka_mock_broker_set_up(c.mock, a) == RD_KAFKA_RESP_ERR_NO_ERROR;
        else if (sscanf(line, "leader %d %d", &a, &b) == 2)
            ok = rd_kafka_mock_partition_set_leader(c.mock, argv[2], a, b) == RD_KAFKA_RESP_ERR_NO_ERROR;
        else if (sscanf(line, "error %d", &a) == 1)
            rd_kafka_mock_push_request_errors(c.mock, KM_PRODUCE, 1, a);
        else
            ok = sscanf(line, "read %899s", path) == 1 && write_records(&c, argv[2], partitions, path);
        ok = printf("%s\n", ok ? "done" : "failed") > 0 && fflush(stdout) == 0;
    }
    km_end(&c);
    return ok ? 0 : 1;
}
