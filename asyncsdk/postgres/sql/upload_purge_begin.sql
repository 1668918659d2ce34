-- Begin the purge of a day: a row comes back to the one process that is to do it.
-- Law: the day is this server's.
update asyncsdk.upload_purge set at = clock_timestamp()
where at < clock_timestamp() - interval '1 day' or at > clock_timestamp() returning at
