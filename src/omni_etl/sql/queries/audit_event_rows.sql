-- Envelopes of one day whose rows in message_events are not those that their marker says: markers, how many rows it says, how many
-- there are, and how many of these there should not be: they stand twice.
SELECT
    envelope_key,
    countIf(marker_key != '') AS markers,
    maxIf(stored_count, marker_key != '') AS stored,
    countIf(marker_key = '') AS rows,
    rows - uniqExactIf(line_number, marker_key = '') AS doubled
FROM message_events
WHERE cut_day = {day:Date}
GROUP BY envelope_key
HAVING markers != 1 OR rows != stored OR doubled > 0
ORDER BY envelope_key
LIMIT {limit:UInt32}
