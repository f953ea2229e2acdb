-- Events as the roll-ups would hold them, each a row: for questions that no family answers. It counts as
-- services/metrics/{measures,counted}.py does, and a test holds the two together.
(
    WITH
        JSONExtractString(raw, 'num_retries') AS retries,
        multiIf(NOT match(retries, '^[0-9]+$') OR match(retries, '^0+$'), 1, match(retries, '^0*1$'), 2, 3) AS attempt,
        transform(bounce_class, {classes:Array(String)}, {categories:Array(String)}, 'undetermined') AS category,
        if(JSONExtractBool(raw, 'user_agent_parsed', 'is_prefetched'), '_prefetched', '') AS prefetched,
        JSONExtractString(raw, 'queue_time') AS queue_time,
        JSONExtractString(raw, 'msg_size') AS msg_size,
        JSONExtractString(raw, 'target_link_name') AS link,
        type IN ('policy_rejection', 'generation_failure', 'generation_rejection', 'delay', 'bounce', 'out_of_band') AS is_failure
    SELECT
        toStartOfMinute(timestamp) AS minute,
        subaccount_id,
        recipient_domain AS domain,
        mailbox_provider, mailbox_provider_region, campaign_id, template_id, sending_domain, ip_pool, sending_ip,
        if(is_failure, message_events.bounce_class, '') AS bounce_class,
        if(is_failure, leftUTF8(message_events.reason, {reason_characters:UInt32}), '') AS reason,
        if(type = 'click', if(link != '', link, JSONExtractString(raw, 'target_link_url')), '') AS link_name,
        multiIf(
            type = 'injection', 'injected',
            type = 'generation_failure', 'generation_failed',
            type IN ('policy_rejection', 'generation_rejection', 'spam_complaint'), toString(type),
            type IN ('list_unsubscribe', 'link_unsubscribe'), 'unsubscribe',
            type = 'delivery', ['delivered_first', 'delivered_second', 'delivered_third_or_later'][attempt],
            type = 'delay', ['delayed_first', 'delayed_again', 'delayed_again'][attempt],
            type = 'bounce', concat('bounce_', category),
            type = 'out_of_band', concat('out_of_band_', category),
            type = 'open', concat('rendered', prefetched),
            type = 'initial_open', concat('initial_rendered', prefetched),
            type = 'click', concat('clicked', prefetched),
            ''
        ) AS measure,
        1 AS events,
        if(type = 'delivery' AND match(queue_time, '^[0-9]+$'), if(length(queue_time) <= 12, toUInt64OrZero(queue_time), 1099511627776), 0) AS delivery_ms,
        if(type = 'delivery' AND match(msg_size, '^[0-9]+$'), if(length(msg_size) <= 12, toUInt64OrZero(msg_size), 1099511627776), 0) AS message_bytes,
        if(message_id != '', message_id, concat(transmission_id, '/', rcpt_to)) AS message
    FROM message_events
    WHERE marker_key = ''
        AND timestamp >= toDateTime64({from_s:Int64}, 3, 'UTC')
        AND timestamp < toDateTime64({to_s:Int64}, 3, 'UTC')
)
