-- Give a key back.
-- Law: only the claim that has it can; for any other this does nothing.
update asyncsdk.upload_key set holder = null, attempt = null where key = $1 and epoch = $2 and holder = $3
