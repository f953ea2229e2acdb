-- What a search may ask, a line each; only those are used that it does ask.
timestamp >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC')
timestamp < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
(timestamp, envelope_key, line_number) < (fromUnixTimestamp64Milli({after_ms:Int64}, 'UTC'), {after_key:String}, {after_line:UInt32})
type IN {type:Array(String)}
subaccount_id IN {subaccount_id:Array(UInt32)}
event_id IN {event_id:Array(String)}
lower(rcpt_to) IN {rcpt_to:Array(String)}
lower(friendly_from) IN {friendly_from:Array(String)}
message_id IN {message_id:Array(String)}
transmission_id IN {transmission_id:Array(String)}
bounce_class IN {bounce_class:Array(String)}
sending_ip IN {sending_ip:Array(String)}
ab_test_version IN {ab_test_version:Array(String)}
match(recipient_domain, {recipient_domain:String})
match(sending_domain, {sending_domain:String})
match(subject, {subject:String})
match(campaign_id, {campaign_id:String})
match(template_id, {template_id:String})
match(ip_pool, {ip_pool:String})
match(reason, {reason:String})
match(mailbox_provider, {mailbox_provider:String})
match(mailbox_provider_region, {mailbox_provider_region:String})
match(ab_test_id, {ab_test_id:String})
match(reason, {reason_parts:String})
JSONExtractString(raw, 'batch_id') IN {batch_id:Array(String)}
JSONExtractRaw(raw, 'retryable') IN {retryable:Array(String)}
