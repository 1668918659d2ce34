-- Who has open claims now.
-- Law: it takes no lock.
select e.holder, h.pid, h.host, coalesce(h.machine, '') as machine, coalesce(h.until > clock_timestamp(), false) as is_alive
from (select distinct holder from asyncsdk.edit where phase is not null) e
left join asyncsdk.holder h on h.id = e.holder
