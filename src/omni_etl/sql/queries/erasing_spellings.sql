-- Spellings of recipients that only the program can read: those that are not ASCII, as domains may be and local parts are.
SELECT DISTINCT arrayJoin([rcpt_to, if(length(raw) = lengthUTF8(raw), '', JSONExtractString(raw, 'raw_rcpt_to'))]) AS spelling
FROM message_events
WHERE cut_day = {day:Date} AND marker_key = '' AND length(spelling) != lengthUTF8(spelling)
