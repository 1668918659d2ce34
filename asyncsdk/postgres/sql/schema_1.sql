-- Version 1 of the schema `asyncsdk`: who holds what, and the journal of uploads.
-- Law: a step is never changed once it was published; what comes later is a step of its own. It runs in one
-- transaction, under the advisory lock of `schema_lock.sql`, and names the schema everywhere: a pooler may give any
-- search_path.
do $$ begin
    if not exists (select from pg_catalog.pg_namespace where nspname = 'asyncsdk') then
        -- a role that may not create one may own one that was made for it
        create schema asyncsdk;
    end if;
end $$;

create table asyncsdk.schema_version (
    version integer primary key,
    made_at timestamptz not null default clock_timestamp()
);

-- A process that may hold things, until its lease ends: by this server's clock alone.
create table asyncsdk.holder (
    id uuid primary key,
    pid integer not null,
    host text not null,
    machine text not null,  -- the machine since its start, and its space of process ids
    until timestamptz not null
);

-- One for each key of the journal. The epoch grows with each claim, and what is written names it.
create table asyncsdk.upload_key (
    key text primary key,
    epoch bigint not null,
    holder uuid,  -- null: it was given back
    attempt uuid  -- which request claimed it: one whose answer was lost is asked again
);

-- A fact about an upload, as the line that a journal in files has, checksum included.
create table asyncsdk.upload_record (
    key text not null,
    epoch bigint not null,
    number bigint not null,  -- within its claim
    at timestamptz not null,
    kind text not null,
    line text not null,
    primary key (key, epoch, number)
);
create index upload_record_beginnings on asyncsdk.upload_record (at) where kind in ('opened', 'posting');

create table asyncsdk.upload_purge (
    is_only boolean primary key default true check (is_only),
    at timestamptz not null
);
insert into asyncsdk.upload_purge (at) values (clock_timestamp());

insert into asyncsdk.schema_version (version) values (1);
