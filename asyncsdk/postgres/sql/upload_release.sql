-- Give keys of the holder $1 back. $2: each key, and the attempt that claimed it.
-- Law: only the attempt that claimed it can; for any other this does nothing. So it may be asked by one that does not
-- know whether it succeeded.
update asyncsdk.upload_key k set holder = null, attempt = null
from json_to_recordset($2::json) as g(key text, attempt uuid)
where k.key = g.key and k.attempt = g.attempt and k.holder = $1
