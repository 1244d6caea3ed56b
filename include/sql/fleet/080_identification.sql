-- fleet.identification of the accounts and days in pg_temp.unit.
SELECT e.account, e.event_id, (c.place - 1)::integer AS candidate, u.day, e.event_time, e.camera_id, k.title AS camera_title,
    e.agent_id, e.activity_id,
    c.candidate ->> 'profile_id' AS profile_id,
    (c.candidate ->> 'confidence')::float8 AS confidence,
    nullif(c.candidate -> 'group_ids', 'null') AS group_ids
FROM pg_temp.unit u
JOIN omni_platform.event e
    ON e.account = u.account
    AND e.event_time >= u.day::timestamp AT TIME ZONE 'UTC' AND e.event_time < (u.day + 1)::timestamp AT TIME ZONE 'UTC'
CROSS JOIN LATERAL jsonb_array_elements(CASE jsonb_typeof(e.candidates) WHEN 'array' THEN e.candidates ELSE '[]' END)
    WITH ORDINALITY AS c (candidate, place)
LEFT JOIN omni_platform.camera k ON k.account = e.account AND k.camera_id = e.camera_id AND k.deleted_at IS NULL
WHERE e.event_type = 'identification' AND e.deleted_at IS NULL
