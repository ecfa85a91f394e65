-- The verb `invalidate`.

-- Moved aside, so that nothing finds it by its key. A pending run stays: it has not looked at anything yet.
create function forget_key(a_key bytea) returns boolean language plpgsql as $$
declare
  t bigint;
  r runs;
  stood boolean := true;
  forgot boolean := false;
  next_of runs;
begin
  for r in select * from runs where key = a_key and place in (0, 1) order by created_at, place desc for update loop
    t := now_ms();
    if r.status = 2 and r.stale_until > t and r.expires_at > t then
      update runs set fresh_until = least(fresh_until, t), stale_until = t, place = aside_of(tail)
      where key = a_key and place = r.place;
      forgot := true;
    elsif r.place = 0 and (r.status = 1
      or r.status = 3 and remembered_until(r) > t and r.expires_at > t) then
      update runs set place = aside_of(tail), has_next = false where key = a_key and place = 0;
      if r.has_next then
        r.place := aside_of(r.tail);
        next_of := r;
      end if;
      forgot := true;
    elsif r.place = 1 then
      update runs set place = aside_of(tail) where key = a_key and place = 1;
    end if;
  end loop;
  -- Once the accepted result is out of the way as well.
  if next_of.key is not null then perform advance_next(next_of, now_ms()); end if;
  return forgot;
end $$;

create function invalidate(keys json, channel text, news json) returns integer language plpgsql {{settings}} as $$
begin
  perform pg_notify(channel, 'invalidated ' || (each #>> '{}')) from json_array_elements(news) each;
  return (select count(*) from (
    select forget_key(decode(key, 'hex')) as forgot from json_array_elements_text(keys) key
  ) each where forgot);
end $$;

-- One step through all runs of a name: what runs first, then what has ended, lane by lane in order of its expiry.
create function invalidate_name(a_name text, channel text, news json, after_lane integer, after_expiry bigint, before bigint,
  most integer)
returns json language plpgsql {{settings}} as $$
declare
  t bigint := now_ms();
  found_keys bytea[];
  lane_id integer := after_lane;
  expiry bigint := after_expiry;
  forgotten text[];
begin
  perform pg_notify(channel, 'invalidated ' || (each #>> '{}')) from json_array_elements(news) each;
  if after_lane = 0 then
    select array_agg(r.key) into found_keys from lanes l join runs r on r.lane = l.id and r.status = 1
    where l.name = a_name and r.place = 0;
    select min(id) into lane_id from lanes where name = a_name;
    expiry := t;
  else
    select array_agg(key), max(expires_at) into found_keys, expiry from (
      select key, place, expires_at from runs
      where lane = after_lane and status >= 2 and expires_at > after_expiry and finished_at <= before
      order by expires_at fetch first most rows with ties
    ) page;
    if expiry is null then
      select min(id) into lane_id from lanes where name = a_name and id > after_lane;
      expiry := t;
    end if;
  end if;
  select array_agg(encode(key, 'hex')) into forgotten
  from (select distinct key from unnest(found_keys) key order by key) each where forget_key(key);
  return json_build_object('forgotten', coalesce(forgotten, '{}'), 'lane', lane_id, 'expiry', expiry,
    'before', coalesce(before, t));
end $$;
