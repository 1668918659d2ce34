-- Claim the key $1 for the holder $2. $4: a holder whose process is known to be gone, or null; $5: whether a key may be
-- taken whose holder's lease lapsed.
-- Law: a new claim raises the epoch, and a key is never taken from a holder whose lease is alive, but for $4. A row that
-- is locked is in use and is passed over: whoever waited for it would judge the lease by what was known before.
-- An attempt ($3) that succeeded and whose answer was lost succeeds again, with the same epoch.
with seen as materialized (
    select k.epoch, k.attempt, k.holder, h.pid, h.host, h.machine,
           coalesce(h.until > clock_timestamp(), false) as is_alive
    from asyncsdk.upload_key k left join asyncsdk.holder h on h.id = k.holder
    where k.key = $1
    for update of k skip locked
), taken as (
    update asyncsdk.upload_key k set epoch = k.epoch + 1, holder = $2, attempt = $3
    from seen
    where k.key = $1
      and seen.attempt is distinct from $3
      and (seen.holder is null or seen.holder = $4 or ($5 and not seen.is_alive))
    returning k.epoch
), made as (
    insert into asyncsdk.upload_key (key, epoch, holder, attempt)
    select $1, 1, $2, $3 where not exists (select from asyncsdk.upload_key where key = $1)
    on conflict (key) do nothing
    returning epoch
)
select coalesce(made.epoch, taken.epoch, case when seen.attempt = $3 then seen.epoch end) as epoch,
       seen.holder, seen.pid, seen.host, seen.machine, seen.is_alive
from (select) as one left join made on true left join taken on true left join seen on true
