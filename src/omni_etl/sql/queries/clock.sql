-- The engine's clock, seconds since the epoch.
SELECT toFloat64(now64(3))
