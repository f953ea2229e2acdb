-- The ledger's word on one envelope in one table. One granule a part: more threads only cost (4.6 against 10 ms of CPU
-- over 100 parts).
SELECT checksum, row_count
FROM {table:Identifier}
WHERE marker_key = {key:String}
LIMIT 1
SETTINGS max_threads = 1
