-- Which steps of the schema stand; this one is made at every start. A step may be noted twice, by two who start at once.
CREATE TABLE IF NOT EXISTS schema_versions
(
    version UInt32,
    name String
)
ENGINE = MergeTree
ORDER BY version
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1
