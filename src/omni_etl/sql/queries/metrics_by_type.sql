-- Events counted, by type; their sum is the number of events accepted.
SELECT measure, sum(events)
FROM metrics
WHERE marker_key = '' AND family = 'type'
GROUP BY measure
ORDER BY measure
