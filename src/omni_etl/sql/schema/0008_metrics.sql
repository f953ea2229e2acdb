-- Roll-ups per minute, counted in the child, merged here. `family` names the question a row answers, `measure` what it
-- counts (services/metrics/measures.py); a row fills only the dimensions of its family, the others are ''.
--
--   family     dimensions beside minute and subaccount_id
--   type       none; measure is the event type, so sum(events) is the number of events accepted
--   hour       none; minute is the hour's first: what is asked of months, and of everything, is read from here
--   domain     domain, mailbox_provider, mailbox_provider_region
--   campaign   campaign_id, template_id
--   sender     sending_domain, ip_pool, sending_ip
--   reason     domain, bounce_class, reason
--   link       link_name
--
-- `messages` counts distinct messages. The ids come in as plain strings and the engine hashes them: one hash for all
-- processes, and none of it in Python. About 0.3 % error, 96 KiB at most for a busy minute; the embedded build has no other size.
-- How long which rows are kept: commands/keep_metrics.sql.
-- Markers as in message_events; rows of their own key, which no merge can join with a count. inserts > 1 would say that
-- an envelope stands twice, even after a merge. insert_until as in message_events.
CREATE TABLE IF NOT EXISTS metrics
(
    marker_key String,
    checksum SimpleAggregateFunction(any, String),
    row_count SimpleAggregateFunction(max, UInt32),
    inserts SimpleAggregateFunction(sum, UInt64),
    stored_count SimpleAggregateFunction(max, UInt32),
    cut_at_ms SimpleAggregateFunction(max, UInt64),
    last_express SimpleAggregateFunction(max, UInt64),
    last_bulk SimpleAggregateFunction(max, UInt64),
    accepted_count SimpleAggregateFunction(max, UInt64),
    closing SimpleAggregateFunction(max, UInt8),
    insert_until SimpleAggregateFunction(max, DateTime('UTC')),

    cut_day Date,

    family LowCardinality(String),
    minute DateTime('UTC'),
    subaccount_id UInt32,
    measure LowCardinality(String),
    domain LowCardinality(String),
    mailbox_provider LowCardinality(String),
    mailbox_provider_region LowCardinality(String),
    campaign_id LowCardinality(String),
    template_id LowCardinality(String),
    sending_domain LowCardinality(String),
    ip_pool LowCardinality(String),
    sending_ip LowCardinality(String),
    bounce_class LowCardinality(String),
    reason String,
    link_name String,

    events SimpleAggregateFunction(sum, UInt64),
    delivery_ms SimpleAggregateFunction(sum, UInt64),
    message_bytes SimpleAggregateFunction(sum, UInt64),
    message_ids Array(String) EPHEMERAL [],
    messages AggregateFunction(uniqCombined64, String)
        DEFAULT arrayReduce('uniqCombined64State', message_ids),

    CONSTRAINT in_time CHECK insert_until > nowInBlock()
)
ENGINE = AggregatingMergeTree
PARTITION BY cut_day
ORDER BY
(
    marker_key, family, minute, subaccount_id, measure,
    domain, mailbox_provider, mailbox_provider_region, campaign_id, template_id,
    sending_domain, ip_pool, sending_ip, bounce_class, reason, link_name
)
PRIMARY KEY (marker_key, family, minute)
SETTINGS
    fsync_after_insert = 1,
    fsync_part_directory = 1,
    min_rows_to_fsync_after_merge = 1,
    old_parts_lifetime = 480,
    non_replicated_deduplication_window = 10000,
    merge_selector_base = 16,
    materialize_ttl_recalculate_only = 1
