-- Rows of message_events that are about to be deleted for an erasure.
INSERT INTO erased_events (cut_day, envelope_key, line_number)
SELECT toDate({day:String}), found.1, found.2
FROM (SELECT arrayJoin(arrayZip({keys:Array(String)}, {lines:Array(UInt32)})) AS found)
