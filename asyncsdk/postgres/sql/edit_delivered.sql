-- Pictures of the edit $1, which waited on a machine, are in their bucket now: $2 are all its pictures, $3 what it is.
-- Law: only one that is paid and that nobody works at. To say it twice is the same as once.
update asyncsdk.edit set status = $3, files = $2::json, problem = case when $3 = 'done' then null else problem end
where key = $1 and phase is null and status in ('uncertain', 'done')
