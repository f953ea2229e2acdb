-- The tables of this database, as they would be made now.
SELECT name, create_table_query
FROM system.tables
WHERE database = currentDatabase()
