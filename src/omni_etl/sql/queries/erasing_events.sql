-- Where the events of one recipient stand: spelled in ASCII like its key (trimmed, in lower case), or in another way that was found.
-- Most lines are passed by without being parsed.
SELECT envelope_key, line_number, toUnixTimestamp64Milli(timestamp)
FROM message_events
WHERE cut_day = {day:Date}
    AND marker_key = ''
    AND (
        lower(trim(BOTH {white:String} FROM rcpt_to)) = {key:String}
        OR rcpt_to IN {spellings:Array(String)}
        OR (positionCaseInsensitive(raw, {needle:String}) > 0
            AND lower(trim(BOTH {white:String} FROM JSONExtractString(raw, 'raw_rcpt_to'))) = {key:String})
        OR (notEmpty({spellings:Array(String)}) AND JSONExtractString(raw, 'raw_rcpt_to') IN {spellings:Array(String)})
    )
LIMIT {limit:UInt32}
