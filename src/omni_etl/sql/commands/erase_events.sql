-- Events go by where they stand: what is left of a mutation on the disk, and in logs, names nobody.
ALTER TABLE message_events
DELETE IN PARTITION {day:String}
WHERE marker_key = ''
    AND timestamp >= fromUnixTimestamp64Milli({first_ms:Int64})
    AND timestamp <= fromUnixTimestamp64Milli({last_ms:Int64})
    AND (envelope_key, line_number) IN arrayZip({keys:Array(String)}, {lines:Array(UInt32)})
