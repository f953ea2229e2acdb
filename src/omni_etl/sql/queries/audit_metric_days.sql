-- Days of the cut on which roll-ups do not count what they should, how much they should, and how much they do: `type` counts every
-- event that a marker says; `hour`, `domain`, `campaign` and `sender` count the same ones, by different words.
SELECT cut_day, families.1 AS family, families.2 AS due, families.3 AS there
FROM
(
    SELECT
        cut_day,
        sumIf(stored_count * inserts, marker_key != '') AS stored,
        sumIf(events, marker_key = '' AND family = 'type') AS by_type,
        sumIf(events, marker_key = '' AND family = 'hour') AS by_hour,
        arrayJoin([
            ('type', stored, by_type),
            ('domain', by_hour, sumIf(events, marker_key = '' AND family = 'domain')),
            ('campaign', by_hour, sumIf(events, marker_key = '' AND family = 'campaign')),
            ('sender', by_hour, sumIf(events, marker_key = '' AND family = 'sender'))
        ]) AS families
    FROM metrics
    WHERE cut_day >= {first_day:Date}
    GROUP BY cut_day
)
WHERE due != there
ORDER BY cut_day, family
