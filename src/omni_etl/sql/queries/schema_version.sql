-- The last step that stands; 0 before the first.
SELECT max(version)
FROM schema_versions
