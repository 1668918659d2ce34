-- Make the rate pool $1, unless it is there.
-- Law: nothing is known of it yet: its first user says of which run it is.
insert into asyncsdk.rate_pool (name) values ($1) on conflict (name) do nothing
