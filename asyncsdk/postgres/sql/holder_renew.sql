-- Renew the lease of a process, or begin it.
-- Law: the time is this server's at this moment: `now()` would be that of the transaction's begin, older after a wait.
-- A lease that lapsed may be renewed: whether a key was taken meanwhile is in that key's epoch. The clock comes back, so
-- that its holder sees whether it was set. One that ends later than any can is from before the clock was set back; of a
-- process that is gone it would last until then. It is made to end as one that is renewed now. That of a batch has no
-- end, whatever the clock, and keeps it.
with beyond as materialized (
    select id from asyncsdk.holder
    where id <> $1 and until > clock_timestamp() + interval '10 minutes' and until < 'infinity'  -- twice the longest lease
    order by id
    for update skip locked
), shortened as (
    update asyncsdk.holder h set until = clock_timestamp() + $5 * interval '1 second' from beyond where h.id = beyond.id
)
insert into asyncsdk.holder as mine (id, pid, host, machine, until)
values ($1, $2, $3, $4, clock_timestamp() + $5 * interval '1 second')
on conflict (id) do update set until = clock_timestamp() + $5 * interval '1 second'
returning date_part('epoch', clock_timestamp()) as clock
