-- The ledger's word on one envelope in one table.
SELECT checksum, row_count
FROM {table:Identifier}
WHERE marker_key = {key:String}
LIMIT 1
