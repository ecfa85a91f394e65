// The layout of the store for TypeScript: where things stand in the text of a run. README.md beside this file has the table of keys
// and the text of a real run; lua/shared/layout.lua has the same places for the scripts.
//
// Tickets in a list are checked when they are taken, so a run that is cancelled or changes lanes may leave a stale one behind: to delete
// from the middle of a list of a million takes 10 ms. The two characters of the run in a ticket keep a successor under the same key from
// being taken by its predecessor's ticket; they cost 2 bytes where the whole run part would cost 16.
//
// A run is one text rather than a hash, because one MGET reads a batch and one MSET writes it; and the parts that scripts look at stand
// at fixed places, because one struct.unpack() takes 0.5 µs where a pattern takes 2. From claim to settle a run costs Redis 0.6 times as
// much as a hash; a queued task takes 266 bytes, everything counted. The text of a usual task is to fit into 92 bytes, because the next
// larger piece of memory is 16 bytes larger. The parts that a step of a run's life changes stand together, so that the new text is made
// of few pieces of the old one: Lua pays for each.

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
