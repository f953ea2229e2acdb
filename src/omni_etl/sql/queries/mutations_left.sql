-- How many parts of a table wait to be rewritten, and why not, where one failed.
SELECT count(), sum(parts_to_do), max(latest_fail_reason)
FROM system.mutations
WHERE database = currentDatabase() AND table = {table:String} AND NOT is_done
