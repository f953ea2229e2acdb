-- What the headers in the ledgers say of each hose that was heard of since a time: for each lane the last number cut before that
-- time, until the time up to which an envelope should have come, until a time a few minutes ago, and at all; whether it is closed.
-- Only markers are read; those of both tables, so that one that was lost in one of them is heard of in the other.
WITH
    splitByChar('-', marker_key) AS parts,
    parts[-2] AS lane
SELECT
    substring(marker_key, 1, length(marker_key) - length(lane) - length(parts[-1]) - 2) AS hose_id,
    max(cut_at_ms) AS newest_ms,
    maxIf(accepted_count, cut_at_ms < {since_ms:UInt64}),
    max(accepted_count),
    maxIf(last_express, cut_at_ms < {since_ms:UInt64}),
    maxIf(last_express, cut_at_ms <= {settled_ms:UInt64}),
    maxIf(last_express, cut_at_ms <= {quiet_ms:UInt64}),
    max(last_express),
    maxIf(closing, lane = 'express'),
    maxIf(last_bulk, cut_at_ms < {since_ms:UInt64}),
    maxIf(last_bulk, cut_at_ms <= {settled_ms:UInt64}),
    maxIf(last_bulk, cut_at_ms <= {quiet_ms:UInt64}),
    max(last_bulk),
    maxIf(closing, lane = 'bulk')
FROM
(
    SELECT marker_key, cut_at_ms, accepted_count, last_express, last_bulk, closing
    FROM message_events
    WHERE marker_key != '' AND cut_day >= {first_day:Date}
    UNION ALL
    SELECT marker_key, cut_at_ms, accepted_count, last_express, last_bulk, closing
    FROM metrics
    WHERE marker_key != '' AND cut_day >= {first_day:Date}
)
GROUP BY hose_id
HAVING newest_ms >= {since_ms:UInt64}
ORDER BY hose_id
