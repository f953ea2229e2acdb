-- Rows of metrics by the hash of their reason, as in erase_events.sql. Other families count these events too, and stay.
ALTER TABLE metrics
DELETE IN PARTITION {day:String}
WHERE marker_key = '' AND family = 'reason' AND sipHash64(reason) IN {hashes:Array(UInt64)}
