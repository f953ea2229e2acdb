-- Where events stand that a search is for. Narrow columns: the events themselves are read for those of one page alone.
SELECT toUnixTimestamp64Milli(timestamp), envelope_key, line_number
FROM message_events
