-- Those of the keys in $1 that processes have whose leases are alive, and which processes these are.
-- Law: as for a page.
select k.key, h.pid, h.machine
from asyncsdk.upload_key k join asyncsdk.holder h on h.id = k.holder and h.until > clock_timestamp()
where k.key in (select json_array_elements_text($1::json))
