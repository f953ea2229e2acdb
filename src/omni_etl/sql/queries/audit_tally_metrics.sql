-- How many of the numbers of each hose and lane the ledger of metrics holds: up to the one that should be there, and beyond it; how
-- many markers are too many; and how many events they say. A prefix is a key without its number. A merge joins equal markers and adds up their inserts.
WITH
    position(reverse(marker_key), '-') - 1 AS digits,
    substring(marker_key, 1, length(marker_key) - digits) AS prefix,
    toUInt64OrZero(right(marker_key, digits)) AS seq
SELECT
    prefix,
    uniqExactIf(seq, seq <= transform(prefix, {prefixes:Array(String)}, {settled:Array(UInt64)}, toUInt64(0))) AS settled,
    uniqExact(seq) - settled,
    toInt64(sum(inserts)) - uniqExact(seq),
    sum(row_count)
FROM metrics
WHERE marker_key >= {first_prefix:String} AND marker_key < {last_prefix:String}
    AND cut_day >= {first_day:Date}
    AND seq >= transform(prefix, {prefixes:Array(String)}, {low:Array(UInt64)}, toUInt64(-1))
GROUP BY prefix
