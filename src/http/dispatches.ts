// The routes that dispatch many tasks at once, and failed runs again. All items are checked before the first is admitted.

import { unfailing } from '../base/log.ts'
import type { Draft, Verdict } from '../contract/engine.ts'
import { anew } from '../dispatch/draft-again.ts'
import { rejected } from '../dispatch/errors.ts'
import { notFound } from '../dispatch/waiters.ts'
import { idOf, keyOf } from '../values/fingerprint.ts'
import type { Answer } from './call.ts'
import { Refusal } from './call.ts'
import { flagOf, idIn, listOf, membersOf, optionsOf, paramsOf, recordOf } from './parse-request.ts'
import { documentOf, problem } from './problem.ts'
import { json, runOf } from './render.ts'
import type { Inside, Visit } from './tasks.ts'

/** A draft, or why its item was refused. */
type Checked = { draft: Draft } | { refused: unknown }

/**
 * Answers each item in its place: how it was admitted, or the problem with it. One refused item refuses all, and none is admitted,
 * unless `independent` is true. With `check` the items are checked only.
 */
export async function postDispatches(inside: Inside, { call, body }: Visit): Promise<Answer> {
  const members = membersOf(call, body, ['items', 'independent', 'check'])
  const independent = flagOf(members.independent, 'independent')
  const check = flagOf(members.check, 'check')
  const items = await checkedAll(listOf(members.items, 'items'), (item) => draftOf(inside, item))
  return independent || !hasRefused(items)
    ? answered(inside, check ? [] : items)
    : refusedFirst(inside, items)
}

/** Each item is answered for itself. */
export async function postRetries(inside: Inside, { call, body }: Visit): Promise<Answer> {
  const { items } = membersOf(call, body, ['items'])
  const asked = listOf(items, 'items').map((item) => {
    const { id, run } = recordOf(item, ['id', 'run'], 'An item')
    return { id: idIn(id), run: runIn(run) }
  })
  const runs = await inside.gate.read(asked.map(({ id }) => id))
  const drafts = await checkedAll([...asked.entries()], async ([index, { id, run }]) => {
    const entry = runs[index]
    if (entry === undefined) throw notFound(id)
    return anew({ ...entry, name: inside.gate.named(entry.name) }, run)
  })
  return answered(inside, drafts)
}

/** The random part that the caller gave makes the id, so that a repeated item finds the run that it made. */
async function draftOf({ deferq, gate }: Inside, item: unknown): Promise<Draft> {
  const members = recordOf(item, ['name', 'params', 'options', 'run'], 'An item')
  const run = runIn(members.run)
  const name = gate.named(members.name)
  const options = optionsOf(members.options, gate, members.name as string)
  const draft = await deferq.draft(name, paramsOf(members), options)
  return { ...draft, id: idOf(keyOf(draft.id), run) }
}

function checkedAll<Item>(
  items: readonly Item[],
  make: (item: Item) => Promise<Draft>,
): Promise<readonly Checked[]> {
  return Promise.all(
    items.map((item) =>
      make(item).then(
        (draft) => ({ draft }),
        (refused: unknown) => ({ refused }),
      ),
    ),
  )
}

const hasRefused = (items: readonly Checked[]): boolean => items.some((item) => 'refused' in item)

function refusedFirst({ deferq, gate }: Inside, items: readonly Checked[]): Answer {
  const index = items.findIndex((item) => 'refused' in item)
  const { refused } = items[index] as { refused: unknown }
  return problem(refused, unfailing(deferq.logger), (text) => gate.masked(text), { index })
}

async function answered({ deferq, gate }: Inside, items: readonly Checked[]): Promise<Answer> {
  const log = unfailing(deferq.logger)
  const errorOf = (error: unknown): object => ({
    error: documentOf(error, log, (text) => gate.masked(text)),
  })
  const drafts = items.flatMap((item) => ('draft' in item ? item.draft : []))
  const verdicts = drafts.length === 0 ? [] : await gate.admit(drafts)
  let next = 0
  const answers = items.map((item) => {
    if ('refused' in item) return errorOf(item.refused)
    const verdict = verdicts[next++] as Verdict
    if (verdict.outcome === 'rejected') return errorOf(rejected(item.draft, verdict))
    const { outcome, sameParams, refreshId, entry } = verdict
    return { outcome, sameParams, refreshId, run: runOf(entry) }
  })
  return json(200, JSON.stringify({ answers }))
}

function runIn(run: unknown): string {
  if (typeof run === 'string' && /^[0-9a-f]{24}$/.test(run)) return run
  throw new Refusal(
    422,
    'run must be 24 random hexadecimal characters, the same when the item is sent again.',
  )
}
