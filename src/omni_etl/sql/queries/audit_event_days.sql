-- Days of the cut on which the rows of message_events are not those that the markers say, less those that were erased. Sums over
-- rows are compared with what they must be by the markers: of each row's envelope, hashed, and of that times its number in it. So
-- nothing that is lost hides behind something that is doubled. Sums and products wrap around, on both sides alike.
SELECT cut_day
FROM
(
    SELECT
        cut_day,
        toInt64(cityHash64(envelope_key)) AS envelope,
        toInt64(stored_count) AS due,
        if(marker_key = '', envelope, -due * envelope) AS rows,
        if(marker_key = '', toInt64(line_number) * envelope, -intDiv(due * (due - 1), 2) * envelope) AS numbers
    FROM message_events
    WHERE cut_day >= {first_day:Date}
    UNION ALL
    SELECT cut_day, toInt64(cityHash64(envelope_key)) AS envelope, 0, envelope, toInt64(line_number) * envelope
    FROM (SELECT DISTINCT cut_day, envelope_key, line_number FROM erased_events WHERE cut_day >= {first_day:Date})
)
GROUP BY cut_day
HAVING sum(rows) != 0 OR sum(numbers) != 0
ORDER BY cut_day
