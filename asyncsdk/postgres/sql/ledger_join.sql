-- Join the run that is alive with the holder $1 and the options $2, or begin one. $3: holders whose process is known to
-- be gone, as JSON.
-- Law: under the ledger's lock, in a statement of its own, so that of two that begin at once one sees the other. A run is
-- over when no lease of its processes is alive; copies of one run have the same options.
with place as materialized (
    select l.run, l.begun, l.options, l.is_rewound, l.system_id = c.system_identifier::text
           and l.timeline = left(pg_walfile_name(pg_current_wal_lsn()), 8) as is_same
    from asyncsdk.ledger l, pg_control_system() c
    limit 1
), live as materialized (
    select h.id, h.pid, h.host, h.machine
    from place join asyncsdk.ledger_worker w on w.run = place.run join asyncsdk.holder h on h.id = w.holder
    where not w.is_over and h.until > clock_timestamp() and w.holder <> $1
      and h.id not in (select g::uuid from json_array_elements_text($3::json) as g)
), begun as (
    update asyncsdk.ledger l set run = l.run + 1, begun = clock_timestamp(), options = $2, is_stopping = false
    from place where place.is_same and not place.is_rewound and not exists (select from live)
      and not exists (select from asyncsdk.ledger_worker w where w.holder = $1)
    returning l.run, l.begun
), mine as (
    insert into asyncsdk.ledger_worker as w (holder, run)
    select $1, coalesce(begun.run, place.run) from place left join begun on true
    where place.is_same and not place.is_rewound and (begun.run is not null or place.options = $2)
    on conflict (holder) do update set is_over = false
    returning w.run
)
select mine.run, date_part('epoch', coalesce(begun.begun, place.begun)) as begun, place.options, place.is_same, place.is_rewound, live.id, live.pid, live.host, live.machine
from place left join begun on true left join mine on true left join live on true
