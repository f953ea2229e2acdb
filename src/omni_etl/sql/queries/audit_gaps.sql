-- Which numbers of one hose and lane the ledger lacks, as ranges, first and last.
WITH toUInt64OrZero(substring(marker_key, length({prefix:String}) + 1)) AS number
SELECT previous + 1, seq - 1
FROM
(
    SELECT seq, lagInFrame(seq, 1, toUInt64({low:UInt64} - 1)) OVER (ORDER BY seq ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS previous
    FROM
    (
        SELECT DISTINCT number AS seq
        FROM {table:Identifier}
        WHERE marker_key > {prefix:String} AND marker_key < {end:String}
            AND number >= {low:UInt64} AND number <= {high:UInt64}
        UNION ALL
        SELECT toUInt64({high:UInt64} + 1)
    )
)
WHERE seq > previous + 1
ORDER BY previous
LIMIT {limit:UInt32}
