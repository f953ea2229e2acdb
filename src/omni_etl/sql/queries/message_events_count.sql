-- How many events are stored.
SELECT count()
FROM message_events
WHERE marker_key = ''
