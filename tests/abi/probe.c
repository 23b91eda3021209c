/* probe.c - one typed function for each struct of <audit/plugin.h>: what abidiff can compare. Behind a void pointer it
 * sees nothing. Compiled by tests/abi/abidiff.sh. SPDX-License-Identifier: Apache-2.0
 */
#include <audit/plugin.h>

#define PROBE(type)                                                                                                    \
    void probe_##type(const struct type *p);                                                                           \
    void probe_##type(const struct type *p)                                                                            \
    {                                                                                                                  \
        (void)p;                                                                                                       \
    }

PROBE(aw_str)
PROBE(aw_option)
PROBE(aw_host)
PROBE(aw_batch)
PROBE(aw_result)
PROBE(aw_health)
PROBE(aw_sink_class)
PROBE(aw_position)
PROBE(aw_sink_position)
PROBE(aw_query)
PROBE(aw_row)
PROBE(aw_sink_query)
PROBE(aw_sink_transaction)
PROBE(aw_sink_probe)
PROBE(aw_sink_migrate)
PROBE(aw_prune)
PROBE(aw_sink_retention)
PROBE(aw_request_view)
PROBE(aw_host_http_context)
PROBE(aw_host_submit)
PROBE(aw_metric)
PROBE(aw_host_metrics)
PROBE(aw_adapter_class)
PROBE(aw_plugin)
