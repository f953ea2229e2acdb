-- Which rows of message_events an erasure deleted, so that the audit can tell them from lost ones; it names rows, nobody.
-- Written before they are deleted: a line may be noted twice, or be there still.
CREATE TABLE IF NOT EXISTS erased_events
(
    cut_day Date,
    envelope_key String CODEC(ZSTD(1)),
    line_number UInt32
)
ENGINE = MergeTree
PARTITION BY cut_day
ORDER BY (envelope_key, line_number)
TTL cut_day + toIntervalDay(62)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1, ttl_only_drop_parts = 1
