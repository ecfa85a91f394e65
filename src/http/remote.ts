// What deferq's own client asks for: the dispatching half of the engine contract, many items to a request.

import type { DeferqError } from '../base/errors.ts'
import { unfailing } from '../base/log.ts'
import type { Draft, Filter, Status, Verdict } from '../contract/engine.ts'
import { MAX_BATCH } from '../contract/engine.ts'
import { Drafter } from '../dispatch/draft.ts'
import { checkPriority } from '../tasks/check-options.ts'
import { decode } from '../values/decode.ts'
import { fingerprint, isKey, keyOf } from '../values/fingerprint.ts'
import type { Answer } from './call.ts'
import { Refusal } from './call.ts'
import { draftOf, idOf, textOf } from './drafts.ts'
import { membersOf, optionsOf, recordOf } from './parse-request.ts'
import { toldOf } from './problem.ts'
import { json } from './render.ts'
import type { Inside, Visit } from './tasks.ts'

/** Of this protocol; a client of another one is told so. */
const VERSION = 1
/** Proxies often end what is silent for 30 s. */
const WAIT_MS = 25_000

type Members = Record<string, unknown>
type Verb = (inside: Inside, members: Members, visit: Visit) => Promise<object>

const VERBS: Record<string, { members: readonly string[]; run: Verb }> = {
  admit: { members: ['drafts'], run: admit },
  read: { members: ['ids'], run: async ({ gate }, { ids }) => ({ runs: await gate.read(readableOf(ids)) }) },
  wait: { members: ['ids'], run: wait },
  cancel: {
    members: ['ids', 'reason'],
    async run({ gate }, { ids, reason }) {
      const why = typeof reason === 'string' ? reason.slice(0, 10_000) : undefined
      return {
        answers: await gate.cancel(
          listOf(ids).map((id) => idOf(id, 'an id')),
          why,
        ),
      }
    },
  },
  promote: {
    members: ['ids', 'priority'],
    async run({ gate }, { ids, priority }) {
      if (priority !== undefined) checkPriority(priority, 'promote(): priority')
      const known = listOf(ids).map((id) => idOf(id, 'an id'))
      return { answers: await gate.promote(known, priority as number | undefined) }
    },
  },
  invalidate: { members: ['keys', 'name', 'asked'], run: invalidate },
  list: { members: ['filter', 'cursor'], run: list },
  count: { members: [], run: ({ gate }) => gate.count() },
}

export async function postEngine(inside: Inside, visit: Visit): Promise<Answer> {
  const known = [...new Set(Object.values(VERBS).flatMap(({ members }) => members))]
  const { version, verb, ...members } = membersOf(visit.call, visit.body, ['version', 'verb', ...known])
  if (version !== VERSION)
    throw new Refusal(
      400,
      `This server speaks version ${VERSION} with deferq's clients: bring both to one version of deferq.`,
    )
  const named = typeof verb === 'string' && Object.hasOwn(VERBS, verb) ? VERBS[verb] : undefined
  if (named === undefined) throw new Refusal(422, `verb must be one of ${Object.keys(VERBS).join(', ')}.`)
  recordOf(members, named.members, String(verb))
  return json(200, JSON.stringify(await named.run(inside, members, visit)))
}

/**
 * What was asked for is drafted anew by the definitions of this side, so that it has the key, the policy and the checks that it
 * would have here; its id keeps the part that the client has made, by which a repeated command is known. What one asks
 * for wrongly refuses that alone.
 */
async function admit(inside: Inside, { drafts }: Members): Promise<object> {
  const { deferq, gate } = inside
  const drafter = new Drafter(deferq.tasks, deferq.defaults, deferq.limits)
  const log = unfailing(deferq.logger)
  const refused = (error: unknown): object => {
    const { code, detail } = toldOf(error, log, (text) => gate.masked(text))
    return { error: { code, message: detail, details: (error as DeferqError).details } }
  }
  const made = await Promise.all(
    listOf(drafts).map(async (each): Promise<Draft | object> => {
      try {
        const { asked, ...rest } = each as Members
        return asked === undefined
          ? draftOf(rest, gate, deferq.limits)
          : await redrafted(drafter, inside, rest, asked)
      } catch (error) {
        return refused(error)
      }
    }),
  )
  const taken = made.filter((each): each is Draft => 'id' in each)
  await checkKeys(inside, taken)
  const verdicts = taken.length === 0 ? [] : await gate.admit(taken)
  let next = 0
  return {
    verdicts: made.map((each): Verdict | object => ('id' in each ? (verdicts[next++] as Verdict) : each)),
  }
}

async function redrafted(
  drafter: Drafter,
  { deferq, gate }: Inside,
  { id, name, params }: Members,
  asked: unknown,
): Promise<Draft> {
  const run = idOf(id, 'a draft: id').slice(keyOf(id as string).length)
  const value = decode(textOf(params, deferq.limits))
  const draft = await drafter.draft(gate.named(name), value, optionsOf(asked, gate, name as string), false)
  return { ...draft, id: keyOf(draft.id) + run }
}

/** A key that this side has not made is no proof of a name: what stands there must be something that may be seen. */
async function checkKeys({ gate }: Inside, drafts: readonly Draft[]): Promise<void> {
  const foreign = drafts.filter(({ id, name, params }) => {
    const plain = fingerprint({ name, params: decode(params) })
    return plain.key !== keyOf(id)
  })
  await gate.checkKeys(foreign.map(({ id }) => keyOf(id)))
}

async function wait({ watch }: Inside, { ids }: Members, { call }: Visit): Promise<object> {
  const asked = listOf(ids).map((id) => idOf(id, 'an id'))
  const found = await watch.ended(asked, WAIT_MS, call.signal)
  return { ended: found.map(([id, run]) => (run === undefined ? { id } : { id, run })) }
}

async function invalidate({ deferq, gate }: Inside, { keys, name, asked }: Members): Promise<object> {
  if (name !== undefined) return { count: await gate.invalidate({ name: gate.named(name) }) }
  if (asked === undefined) {
    const checked = listOf(keys).map((key) => {
      if (isKey(key)) return key
      throw new Refusal(422, 'A key is 64 hexadecimal characters.')
    })
    return { count: await gate.invalidate({ keys: checked }) }
  }
  const { name: task, params, options } = recordOf(asked, ['name', 'params', 'options'], 'asked')
  const value = decode(textOf(params, deferq.limits))
  const narrowed = optionsOf(options, gate, undefined, ['scope', 'idempotencyKey'])
  return { count: await deferq.invalidate(gate.named(task), value, narrowed) }
}

async function list({ gate }: Inside, { filter, cursor }: Members): Promise<object> {
  const { name, status, queue, limit } = recordOf(
    filter ?? {},
    ['name', 'status', 'queue', 'limit'],
    'filter',
  )
  if (cursor !== undefined && (typeof cursor !== 'string' || cursor.length > 4_000))
    throw new Refusal(422, 'cursor must be one that list() has answered.')
  const asked: Filter = {}
  if (name !== undefined) asked.name = gate.named(name)
  if (status !== undefined) asked.status = String(status) as Status
  if (queue !== undefined) asked.queue = String(queue)
  if (limit !== undefined) asked.limit = Math.min(MAX_BATCH, Math.max(1, Math.trunc(Number(limit)) || 1))
  return gate.list(asked, cursor)
}

function listOf(value: unknown): unknown[] {
  if (Array.isArray(value) && value.length <= MAX_BATCH) return value
  throw new Refusal(422, `A list of at most ${MAX_BATCH} is needed.`)
}

/** Ids, and keys, under which the run is read that stands there. */
function readableOf(value: unknown): string[] {
  return listOf(value).map((each) => (isKey(each) ? each : idOf(each, 'an id')))
}
