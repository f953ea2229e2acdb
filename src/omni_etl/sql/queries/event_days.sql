-- The days on which something was cut that still stands.
SELECT DISTINCT cut_day
FROM message_events
ORDER BY cut_day
