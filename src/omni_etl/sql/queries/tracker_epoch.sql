-- The word set last.
SELECT epoch
FROM tracker_epochs
ORDER BY set_at DESC
LIMIT 1
