-- The values that a dimension had.
SELECT DISTINCT $dimension AS value
FROM metrics
WHERE marker_key = ''
    AND family = {family:String}
    AND minute >= toDateTime({from_s:Int64}, 'UTC')
    AND minute < toDateTime({to_s:Int64}, 'UTC')
    AND value != ''
    AND positionCaseInsensitiveUTF8(value, {part:String}) > 0
    AND ({subaccount_id:Int64} < 0 OR subaccount_id = {subaccount_id:Int64})
ORDER BY value
LIMIT {count_max:UInt32}
