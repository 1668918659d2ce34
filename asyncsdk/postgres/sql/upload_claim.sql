-- Claim keys for the holder $1. $2: each key, the attempt that claims it, the attempt whose claim may be replaced, or
-- null, and whether that is so while its holder's lease is alive, as of a process that is known to be gone.
-- Law: a new claim raises the epoch, and a key that is held is taken only from the claim that an earlier statement
-- showed. A row that another process has changed after this statement began comes with that process's claim, but
-- with what was known of holders at the beginning: whoever claimed it just now looks lapsed. It is another attempt.
-- A row that is locked is in use and is passed over. What is waited for, an insert of the same key, is in key order.
-- An attempt that succeeded and whose answer was lost succeeds again, with the same epoch.
with given as materialized (
    select * from json_to_recordset($2::json) as g(key text, attempt uuid, theirs uuid, is_gone boolean)
), seen as materialized (
    select k.key, k.epoch, k.attempt, k.holder, h.pid, h.host, h.machine,
           coalesce(h.until > clock_timestamp(), false) as is_alive
    from asyncsdk.upload_key k left join asyncsdk.holder h on h.id = k.holder
    where k.key in (select g.key from given g)
    order by k.key
    for update of k skip locked
), taken as (
    update asyncsdk.upload_key k set epoch = k.epoch + 1, holder = $1, attempt = g.attempt
    from seen join given g on g.key = seen.key
    where k.key = seen.key
      and seen.attempt is distinct from g.attempt
      and (seen.holder is null or (seen.attempt = g.theirs and (g.is_gone or not seen.is_alive)))
    returning k.key, k.attempt, k.epoch
), made as (
    insert into asyncsdk.upload_key (key, epoch, holder, attempt)
    select distinct on (g.key) g.key,
           coalesce((select max(r.epoch) from asyncsdk.upload_record r where r.key = g.key), 0) + 1, $1, g.attempt
    from given g
    where not exists (select from asyncsdk.upload_key k where k.key = g.key)
    order by g.key
    on conflict (key) do nothing
    returning key, attempt, epoch
)
select g.attempt as asked,
       coalesce(made.epoch, taken.epoch, case when seen.attempt = g.attempt then seen.epoch end) as epoch,
       seen.attempt, seen.pid, seen.host, seen.machine, seen.is_alive
from given g
left join made on made.attempt = g.attempt
left join taken on taken.attempt = g.attempt
left join seen on seen.key = g.key
