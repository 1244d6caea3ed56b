-- fleet.stop of the vehicle-days in pg_temp.unit, from fleet.trip.
WITH chain AS (
    SELECT t.vehicle_key, t.day, t.end_time AS start_time, lead(t.start_time) OVER day_of_vehicle AS end_time,
        t.end_latitude_deg AS latitude_deg, t.end_longitude_deg AS longitude_deg, t.end_address AS address
    FROM pg_temp.unit u
    JOIN fleet.trip t USING (vehicle_key, day)
    WINDOW day_of_vehicle AS (
        PARTITION BY t.vehicle_key, t.day
        ORDER BY t.start_time, t.vendor COLLATE "C", t.account COLLATE "C", t.vendor_vehicle_id COLLATE "C"
    )
)
SELECT DISTINCT ON (vehicle_key, start_time) *, extract(epoch FROM end_time - start_time) AS duration_s
FROM chain
WHERE end_time - start_time >= interval '300 seconds'
ORDER BY vehicle_key, start_time, end_time
