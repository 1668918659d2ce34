-- Version 3 of the schema `asyncsdk`: rate pools, each one limit for all processes that name it.
-- Law: as for version 1. Times are unix seconds of this server's clock. A column means what the field of that name in
-- `ratelimit.RateLimit` does, which computes all of it: here is no second rule.
create table asyncsdk.rate_pool (
    name text primary key,
    version bigint not null default 0,  -- grows with each change, which names the one that it was made from
    try uuid,  -- which request made the last change: one whose answer was lost is asked again
    run bigint not null default -1,  -- of the ledger: a new run learns its limit again
    changed_at float8 not null default '-infinity',
    given float8,  -- units a minute; null: learned
    reported float8 not null default 'infinity',
    peak float8 not null default 'infinity',
    next_at float8 not null default '-infinity',
    resume_at float8 not null default '-infinity',
    counted_from float8 not null default '-infinity',
    slowed_at float8 not null default '-infinity',
    measured_from float8 not null default 'infinity',
    episode bigint not null default 0,
    is_proved boolean not null default true,
    fruitless integer not null default 0,
    sent json not null default '[]',
    turned_away json not null default '[]'
) with (fillfactor = 20);

insert into asyncsdk.schema_version (version) values (3);
