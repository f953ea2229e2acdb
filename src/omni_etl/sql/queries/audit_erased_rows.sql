-- How many rows of these envelopes were erased, as far as they are really gone.
SELECT envelope_key, uniqExact(line_number)
FROM erased_events
WHERE cut_day = {day:Date} AND envelope_key IN {keys:Array(String)}
    AND (envelope_key, line_number) NOT IN (
        SELECT envelope_key, line_number FROM message_events WHERE cut_day = {day:Date} AND marker_key = '' AND envelope_key IN {keys:Array(String)}
    )
GROUP BY envelope_key
