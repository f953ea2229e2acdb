-- Some events as they came, found by where they stand: `lines` holds, for each of `keys`, the lines that are meant.
SELECT raw
FROM message_events
WHERE marker_key = ''
    AND timestamp IN (SELECT fromUnixTimestamp64Milli(arrayJoin({times_ms:Array(Int64)}), 'UTC'))
    AND envelope_key IN {keys:Array(String)}
    AND has({lines:Array(Array(UInt32))}[indexOf({keys:Array(String)}, envelope_key)], line_number)
ORDER BY timestamp DESC, envelope_key DESC, line_number DESC
