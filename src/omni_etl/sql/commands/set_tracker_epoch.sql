INSERT INTO tracker_epochs (set_at, epoch)
SELECT fromUnixTimestamp64Micro({set_at:Int64}, 'UTC'), {epoch:String}
