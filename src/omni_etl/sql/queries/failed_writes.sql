-- How many writes to files failed since the engine started.
SELECT sum(value)
FROM system.events
WHERE event = 'WriteBufferFromFileDescriptorWriteFailed'
