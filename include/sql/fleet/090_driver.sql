-- fleet.driver, all of it. PowUnity names drivers in trips only: one step of the recursion finds the next driver by the index.
WITH RECURSIVE named (account, driver) AS (
    (
        SELECT account, driver_unique_id
        FROM powunity.trip
        WHERE driver_unique_id > '' AND deleted_at IS NULL
        ORDER BY account, driver_unique_id
        LIMIT 1
    )
    UNION ALL
    SELECT n.account, n.driver_unique_id
    FROM named
    CROSS JOIN LATERAL (
        SELECT t.account, t.driver_unique_id
        FROM powunity.trip t
        WHERE (t.account, t.driver_unique_id) > (named.account, named.driver) AND t.driver_unique_id > '' AND t.deleted_at IS NULL
        ORDER BY t.account, t.driver_unique_id
        LIMIT 1
    ) n
)
SELECT 'powunity:' || account || ':' || driver AS driver_key, 'powunity' AS vendor, account, driver AS vendor_driver_id, (
        SELECT t.driver_name
        FROM powunity.trip t
        WHERE t.account = named.account AND t.driver_unique_id = named.driver AND t.driver_unique_id > '' AND t.deleted_at IS NULL
        ORDER BY t.start_time DESC, t.device_id DESC
        LIMIT 1
    ) AS name
FROM named
UNION ALL
SELECT 'suivideflotte:' || account || ':' || driver_id, 'suivideflotte', account, driver_id::text, name
FROM suivideflotte.driver
WHERE deleted_at IS NULL
