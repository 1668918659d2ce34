-- Claim the key $1 for the holder $2. $4: the attempt whose claim may be replaced, or null; $5: whether that is so while
-- its holder's lease is alive, as of a process that is known to be gone.
-- Law: a new claim raises the epoch, and a key that is held is taken only from the claim that an earlier statement
-- showed. A row that another process has changed after this statement began comes with that process's claim, but
-- with what was known of holders at the beginning: whoever claimed it just now looks lapsed. It is another attempt.
-- A row that is locked is in use and is passed over.
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
      and (seen.holder is null or (seen.attempt = $4 and ($5 or not seen.is_alive)))
    returning k.epoch
), made as (
    insert into asyncsdk.upload_key (key, epoch, holder, attempt)
    select $1, coalesce((select max(epoch) from asyncsdk.upload_record where key = $1), 0) + 1, $2, $3
    where not exists (select from asyncsdk.upload_key where key = $1)
    on conflict (key) do nothing
    returning epoch
)
select coalesce(made.epoch, taken.epoch, case when seen.attempt = $3 then seen.epoch end) as epoch,
       seen.attempt, seen.pid, seen.host, seen.machine, seen.is_alive
from (select) as one left join made on true left join taken on true left join seen on true
