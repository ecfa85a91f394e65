// What the transport carries: "look at this run" and "its lease may have expired". The documents are the truth.
import { ID_LENGTH } from '../../engine.ts'
import type { Delivery, Outgoing } from '../../transports/transport.ts'
import type { Run } from './documents.ts'
import type { Timer } from './step.ts'

/** Leases that began in one step share a message; a broker takes a hundred in 12 kB. */
const TIMERS_PER_MESSAGE = 100

/** Brokers bound their delays. A message that comes before its time is sent back with what is left of it. */
const MOST_DELAY_MS = 86_400_000

export const delayOf = (ms: number): number => Math.min(MOST_DELAY_MS, Math.max(0, Math.ceil(ms)))

const properties = { type: 'deferq', contentType: 'text/plain' }

export interface Ready {
  id: string
  ticket: number
  sentAt: number
}

export interface Leases {
  sentAt: number
  timers: { id: string; token: string }[]
}

export function readyMessage(run: Run, queue: string, now: number): Outgoing {
  const message = { queue, properties, body: Buffer.from(`${run.id} ${run.ticket} ${now}`) }
  return run.dueAt > now ? { ...message, delayMs: delayOf(run.dueAt - now) } : message
}

/** Undefined for what is none of ours. */
export function readReady({ body }: Delivery): Ready | undefined {
  const [id = '', ticket, sentAt, more] = textOf(body).split(' ')
  if (id.length !== ID_LENGTH || more !== undefined) return undefined
  return { id, ticket: Number(ticket), sentAt: Number(sentAt) }
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
