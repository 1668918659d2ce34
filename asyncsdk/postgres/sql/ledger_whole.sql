-- How many edits are in each state for the holder $1, and how many copies of the run are at work.
-- Law: it takes no lock. An open claim whose lease has lapsed is what the next run makes of it.
select states.state, states.number, copies.number as copies
from (
    select count(*) as number
    from asyncsdk.ledger l join asyncsdk.ledger_worker w on w.run = l.run join asyncsdk.holder h on h.id = w.holder
    where not w.is_over and h.until > clock_timestamp()
) copies
left join (
    select case when e.phase is null then coalesce(e.status, 'free')
                when e.holder = $1 then 'here'
                when e.phase = 'started' and h.host = 'a batch' then 'batched'
                when h.id is not null then 'held'
                when e.phase = 'started' then 'uncertain'
                else coalesce(e.status, 'free') end as state, count(*) as number
    from asyncsdk.edit e
    left join asyncsdk.holder h on h.id = e.holder and e.phase is not null and h.until > clock_timestamp()
    group by 1
) states on true
