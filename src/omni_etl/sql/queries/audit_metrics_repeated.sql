-- Envelopes whose marker stands more than once in metrics, how often, and with how many events.
SELECT marker_key, sum(inserts) AS times, max(stored_count)
FROM metrics
WHERE marker_key != '' AND cut_day >= {first_day:Date}
GROUP BY marker_key
HAVING times > 1
ORDER BY marker_key
LIMIT {limit:UInt32}
