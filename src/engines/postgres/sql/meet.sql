-- A draft meets what stands under its key.

-- A live run stands there, and no result answers. Null when another was faster, and is to be looked at.
create function meet_live(d ask, r runs, address text, t bigint, tx boolean) returns json language plpgsql as $$
declare
  met runs := r;
  n runs;
  created runs;
  earlier runs;
  rule text;
begin
  if d.on_pending is not null or d.on_running is not null then
    if r.has_next then select * into n from runs where key = d.key and status = -1 for update; end if;
    if d.on_running = 'rerunAfter' then
      if n.key is null and r.status = 1 then return create_behind(d, address, t); end if;
      if n.key is not null then met := n; end if;
    end if;
    rule := case when met.status = 1 then d.on_running else d.on_pending end;
  end if;
  case rule
    when 'reject' then
      perform tally(0, 'rejected');
      return verdict(d, 'rejected', met, d.mismatch is null or met.params = d.params);
    when 'supersede' then
      if n.key is not null then perform cancel_run(n, superseded_text(n, d, t), t); end if;
      if met.tail = n.tail then return create_behind(d, address, t); end if;
      select * into met from runs where key = d.key and place = 0;
      perform cancel_run(met, superseded_text(met, d, t), t);
      select * into met from runs where key = d.key and place = 0;
      select * into earlier from runs where key = d.key and place = 1;
      created := succeed_run(d, met, earlier, address, t, tx);
      if created.key is null then raise exception 'a run that was superseded has been succeeded' using errcode = '40001'; end if;
      return verdict(d, 'created', created);
    when 'replace' then
      update runs set params = d.params, extra = d.extra where key = met.key and place = met.place;
      perform tally(0, 'joined');
      return verdict(d, 'joined', join_run(met, d, address, t, tx, true));
    else
      perform tally(0, 'joined');
      return verdict(d, 'joined', join_run(met, d, address, t, tx), d.mismatch is null or met.params = d.params);
  end case;
end $$;

create function meet(d ask, address text, tx boolean) returns json language plpgsql as $$
declare
  t bigint;
  r runs;
  own runs;
  stands runs;
  earlier runs;
  usable runs;
  answering runs;
  created runs;
  refreshing ask;
  refresh_id text;
  live boolean;
  remembered boolean;
  same boolean;
begin
  for tries in 1..20 loop
    own := null; stands := null; earlier := null; usable := null; answering := null; refresh_id := null;
    -- The older first: whoever waited for a run that has been succeeded meanwhile holds the older, and goes on to the newer.
    for r in select * from runs where key = d.key and place in (0, 1, d.aside) order by created_at, place desc for update loop
      if r.tail = d.tail then own := r; end if;
      if r.place = 0 then stands := r; elsif r.place = 1 then earlier := r; end if;
    end loop;
    t := now_ms();
    if not coalesce(d.refresh, false) then
      if stands.status = 2 and stands.stale_until > t and stands.expires_at > t then usable := stands;
      elsif earlier.status = 2 and earlier.stale_until > t and earlier.expires_at > t then usable := earlier; end if;
    end if;

    if own.key is not null then
      if d.watch then perform watch_run(own, address); end if;
      if usable.key is null or usable.tail = own.tail then return verdict(d, 'created', own); end if;
      return verdict(d, 'stale', usable, true, encode(d.key || d.tail, 'hex'));
    end if;

    live := coalesce(stands.status < 2, false);
    remembered := coalesce(stands.status = 3 and remembered_until(stands) > t and stands.expires_at > t, false);
    if usable.key is not null then answering := usable;
    elsif live or (remembered and not coalesce(d.refresh, false)) then answering := stands; end if;

    if answering.key is null then
      created := succeed_run(d, stands, earlier, address, t, tx);
      continue when created.key is null;
      return verdict(d, 'created', created);
    end if;

    same := d.mismatch is null or answering.params = d.params;
    if not same and d.mismatch = 'reject' then
      perform tally(0, 'rejected');
      return verdict(d, 'rejected', answering, false);
    end if;
    if usable.key is null and live then return meet_live(d, stands, address, t, tx); end if;

    if usable.fresh_until <= t and live then
      refresh_id := encode(stands.key || stands.tail, 'hex');
    elsif usable.fresh_until <= t and not remembered then
      -- The draft's own follow-ups are answered with the stale result, and are not told twice.
      refreshing := d;
      refreshing."then" := null;
      refreshing.watch := false;
      refreshing.attended := null;
      refreshing.priority := least(d.priority, {{refresh_priority}});
      created := succeed_run(refreshing, stands, earlier, address, t, tx);
      continue when created.key is null;
      refresh_id := encode(d.key || d.tail, 'hex');
    end if;
    if d."then" is not null then
      perform follow_if(body, answering,
        case answering.status when 2 then answering.result else answering.errors[cardinality(answering.errors)] end, t, tx)
      from json_array_elements(d."then") body;
    end if;
    if usable.key is null then
      perform tally(0, 'negative');
      return verdict(d, 'negative', answering, same);
    end if;
    if usable.fresh_until > t then
      perform tally(0, 'hit');
      return verdict(d, 'hit', usable, same);
    end if;
    perform tally(0, 'stale');
    return verdict(d, 'stale', usable, same, refresh_id);
  end loop;
  raise exception 'the key changes faster than it can be read' using errcode = '40001';
end $$;
