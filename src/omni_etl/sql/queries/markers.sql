-- The ledger's word on some envelopes in one table. One granule a part: more threads only cost (4.6 against 10 ms of CPU
-- over 100 parts).
SELECT marker_key, checksum, row_count
FROM {table:Identifier}
WHERE marker_key IN {keys:Array(String)}
SETTINGS max_threads = 1
