-- Question: How much fuel does each vehicle need for 100 km?
-- Read it:  One row per vehicle whose fuel is known, thirstiest first. litres and distance_km come from the same days, those
--           with a fuel figure the checks do not doubt; days_left_out were driven too, but count in neither. refuelled_l and
--           drained_l are what went in, and what left the tank faster than an engine can drink.
-- Limits:   Fuel from a level in the tank is good to a litre or two a day, so trust vehicles with many kilometres: below
--           100 km the answer is left empty. A drain is a suspicion, not a proof. Vehicles without fuel data are not listed.
WITH judged AS (
    SELECT
        *,
        fuel_used_l IS NOT NULL AND trust_notes !~ 'negative fuel|not proven complete|odometer differs' AS counts
    FROM fleet.vehicle_day
)
SELECT
    v.name AS vehicle,
    concat_ws(' ', v.brand, v.model) AS type,
    round((100 * sum(d.fuel_used_l) FILTER (WHERE d.counts)
        / nullif(sum(d.distance_m) FILTER (WHERE d.counts) / 1000, 0))::numeric, 1)
        * CASE WHEN sum(d.distance_m) FILTER (WHERE d.counts) >= 100000 THEN 1 END AS l_per_100_km,
    round(sum(d.fuel_used_l) FILTER (WHERE d.counts)::numeric, 1) AS litres,
    round((sum(d.distance_m) FILTER (WHERE d.counts) / 1000)::numeric, 1) AS distance_km,
    count(*) FILTER (WHERE d.counts) AS days,
    count(*) FILTER (WHERE NOT d.counts AND d.trips > 0) AS days_left_out,
    round(sum(d.fuel_refuelled_l)::numeric, 1) AS refuelled_l,
    round(sum(d.fuel_drained_l)::numeric, 1) AS drained_l
FROM judged d
JOIN fleet.vehicle v USING (vehicle_key)
GROUP BY v.vehicle_key, v.name, v.brand, v.model
HAVING bool_or(d.counts)
ORDER BY l_per_100_km DESC NULLS LAST, vehicle
