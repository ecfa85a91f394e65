-- The places in the text of a run, counted from 1, and the bounds of the scripts.
--
-- The text of a run, with the length of each part in bytes:
--   <status 1><run 16><created 13><length of kind 4, in hex>[<head>]<kind><params><result>
--   head: <due 13><begun 13><attempt 4><priority 4><finished 13><fresh 13><usable 13><length of result 4><token>[,<rare fields>];
--   kind: <policy>[;<length of queue>,<length of extra>[,<length of group>]]:<queue><extra><group><name>
-- README.md in the folder above shows the text of a real run, and layout.ts has the same places for TypeScript.
local RUN_AT, CREATED_AT, LENGTH_AT, HEAD_AT = 2, 18, 31, 35
local FINISHED_AT, FRESH_AT, TOKEN_AT = 69, 82, 112

-- The first letter of the text of a new run: n.
local LETTER_NEW = 110

-- A moment that has not come, and the number of an attempt, a priority or a length that is 0.
local NEVER, USUAL = '0000000000000', '0000'
-- How a head goes on behind the moment when its run began, in the first attempt.
local BEGUN = '0001' .. USUAL .. NEVER .. NEVER .. NEVER .. USUAL

-- Longer params and results lie beside the text, because each step in the life of a run writes the text again.
local INLINE = 1024
-- The store keeps this many errors of a run.
local MAX_ERRORS = 10
-- A run that refreshes a stale result has this priority at most.
local REFRESH_PRIORITY = -10
-- A sweep looks through the leases this often, in ms; so a longer lease need not be noted when it begins.
local LOOK_MS = 5000
-- A key that makes no sense is kept this long under another name: 30 days.
local MALFORMED_MS = 2592000000
-- A claim looks at this many of the delayed runs for the one that is wanted next.
local MAX_LOOK, LAST_LOOKED = 16, '15'
-- One call moves this many delayed runs to their lanes at most: 2 ms.
local MAX_MOVED = 500
-- Bytes of one message: a longer one keeps the server from all others meanwhile.
local MAX_HINT = 65536

-- Errors that the store itself adds, as JSON: @A stands for the attempt, @T for the time, @B for the id of the other run.
local SUPERSEDED = [[{"attempt":@A,"at":@T,"error":{"name":"DeferqError","code":"SUPERSEDED","message":"Another run took the place of this one: @B","details":{"by":"@B"}}}]]
local ABANDONED = [[{"attempt":@A,"at":@T,"error":{"name":"DeferqError","code":"ABANDONED","message":"Nobody has asked for this run for longer than it was to wait for them."}}]]
