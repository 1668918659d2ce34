-- Change the rate pool $1, as it was read in version $2, to what $3 says, as JSON, by the request $4.
-- Law: compare-and-set on the version, so that a change knows all that went before it, and whoever is late reads again.
-- The same request a second time changes nothing, and is not late.
with changed as (
    update asyncsdk.rate_pool p
    set (version, try, run, changed_at, given, reported, peak, next_at, resume_at, counted_from, slowed_at,
         measured_from, episode, is_proved, fruitless, sent, turned_away)
        = (select $2::bigint + 1, $4::uuid, n.run, n.changed_at, n.given, n.reported, n.peak, n.next_at, n.resume_at, n.counted_from,
                  n.slowed_at, n.measured_from, n.episode, n.is_proved, n.fruitless, n.sent, n.turned_away
           from json_populate_record(null::asyncsdk.rate_pool, $3::json) n)
    where p.name = $1 and p.version = $2::bigint
    returning p.version
)
select exists (select from changed)
       or exists (select from asyncsdk.rate_pool p where p.name = $1 and p.version = $2::bigint + 1 and p.try = $4) as is_written
