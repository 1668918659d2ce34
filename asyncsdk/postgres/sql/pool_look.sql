-- The rate pool $1, and this server's clock.
-- Law: it locks nothing. What is decided from it is written only over the version that was read, so the clock is later
-- than the change that made it.
select p.*, date_part('epoch', clock_timestamp()) as clock from asyncsdk.rate_pool p where p.name = $1
