// The arguments of the functions on the server: drafts, outcomes, leases and ids as JSON texts.
import type { AttemptOutcome, Draft, Lease, Policy } from '../../contract/engine.ts'
import { KEY_LENGTH } from '../../contract/engine.ts'

export interface Named {
  ord: number
  key: string
  tail: string
  aside: number
}

/** By its key alone, the run that stands there. */
function keyed(key: string, ord: number): object | undefined {
  return /^[0-9a-f]{64}$/.test(key) ? { ord, key: `\\x${key}`, aside: -1 } : undefined
}

/** Where a run is found; undefined for what no id can be, which is found nowhere. */
export function named(id: string, ord: number): Named | undefined {
  if (!/^[0-9a-f]{88}$/.test(id)) return undefined
  const tail = id.slice(KEY_LENGTH)
  return {
    ord,
    key: `\\x${id.slice(0, KEY_LENGTH)}`,
    tail: `\\x${tail}`,
    // The same as aside_of() on the server: 48 bits of the id's own part.
    aside: 2 + Number.parseInt(tail.slice(0, 12), 16),
  }
}

/** In order of their keys, so that two batches never wait for each other; of one key, in the order given. */
function inOrder<T extends { id: string }>(items: readonly T[]): [item: T, ord: number, key: string][] {
  return items
    .map((item, ord): [T, number, string] => [item, ord, item.id.slice(0, KEY_LENGTH)])
    .sort(([, , one], [, , two]) => (one < two ? -1 : one > two ? 1 : 0))
}

/** A batch as the server takes it, and where each draft of it was before it was put in order. */
export interface Asked {
  values: [kinds: string, ids: string, params: string, places: string]
  order: number[]
}

export function asked(drafts: readonly Draft[]): Asked {
  const spell = speller()
  const order: number[] = []
  const kinds: string[] = []
  const params: string[] = []
  let ids = ''
  let isOneKind = true
  for (const [draft, ord] of inOrder(drafts)) {
    const kind = `{${spell.kind(draft)}`
    isOneKind &&= kinds.length === 0 || kind === kinds[0]
    kinds.push(kind)
    params.push(draft.params)
    ids += draft.id
    order.push(ord)
  }
  const told = isOneKind ? (kinds[0] as string) : kinds.join()
  return { values: [`[${told}]`, ids, JSON.stringify(params), `{${order}}`], order }
}

export function followUpsText(drafts: readonly Draft[]): string {
  const spell = speller()
  return `[${inOrder(drafts).map(([draft]) => spell.whole(draft))}]`
}

interface Speller {
  /** All but its id and params, without the brace before it. */
  kind(draft: Draft): string
  whole(draft: Draft): string
}

// Drafts of one batch are mostly alike: the text of what they share is made once. As objects with all their fields they
// took three times as long to be made and turned into text.
function speller(): Speller {
  let likeOf: Draft | undefined
  let like = ''
  const speller: Speller = {
    kind(draft) {
      const { name, queue, priority, policy } = draft
      const same =
        likeOf?.policy === policy &&
        likeOf.name === name &&
        likeOf.queue === queue &&
        likeOf.priority === priority
      if (!same) {
        likeOf = draft
        like = JSON.stringify({ name, queue, priority, ...policyOf(policy) }).slice(1)
      }
      // Before the follow-ups are spelled, which are of other kinds.
      const own = like
      return `${rareOf(draft, speller)}${own}`
    },
    whole(draft) {
      const { key, tail, aside } = named(draft.id, 0) as Named
      const where = `"key":"\\${key}","tail":"\\${tail}","aside":${aside}`
      return `{${where},"params":${JSON.stringify(draft.params)},${speller.kind(draft)}`
    },
  }
  return speller
}

/** What few drafts say. */
function rareOf(
  { dueAt, delayMs, extra, refresh, onMismatch, watch, then = [], ...draft }: Draft,
  speller: Speller,
): string {
  const { maxDelayMs, group, attended, onDuplicate } = draft
  let rare = `"delay":${Math.round(delayMs)},`
  if (dueAt !== undefined) rare += `"due":${Math.round(dueAt)},`
  if (refresh) rare += '"refresh":true,'
  if (watch) rare += '"watch":true,'
  if (onMismatch !== undefined) rare += `"mismatch":"${onMismatch}",`
  if (maxDelayMs !== undefined) rare += `"most_delay":${Math.round(maxDelayMs)},`
  if (group !== undefined) rare += `"grp":${JSON.stringify(columnOf(group))},`
  if (attended !== undefined)
    rare += `"attended":${Math.round(attended.ms) * 2 + (attended.running ? 1 : 0)},`
  if (onDuplicate?.pending !== undefined) rare += `"on_pending":"${onDuplicate.pending}",`
  if (onDuplicate?.running !== undefined) rare += `"on_running":"${onDuplicate.running}",`
  if (extra !== undefined) rare += `"extra":${JSON.stringify(extra)},`
  if (then.length > 0) {
    const follows = then.map(
      ({ on, sameParent = false, draft }) =>
        `{"on":"${on}","sameParent":${sameParent},"draft":${speller.whole(draft)}}`,
    )
    rare += `"then":[${follows.join()}],`
  }
  return rare
}

const policyOf = (policy: Policy): object => ({
  attempts: policy.maxAttempts,
  result_ttl: policy.resultTtlMs,
  stale_ttl: policy.staleTtlMs,
  failure_ttl: policy.failureTtlMs,
  retention: policy.retentionMs,
  ...(policy.everyMs === undefined ? {} : { every: policy.everyMs }),
})

/** No group is the empty text; a group, which may be empty too, has a colon before it. */
export const columnOf = (group: string | undefined): string => (group === undefined ? '' : `:${group}`)

export function outcomesText(outcomes: readonly AttemptOutcome[]): string {
  const seen = new Set<string>()
  const texts = inOrder(outcomes).map(([outcome, ord]) => {
    const { id, token, kind, then = [] } = outcome
    const first = !seen.has(id)
    seen.add(id)
    const place = named(id, ord)
    const where =
      place === undefined ? '' : `"key":"\\${place.key}","tail":"\\${place.tail}","aside":${place.aside},`
    let more = ''
    if (kind === 'completed') more += `,"value":${JSON.stringify(outcome.result)}`
    else if (kind !== 'released') more += `,"value":${JSON.stringify(outcome.error)}`
    if (kind === 'released') {
      if (outcome.dueAt !== undefined) more += `,"due":${Math.round(outcome.dueAt)}`
      if (outcome.params !== undefined) more += `,"params":${JSON.stringify(outcome.params)}`
    }
    if (kind === 'retry') more += `,"delay":${Math.round(outcome.delayMs)}`
    if (then.length > 0) more += `,"then":${followUpsText(then)}`
    return `{${where}"ord":${ord},"first":${first},"kind":"${kind}","token":${JSON.stringify(token)}${more}}`
  })
  return `[${texts.join()}]`
}

export function leasesText(leases: readonly Lease[]): string {
  return JSON.stringify(
    inOrder(leases).map(([{ id, token, progress }, ord]) => ({ ord, ...named(id, ord), token, progress })),
  )
}

export function namedText(ids: readonly string[]): string {
  return JSON.stringify(
    ids.map((id, ord) => ({ ord, ...(id.length === KEY_LENGTH ? keyed(id, ord) : named(id, ord)) })),
  )
}
