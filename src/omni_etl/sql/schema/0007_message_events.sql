-- Every event as it came, searchable. One insert is one envelope, one block and one part; the one row whose marker_key
-- is not '' is the ledger's word on that envelope: its key, checksum and number of events. It also keeps what the audit asks: how
-- many of the events were stored (row_count less those of people who were erased before), and what the header says.
--
-- marker_key leads the order: events ('') lie sorted by time, markers behind them sorted by key, so both a time range
-- and one key are found by the primary key. Rows are never told apart by event_id: a producer may repeat one.
-- Partitions are days of the *cut*, so that one insert never spans two; the time of an event is in the primary key.
-- insert_until is when the envelope's lease ends, the same in every row of a block: the engine refuses what comes later, by
-- its own clock when it has the rows (now() would be the time at which the statement began).
-- The first three settings make an acknowledged insert durable; without them it sits in the page cache. The fourth keeps what was
-- merged for a while, for the case that the merged part cannot be read (embedded/store_writes.py); chDB's default is 0. Then merging,
-- which costs as much as inserting: an event is rewritten by fewer, larger merges (base 5 by default). A part below 64 MiB
-- is one file and not a hundred (10 MiB by default, where an insert of 10,000 events costs twice as much).
-- How long rows are kept is a setting, and a TTL that is set by it (commands/keep_message_events.sql).
-- The two indexes cost 0.1 microseconds an event each, merging included, and find one recipient's or one message's events
-- among ten million with a quarter of the work, or less (docs/decisions/0018).
CREATE TABLE IF NOT EXISTS message_events
(
    marker_key String,
    checksum String,
    row_count UInt32,
    stored_count UInt32,
    cut_at_ms UInt64,
    last_express UInt64,
    last_bulk UInt64,
    accepted_count UInt64,
    closing UInt8,
    insert_until DateTime('UTC'),

    cut_day Date,
    envelope_key String CODEC(ZSTD(1)),
    line_number UInt32,

    timestamp DateTime64(3, 'UTC'),
    type LowCardinality(String),
    event_id String,
    subaccount_id UInt32,
    rcpt_to String,
    friendly_from LowCardinality(String),
    recipient_domain LowCardinality(String),
    sending_domain LowCardinality(String),
    subject String,
    campaign_id LowCardinality(String),
    template_id LowCardinality(String),
    ip_pool LowCardinality(String),
    sending_ip LowCardinality(String),
    reason String,
    bounce_class LowCardinality(String),
    mailbox_provider LowCardinality(String),
    mailbox_provider_region LowCardinality(String),
    message_id String,
    transmission_id String,
    ab_test_id LowCardinality(String),
    ab_test_version LowCardinality(String),
    raw String CODEC(ZSTD(1)),

    INDEX by_recipient lower(rcpt_to) TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX by_message message_id TYPE bloom_filter(0.01) GRANULARITY 1,
    CONSTRAINT in_time CHECK insert_until > nowInBlock()
)
ENGINE = MergeTree
PARTITION BY cut_day
ORDER BY (marker_key, timestamp, envelope_key, line_number)
PRIMARY KEY (marker_key, timestamp)
SETTINGS
    fsync_after_insert = 1,
    fsync_part_directory = 1,
    min_rows_to_fsync_after_merge = 1,
    old_parts_lifetime = 480,
    non_replicated_deduplication_window = 10000,
    merge_selector_base = 16,
    min_bytes_for_wide_part = 67108864,
    ttl_only_drop_parts = 1,
    materialize_ttl_recalculate_only = 1
