// What the transport carries: "look at this run" and "its lease may have expired". The documents are the truth.
import { ID_LENGTH } from '../../contract/engine.ts'
import type { Delivery, Outgoing } from '../../contract/transport.ts'
import type { Run } from './document-store.ts'
import { gateOf } from './document-store.ts'

/** Leases that began in one step share a message; a broker takes a hundred in 12 kB. */
const TIMERS_PER_MESSAGE = 100

/** Brokers bound their delays. A message that comes before its time is sent back with what is left of it. */
const MOST_DELAY_MS = 86_400_000

export const delayOf = (ms: number): number => Math.min(MOST_DELAY_MS, Math.max(0, Math.ceil(ms)))

const properties = { type: 'deferq', contentType: 'text/plain' }

/** How long a reserved message stays hidden from other workers: a claim takes less. The lease guards the run itself. */
export const VISIBILITY_MS = 60_000

export interface Timer {
  id: string
  token: string
  delayMs: number
}

/** A message to be sent: it is this group's turn in this queue. */
export interface TurnMessage {
  gate: string
  queue: string
  name: string
  number: number
  delayMs: number
}

export interface Ready {
  id: string
  ticket: number
  sentAt: number
  /** Where it stands in line, of a run that has a group. */
  place?: { gate: string; priority: number; front: boolean }
}

export interface TurnTaken {
  gate: string
  number: number
}

export interface Leases {
  sentAt: number
  timers: { id: string; token: string }[]
}

export function readyOf(run: Run, front: boolean, sentAt: number): Ready {
  const { id, ticket, name, group, priority } = run
  const ready = { id, ticket, sentAt }
  return group === undefined ? ready : { ...ready, place: { gate: gateOf(name, group), priority, front } }
}

export function readyMessage({ id, ticket, sentAt, place }: Ready, queue: string, delayMs: number): Outgoing {
  const where = place === undefined ? [] : [place.gate, place.priority, Number(place.front)]
  const body = Buffer.from([id, ticket, sentAt, ...where].join(' '))
  return { queue, properties, body, ...(delayMs > 0 ? { delayMs: delayOf(delayMs) } : {}) }
}

/** Undefined for what is none of ours. */
export function readReady({ body }: Delivery): Ready | undefined {
  const [id = '', ticket, sentAt, gate, priority, front, more] = textOf(body).split(' ')
  if (id.length !== ID_LENGTH || more !== undefined) return undefined
  const ready = { id, ticket: Number(ticket), sentAt: Number(sentAt) }
  if (gate === undefined) return ready
  return { ...ready, place: { gate, priority: Number(priority), front: front === '1' } }
}

export function turnMessage({ gate, number, delayMs }: TurnMessage, queue: string): Outgoing {
  const body = Buffer.from(`${gate} ${number}`)
  return { queue, properties, body, ...(delayMs > 0 ? { delayMs: delayOf(delayMs) } : {}) }
}

export function readTurn({ body }: Delivery): TurnTaken | undefined {
  const [gate = '', number, more] = textOf(body).split(' ')
  if (!/^@[0-9a-f]{32}$/.test(gate) || more !== undefined) return undefined
  return { gate, number: Number(number) }
}

export function timerMessages(timers: readonly Timer[], queue: string, now: number): Outgoing[] {
  const messages: Outgoing[] = []
  const byDelay = new Map<number, Timer[]>()
  for (const timer of timers) {
    const group = byDelay.get(timer.delayMs)
    if (group === undefined) byDelay.set(timer.delayMs, [timer])
    else group.push(timer)
  }
  for (const [delayMs, group] of byDelay) {
    for (let at = 0; at < group.length; at += TIMERS_PER_MESSAGE) {
      const part = { sentAt: now, timers: group.slice(at, at + TIMERS_PER_MESSAGE) }
      messages.push({ queue, properties, delayMs: delayOf(delayMs), body: leasesBody(part) })
    }
  }
  return messages
}

export const leasesBody = ({ sentAt, timers }: Leases): Uint8Array =>
  Buffer.from([sentAt, ...timers.map(({ id, token }) => `${id} ${token}`)].join('\n'))

export function readLeases({ body }: Delivery): Leases {
  const [sentAt, ...lines] = textOf(body).split('\n')
  const timers = lines.map((line) => {
    const [id = '', token = ''] = line.split(' ')
    return { id, token }
  })
  return {
    sentAt: Number(sentAt),
    timers: timers.filter(({ id, token }) => id.length === ID_LENGTH && token !== ''),
  }
}

const textOf = (body: Uint8Array): string =>
  Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString()
