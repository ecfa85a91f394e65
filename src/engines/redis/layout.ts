// The layout of the store: its keys, and where things stand in the text of a run.
//
// Keys of a shard, all behind its hash tag `{prefix:n}`, so that one script may touch them all:
//
//   e:<key>          the run under a key, as text (below)
//   a:<key><run>     a run that was moved aside (by RENAME, so its time to live goes with it)
//   x:<key><run>     what few runs have or is large, a hash: p params and r result above INLINE bytes, P N V the parent, g
//                    progress, e0 to e9 the newest errors in turn, + and an id: what follows
//   l:<lane>         the tickets of what is ready in one lane, a list in order of due time
//   lanes            the lanes that hold tickets, scored by the negated priority
//   t:<name>         of a name whose runs have groups: those that may give something out, scored by their last turn;
//                    such a name stands among the lanes as g<name>
//   o:<name>         those that a rate holds back, scored by when it opens
//   g:<name>\1<group> the lanes of a group that hold tickets, scored as `lanes` is; their names end in \1<group>
//   b:<name>\1<group> when the last attempts of a group began, as many as its rate allows; gr: how many of each run
//   turn             counts the turns of groups
//   attended         the ids of what is cancelled when nobody asks for it, scored by when
//   paused           q<queue> and n<name>; while there is one, `!` is among the lanes
//   delayed          the tickets of what is due later, scored by due time
//   leases           the ends of the leases of what runs, by the Redis key of its text; a hash, because a sorted set costs six times
//                    as much
//   firstLease       none of them ends before this, and at that time all are looked through; leaseScan: how far a sweep has come in looking for the ended ones
//   counts           p<lane> pending, r<lane> begun and not put back or ended otherwise than completed, c<lane> completed, t<total>
//   wants, idle:<w>  what idle instances wait for, and who they are
//   compact          how far the clearing of stale tickets has come, per lane
//   malformed:<…>    what could not be read
//
// <key> is the key's 32 bytes in base64url (43 characters), <run> the other 12 bytes of the id (16). A
// *ticket* is <key> and the first two characters of <run> for a run under its key, and <key><run> for one
// aside. Tickets in a list are checked when they are taken, so a run that is cancelled or changes lanes may
// leave a stale one behind: deleting from the middle of a list of a million takes 10 ms. The two characters
// keep a successor under the same key from being taken by its predecessor's ticket, and cost 2 bytes where
// the whole run part would cost 16.
//
// A run is one text rather than a hash, because a batch is then read by one MGET and written by one MSET; and
// what scripts look at stands at fixed places, because one struct.unpack() takes 0.5 µs where a pattern takes
// 2. From claim to settle a run then costs Redis 0.6 times what it does as a hash; a queued task takes 266 bytes,
// everything counted. The text:
//
//   <status 1><run 16><created 13><length of kind 4, in hex>[<head>]<kind><params><result>
//   head: <due 13><begun 13><attempt 4><priority 4><finished 13><fresh 13><usable 13><length of result 4><token>[,<rare fields>];
//   kind: <policy>[;<length of queue>,<length of extra>[,<length of group>]]:<queue><extra><group><name>
//
// Status is one of n new (pending, with everything else as usual, and no head), p pending, r running, c
// completed, f failed, x cancelled. Lengths are in bytes. The queue 'default' is spelled as none, and no
// length of extra means that there is none. Each byte counts: the text of a usual task is to fit into 92,
// because the next larger piece of memory is 16 bytes larger. And what a step of a run's life changes stands together, so that the
// new text is made of few pieces of the old one: Lua pays for each.

/** Where things stand in the text, counted from 1 as Lua does. */
export const PLACE = {
  run: 2,
  created: 18,
  length: 31,
  head: 35,
  begun: 48,
  attempt: 61,
  priority: 65,
  finished: 69,
  fresh: 82,
  usable: 95,
  answer: 108,
  token: 112,
}

/** Params and results that are longer lie beside the text, because each step in the life of a run writes the text again. */
export const INLINE = 1_024
