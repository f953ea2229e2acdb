-- Figures by time and dimensions. Messages are told apart within a unit of time, so there are two steps: units, then their sum.
-- What a dollar marks are names and shapes that the program knows; whatever comes from outside is a {parameter}.
SELECT bucket, $keys $totals
FROM
(
    SELECT $bucket AS bucket, $key_columns $unit AS unit, $figures
    FROM $source
    WHERE minute >= toDateTime({from_s:Int64}, 'UTC')
        AND minute < toDateTime({to_s:Int64}, 'UTC')
        AND measure IN {measures:Array(String)}
        $conditions
    GROUP BY bucket, $keys unit
)
GROUP BY bucket, $keys 1
ORDER BY bucket, $order DESC, $keys 1
$limit
