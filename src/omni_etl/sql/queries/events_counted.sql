-- How many events a search is for.
SELECT count()
FROM message_events
