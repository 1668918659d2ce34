-- The version of the schema that is there.
-- Law: this table is the same in all versions.
select max(version) as version from asyncsdk.schema_version
