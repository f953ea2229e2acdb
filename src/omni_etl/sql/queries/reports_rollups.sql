-- What the roll-ups of one family hold.
(SELECT *, messages AS message FROM metrics WHERE marker_key = '' AND family = {family:String})
