-- Replies of remote servers by which metrics count, and in which an address stands.
SELECT cut_day, sipHash64(reason), count()
FROM metrics
WHERE marker_key = '' AND family = 'reason' AND positionCaseInsensitive(reason, {key:String}) > 0
GROUP BY 1, 2
ORDER BY 1, 2
LIMIT {limit:UInt32}
