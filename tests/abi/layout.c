/* layout.c - prints size and offset of everything in <audit/plugin.h>, and the values of its constants.
 *
 * SPDX-License-Identifier: Apache-2.0
 *
 * tests/abi/layout.sh compares the output with what was released (layout-lp64.txt). A member that is not listed here
 * leaves a gap, which is said.
 */
#include <stdio.h>
#include <string.h>

#include <audit/plugin.h>

static const char *struct_name;
static size_t struct_end, widest;

static void begin(const char *name)
{
    struct_name = name;
    struct_end = widest = 0;
}

static void member(const char *name, size_t offset, size_t size, size_t align)
{
    printf("%s.%s offset %zu size %zu\n", struct_name, name, offset, size);
    if (offset >= struct_end + align)
        printf("%s: something before %s is not listed in tests/abi/layout.c\n", struct_name, name);
    struct_end = offset + size;
    widest = align > widest ? align : widest;
}

static void end(size_t size)
{
    printf("%s size %zu\n", struct_name, size);
    if (size >= struct_end + widest)
        printf("%s: its last member is not listed in tests/abi/layout.c\n", struct_name);
}

#define BEGIN(type) begin(#type)
#define M(type, name)                                                                                                  \
    member(#name, offsetof(struct type, name), sizeof(((struct type *)0)->name), __alignof__(((struct type *)0)->name))
#define END(type) end(sizeof(struct type))
#define VALUE(name) printf("%s = %lld\n", #name, (long long)(name))
#define TEXT(name) printf("%s = \"%s\"\n", #name, name)

static void of_str(void)
{
    BEGIN(aw_str);
    M(aw_str, ptr);
    M(aw_str, len);
    END(aw_str);
}

static void of_option(void)
{
    BEGIN(aw_option);
    M(aw_option, struct_size);
    M(aw_option, type);
    M(aw_option, flags);
    M(aw_option, reserved);
    M(aw_option, key);
    M(aw_option, deflt);
    M(aw_option, help);
    M(aw_option, min);
    M(aw_option, max);
    M(aw_option, choices);
    END(aw_option);
}

static void of_host(void)
{
    BEGIN(aw_host);
    M(aw_host, struct_size);
    M(aw_host, abi_major);
    M(aw_host, abi_minor);
    M(aw_host, version);
    M(aw_host, instance);
    M(aw_host, vlog);
    M(aw_host, vset_error);
    M(aw_host, vevent_error);
    M(aw_host, event_field);
    M(aw_host, event_number);
    M(aw_host, event_encoded);
    M(aw_host, config_str);
    M(aw_host, config_int);
    M(aw_host, config_bool);
    M(aw_host, config_list);
    M(aw_host, metric_register);
    M(aw_host, metric_add);
    M(aw_host, now_ns);
    M(aw_host, mono_ns);
    M(aw_host, ctx_set);
    M(aw_host, extension);
    END(aw_host);
}

static void of_batch(void)
{
    BEGIN(aw_batch);
    M(aw_batch, struct_size);
    M(aw_batch, flags);
    M(aw_batch, first_seq);
    M(aw_batch, last_seq);
    M(aw_batch, deadline_ns);
    M(aw_batch, count);
    M(aw_batch, events);
    END(aw_batch);
}

static void of_result(void)
{
    BEGIN(aw_result);
    M(aw_result, struct_size);
    M(aw_result, retry_after_ms);
    M(aw_result, count);
    M(aw_result, status);
    END(aw_result);
}

static void of_health(void)
{
    BEGIN(aw_health);
    M(aw_health, struct_size);
    M(aw_health, state);
    M(aw_health, last_error);
    M(aw_health, reserved);
    M(aw_health, since_ns);
    M(aw_health, last_success_ns);
    M(aw_health, detail);
    END(aw_health);
}

static void of_sink_class(void)
{
    BEGIN(aw_sink_class);
    M(aw_sink_class, struct_size);
    M(aw_sink_class, thread_model);
    M(aw_sink_class, durability);
    M(aw_sink_class, flags);
    M(aw_sink_class, name);
    M(aw_sink_class, summary);
    M(aw_sink_class, options);
    M(aw_sink_class, create);
    M(aw_sink_class, start);
    M(aw_sink_class, write);
    M(aw_sink_class, flush);
    M(aw_sink_class, health);
    M(aw_sink_class, reopen);
    M(aw_sink_class, reconfigure);
    M(aw_sink_class, after_fork);
    M(aw_sink_class, stop);
    M(aw_sink_class, destroy);
    M(aw_sink_class, extension);
    END(aw_sink_class);
}

static void of_position(void)
{
    BEGIN(aw_position);
    M(aw_position, struct_size);
    M(aw_position, reserved);
    M(aw_position, seq);
    M(aw_position, hash);
    M(aw_position, pad);
    END(aw_position);
}

static void of_sink_position(void)
{
    BEGIN(aw_sink_position);
    M(aw_sink_position, struct_size);
    M(aw_sink_position, reserved);
    M(aw_sink_position, position);
    END(aw_sink_position);
}

static void of_query(void)
{
    BEGIN(aw_query);
    M(aw_query, struct_size);
    M(aw_query, flags);
    M(aw_query, limit);
    M(aw_query, since_ns);
    M(aw_query, until_ns);
    M(aw_query, action);
    M(aw_query, actor_id);
    M(aw_query, target_id);
    M(aw_query, tenant_id);
    M(aw_query, outcome);
    M(aw_query, text);
    M(aw_query, after);
    END(aw_query);
}

static void of_row(void)
{
    BEGIN(aw_row);
    M(aw_row, struct_size);
    M(aw_row, reserved);
    M(aw_row, seq);
    M(aw_row, json);
    M(aw_row, location);
    M(aw_row, cursor);
    END(aw_row);
}

static void of_sink_query(void)
{
    BEGIN(aw_sink_query);
    M(aw_sink_query, struct_size);
    M(aw_sink_query, reserved);
    M(aw_sink_query, open);
    M(aw_sink_query, next);
    M(aw_sink_query, close);
    END(aw_sink_query);
}

static void of_sink_transaction(void)
{
    BEGIN(aw_sink_transaction);
    M(aw_sink_transaction, struct_size);
    M(aw_sink_transaction, reserved);
    M(aw_sink_transaction, stage);
    M(aw_sink_transaction, commit);
    M(aw_sink_transaction, rollback);
    M(aw_sink_transaction, in_doubt);
    END(aw_sink_transaction);
}

static void of_sink_probe(void)
{
    BEGIN(aw_sink_probe);
    M(aw_sink_probe, struct_size);
    M(aw_sink_probe, reserved);
    M(aw_sink_probe, probe);
    END(aw_sink_probe);
}

static void of_sink_migrate(void)
{
    BEGIN(aw_sink_migrate);
    M(aw_sink_migrate, struct_size);
    M(aw_sink_migrate, reserved);
    M(aw_sink_migrate, migrate);
    END(aw_sink_migrate);
}

static void of_prune(void)
{
    BEGIN(aw_prune);
    M(aw_prune, struct_size);
    M(aw_prune, stream);
    M(aw_prune, count);
    M(aw_prune, bytes);
    M(aw_prune, first_seq);
    M(aw_prune, last_seq);
    M(aw_prune, first_ns);
    M(aw_prune, last_ns);
    M(aw_prune, keep_seq);
    M(aw_prune, keep_ns);
    M(aw_prune, keep_hash);
    M(aw_prune, pad);
    END(aw_prune);
}

static void of_sink_retention(void)
{
    BEGIN(aw_sink_retention);
    M(aw_sink_retention, struct_size);
    M(aw_sink_retention, reserved);
    M(aw_sink_retention, plan);
    M(aw_sink_retention, prune);
    END(aw_sink_retention);
}

static void of_request_view(void)
{
    BEGIN(aw_request_view);
    M(aw_request_view, struct_size);
    M(aw_request_view, status);
    M(aw_request_view, native);
    M(aw_request_view, duration_ns);
    M(aw_request_view, method);
    M(aw_request_view, target);
    M(aw_request_view, route);
    M(aw_request_view, scheme);
    M(aw_request_view, host);
    M(aw_request_view, peer);
    M(aw_request_view, user);
    M(aw_request_view, header);
    M(aw_request_view, response_header);
    END(aw_request_view);
}

static void of_host_http_context(void)
{
    BEGIN(aw_host_http_context);
    M(aw_host_http_context, struct_size);
    M(aw_host_http_context, reserved);
    M(aw_host_http_context, map);
    END(aw_host_http_context);
}

static void of_host_submit(void)
{
    BEGIN(aw_host_submit);
    M(aw_host_submit, struct_size);
    M(aw_host_submit, reserved);
    M(aw_host_submit, submit);
    END(aw_host_submit);
}

static void of_metric(void)
{
    BEGIN(aw_metric);
    M(aw_metric, struct_size);
    M(aw_metric, kind);
    M(aw_metric, name);
    M(aw_metric, help);
    M(aw_metric, labels);
    M(aw_metric, bounds);
    M(aw_metric, bound_count);
    END(aw_metric);
}

static void of_host_metrics(void)
{
    BEGIN(aw_host_metrics);
    M(aw_host_metrics, struct_size);
    M(aw_host_metrics, reserved);
    M(aw_host_metrics, define);
    M(aw_host_metrics, series);
    M(aw_host_metrics, add);
    END(aw_host_metrics);
}

static void of_adapter_class(void)
{
    BEGIN(aw_adapter_class);
    M(aw_adapter_class, struct_size);
    M(aw_adapter_class, thread_model);
    M(aw_adapter_class, name);
    M(aw_adapter_class, summary);
    M(aw_adapter_class, native_type);
    M(aw_adapter_class, native_abi);
    M(aw_adapter_class, options);
    M(aw_adapter_class, create);
    M(aw_adapter_class, map);
    M(aw_adapter_class, attach);
    M(aw_adapter_class, detach);
    M(aw_adapter_class, start);
    M(aw_adapter_class, stop);
    M(aw_adapter_class, reconfigure);
    M(aw_adapter_class, destroy);
    M(aw_adapter_class, extension);
    END(aw_adapter_class);
}

static void of_plugin(void)
{
    BEGIN(aw_plugin);
    M(aw_plugin, struct_size);
    M(aw_plugin, magic);
    M(aw_plugin, abi_major);
    M(aw_plugin, abi_minor);
    M(aw_plugin, flags);
    M(aw_plugin, id);
    M(aw_plugin, version);
    M(aw_plugin, license);
    M(aw_plugin, summary);
    M(aw_plugin, host_needs);
    M(aw_plugin, sinks);
    M(aw_plugin, adapters);
    M(aw_plugin, load);
    M(aw_plugin, unload);
    END(aw_plugin);
}

static void numbers_1(void)
{
    VALUE(AW_ABI_MAJOR);
    VALUE(AW_ABI_MINOR);
    VALUE(AW_PLUGIN_MAGIC);
    VALUE(AW_OK);
    VALUE(AW_E_RETRY);
    VALUE(AW_E_THROTTLED);
    VALUE(AW_E_UNAVAILABLE);
    VALUE(AW_E_TIMEOUT);
    VALUE(AW_E_REJECTED);
    VALUE(AW_E_CONFIG);
    VALUE(AW_E_NOMEM);
    VALUE(AW_E_UNSUPPORTED);
    VALUE(AW_E_NOTFOUND);
    VALUE(AW_E_INTERNAL);
    VALUE(AW_EVENT_UNKNOWN);
    VALUE(AW_EVENT_ACCEPTED);
    VALUE(AW_EVENT_DURABLE);
    VALUE(AW_EVENT_DUPLICATE);
    VALUE(AW_EVENT_RETRY);
    VALUE(AW_EVENT_REJECTED);
    VALUE(AW_THREADS_SERIAL_PLUGIN);
    VALUE(AW_THREADS_SERIAL_INSTANCE);
    VALUE(AW_THREADS_PARALLEL);
    VALUE(AW_DURABLE_NEVER);
    VALUE(AW_DURABLE_ON_FLUSH);
    VALUE(AW_DURABLE_ON_WRITE);
    VALUE(AW_SINK_REMOTE);
    VALUE(AW_LOG_DEBUG);
    VALUE(AW_LOG_INFO);
    VALUE(AW_LOG_WARNING);
    VALUE(AW_LOG_ERROR);
    VALUE(AW_LOG_HOST_MISBEHAVING);
    VALUE(AW_LOG_PLUGIN_MISBEHAVING);
    VALUE(AW_FIELD_EVENT_ID);
    VALUE(AW_FIELD_ACTION);
    VALUE(AW_FIELD_OUTCOME);
    VALUE(AW_FIELD_OCCURRED_AT);
    VALUE(AW_FIELD_RETENTION_TAG);
    VALUE(AW_FIELD_ACTOR_ID);
    VALUE(AW_FIELD_ACTOR_TYPE);
    VALUE(AW_FIELD_ACTOR_DISPLAY_NAME);
    VALUE(AW_FIELD_ACTOR_ROLES);
    VALUE(AW_FIELD_ACTOR_IP);
    VALUE(AW_FIELD_ACTOR_USER_AGENT);
    VALUE(AW_FIELD_TARGET_ID);
    VALUE(AW_FIELD_TARGET_TYPE);
    VALUE(AW_FIELD_TARGET_DISPLAY_NAME);
    VALUE(AW_FIELD_TENANT_ID);
    VALUE(AW_FIELD_ORG_ID);
    VALUE(AW_FIELD_REQUEST_ID);
}

static void numbers_2(void)
{
    VALUE(AW_FIELD_TRACE_ID);
    VALUE(AW_FIELD_SESSION_ID);
    VALUE(AW_FIELD_ENVIRONMENT);
    VALUE(AW_FIELD_SOURCE_SERVICE);
    VALUE(AW_FIELD_SOURCE_VERSION);
    VALUE(AW_FIELD_SOURCE_HOST);
    VALUE(AW_FIELD_SOURCE_REGION);
    VALUE(AW_FIELD_SOURCE_INSTANCE);
    VALUE(AW_FIELD_ACTOR);
    VALUE(AW_FIELD_TARGET);
    VALUE(AW_FIELD_CONTEXT);
    VALUE(AW_FIELD_METADATA);
    VALUE(AW_FIELD_DIFF);
    VALUE(AW_FIELD_INTEGRITY);
    VALUE(AW_FIELD_SCOPE);
    VALUE(AW_FIELD_HASH);
    VALUE(AW_FIELD_PREV_HASH);
    VALUE(AW_NUMBER_SEQ);
    VALUE(AW_NUMBER_SCHEMA_VERSION);
    VALUE(AW_NUMBER_OCCURRED_NS);
    VALUE(AW_NUMBER_SEALED_NS);
    VALUE(AW_NUMBER_METADATA_TRUNCATED);
    VALUE(AW_NUMBER_DIFF_TRUNCATED);
    VALUE(AW_NUMBER_STREAM);
    VALUE(AW_OPT_BOOL);
    VALUE(AW_OPT_INT);
    VALUE(AW_OPT_UINT);
    VALUE(AW_OPT_SIZE);
    VALUE(AW_OPT_DURATION);
    VALUE(AW_OPT_STRING);
    VALUE(AW_OPT_ENUM);
    VALUE(AW_OPT_PATH);
    VALUE(AW_OPT_SECRET);
    VALUE(AW_OPT_LIST);
    VALUE(AW_OPT_REQUIRED);
    VALUE(AW_OPT_RELOADABLE);
    VALUE(AW_OPT_DEPRECATED);
    VALUE(AW_OPT_PER_SLOT);
    VALUE(AW_METRIC_COUNTER);
    VALUE(AW_METRIC_GAUGE);
    VALUE(AW_METRIC_HISTOGRAM);
    VALUE(AW_PROVENANCE_AUTHENTICATED);
    VALUE(AW_PROVENANCE_PEER);
    VALUE(AW_PROVENANCE_CLAIMED);
    VALUE(AW_BATCH_MUST_BE_DURABLE);
    VALUE(AW_HEALTH_OK);
    VALUE(AW_HEALTH_DEGRADED);
    VALUE(AW_HEALTH_DOWN);
    VALUE(AW_QUERY_CHAIN_ORDER);
    VALUE(AW_QUERY_DESCENDING);
}

static void numbers_3(void)
{
    VALUE(AW_MIGRATE_DRY_RUN);
}

int main(void)
{
    static void (*const all[])(void) = {of_str,
                                        of_option,
                                        of_host,
                                        of_batch,
                                        of_result,
                                        of_health,
                                        of_sink_class,
                                        of_position,
                                        of_sink_position,
                                        of_query,
                                        of_row,
                                        of_sink_query,
                                        of_sink_transaction,
                                        of_sink_probe,
                                        of_sink_migrate,
                                        of_prune,
                                        of_sink_retention,
                                        of_request_view,
                                        of_host_http_context,
                                        of_host_submit,
                                        of_metric,
                                        of_host_metrics,
                                        of_adapter_class,
                                        of_plugin,
                                        numbers_1,
                                        numbers_2,
                                        numbers_3};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        all[i]();
    TEXT(AW_EXT_SINK_POSITION);
    TEXT(AW_EXT_SINK_QUERY);
    TEXT(AW_EXT_SINK_TRANSACTION);
    TEXT(AW_EXT_SINK_PROBE);
    TEXT(AW_EXT_SINK_MIGRATE);
    TEXT(AW_EXT_SINK_RETENTION);
    TEXT(AW_EXT_HOST_HTTP_CONTEXT);
    TEXT(AW_EXT_HOST_SUBMIT);
    TEXT(AW_EXT_HOST_METRICS);
    return 0;
}
