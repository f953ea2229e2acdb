-- How long events are kept. All rows of a part were cut on one day, so a part goes as a whole, markers and rows together.
-- A change of the days reads one column of each part and rewrites none.
ALTER TABLE message_events
    MODIFY TTL cut_day + toIntervalDay($events_days)
