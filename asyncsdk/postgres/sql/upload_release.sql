-- Give a key back.
-- Law: only the attempt that claimed it can; for any other this does nothing. So it may be asked by one that does not
-- know whether it succeeded.
update asyncsdk.upload_key set holder = null, attempt = null where key = $1 and attempt = $2 and holder = $3
