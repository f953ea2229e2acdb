-- Events as they came, newest first; all where no ids are named.
SELECT raw
FROM message_events
WHERE marker_key = ''
    AND (empty({event_ids:Array(String)}) OR event_id IN {event_ids:Array(String)})
ORDER BY timestamp DESC, envelope_key DESC, line_number DESC
LIMIT {limit:UInt32}
