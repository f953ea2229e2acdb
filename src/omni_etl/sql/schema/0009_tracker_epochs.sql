-- The random word that tracker keys carry; the newest row counts.
CREATE TABLE IF NOT EXISTS tracker_epochs
(
    set_at DateTime64(6, 'UTC'),
    epoch String
)
ENGINE = MergeTree
ORDER BY set_at
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1
