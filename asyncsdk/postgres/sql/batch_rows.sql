-- The edits that the batch with the holder $1 holds, or held when they ended, in the order of its lines.
-- Law: it takes no lock. What is decided of it is a compare-and-set on `epoch` and `try`.
select key, id, status, phase, epoch, try, n, new_n, new_digest, new_source, digest, source, cost, new_cost,
       date_part('epoch', coalesce(started, at)) as at
from asyncsdk.edit where holder = $1 and (phase = 'started' or phase is null) order by key
