INSERT INTO schema_versions (version, name)
SELECT {version:UInt32}, {name:String}
