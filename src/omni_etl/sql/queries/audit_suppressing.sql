-- How many envelopes of each hose and lane hold an event that suppresses its recipient, by what message_events holds; and which, if asked.
WITH
    position(reverse(envelope_key), '-') - 1 AS digits,
    substring(envelope_key, 1, length(envelope_key) - digits) AS prefix,
    toUInt64OrZero(right(envelope_key, digits)) AS seq
SELECT prefix, uniqExact(seq), groupUniqArrayIf(seq, {named:Bool})
FROM message_events
WHERE marker_key = '' AND cut_day >= {first_day:Date}
    AND type IN {types:Array(String)}
    AND (type NOT IN {bounces:Array(String)} OR bounce_class IN {classes:Array(String)})
    AND trim(BOTH {white:String} FROM rcpt_to) != ''
    AND seq >= transform(prefix, {prefixes:Array(String)}, {low:Array(UInt64)}, toUInt64(-1))
    AND seq <= transform(prefix, {prefixes:Array(String)}, {settled:Array(UInt64)}, toUInt64(0))
GROUP BY prefix
