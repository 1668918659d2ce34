-- A step of the schema, as it is printed: $VERSION is what it makes, $STEP its text.
-- Law: where that version or a later one is made it does nothing: the same script makes a schema and brings up an older one.
do $once$
begin
    if to_regclass('asyncsdk.schema_version') is not null then
        if exists (select from asyncsdk.schema_version where version >= $VERSION) then
            return;
        end if;
    end if;
    execute $step$
$STEP$step$;
end
$once$;
