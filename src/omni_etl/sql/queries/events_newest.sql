-- Of what was found, the newest. Not read in the table's order: the parts of every day would be merged row by row, which
-- takes two to six times as long where few events match (docs/decisions/0018).
ORDER BY timestamp DESC, envelope_key DESC, line_number DESC
LIMIT {count_max:UInt32} OFFSET {skip:UInt64}
SETTINGS optimize_read_in_order = 0
