-- How long metrics are kept: by the minute, markers, and by the hour. Parts hold all three, so they are merged anew when the first go.
ALTER TABLE metrics
    MODIFY TTL
        cut_day + toIntervalDay($minutes_days) DELETE WHERE marker_key = '' AND family != 'hour',
        cut_day + toIntervalDay($markers_days) DELETE WHERE marker_key != '',
        cut_day + toIntervalDay($hours_days)
