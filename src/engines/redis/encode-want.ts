// How a want is spelled for the script SETTLE, and how its answer is read.
import { createHash } from 'node:crypto'
import type { Claimed, SettleAnswer, Want } from '../../contract/engine.ts'
import { HeldRun } from './claimed-run.ts'
import type { Row } from './ids.ts'
import { longId, packable, readEntry, runIn, unpackIds } from './ids.ts'

/** A want in the form it is sent in, and a short name by which equal ones find each other. */
export interface SpelledWant {
  text: string
  /** The same for the same names and queues. */
  work: string
  name: string
}

// A process has one want, or a few: hashing it anew for each claim would cost 3 µs.
const spelledWants = new Map<string, SpelledWant>()
// The one before is nearly always this one: even as text it would cost 3 µs to tell.
let last:
  | (Pick<Want, 'names' | 'queues' | 'leaseMs' | 'limits'> & { takes: boolean; spelled: SpelledWant })
  | undefined

export function spellWant({ names, queues, leaseMs, limits, take }: Want): SpelledWant {
  const takes = take !== undefined
  const isLast = last?.names === names && last.queues === queues && last.leaseMs === leaseMs
  if (isLast && last?.limits === limits && last?.takes === takes) return last.spelled
  const text = JSON.stringify({ n: names, q: queues, l: take && leaseMs, m: limits })
  let spelled = spelledWants.get(text)
  if (spelled === undefined) {
    if (spelledWants.size > 100) spelledWants.clear()
    const work = createHash('sha1')
      .update(JSON.stringify([names, queues]))
      .digest('base64url')
      .slice(0, 10)
    spelled = { text, work, name: take ? `${work}${leaseMs}` : work }
    spelledWants.set(text, spelled)
  }
  last = { names, queues, leaseMs, limits, takes, spelled }
  return spelled
}

/** A run that was handed over: `<token> <id><text>`. */
export function readHandOver(message: string): Claimed {
  const space = message.indexOf(' ')
  const idEnd = space + 60
  const id = message.slice(space + 1, idEnd)
  return HeldRun.read(message.slice(0, space), id.slice(0, 43), [message.slice(idEnd), longId(id)])
}

export interface SettleReply {
  answers: SettleAnswer[]
  claimed: Claimed[]
  nextDueMs: number | undefined
  /** Something wanted may be ready still: the limit was reached, or nothing was to be taken. */
  more: boolean
  malformed: string[]
}

export function settleReply(reply: unknown, prefix: string): SettleReply {
  type Told = string | [text: string, beside: Row[2]]
  type Reply = [number, string, Told[], string[], number, number, string[], string[]]
  const [, letters, rows, tickets, nextDue, more, , malformed] = reply as Reply
  const keys = tickets.map((ticket) => ticket.slice(0, 43))
  let ids = ''
  for (const [index, row] of rows.entries()) {
    ids += packable(keys[index] as string, runIn(typeof row === 'string' ? row : row[0]))
  }
  const longIds = unpackIds(ids)
  const claimed = rows.map((row, index): Claimed => {
    const id = longIds[index] as string
    const token = `${prefix}.${index}`
    if (typeof row !== 'string') return { entry: readEntry([row[0], id, row[1]]), token }
    return HeldRun.read(token, keys[index] as string, [row, id])
  })
  return {
    answers: Array.from(letters, (letter) => (letter === 's' ? 'settled' : 'lost')),
    claimed,
    nextDueMs: nextDue < 0 ? undefined : nextDue,
    more: more === 1,
    malformed,
  }
}
